package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// kind is a Kind without its type parameter.
type kind struct {
	name     string
	version  int
	steps    []step
	names    []string
	preempts []string
	forward  bool
	finish   txFunc
	abort    func(f *operation.Failure) txFunc
	retreat  func(f *operation.Failure, to *string) txFunc
}

type step struct {
	name     string
	instance func(data []byte) (string, error)
	do, undo func(ctx context.Context, x *exec) error
	ahead    func(tx *store.Tx, x *exec) (bool, error)
	commit   txFunc
	undone   txFunc
	debt     txFunc
	limit    time.Duration
	attempts int // against Unavailable
	timeouts int // against Timeout
	pivot    bool
}

// txFunc is a function of a kind that runs in a transaction; nil does nothing.
type txFunc func(tx *store.Tx, x *exec) error

func (f txFunc) call(tx *store.Tx, x *exec) error {
	if f == nil {
		return nil
	}
	return f(tx, x)
}

// exec is what a function of a kind is run on; Run is made from it and folded back into it.
type exec struct {
	op    *operation.Operation
	data  []byte
	local any
	log   *slog.Logger
	again bool
	pause time.Duration
	notes map[string]json.RawMessage
}

// Register adds a kind to an engine and returns what submits it. It panics on
// a faulty table or a name that is taken, which only a programmer can cause.
func Register[S any](e *Engine, k Kind[S]) *Handle[S] {
	r := &kind{name: k.Name, version: k.Version, preempts: k.Preempts, forward: k.Forward, finish: inTx(k.Finish)}
	if k.Abort != nil {
		r.abort = func(f *operation.Failure) txFunc {
			return inTx(func(tx *store.Tx, r *Run[S]) error { return k.Abort(tx, r, f) })
		}
	}
	if k.Retreat != nil {
		r.retreat = func(f *operation.Failure, to *string) txFunc {
			return inTx(func(tx *store.Tx, r *Run[S]) (err error) {
				*to, err = k.Retreat(tx, r, f)
				return err
			})
		}
	}
	for _, s := range k.Steps {
		if s.Name == "" || slices.Contains(r.names, s.Name) {
			panic(fmt.Sprintf("engine: kind %s: step name %q is empty or used twice", k.Name, s.Name))
		}
		r.names = append(r.names, s.Name)
		r.steps = append(r.steps, erase(s))
	}
	if k.Name == "" || k.Version < 1 || len(k.Steps) == 0 || e.kinds[k.Name] != nil {
		panic(fmt.Sprintf("engine: kind %q: it needs a name of its own, a version and steps", k.Name))
	}
	e.kinds[k.Name] = r
	return &Handle[S]{e, r}
}

func erase[S any](s Step[S]) step {
	out := step{name: s.Name, do: outside(s.Do), undo: outside(s.Undo), commit: inTx(s.Commit), undone: inTx(s.Undone),
		debt: inTx(s.Debt), limit: s.Limit, attempts: s.Attempts, timeouts: s.Attempts, pivot: s.Pivot}
	if out.limit == 0 {
		out.limit = time.Minute
	}
	if out.attempts == 0 {
		out.attempts, out.timeouts = 9, 3
	}
	if s.Ahead != nil {
		out.ahead = func(tx *store.Tx, x *exec) (done bool, err error) {
			own := *x
			err = with(&own, func(r *Run[S]) error {
				done, err = s.Ahead(tx, r)
				return err
			})
			if done && err == nil {
				*x = own
			}
			return done, err
		}
	}
	if s.Instance != nil {
		out.instance = func(data []byte) (string, error) {
			v, err := decode[S](data)
			if err != nil {
				return "", err
			}
			return s.Instance(v), nil
		}
	}
	return out
}

func inTx[S any](f func(tx *store.Tx, r *Run[S]) error) txFunc {
	if f == nil {
		return nil
	}
	return func(tx *store.Tx, x *exec) error {
		return with(x, func(r *Run[S]) error { return f(tx, r) })
	}
}

func outside[S any](f func(ctx context.Context, r *Run[S]) error) func(context.Context, *exec) error {
	if f == nil {
		return nil
	}
	return func(ctx context.Context, x *exec) error {
		return with(x, func(r *Run[S]) error { return f(ctx, r) })
	}
}

// with runs f on a typed view of x. State is taken over only when f succeeds, notes always.
func with[S any](x *exec, f func(r *Run[S]) error) error {
	v, err := decode[S](x.data)
	if err != nil {
		return err
	}
	r := &Run[S]{Op: x.op, State: v, Local: x.local, Log: x.log}
	err = f(r)
	if len(r.notes) > 0 {
		if x.notes == nil {
			x.notes = map[string]json.RawMessage{}
		}
		maps.Copy(x.notes, r.notes)
	}
	if err != nil {
		return err
	}
	x.again, x.pause = r.again, r.pause
	x.data, err = json.Marshal(v)
	return err
}

func decode[S any](data []byte) (*S, error) {
	v := new(S)
	if err := json.Unmarshal(data, v); err != nil {
		return nil, fault.New(fault.Corrupt, "the state of an operation cannot be read: %w", err)
	}
	return v, nil
}
