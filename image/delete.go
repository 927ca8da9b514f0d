package image

import (
	"context"
	"time"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// Delete removes an image. It is gone at once; its data goes soon after, an upload under way is cancelled.
// Denied: it is protected.
func (s *Service) Delete(ctx context.Context, id string) error {
	return s.store.Update(ctx, func(tx *store.Tx) error {
		i, c, err := s.find(tx, id, "delete")
		if err != nil {
			return err
		}
		if i.Protected {
			return &fault.Error{Code: fault.Denied, Kind: "image", ID: id, Msg: "is protected and cannot be deleted: set protected to false first"}
		}
		list, err := members.List(tx, store.Query[Member]{Index: "image", Prefix: store.Tuple{id}})
		if err != nil {
			return err
		}
		for _, m := range list {
			if err := members.Delete(tx, memberID(m.ImageID, m.ProjectID)); err != nil {
				return err
			}
		}
		if err := images.Delete(tx, id); err != nil {
			return err
		}
		s.emit(tx, "delete", i)
		if i.DataID == "" {
			return nil
		}
		_, err = s.erase.Submit(tx, c.request(i), erasure{DataID: i.DataID})
		return err
	})
}

// erasure is the state of an operation that deletes data.
type erasure struct {
	DataID string `json:"data_id"`
}

func (c *core) eraseKind() engine.Kind[erasure] {
	return engine.Kind[erasure]{
		Name: "image.delete", Version: 1, Forward: true, Preempts: []string{"*"},
		Steps: []engine.Step[erasure]{{
			Name: "delete data", Limit: 10 * time.Minute,
			Do: func(ctx context.Context, r *engine.Run[erasure]) error { return c.remove(ctx, r.State.DataID) },
		}},
		Finish: func(tx *store.Tx, r *engine.Run[erasure]) error { return retire(tx, r.State.DataID) },
	}
}

// tell writes an event of an operation.
func (c *core) tell(tx *store.Tx, what string, i *Image, op *operation.Operation) {
	tx.Emit(event.Event{Type: "image." + what, Kind: "image", ID: i.ID, ProjectID: i.Owner,
		UserID: op.UserID, RequestID: op.RequestID, OperationID: op.ID})
}

// retiree is the id of data that was deleted. A call of a driver that was left behind may write it once
// more; Sweep then deletes it again. Data under an id that is in no record at all is never touched.
type retiree struct {
	ID string    `json:"id"`
	At time.Time `json:"at"`
}

var retirees = store.Define(store.Spec[retiree]{
	Kind: "image_data_retired", Version: 1,
	ID: func(r *retiree) string { return r.ID },
	Indexes: []store.Index[retiree]{
		{Name: "at", Keys: func(r *retiree) []store.Tuple { return []store.Tuple{{r.At}} }},
	},
})

// keepRetired is how long a late write is waited for.
const keepRetired = 7 * 24 * time.Hour

func retire(tx *store.Tx, dataID string) error {
	return retirees.Put(tx, &retiree{ID: dataID, At: tx.Now()})
}
