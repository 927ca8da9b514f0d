package engine

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

const (
	minBackoff = 250 * time.Millisecond
	maxBackoff = 30 * time.Second
	maxLog     = 40
)

// write changes an operation in a transaction, if it is still as we know it: ours, of our epoch, at our step.
func (e *Engine) write(op *operation.Operation, f func(tx *store.Tx, op *operation.Operation) error) (next *operation.Operation, err error) {
	if err := e.waitThaw(); err != nil {
		return nil, err
	}
	err = e.s.Update(e.ctx, func(tx *store.Tx) error {
		now, err := operation.Collection.Get(tx, op.ID)
		if err != nil {
			return err
		}
		if now.Owner != e.owner || now.Epoch != op.Epoch || now.Cursor != op.Cursor || now.State != op.State {
			return errLost
		}
		if err := f(tx, now); err != nil {
			return err
		}
		next = now
		if now.State.Ended() { // end has written it
			return nil
		}
		now.UpdatedAt = tx.Now()
		return operation.Collection.Put(tx, now)
	})
	return next, err
}

func (e *Engine) waitThaw() error {
	if c := e.frozen(); c != nil {
		select {
		case <-c:
		case <-e.ctx.Done():
		}
	}
	return e.ctx.Err()
}

// advance commits the step under way and every store-only step behind it, and ends the operation behind
// the last. debt, if not nil, stands in for the step's own Commit.
func (e *Engine) advance(k *kind, op *operation.Operation, x *exec, debt txFunc) (*operation.Operation, error) {
	done := x.data
	return e.write(op, func(tx *store.Tx, op *operation.Operation) error {
		if op.CancelBy != "" && !op.Pivoted {
			return &stepError{fault.New(fault.Canceled, "canceled in favour of %s", op.CancelBy)}
		}
		x.op, x.data = op, done
		for first := true; op.Cursor < len(k.steps); first = false {
			s := k.at(op.Cursor)
			if !first && s.do != nil {
				break
			}
			commit := s.commit
			if first && debt != nil {
				commit = debt
			}
			x.again, x.pause = false, 0
			if err := commit.call(tx, x); err != nil {
				return &stepError{err}
			}
			keepNotes(op, x)
			op.Attempt, op.LastError = 0, nil
			if x.again {
				break
			}
			op.Pivoted = op.Pivoted || s.pivot
			line(tx, op, s.name, "done")
			op.Cursor++
		}
		op.Data = x.data
		op.RunAfter = tx.LeaseNow().Add(x.pause)
		if op.Cursor < len(k.steps) {
			return e.aim(tx, k, op)
		}
		return e.end(tx, k, op, x, nil)
	})
}

// retire records that the step under way is undone, with every step before it that has nothing to undo,
// and turns round or ends the operation at the last. debt, if not nil, stands in for the step's own Undone.
func (e *Engine) retire(k *kind, op *operation.Operation, x *exec, debt txFunc) (*operation.Operation, error) {
	undone := x.data
	return e.write(op, func(tx *store.Tx, op *operation.Operation) error {
		if op.CancelBy != "" && op.UndoTo >= 0 {
			op.UndoTo, op.Failure = -1, canceled(op.CancelBy)
		}
		x.op, x.data = op, undone
		last := max(0, op.UndoTo)
		for first := true; op.Cursor >= last; first = false {
			s := k.at(op.Cursor)
			if !first && s.undo != nil {
				break
			}
			back := s.undone
			if first && debt != nil {
				back = debt
			}
			if err := back.call(tx, x); err != nil {
				return err
			}
			keepNotes(op, x)
			line(tx, op, s.name, "undone")
			op.Cursor--
		}
		op.Data, op.Attempt, op.RunAfter = x.data, 0, tx.LeaseNow()
		switch {
		case op.Cursor >= last:
			return e.aim(tx, k, op)
		case op.UndoTo < 0:
			op.Cursor = 0
			return e.end(tx, k, op, x, op.Failure)
		}
		op.Cursor, op.UndoTo, op.State = op.UndoTo, -1, operation.Running
		op.LastError, op.Failure = op.Failure, nil
		return e.aim(tx, k, op)
	})
}

// fail records a failed attempt and decides what comes next: the same again, stepping back, or giving up.
func (e *Engine) fail(k *kind, op *operation.Operation, x *exec, cause error) (*operation.Operation, error) {
	next, err := e.write(op, func(tx *store.Tx, op *operation.Operation) error {
		f := failure(op.Step(), cause)
		if f.Code == fault.Canceled && op.CancelBy == "" {
			f.Code = fault.Unavailable // a call broken off, and nobody wants the operation undone
		}
		if op.CancelBy != "" && !op.Pivoted {
			f = canceled(op.CancelBy)
			f.Step = op.Step()
		}
		keepNotes(op, x)
		op.Data = x.data // what Do reported before its Commit failed is there for Undo
		s := k.at(op.Cursor)
		again := (f.Code == fault.Unavailable && op.Attempt+1 < s.attempts || f.Code == fault.Timeout && op.Attempt+1 < s.timeouts) &&
			!e.opt.Down(tx, op.Instance)
		if op.Pivoted || again {
			later(tx, op, f)
			return nil
		}
		op.State, op.UndoTo, op.Failure, op.Attempt = operation.Undoing, -1, f, 0
		op.RunAfter = tx.LeaseNow()
		line(tx, op, f.Step, "failed: "+f.Message)
		if k.retreat == nil || f.Code == fault.Canceled {
			return nil
		}
		to, y := "", e.exec(op, nil)
		if err := k.retreat(f, &to).call(tx, y); err != nil {
			return err
		}
		keepNotes(op, y)
		op.Data = y.data
		if i := slices.Index(k.names, to); i >= 0 && i <= op.Cursor {
			op.UndoTo = i
			op.Retreats++
		}
		return nil
	})
	if err == nil {
		e.tell(next, cause)
	}
	return next, err
}

