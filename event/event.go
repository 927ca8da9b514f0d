// Package event is the feed of what happened: events are written in the same
// transaction as the change they tell of, and read back in one total order
// without gaps, from any cursor that is still kept.
//
// Where OpenStack's services have a notification for it, Type is its name: "compute.instance.create.end",
// "network.create.end", "image.upload.start", "identity.user.created". "operation.done", "operation.failed"
// and "operation.canceled" end each operation, with the resource's kind and id.
package event

import (
	"context"
	"encoding/json"
	"iter"
	"time"
)

// Event is one thing that happened. Type and Seq are always set.
type Event struct {
	Seq         int64           `json:"seq"`                    // position in the total order, from 1
	Time        time.Time       `json:"time"`                   // of the transaction, by the store's clock
	Type        string          `json:"type"`                   // "compute.instance.create.start"
	Kind        string          `json:"kind,omitempty"`         // kind of the resource: "server"
	ID          string          `json:"id,omitempty"`           // its id
	ProjectID   string          `json:"project_id,omitempty"`   // that owns it
	UserID      string          `json:"user_id,omitempty"`      // who asked
	RequestID   string          `json:"request_id,omitempty"`   // "req-.." of the API call that led here
	OperationID string          `json:"operation_id,omitempty"` // of the operation that did it
	Data        json.RawMessage `json:"data,omitempty"`         // details; never a secret
}

// Source is where events are read; *store.Store is one.
type Source interface {
	// Events returns up to limit events with Seq > after, in order. Gone when events after
	// that cursor have been dropped already: list the resources again.
	Events(ctx context.Context, after int64, limit int) ([]Event, error)
	// Changed returns a channel that is closed when there may be new events.
	Changed() <-chan struct{}
}

// Subscribe yields every event after the cursor, waiting for new ones until
// ctx ends. An error ends the sequence: Gone, or what the source says.
func Subscribe(ctx context.Context, src Source, after int64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			changed := src.Changed()
			events, err := src.Events(ctx, after, 256)
			if err != nil {
				if ctx.Err() == nil {
					yield(Event{}, err)
				}
				return
			}
			for _, e := range events {
				if !yield(e, nil) {
					return
				}
				after = e.Seq
			}
			if len(events) > 0 {
				continue
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}
