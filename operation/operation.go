// Package operation is the public record of long work: what was asked, how
// far it is, what it tried, and how it ended. The engine that carries
// operations out is internal; this is what people and programs look at.
//
//	Pending --slot free--> Running --last step--> Done
//	                       Running --failure, cancel--> Undoing --first step--> Failed | Canceled
//	                       Undoing --step back--> Running
//
// Pending means that it waits for the operation which it pre-empts on the same resource.
package operation

import (
	"context"
	"encoding/json"
	"time"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

// State is where an operation is in its life.
type State string

const (
	Pending  State = "pending"
	Running  State = "running"
	Undoing  State = "undoing"
	Done     State = "done"
	Failed   State = "failed"
	Canceled State = "canceled"
)

// Ended reports whether nothing more will happen.
func (s State) Ended() bool { return s == Done || s == Failed || s == Canceled }

// Resource names what an operation works on; only one operation is at work on it at a time.
type Resource struct {
	Kind string `json:"kind"` // "server"
	ID   string `json:"id"`
}

// Failure says why an operation, or an attempt at a step, failed.
type Failure struct {
	Code    fault.Code      `json:"code"`
	Message string          `json:"message"`
	Step    string          `json:"step"`
	Details json.RawMessage `json:"details,omitempty"` // what fault.Error's cause offers as JSON, such as a scheduler's decision
}

// Line is one line of an operation's log.
type Line struct {
	At   time.Time `json:"at"`
	Step string    `json:"step,omitempty"`
	What string    `json:"what"` // "done", "undone", "retry: ...", "failed: ...", "canceled by ..."
}

// Operation is the record of one piece of work.
type Operation struct {
	ID        string   `json:"id"`
	Kind      string   `json:"kind"` // "server.create"
	Version   int      `json:"version"`
	Resource  Resource `json:"resource"`
	ProjectID string   `json:"project_id,omitempty"`
	UserID    string   `json:"user_id,omitempty"`
	RequestID string   `json:"request_id,omitempty"`

	State    State     `json:"state"`
	Steps    []string  `json:"steps"`              // names of all steps, as they were when it was submitted
	Cursor   int       `json:"cursor"`             // index of the step that is under way; len(Steps) at the end
	UndoTo   int       `json:"undo_to"`            // while Undoing: the step to start again from; -1 means give up
	Pivoted  bool      `json:"pivoted,omitempty"`  // it can only go forward
	Attempt  int       `json:"attempt,omitempty"`  // failed attempts at the step under way
	Retreats int       `json:"retreats,omitempty"` // how often it stepped back
	RunAfter time.Time `json:"run_after"`          // by the store's lease clock
	Instance string    `json:"instance,omitempty"` // the driver instance that the step under way needs

	Owner string `json:"owner,omitempty"` // the replica at work on it
	Epoch int64  `json:"epoch"`           // counts its owners

	CancelBy  string                     `json:"cancel_by,omitempty"`  // who wants it cancelled: an operation's id or "user <id>"
	Data      json.RawMessage            `json:"data,omitempty"`       // the kind's own state
	Notes     map[string]json.RawMessage `json:"notes,omitempty"`      // findings worth keeping, such as "decision"
	Log       []Line                     `json:"log,omitempty"`        // the newest lines, oldest first
	Failure   *Failure                   `json:"failure,omitempty"`    // why it is undone or ended without success
	LastError *Failure                   `json:"last_error,omitempty"` // of the newest failed attempt

	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
}

// Step returns the name of the step under way, or "".
func (o *Operation) Step() string {
	if o.Cursor < 0 || o.Cursor >= len(o.Steps) {
		return ""
	}
	return o.Steps[o.Cursor]
}

// Collection holds every operation that has not been pruned. Services read it; only the engine writes it.
var Collection = store.Define(store.Spec[Operation]{
	Kind: "operation", Version: 1,
	ID: func(o *Operation) string { return o.ID },
	Indexes: []store.Index[Operation]{
		{Name: "active", Unique: true, Keys: func(o *Operation) []store.Tuple {
			if o.State.Ended() || o.State == Pending {
				return nil
			}
			return []store.Tuple{{o.Resource.Kind, o.Resource.ID}}
		}},
		{Name: "pending", Unique: true, Keys: func(o *Operation) []store.Tuple {
			if o.State != Pending {
				return nil
			}
			return []store.Tuple{{o.Resource.Kind, o.Resource.ID}}
		}},
		{Name: "owner", Keys: func(o *Operation) []store.Tuple {
			if o.State.Ended() || o.State == Pending {
				return nil
			}
			return []store.Tuple{{o.Owner}}
		}},
		{Name: "ended", Keys: func(o *Operation) []store.Tuple {
			if !o.State.Ended() {
				return nil
			}
			return []store.Tuple{{o.EndedAt}}
		}},
		{Name: "resource", Keys: func(o *Operation) []store.Tuple {
			return []store.Tuple{{o.Resource.Kind, o.Resource.ID, o.CreatedAt}}
		}},
	},
})

// Get returns an operation; NotFound when there is none, or its time is over.
func Get(ctx context.Context, s *store.Store, id string) (o *Operation, err error) {
	err = s.View(ctx, func(tx *store.Tx) error {
		o, err = Collection.Get(tx, id)
		return err
	})
	return o, err
}

// Active returns the operation that is at work on a resource, or nil.
func Active(tx *store.Tx, r Resource) (*Operation, error) {
	o, err := Collection.Find(tx, "active", r.Kind, r.ID)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	return o, err
}

// Of returns the operations on a resource, newest first.
func Of(tx *store.Tx, r Resource) ([]*Operation, error) {
	return Collection.List(tx, store.Query[Operation]{Index: "resource", Prefix: store.Tuple{r.Kind, r.ID}, Reverse: true})
}

// Wait returns the operation once it has ended, or ctx's error. A failed operation is not an error here.
func Wait(ctx context.Context, s *store.Store, id string) (*Operation, error) {
	for {
		changed, stop := Collection.Watch(s, id)
		o, err := Get(ctx, s, id)
		if err != nil || o.State.Ended() {
			stop()
			return o, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			err = ctx.Err()
		}
		if stop(); err != nil {
			return o, err
		}
	}
}

// Err returns nil for Done, and otherwise an error with the failure's code.
func (o *Operation) Err() error {
	if o.Failure == nil || o.State == Done {
		return nil
	}
	return &fault.Error{Code: o.Failure.Code, Op: o.Kind, Kind: o.Resource.Kind, ID: o.Resource.ID, Msg: o.Failure.Message}
}
