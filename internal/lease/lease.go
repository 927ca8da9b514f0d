// Package lease says which replicas are alive: each keeps a row with a time
// to live by the store's lease clock. What a replica owns elsewhere - operations -
// is free for the others once its row has run out. A replica that was frozen
// past its lease renews it and goes on; what others took meanwhile stays theirs,
// because every owned row has an epoch of its own.
package lease

import (
	"context"
	"time"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

// Lease is the row of one replica.
type Lease struct {
	Owner string    `json:"owner"` // id of one run of one replica, never used again
	Until time.Time `json:"until"` // by the store's lease clock
}

// Collection holds the leases.
var Collection = store.Define(store.Spec[Lease]{
	Kind: "lease", Version: 1,
	ID: func(l *Lease) string { return l.Owner },
})

// Renew makes owner alive for ttl from now, and drops the rows of replicas that are long dead. It does not queue behind
// the Updates that wait.
func Renew(ctx context.Context, s *store.Store, owner string, ttl time.Duration) error {
	return s.Update(store.Urgent(ctx), func(tx *store.Tx) error {
		all, err := Collection.List(tx, store.Query[Lease]{})
		for _, l := range all {
			if err == nil && l.Owner != owner && tx.LeaseNow().After(l.Until.Add(10*ttl)) {
				err = Collection.Delete(tx, l.Owner)
			}
		}
		if err != nil {
			return err
		}
		return Collection.Put(tx, &Lease{Owner: owner, Until: tx.LeaseNow().Add(ttl)})
	})
}

// Alive reports whether owner's lease holds.
func Alive(tx *store.Tx, owner string) (bool, error) {
	l, err := Collection.Get(tx, owner)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return tx.LeaseNow().Before(l.Until), nil
}

// End gives the lease back, so that others need not wait for it to run out.
func End(ctx context.Context, s *store.Store, owner string) error {
	return s.Update(ctx, func(tx *store.Tx) error {
		err := Collection.Delete(tx, owner)
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		return err
	})
}
