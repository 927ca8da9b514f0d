package engine

import (
	"slices"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/request"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// submit stores an operation and, behind the commit, queues it.
func (e *Engine) submit(tx *store.Tx, k *kind, req Request, data []byte, local any) (*operation.Operation, error) {
	if req.RequestID == "" {
		req.RequestID = request.ID(tx.Context())
	}
	op := &operation.Operation{
		ID: tx.NewID(), Kind: k.name, Version: k.version, Resource: req.Resource, ProjectID: req.ProjectID, UserID: req.UserID, RequestID: req.RequestID,
		State: operation.Running, Steps: k.names, UndoTo: -1, Pivoted: k.forward, RunAfter: tx.LeaseNow().Add(req.Delay), Data: data, CreatedAt: tx.Now(), UpdatedAt: tx.Now(),
	}
	active, err := operation.Active(tx, req.Resource)
	if err != nil {
		return nil, err
	}
	if active != nil {
		waiting, err := e.preempt(tx, k, active, op)
		if err != nil || waiting != nil {
			return waiting, err
		}
		op.State = operation.Pending
	} else if err := e.ahead(tx, k, op, local); err != nil {
		return nil, err
	}
	if err := e.aim(tx, k, op); err != nil {
		return nil, err
	}
	if err := operation.Collection.Put(tx, op); err != nil {
		return nil, err
	}
	if op.State == operation.Running && op.Owner == e.owner {
		tx.OnCommit(func() { e.enqueue(op, local) })
	}
	return op, nil
}

// ahead commits the first step if that can be done without its own transaction.
func (e *Engine) ahead(tx *store.Tx, k *kind, op *operation.Operation, local any) error {
	s := k.at(0)
	if s.ahead == nil {
		return nil
	}
	x := e.exec(op, local)
	done, err := s.ahead(tx, x)
	if err != nil || !done {
		return err
	}
	keepNotes(op, x)
	op.Data, op.Pivoted = x.data, op.Pivoted || s.pivot
	line(tx, op, s.name, "done")
	op.Cursor++
	return nil
}

// preempt cancels the active operation in favour of op. It returns the
// operation that waits already, when that is of the same kind.
func (e *Engine) preempt(tx *store.Tx, k *kind, active, op *operation.Operation) (*operation.Operation, error) {
	if !k.mayPreempt(active.Kind) {
		return nil, busy(active)
	}
	waiting, err := operation.Collection.Find(tx, "pending", op.Resource.Kind, op.Resource.ID)
	switch {
	case fault.Is(err, fault.NotFound):
	case err != nil:
		return nil, err
	case waiting.Kind == op.Kind:
		return waiting, nil
	case !k.mayPreempt(waiting.Kind) || e.kinds[waiting.Kind] == nil:
		return nil, busy(waiting)
	default:
		if err := e.end(tx, e.kinds[waiting.Kind], waiting, e.exec(waiting, nil), canceled(op.ID)); err != nil {
			return nil, err
		}
	}
	if active.CancelBy == "" {
		active.CancelBy = op.ID
	}
	active.UpdatedAt = tx.Now()
	if err := operation.Collection.Put(tx, active); err != nil {
		return nil, err
	}
	tx.OnCommit(func() { e.interrupt(active) })
	return nil, nil
}

func (k *kind) mayPreempt(other string) bool {
	return slices.Contains(k.preempts, "*") && other != k.name || slices.Contains(k.preempts, other)
}

func busy(o *operation.Operation) error {
	return &fault.Error{Code: fault.Conflict, Kind: o.Resource.Kind, ID: o.Resource.ID,
		Msg: "is busy: operation " + o.Kind + " " + o.ID + " is at step " + o.Step() + "; wait until it has ended"}
}

func canceled(by string) *operation.Failure {
	return &operation.Failure{Code: fault.Canceled, Message: "canceled in favour of operation " + by}
}

// Cancel asks for an operation to be undone. Conflict: it is past its pivot, or has ended.
func (e *Engine) Cancel(tx *store.Tx, id, by string) error {
	op, err := operation.Collection.Get(tx, id)
	if err != nil {
		return err
	}
	if op.Pivoted || op.State.Ended() {
		return &fault.Error{Code: fault.Conflict, Kind: "operation", ID: id, Msg: "cannot be canceled any more: it is " + string(op.State) + " at step " + op.Step()}
	}
	if op.State == operation.Pending {
		k := e.kinds[op.Kind]
		if k == nil {
			return &fault.Error{Code: fault.Conflict, Kind: "operation", ID: id, Msg: "is of kind " + op.Kind + ", which this program does not know; cancel it with the one that does"}
		}
		return e.end(tx, k, op, e.exec(op, nil), canceled(by))
	}
	op.CancelBy = by
	tx.OnCommit(func() { e.interrupt(op) })
	return operation.Collection.Put(tx, op)
}

// aim sets the driver instance that the step under way needs, and the owner: this replica, if it has that instance.
func (e *Engine) aim(tx *store.Tx, k *kind, op *operation.Operation) error {
	if k == nil { // a kind of another program version: whoever knows it takes it
		op.Owner = ""
		return nil
	}
	op.Instance = ""
	if s := k.at(op.Cursor); s != nil && s.instance != nil {
		var err error
		if op.Instance, err = s.instance(op.Data); err != nil {
			return err
		}
	}
	switch {
	case op.State == operation.Pending:
	case !e.mayRun(tx, op.Instance):
		op.Owner = ""
	case op.Owner != e.owner:
		op.Owner = e.owner
		op.Epoch++
	}
	return nil
}

func (k *kind) at(i int) *step {
	if i < 0 || i >= len(k.steps) {
		return nil
	}
	return &k.steps[i]
}
