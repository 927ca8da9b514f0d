package fakecompute

import (
	"sync"

	"github.com/nubecula/cloud/compute/computedriver"
)

// watchers calls those who watch.
type watchers struct {
	mu  sync.Mutex
	set map[*watcher]struct{}
}

type watcher struct {
	f    func(computedriver.Hint)
	busy sync.WaitGroup // calls of f under way
}

// add returns what removes f again; when that has returned, f is not called any more.
func (w *watchers) add(f func(computedriver.Hint)) (remove func()) {
	one := &watcher{f: f}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.set == nil {
		w.set = map[*watcher]struct{}{}
	}
	w.set[one] = struct{}{}
	return func() {
		w.mu.Lock()
		delete(w.set, one)
		w.mu.Unlock()
		one.busy.Wait()
	}
}

// tell calls all of them in the caller's goroutine.
func (w *watchers) tell(h computedriver.Hint) {
	w.mu.Lock()
	all := make([]*watcher, 0, len(w.set))
	for one := range w.set {
		one.busy.Add(1)
		all = append(all, one)
	}
	w.mu.Unlock()
	for _, one := range all {
		one.f(h)
		one.busy.Done()
	}
}
