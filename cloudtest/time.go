package cloudtest

import (
	"errors"
	"fmt"
	"strings"
	"testing/synctest"
	"time"

	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// settleLimit is how much virtual time Settle gives operations to end.
const settleLimit = 25 * time.Hour

// poke says that something about the engine's load may have changed.
func (e *Env) poke() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Advance moves the clock, and then waits until nobody is at work.
func (e *Env) Advance(d time.Duration) {
	e.t.Helper()
	end := e.clock.Mono() + d
	if e.opt.Bubble {
		for e.Step(end - e.clock.Mono()) {
		}
		e.clock.Advance(end - e.clock.Mono())
		return
	}
	for {
		e.rest()
		left := end - e.clock.Mono()
		if left <= 0 {
			return
		}
		next, ok := e.clock.Next()
		if !ok {
			next = left
		}
		e.clock.Advance(min(next, left))
	}
}

// Jump sets the wall clock forward or back as an administrator would.
func (e *Env) Jump(d time.Duration) { e.clock.Jump(d) }

// Now returns the time.
func (e *Env) Now() time.Time { return e.clock.Now() }

// Settle moves the clock until every operation has ended. Operations that do not end
// within 25 hours of virtual time, more than the longest limit of a step, fail the test, with what they wait for.
func (e *Env) Settle() {
	e.t.Helper()
	if err := e.settle(); err != nil {
		e.t.Fatal(err)
	}
}

func (e *Env) settle() error {
	limit := e.clock.Mono() + settleLimit
	for {
		e.rest()
		active, err := e.active()
		if err != nil {
			return err
		}
		if len(active) == 0 && e.idle() {
			return nil
		}
		if e.opt.Bubble {
			if !e.Step(limit - e.clock.Mono()) {
				return stuck(active)
			}
			continue
		}
		next, ok := e.clock.Next()
		if !ok || e.clock.Mono()+next > limit {
			return stuck(active)
		}
		e.clock.Advance(next)
	}
}

// rest waits until nobody is at work: every worker and every look at a host is done, or inside a call
// that waits for the clock.
func (e *Env) rest() {
	if e.opt.Bubble {
		synctest.Wait()
		return
	}
	for {
		load := e.Cloud.Engine().Load()
		atWork := load.Running + e.Cloud.As(nil).Compute.Busy()
		if load.Queued == 0 && atWork <= max(0, e.clock.Sleepers()-load.Abandoned-e.frozen) {
			return
		}
		<-e.wake
	}
}

// idle reports whether no worker has an operation.
func (e *Env) idle() bool {
	if !e.opt.Bubble {
		return e.Cloud.Engine().Load().Running == 0
	}
	for _, r := range e.replicas {
		if c := r.Cloud(); c != nil && !r.Crashed() && c.Engine().Load().Running > 0 {
			return false
		}
	}
	return true
}

func (e *Env) active() (all []*operation.Operation, err error) {
	look := func(s *store.Store) error {
		return s.View(e.ctx(), func(tx *store.Tx) error {
			all, err = operation.Collection.List(tx, store.Query[operation.Operation]{Index: "owner"})
			return err
		})
	}
	if e.opt.Bubble {
		err = e.Look(look)
		return all, err
	}
	err = look(e.Cloud.Store())
	return all, err
}

func stuck(active []*operation.Operation) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d operations do not end:", len(active))
	for _, o := range active {
		fmt.Fprintf(&b, "\n  %s %s of %s %s, %s at step %q, attempt %d", o.Kind, o.ID, o.Resource.Kind, o.Resource.ID, o.State, o.Step(), o.Attempt)
		if o.LastError != nil {
			fmt.Fprintf(&b, ": %s", o.LastError.Message)
		}
	}
	return errors.New(b.String())
}

// reconciled is long enough for leases to run out and for every loop that compares records with drivers to come round.
const reconciled = 5 * time.Minute
