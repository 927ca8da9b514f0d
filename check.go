package cloud

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/image"
	"github.com/nubecula/cloud/internal/finding"
	"github.com/nubecula/cloud/internal/lease"
	"github.com/nubecula/cloud/internal/witness"
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
	all = append(all, witness.Collections()...)
	all = append(all, identity.Collections()...)
	all = append(all, image.Collections()...)
	all = append(all, network.Collections()...)
	all = append(all, compute.Collections()...)
	slices.SortFunc(all, func(a, b store.AnyCollection) int { return strings.Compare(a.Kind(), b.Kind()) })
	return slices.CompactFunc(all, func(a, b store.AnyCollection) bool { return a.Kind() == b.Kind() })
}

// Finding is something that Check or Inspect found not to be as it should: what, what that means, and what a person
// can do about it. Rule is a name that stays the same; the texts may change.
type Finding = finding.Finding

// WriteFindings writes findings for a person to read: what is wrong with what, and once for each rule what it means
// and what can be done.
func WriteFindings(w io.Writer, all []Finding) error { return finding.Write(w, all) }

// indexWrong is what store.Check finds.
var indexWrong = finding.Rule{Name: "store-index",
	Means: "the database lost or kept what it should not: lists may leave things out or name what is gone, or a document cannot be read",
	Do:    "stop the program, keep a copy of the database, look at the disk and the kernel's log, and restore the newest backup; tell it with the log of the time"}

// Check verifies the whole store against a recount: indexes against documents, ledgers (quota, host capacity,
// addresses) against what they count, references against what they name. It returns what it found, nothing when
// all is well. Operations under way are no finding. It asks no driver: Inspect does.
func (c *Cloud) Check(ctx context.Context) ([]Finding, error) {
	bad, err := store.Check(ctx, c.opt.Store, collections()...)
	if err != nil {
		return nil, err
	}
	l := finding.List{Service: "store"}
	for _, f := range bad {
		l.Add(indexWrong, f.Kind, f.ID, "%s", f)
	}
	out := l.Found
	err = c.opt.Store.View(ctx, func(tx *store.Tx) error {
		out = slices.Clone(l.Found)
		for _, check := range []func(tx *store.Tx) ([]Finding, error){c.identity.Check, c.image.Check, c.network.Check, c.compute.Check} {
			found, err := check(tx)
			if err != nil {
				return err
			}
			out = append(out, found...)
		}
		return nil
	})
	return out, err
}
