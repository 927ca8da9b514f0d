package cloud

import (
	"context"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/image"
	"github.com/nubecula/cloud/internal/lease"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// self is the one document about the Cloud as a whole.
type self struct {
	ID     string  `json:"id"`
	Seeded *Seeded `json:"seeded,omitempty"` // nil until Cloud.Seed has succeeded
}

const selfKey = "self"

var selves = store.Define(store.Spec[self]{Kind: "cloud", Version: 1, ID: func(*self) string { return selfKey }})

func cloudID(ctx context.Context, s *store.Store) (id string, err error) {
	err = s.Update(ctx, func(tx *store.Tx) error {
		v, err := selves.Get(tx, selfKey)
		if fault.Is(err, fault.NotFound) {
			v = &self{ID: tx.NewID()}
			err = selves.Put(tx, v)
		}
		if err == nil {
			id = v.ID
		}
		return err
	})
	return id, err
}

// collections lists every kind of document of a Cloud.
func collections() []store.AnyCollection {
	all := []store.AnyCollection{selves, operation.Collection, lease.Collection}
	all = append(all, identity.Collections()...)
	all = append(all, image.Collections()...)
	all = append(all, network.Collections()...)
	return append(all, compute.Collections()...)
}
