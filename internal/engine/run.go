package engine

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/meter"
	"github.com/nubecula/cloud/internal/request"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// lateGrace is how long a call may go on after its context has ended.
const lateGrace = 2 * time.Second

// errLost says that the operation is not ours any more, or has changed under us: look again.
var errLost = errors.New("engine: operation was taken over")

// run works on a task's operation until it has ended (keep is false) or has to wait.
func (e *Engine) run(t *task) (wait time.Duration, keep bool) {
	op, wait, err := e.claim(t.id)
	for err == nil && op != nil && wait == 0 {
		k := e.kinds[op.Kind]
		var next *operation.Operation
		if op.State == operation.Undoing {
			next, err = e.backward(t, k, op)
		} else {
			next, err = e.forward(t, k, op)
		}
		if err == nil {
			op, wait = e.due(next)
		}
	}
	switch {
	case e.ctx.Err() != nil || errors.Is(err, errLost):
		return 0, false
	case err != nil:
		e.opt.Log.Error("an operation could not be recorded; it is tried again", "operation_id", t.id, "error", err)
		return time.Second, true
	case op == nil:
		return 0, false
	}
	return wait, true
}

// due returns op while this engine has to work on it, and how long to wait before that.
func (e *Engine) due(op *operation.Operation) (*operation.Operation, time.Duration) {
	if op == nil || op.State.Ended() || op.State == operation.Pending || op.Owner != e.owner {
		return nil, 0
	}
	now, err := e.s.Now(e.ctx)
	if err != nil {
		return op, time.Second
	}
	// A time that an earlier run set by a clock that has gone back since is not waited for.
	wait := min(op.RunAfter.Sub(now.Lease), maxBackoff)
	if wait <= 0 || op.CancelBy != "" && !op.Pivoted && op.State == operation.Running {
		return op, 0
	}
	return op, wait
}

// claim reads an operation and makes it this engine's, if it is free.
func (e *Engine) claim(id string) (op *operation.Operation, wait time.Duration, err error) {
	if err := e.waitThaw(); err != nil {
		return nil, 0, err
	}
	free := false
	err = e.s.View(e.ctx, func(tx *store.Tx) error {
		op, err = operation.Collection.Get(tx, id)
		if fault.Is(err, fault.NotFound) {
			op = nil
			return nil
		}
		if err != nil || op.Owner == e.owner {
			return err
		}
		alive, err := e.ownerAlive(tx, op.Owner)
		free = !alive && e.mayRun(tx, op.Instance)
		return err
	})
	if err != nil || op == nil {
		return nil, 0, err
	}
	if free && !op.State.Ended() && op.State != operation.Pending {
		err = e.s.Update(e.ctx, func(tx *store.Tx) error {
			if op, err = operation.Collection.Get(tx, id); err != nil {
				return err
			}
			alive, err := e.ownerAlive(tx, op.Owner)
			if err != nil || alive || op.State.Ended() {
				return err
			}
			op.Owner = e.owner
			op.Epoch++
			return operation.Collection.Put(tx, op)
		})
		if err != nil {
			return nil, 0, err
		}
	}
	if op != nil && e.kinds[op.Kind] == nil {
		e.opt.Log.Error("an operation is of a kind that this program does not know; it waits: run the version that made it on this store",
			"operation_id", op.ID, "operation", op.Kind, "resource", op.Resource.Kind, "resource_id", op.Resource.ID, "request_id", op.RequestID)
		return nil, 0, nil
	}
	op, wait = e.due(op)
	return op, wait, nil
}

// forward does the step under way and moves on.
func (e *Engine) forward(t *task, k *kind, op *operation.Operation) (*operation.Operation, error) {
	s := k.at(op.Cursor)
	x := e.exec(op, t.local)
	if op.CancelBy != "" && !op.Pivoted {
		return e.fail(k, op, x, fault.New(fault.Canceled, "canceled in favour of %s", op.CancelBy))
	}
	if s != nil && s.do != nil {
		if op.Pivoted && s.debt != nil && e.isDown(op.Instance) {
			return e.advance(k, op, x, s.debt)
		}
		if err := e.call(t, s.limit, s.do, x); err != nil {
			if e.ctx.Err() != nil {
				return nil, e.ctx.Err()
			}
			if errors.Is(err, store.ErrFull) { // Do wrote something: it is the store that has no room, not what the step works on
				return nil, err
			}
			return e.fail(k, op, x, err)
		}
	}
	done := x.data
	next, err := e.advance(k, op, x, nil)
	var failed *stepError
	if errors.As(err, &failed) {
		x.data = done
		return e.fail(k, op, x, failed.err)
	}
	return next, err
}

