package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/nubecula/cloud/fault"
)

// AnyCollection is a Collection of any kind.
type AnyCollection interface {
	Kind() string
	version() int
	prepare(tx *Tx) error
	check(tx *Tx) ([]Finding, error)
	forms(fill func(v any)) (*Forms, error)
}

// layout is the stored list of the indexes that a kind's documents have been put in.
type layout struct {
	Kind    string        `json:"kind"`
	Version int           `json:"version,omitempty"` // the newest that its documents may have; 0 is 1
	Indexes []layoutIndex `json:"indexes"`
}

type layoutIndex struct {
	Name    string `json:"name"`
	Unique  bool   `json:"unique"`
	Version int    `json:"version"`
}

var layouts = Define(Spec[layout]{Kind: "store.layout", Version: 1, ID: func(l *layout) string { return l.Kind }})

// proof is a sealed text by which the Store's key is told from another.
type proof struct {
	Sealed string `json:"sealed"`
}

var proofs = Define(Spec[proof]{Kind: "store.key", Version: 1, ID: func(*proof) string { return "key" }})

// Prepare makes a Store ready for the kinds a program uses; call it after New, before anything else.
// An index that the stored documents are not in yet, because this version of the program is the
// first to have it, is built; one that the program no longer has is dropped. All of it is one transaction, which
// takes some microseconds a document, and nothing when the indexes are as they were.
//
// If documents of an exclusive store may be written in a newer version than before, the driver keeps a copy of the database
// first, if it is a Keeper; Kept tells where.
//
// Corrupt: the store was made with another key or by a newer version of the program, or a document cannot be read. Exists: two
// documents share a key of an index that is unique now. Exhausted: there is no room for the copy.
func (s *Store) Prepare(ctx context.Context, collections ...AnyCollection) error {
	if err := s.beforeUpgrade(ctx, collections); err != nil {
		return err
	}
	return s.Update(ctx, func(tx *Tx) error {
		if err := tx.proveKey(); err != nil {
			return err
		}
		for _, c := range append([]AnyCollection{tombstones}, collections...) {
			if err := c.prepare(tx); err != nil {
				return err
			}
		}
		return nil
	})
}

// Kept returns the copy of the database that Prepare had made before an upgrade, "" when there was none to make.
func (s *Store) Kept() string { return s.saved }

// beforeUpgrade refuses a store that a newer version of the program has written, and keeps a copy of one that is about to be upgraded.
func (s *Store) beforeUpgrade(ctx context.Context, collections []AnyCollection) error {
	if !s.Exclusive() { // replicas of two versions may be at work: what is newer is written once all of them can read it
		return nil
	}
	upgrade := ""
	err := s.View(ctx, func(tx *Tx) error {
		if p, err := proofs.Get(tx, "key"); err == nil {
			if _, err := tx.Unseal(p.Sealed); err != nil {
				return err
			}
		}
		for _, c := range collections {
			have, err := layouts.Get(tx, c.Kind())
			if fault.Is(err, fault.NotFound) {
				continue
			}
			if err != nil {
				return err
			}
			switch was := max(1, have.Version); {
			case was > c.version():
				return fault.New(fault.Corrupt, "the store was written by a newer version of this program (documents of kind %s have version %d, this one knows %d): "+
					"use that version, or restore the copy that was kept before the upgrade", c.Kind(), was, c.version())
			case was < c.version():
				upgrade = fmt.Sprintf("%s-%d", c.Kind(), c.version())
			}
		}
		return nil
	})
	k, ok := s.d.(Keeper)
	if err != nil || upgrade == "" || !ok {
		return err
	}
	if s.saved, err = k.Keep(ctx, "before-"+upgrade); err != nil {
		return fault.New(fault.CodeOf(err), "the store must be upgraded (to %s), and the copy to keep before that failed: %w", upgrade, err)
	}
	return nil
}

func (tx *Tx) proveKey() error {
	p, err := proofs.Get(tx, "key")
	if fault.Is(err, fault.NotFound) {
		return proofs.Put(tx, &proof{tx.Seal([]byte("key"))})
	}
	if err == nil {
		_, err = tx.Unseal(p.Sealed)
	}
	return err
}

func (c *Collection[T]) version() int { return c.spec.Version }

func (c *Collection[T]) prepare(tx *Tx) error {
	want := &layout{Kind: c.spec.Kind, Version: c.spec.Version, Indexes: []layoutIndex{}}
	for _, ix := range c.spec.Indexes {
		want.Indexes = append(want.Indexes, layoutIndex{ix.Name, ix.Unique, ix.Version})
	}
	have, err := layouts.Get(tx, c.spec.Kind)
	if fault.Is(err, fault.NotFound) {
		have, err = &layout{}, nil
	}
	want.Version = max(want.Version, have.Version)
	if err != nil || have.Kind == want.Kind && have.Version == want.Version && slices.Equal(have.Indexes, want.Indexes) {
		return err
	}
	for _, ix := range have.Indexes {
		if !slices.Contains(want.Indexes, ix) {
			if err := c.dropIndex(tx, ix.Name); err != nil {
				return err
			}
		}
	}
	var fresh []int
	for i, ix := range want.Indexes {
		if !slices.Contains(have.Indexes, ix) {
			fresh = append(fresh, i)
		}
	}
	if err := c.buildIndexes(tx, fresh); err != nil {
		return err
	}
	return layouts.Put(tx, want)
}

func (c *Collection[T]) dropIndex(tx *Tx, name string) error {
	for e, err := range tx.walk(Range{Kind: c.spec.Kind, Index: name}) {
		if err != nil {
			return err
		}
		tx.putIndex(IndexWrite{Kind: c.spec.Kind, Index: name, Key: e.Key, ID: e.Doc.ID, Delete: true})
	}
	return nil
}

// buildIndexes puts every document into the indexes with these numbers.
func (c *Collection[T]) buildIndexes(tx *Tx, numbers []int) error {
	if len(numbers) == 0 {
		return nil
	}
	for e, err := range tx.walk(Range{Kind: c.spec.Kind}) {
		if err != nil {
			return err
		}
		v, err := c.decode(e.Doc)
		if err != nil {
			return err
		}
		keys := c.keys(v)
		only := make([][][]byte, len(keys))
		for _, n := range numbers {
			only[n] = keys[n]
		}
		if err := c.reindex(tx, e.Doc.ID, nil, only); err != nil {
			return err
		}
	}
	return nil
}
