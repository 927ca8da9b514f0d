package cloud

import (
	"context"
	"slices"
	"strings"

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

// collections lists every kind of document of a Cloud, once.
func collections() []store.AnyCollection {
	all := []store.AnyCollection{selves, operation.Collection, lease.Collection}
	all = append(all, identity.Collections()...)
	all = append(all, image.Collections()...)
	all = append(all, network.Collections()...)
	all = append(all, compute.Collections()...)
	slices.SortFunc(all, func(a, b store.AnyCollection) int { return strings.Compare(a.Kind(), b.Kind()) })
	return slices.CompactFunc(all, func(a, b store.AnyCollection) bool { return a.Kind() == b.Kind() })
}

// Finding is something that Check found wrong.
type Finding struct {
	Service string // "store", "identity", "image", "network", "compute"
	Text    string // what is wrong with what
}

// Check verifies the whole store against a recount: indexes against documents, ledgers (quota, host capacity,
// addresses) against what they count, references against what they name. It returns what it found, nothing when
// all is well. Operations under way are no finding.
func (c *Cloud) Check(ctx context.Context) ([]Finding, error) {
	bad, err := store.Check(ctx, c.opt.Store, collections()...)
	if err != nil {
		return nil, err
	}
	var out []Finding
	for _, f := range bad {
		out = append(out, Finding{"store", f.String()})
	}
	err = c.opt.Store.View(ctx, func(tx *store.Tx) error {
		for _, s := range []struct {
			name  string
			check func(tx *store.Tx) ([]string, error)
		}{{"identity", c.identity.Check}, {"image", c.image.Check}, {"network", c.network.Check}, {"compute", c.compute.Check}} {
			lines, err := s.check(tx)
			if err != nil {
				return err
			}
			for _, line := range lines {
				out = append(out, Finding{s.name, line})
			}
		}
		return nil
	})
	return out, err
}