// backward undoes the step under way and moves back.
func (e *Engine) backward(t *task, k *kind, op *operation.Operation) (*operation.Operation, error) {
	s := k.at(op.Cursor)
	x := e.exec(op, t.local)
	if s != nil && s.undo != nil {
		instead := s.debt != nil && e.isDown(op.Instance)
		if instead {
			return e.retire(k, op, x, s.debt)
		}
		if err := e.call(t, s.limit, s.undo, x); err != nil {
			if e.ctx.Err() != nil {
				return nil, e.ctx.Err()
			}
			return e.retry(op, x, err)
		}
	}
	return e.retire(k, op, x, nil)
}

func (e *Engine) isDown(instance string) (down bool) {
	if instance == "" {
		return false
	}
	e.s.View(e.ctx, func(tx *store.Tx) error {
		down = e.opt.Down(tx, instance)
		return nil
	})
	return down
}

// codeOf is a fault's code for people who count.
func codeOf(err error) string {
	if err == nil {
		return "ok"
	}
	return fault.CodeOf(err).String()
}

// call runs a Do or Undo in a goroutine of its own, on its own copy of the
// state. When the limit has passed, or the operation is cancelled, it gets a
// little time to notice; then it is left behind, and its late effect is
// repeated harmlessly or swept.
func (e *Engine) call(t *task, limit time.Duration, f func(context.Context, *exec) error, x *exec) (err error) {
	began := e.opt.Clock.Mono()
	defer func() {
		took := e.opt.Clock.Mono() - began
		e.opt.Meters.AddStep(meter.Step{Kind: x.op.Kind, Step: x.op.Step(), Undo: x.op.State == operation.Undoing, Code: codeOf(err)}, took)
		if x.log.Enabled(e.ctx, slog.LevelDebug) {
			x.log.Debug("step ran", "step", x.op.Step(), "state", x.op.State, "instance", x.op.Instance, "attempt", x.op.Attempt,
				"took", took, "error", err)
		}
	}()
	ctx, cancel := clock.WithTimeout(request.WithID(e.ctx, x.op.RequestID), e.opt.Clock, limit)
	defer cancel()
	e.mu.Lock()
	t.cancel = cancel
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		t.cancel = nil
		e.mu.Unlock()
	}()
	own := *x
	done := make(chan error, 1)
	left := false // guarded by e.mu
	go func() {
		err := protect(ctx, f, &own)
		if err == nil && e.opt.Twice {
			err = protect(ctx, f, &own)
		}
		done <- err
		e.mu.Lock()
		defer e.mu.Unlock()
		if left {
			e.abandoned--
			e.changed()
		}
	}()
	select {
	case err := <-done:
		return e.answered(ctx, err, limit, x, &own)
	case <-ctx.Done():
	}
	late := make(chan struct{})
	defer e.opt.Clock.AfterFunc(lateGrace, func() { close(late) })()
	select {
	case err := <-done:
		return e.answered(ctx, err, limit, x, &own)
	case <-late:
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case err := <-done:
		return e.answered(ctx, err, limit, x, &own)
	default:
	}
	left = true
	e.abandoned++
	return e.answered(ctx, context.Cause(ctx), limit, x, nil)
}

// answered takes over what a call made of the state, and says Timeout where the limit was the reason.
func (e *Engine) answered(ctx context.Context, err error, limit time.Duration, x, own *exec) error {
	if err == nil {
		*x = *own
		return nil
	}
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return fault.New(fault.Timeout, "no answer within %s: %w", limit, err)
	}
	return err
}

// protect turns a panic of a step into an error.
func protect(ctx context.Context, f func(context.Context, *exec) error, x *exec) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fault.New(fault.Internal, "panic in step %s: %v\n%s", x.op.Step(), p, debug.Stack())
		}
	}()
	return f(ctx, x)
}

func (e *Engine) exec(op *operation.Operation, local any) *exec {
	return &exec{op: op, data: op.Data, local: local, log: e.opt.Log.With("operation_id", op.ID, "operation", op.Kind,
		op.Resource.Kind+"_id", op.Resource.ID, "request_id", op.RequestID)}
}

// stepError is an error of a kind's own function, as against one of the store.
type stepError struct{ err error }

func (s *stepError) Error() string { return s.err.Error() }
func (s *stepError) Unwrap() error { return s.err }
