package store

import "sync"

// watches are those who wait for documents to be written, so that a commit wakes them alone.
type watches struct {
	mu    sync.Mutex
	by    map[docKey]*watch
	ended bool // the Store is closed
}

type watch struct {
	c chan struct{}
	n int // who wait
}

func (w *watches) add(k docKey) (changed <-chan struct{}, stop func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.by == nil {
		w.by = map[docKey]*watch{}
	}
	e := w.by[k]
	if e == nil {
		e = &watch{c: make(chan struct{})}
		if w.ended {
			close(e.c)
			return e.c, func() {}
		}
		w.by[k] = e
	}
	e.n++
	return e.c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if e.n--; e.n == 0 && w.by[k] == e {
			delete(w.by, k)
		}
	}
}

// wrote wakes those who wait for documents of a commit.
func (w *watches) wrote(docs []DocWrite) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.by) == 0 {
		return
	}
	for i := range docs {
		w.wake(docKey{docs[i].Kind, docs[i].ID})
	}
}

func (w *watches) wake(k docKey) {
	if e := w.by[k]; e != nil {
		close(e.c)
		delete(w.by, k)
	}
}

// end wakes everybody, now and from now on.
func (w *watches) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	for k := range w.by {
		w.wake(k)
	}
}
