// Package chaos is a store driver around another that fails on demand: by
// the rules of a fault plan, and by crashing at a chosen commit.
//
// The plan knows the driver as "store" and these methods; the object of Begin is "read" or "write", that
// of Commit and Resolve the commit id:
//
//	Begin, Apply, Commit, Resolve, Prune
//
// A rule for Commit gives any outcome that a database has:
//
//	Err: store.ErrConflict                          another was first; run again
//	Err: store.ErrUnknown                           nobody knows; it has not happened
//	Err: store.ErrUnknown, When: inject.After       nobody knows; it has happened
//	Err: chaos.ErrLate                              nobody knows; it happens when somebody asks
//	Err: chaos.ErrFenced                            nobody knows; it would happen, but Resolve is first
//	Err: fault.New(fault.Exhausted, ...)            the disk is full; nothing has happened
package chaos

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/store"
)

// ErrLate is an unknown outcome: the commit lands just before Resolve looks.
var ErrLate = fmt.Errorf("chaos: the commit is late: %w", store.ErrUnknown)

// ErrFenced is an unknown outcome: the commit is on its way and Resolve puts an end to it.
var ErrFenced = fmt.Errorf("chaos: the commit is on its way: %w", store.ErrUnknown)

// When says on which side of a commit a crash is.
type When int

const (
	// Before the commit: nothing of it is there.
	Before When = iota
	// After the commit: it is there, and nobody has been told.
	After
)

// Restarter is a driver that a Driver can Reopen: it gives up its database as a killed process does
// and opens it again.
type Restarter interface {
	Restart() (store.Driver, error)
}

// Options configure a Driver; nil is fine.
type Options struct {
	// Faults decides which calls fail. nil means none does.
	Faults *inject.Plan
}

// Driver is a driver that can fail.
type Driver struct {
	inner  store.Driver
	faults *inject.Plan

	mu      sync.Mutex
	open    map[*txn]bool
	late    map[string]*txn // commits of unknown outcome that wait for Resolve
	commits int
	crashAt int // value of commits+1 at which to crash; 0 means never
	when    When
	dead    bool
}

// New returns a Driver around another, which belongs to it from then on.
func New(inner store.Driver, opt *Options) *Driver {
	d := &Driver{inner: inner, open: map[*txn]bool{}, late: map[string]*txn{}}
	if opt != nil {
		d.faults = opt.Faults
	}
	return d
}

// Commits returns how many commits have happened through this Driver.
func (d *Driver) Commits() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.commits
}

// CrashAt lets the n-th commit from now on, from 1, crash the Driver. 0 takes that back.
func (d *Driver) CrashAt(n int, when When) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.crashAt, d.when = d.commits+n, when; n == 0 {
		d.crashAt = 0
	}
}

// Crash makes this Driver and all its transactions dead: every call returns Unavailable from then
// on. A commit under way has happened or not when Crash returns.
func (d *Driver) Crash() {
	d.mu.Lock()
	d.dead = true
	open := d.open
	d.open, d.late = nil, nil
	d.mu.Unlock()
	for t := range open {
		t.mu.Lock()
		t.inner.Rollback()
		t.mu.Unlock()
	}
}

// Crashed reports whether the Driver is dead.
func (d *Driver) Crashed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead
}

// Reopen crashes the Driver, if it is alive, and returns another with the same faults on the state that
// it left. Unsupported when the driver inside is no Restarter.
func (d *Driver) Reopen() (*Driver, error) {
	d.Crash()
	r, ok := d.inner.(Restarter)
	if !ok {
		return nil, fault.New(fault.Unsupported, "chaos: %T cannot be restarted", d.inner)
	}
	inner, err := r.Restart()
	if err != nil {
		return nil, err
	}
	return New(inner, &Options{Faults: d.faults}), nil
}

