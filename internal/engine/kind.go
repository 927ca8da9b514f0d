package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// Kind is a kind of operation: a table of steps over a state S, which is
// stored as JSON with the operation. Kinds are registered before Start.
type Kind[S any] struct {
	// Name and Version are stored with each operation: "server.create", 1.
	Name    string
	Version int
	Steps   []Step[S]
	// Finish runs in the transaction that ends a success. nil does nothing.
	Finish func(tx *store.Tx, r *Run[S]) error
	// Abort runs in the transaction that ends an operation whose steps were undone: failed, or
	// cancelled (f.Code is Canceled). It must not fail for a reason of the request. nil does nothing.
	Abort func(tx *store.Tx, r *Run[S], f *operation.Failure) error
	// Retreat decides, once a step has failed for good before the pivot, whether to undo only back to
	// and including a step and go forward from there again. "" gives up. It runs in a transaction and
	// may change r.State, for example to exclude a host. nil gives up. Bound it: r.Op.Retreats counts.
	Retreat func(tx *store.Tx, r *Run[S], f *operation.Failure) (step string, err error)
	// Preempts names the kinds which this one cancels on its resource and waits for; "*" means all.
	// Against any other active operation Submit is a Conflict.
	Preempts []string
	// Forward means that there is no undo: it is past its pivot from the start.
	Forward bool
}

// Step is one step. Every function may run more than once; a step with neither
// Do nor Undo shares the transaction of the step before it.
type Step[S any] struct {
	// Name is stored with the operation; unique in its Kind.
	Name string
	// Instance names the driver instance that Do and Undo need, such as "host/<id>"; only a replica that
	// holds it runs the step. nil or "" means any replica.
	Instance func(s *S) string
	// Do has the effect on a driver. It must be idempotent: it may run again after it has succeeded. It may
	// change r.State; that is kept when the step commits. nil means a step in the store alone.
	Do func(ctx context.Context, r *Run[S]) error
	// Ahead, of the first step, is tried in the transaction that submits the operation, if it need not wait for another. When it
	// says so the step counts as committed, which saves its own transaction; else the step is done as usual, and what Ahead
	// made of r.State is dropped. An error fails the submission. nil never does the step ahead.
	Ahead func(tx *store.Tx, r *Run[S]) (done bool, err error)
	// Commit records the result, in the transaction that moves on to the next step. An error fails the
	// step as an error of Do does. nil does nothing.
	Commit func(tx *store.Tx, r *Run[S]) error
	// Undo takes the effect back, also one that happened in part or not at all. nil means nothing to take back.
	Undo func(ctx context.Context, r *Run[S]) error
	// Undone records that, in the transaction that moves on to the step before. It also runs for a step whose
	// Commit never ran. nil does nothing.
	Undone func(tx *store.Tx, r *Run[S]) error
	// Debt records what remains to be done on an instance that was declared down, in place of Undo and Undone,
	// or of Do and Commit past the pivot; the step then counts as done. nil waits for the instance to return.
	Debt func(tx *store.Tx, r *Run[S]) error
	// Limit is how long one attempt may take. 0 means a minute.
	Limit time.Duration
	// Attempts is how often Do is tried against Unavailable and Timeout before the step fails. 0 means 9 times
	// against Unavailable, which is a minute with the pauses between them - a daemon that restarts is back by
	// then -, and 3 times against Timeout. Past the pivot, and for Undo, there is no bound.
	Attempts int
	// Pivot: once this step has committed the operation can only go forward.
	Pivot bool
}

// Run is an operation as its functions see it.
type Run[S any] struct {
	// Op is the stored record, to be read only.
	Op *operation.Operation
	// State is the kind's own state.
	State *S
	// Local is what SubmitLocal was given, in the process that submitted; nil after a restart or elsewhere.
	Local any
	// Log carries operation, resource and request ids.
	Log *slog.Logger

	again bool
	pause time.Duration
	notes map[string]json.RawMessage
}

// Again, called in Commit, makes the same step run once more instead of the next one.
func (r *Run[S]) Again() { r.again = true }

// AgainAfter is Again with a pause before the next run, for a step that could be at work all the time.
// A cancellation does not wait for it.
func (r *Run[S]) AgainAfter(pause time.Duration) { r.again, r.pause = true, pause }

// Note keeps a finding with the operation, as JSON under a name, with the next commit of the step.
// Called in Commit, Undone or Retreat of a step.
func (r *Run[S]) Note(name string, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		body, _ = json.Marshal(fmt.Sprintf("cannot be kept: %v", err))
	}
	if r.notes == nil {
		r.notes = map[string]json.RawMessage{}
	}
	r.notes[name] = body
}

// Request is what every submission names.
type Request struct {
	Resource  operation.Resource
	ProjectID string
	UserID    string
	// Delay is how long the first step waits. 0 means not at all.
	Delay time.Duration
	// RequestID of the API call; "" takes it from the transaction's context.
	RequestID string
}

// Handle submits operations of one kind.
type Handle[S any] struct {
	e *Engine
	k *kind
}

// Submit stores an operation in tx; work begins once tx is committed. Conflict: another operation is at
// work on the resource and Kind.Preempts does not name it; the error says which. If one of the same kind waits in the
// resource's pending slot already, that one is returned.
func (h *Handle[S]) Submit(tx *store.Tx, req Request, state S) (*operation.Operation, error) {
	return h.SubmitLocal(tx, req, state, nil)
}

// SubmitLocal is Submit with a value that only this process has, such as the body of an upload: its steps
// find it in Run.Local, and nil once another process has taken over.
func (h *Handle[S]) SubmitLocal(tx *store.Tx, req Request, state S, local any) (*operation.Operation, error) {
	body, err := json.Marshal(&state)
	if err != nil {
		return nil, err
	}
	return h.e.submit(tx, h.k, req, body, local)
}
