package engine

import (
	"context"
	"time"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/lease"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// Renew renews the lease of this replica now, as it does by itself every third of the lease: one small commit.
func (e *Engine) Renew(ctx context.Context) error {
	if e.ctx.Err() != nil {
		return fault.New(fault.Unavailable, "this replica is being closed")
	}
	if e.frozen() != nil {
		return fault.New(fault.Unavailable, "this replica is frozen")
	}
	return lease.Renew(ctx, e.s, e.owner, e.opt.Lease)
}

// Alive reports whether this replica's lease holds, so that others leave its operations alone.
func (e *Engine) Alive(tx *store.Tx) (bool, error) { return lease.Alive(tx, e.owner) }

// Slow is an operation of this replica that does not get on.
type Slow struct {
	Op   *operation.Operation
	Late time.Duration // since it could have been taken up; 0 when it only fails again and again
	// Known: it waits in this process for its turn or is at work. False and Late means that nobody will see to it.
	Known bool
}

// Slow returns the operations of this replica whose step under way has failed at least attempts times, or
// which could have been taken up longer than late ago and were not; all counts all that are not ended.
func (e *Engine) Slow(tx *store.Tx, attempts int, late time.Duration) (slow []Slow, all int, err error) {
	for op, err := range operation.Collection.Each(tx, store.Query[operation.Operation]{Index: "owner"}) {
		if err != nil {
			return nil, 0, err
		}
		all++
		if op.Owner != e.owner {
			continue
		}
		e.mu.Lock()
		t := e.tasks[op.ID]
		known, active := t != nil, t != nil && t.active
		e.mu.Unlock()
		s := Slow{Op: op, Known: known}
		if since := tx.LeaseNow().Sub(op.RunAfter); !active && since > late {
			s.Late = since
		}
		if s.Late > 0 || op.Attempt >= attempts {
			slow = append(slow, s)
		}
	}
	return slow, all, nil
}
