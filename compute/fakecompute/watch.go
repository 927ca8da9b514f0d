package fakecompute

import (
	"slices"
	"sync"

	"github.com/nubecula/cloud/compute/computedriver"
)

// watchers calls those who watch.
type watchers struct {
	mu  sync.Mutex
	set []*watcher // in the order of their coming, so that tests repeat
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
	w.set = append(w.set, one)
	return func() {
		w.mu.Lock()
		w.set = slices.DeleteFunc(w.set, func(x *watcher) bool { return x == one })
		w.mu.Unlock()
		one.busy.Wait()
	}
}

// tell calls all of them in the caller's goroutine.
func (w *watchers) tell(h computedriver.Hint) {
	w.mu.Lock()
	all := slices.Clone(w.set)
	for _, one := range all {
		one.busy.Add(1)
	}
	w.mu.Unlock()
	for _, one := range all {
		one.f(h)
		one.busy.Done()
	}
}