// Copy returns a driver on a copy of what is committed now, as a backup holds it. Unsupported when the driver inside is no
// Restarter.
func (d *Driver) Copy() (store.Driver, error) {
	r, ok := d.inner.(Restarter)
	if !ok {
		return nil, fault.New(fault.Unsupported, "chaos: %T cannot be copied", d.inner)
	}
	return r.Restart()
}

func (d *Driver) alive() error {
	if d.Crashed() {
		return errCrashed()
	}
	return nil
}

func errCrashed() error {
	return &fault.Error{Code: fault.Unavailable, Msg: "crashed", Err: store.ErrBroken}
}

// call runs one call under the fault plan.
func (d *Driver) call(ctx context.Context, method, object string, effect func() error) error {
	if err := d.alive(); err != nil {
		return err
	}
	err := d.faults.Run(ctx, "store", method, object, func() error {
		if err := d.alive(); err != nil { // it may have been frozen
			return err
		}
		return effect()
	})
	if d.Crashed() {
		return errCrashed()
	}
	return err
}

// Begin starts a transaction.
func (d *Driver) Begin(ctx context.Context, writable bool) (store.Txn, error) {
	object := "read"
	if writable {
		object = "write"
	}
	var t *txn
	err := d.call(ctx, "Begin", object, func() error {
		inner, err := d.inner.Begin(ctx, writable)
		if err != nil {
			return err
		}
		t = &txn{d: d, inner: inner, write: writable}
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.dead {
			inner.Rollback()
			return errCrashed()
		}
		d.open[t] = true
		return nil
	})
	if err != nil {
		if t != nil {
			t.Rollback()
		}
		return nil, err
	}
	return t, nil
}

// Resolve settles a commit, also one that this Driver holds back.
func (d *Driver) Resolve(ctx context.Context, commitID string) (happened bool, err error) {
	err = d.call(ctx, "Resolve", commitID, func() error {
		d.mu.Lock()
		t := d.late[commitID]
		delete(d.late, commitID)
		d.mu.Unlock()
		if t != nil {
			if err := t.settle(ctx, commitID); err != nil {
				return err
			}
		}
		happened, err = d.inner.Resolve(ctx, commitID)
		return err
	})
	return happened && err == nil, err
}

// Now returns the time of the driver inside.
func (d *Driver) Now(ctx context.Context) (store.Instant, error) {
	if err := d.alive(); err != nil {
		return store.Instant{}, err
	}
	return d.inner.Now(ctx)
}

// Exclusive is that of the driver inside.
func (d *Driver) Exclusive() bool { return d.inner.Exclusive() }

// Notify passes on the news of the driver inside, if it has any.
func (d *Driver) Notify(f func()) (stop func()) {
	if n, ok := d.inner.(store.Notifier); ok {
		return n.Notify(f)
	}
	return func() {}
}

// Prune passes on.
func (d *Driver) Prune(ctx context.Context, before time.Time) error {
	return d.call(ctx, "Prune", "", func() error { return d.inner.Prune(ctx, before) })
}

// Close closes the driver inside, unless a crash has come first: then it is left as it is.
func (d *Driver) Close() error {
	if d.Crashed() {
		return nil
	}
	d.Crash()
	return d.inner.Close()
}

// landing reports whether the commit about to happen is the one to crash at, and on which side.
func (d *Driver) landing() (crash bool, when When) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.crashAt > 0 && d.commits+1 == d.crashAt, d.when
}

func (d *Driver) landed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.commits++
}

// hold keeps a commit for Resolve.
func (d *Driver) hold(commitID string, t *txn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.dead {
		d.late[commitID] = t
	}
}

func (d *Driver) forget(t *txn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open, t)
}

// unknown makes the outcome of a lost reply what the Store may conclude from it.
func unknown(err error, happened bool) error {
	if err != nil && happened && !errors.Is(err, store.ErrUnknown) && !errors.Is(err, store.ErrBroken) {
		return fmt.Errorf("%w: %w", store.ErrUnknown, err)
	}
	return err
}