// retry records a failed attempt at an Undo, which has no bound.
func (e *Engine) retry(op *operation.Operation, x *exec, cause error) (*operation.Operation, error) {
	next, err := e.write(op, func(tx *store.Tx, op *operation.Operation) error {
		keepNotes(op, x)
		later(tx, op, failure(op.Step(), cause))
		return nil
	})
	if err == nil {
		e.tell(next, cause)
	}
	return next, err
}

// end closes an operation, successfully if f is nil, and hands the resource to the one that waits for it.
func (e *Engine) end(tx *store.Tx, k *kind, op *operation.Operation, x *exec, f *operation.Failure) error {
	op.State = operation.Done
	do := k.finish
	if f != nil {
		op.State, op.Failure = operation.Failed, f
		if f.Code == fault.Canceled {
			op.State = operation.Canceled
		}
		do = nil
		if k.abort != nil {
			do = k.abort(f)
		}
	}
	if err := do.call(tx, x); err != nil {
		return &stepError{err}
	}
	keepNotes(op, x)
	op.Data, op.EndedAt, op.UpdatedAt, op.Owner, op.Instance = x.data, tx.Now(), tx.Now(), "", ""
	line(tx, op, "", string(op.State))
	tx.Emit(event.Event{Type: "operation." + string(op.State), Kind: op.Resource.Kind, ID: op.Resource.ID, ProjectID: op.ProjectID,
		UserID: op.UserID, RequestID: op.RequestID, OperationID: op.ID, Data: mustJSON(map[string]any{"operation": op.Kind, "failure": op.Failure})})
	if err := operation.Collection.Put(tx, op); err != nil {
		return err
	}
	tx.OnCommit(func() {
		e.opt.Meters.AddEnded(op.Kind, string(op.State))
		e.opt.Log.Info("operation ended", "operation_id", op.ID, "operation", op.Kind, op.Resource.Kind+"_id", op.Resource.ID,
			"request_id", op.RequestID, "state", op.State, "seconds", op.EndedAt.Sub(op.CreatedAt).Seconds())
	})
	next, err := operation.Collection.Find(tx, "pending", op.Resource.Kind, op.Resource.ID)
	if err != nil {
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		return err
	}
	next.State, next.RunAfter = operation.Running, tx.LeaseNow()
	if err := e.aim(tx, e.kinds[next.Kind], next); err != nil {
		return err
	}
	if next.Owner == e.owner {
		tx.OnCommit(func() { e.enqueue(next, nil) })
	}
	return operation.Collection.Put(tx, next)
}

// tell logs a failed attempt: what happened, to what, and what is done about it.
func (e *Engine) tell(op *operation.Operation, cause error) {
	if op.Failure != nil && op.Failure.Code == fault.Canceled {
		return
	}
	next := "it is tried again after " + backoff(op.Attempt).String()
	switch {
	case op.State == operation.Undoing && op.Attempt == 0 && op.UndoTo >= 0:
		next = "it steps back to " + op.Steps[op.UndoTo]
	case op.State == operation.Undoing && op.Attempt == 0:
		next = "it is undone and ends as failed"
	}
	e.exec(op, nil).log.Warn("a step failed; "+next, "step", op.Step(), "instance", op.Instance, "attempt", op.Attempt, "error", cause)
}

func later(tx *store.Tx, op *operation.Operation, f *operation.Failure) {
	op.Attempt++
	op.LastError = f
	op.RunAfter = tx.LeaseNow().Add(backoff(op.Attempt))
	line(tx, op, f.Step, "retry: "+f.Message)
}

func backoff(attempt int) time.Duration {
	return min(maxBackoff, minBackoff<<min(max(attempt-1, 0), 10))
}

func failure(step string, err error) *operation.Failure {
	f := &operation.Failure{Code: fault.CodeOf(err), Message: err.Error(), Step: step}
	var d interface{ Details() any }
	if errors.As(err, &d) {
		f.Details = mustJSON(d.Details())
	}
	return f
}

func keepNotes(op *operation.Operation, x *exec) {
	if len(x.notes) == 0 {
		return
	}
	if op.Notes == nil {
		op.Notes = map[string]json.RawMessage{}
	}
	maps.Copy(op.Notes, x.notes)
}

func line(tx *store.Tx, op *operation.Operation, step, what string) {
	if len(what) > 500 {
		what = what[:500] + "..."
	}
	op.Log = append(op.Log, operation.Line{At: tx.Now(), Step: step, What: what})
	if len(op.Log) > maxLog {
		op.Log = op.Log[len(op.Log)-maxLog:]
	}
}

func mustJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		b, _ = json.Marshal(err.Error())
	}
	return b
}
