package chaos

import (
	"context"
	"errors"
	"sync"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/store"
)

// txn is a transaction of the driver inside.
type txn struct {
	d     *Driver
	mu    sync.Mutex // held in every call of inner, since a crash comes from another goroutine
	inner store.Txn
	write bool
	held  error // ErrLate or ErrFenced while the commit waits for Resolve
}

// use runs one call on the transaction inside, unless the driver is dead.
func (t *txn) use(f func() error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.d.alive(); err != nil {
		return err
	}
	return f()
}

func (t *txn) Get(kind, id string) (doc store.Doc, ok bool, err error) {
	err = t.use(func() error { doc, ok, err = t.inner.Get(kind, id); return err })
	return doc, ok, err
}

func (t *txn) Scan(r store.Range) (out []store.Entry, err error) {
	err = t.use(func() error { out, err = t.inner.Scan(r); return err })
	return out, err
}

func (t *txn) Events(after int64, limit int) (out []event.Event, err error) {
	err = t.use(func() error { out, err = t.inner.Events(after, limit); return err })
	return out, err
}

func (t *txn) Apply(b *store.Batch) error {
	return t.d.call(context.Background(), "Apply", "", func() error {
		return t.use(func() error { return t.inner.Apply(b) })
	})
}

func (t *txn) Commit(ctx context.Context, commitID string) (first int64, err error) {
	if !t.write {
		return t.commit(ctx, commitID) // refused inside
	}
	happened := false
	err = t.d.call(ctx, "Commit", commitID, func() error {
		first, err = t.commit(ctx, commitID)
		happened = err == nil
		return err
	})
	if errors.Is(err, ErrLate) || errors.Is(err, ErrFenced) {
		t.mu.Lock()
		t.held = err
		t.mu.Unlock()
		t.d.hold(commitID, t)
		return 0, store.ErrUnknown
	}
	return first, unknown(err, happened)
}

func (t *txn) Validate(ctx context.Context) error {
	return t.use(func() error { return t.inner.Validate(ctx) })
}

// commit commits inside, and crashes on either side of it when that is due.
func (t *txn) commit(ctx context.Context, commitID string) (first int64, err error) {
	crash, when := t.d.landing()
	if crash && when == Before {
		t.d.Crash()
		return 0, errCrashed()
	}
	err = t.use(func() error {
		if first, err = t.inner.Commit(ctx, commitID); err == nil {
			t.d.landed()
		}
		return err
	})
	if crash && err == nil {
		t.d.Crash()
		return 0, errCrashed()
	}
	t.d.forget(t)
	return first, err
}

// settle ends a commit that was held back: it lands or it never will.
func (t *txn) settle(ctx context.Context, commitID string) error {
	t.mu.Lock()
	lands := errors.Is(t.held, ErrLate)
	t.held = nil
	t.mu.Unlock()
	defer t.Rollback()
	if !lands {
		return nil
	}
	_, err := t.commit(ctx, commitID)
	return err
}

// Rollback drops the transaction; one that waits for Resolve is out of the caller's hands.
func (t *txn) Rollback() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held == nil {
		t.inner.Rollback()
		t.d.forget(t)
	}
}
