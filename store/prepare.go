package store

import (
	"context"
	"slices"

	"github.com/nubecula/cloud/fault"
)

// AnyCollection is a Collection of any kind.
type AnyCollection interface {
	Kind() string
	prepare(tx *Tx) error
	check(tx *Tx) ([]Finding, error)
	forms(fill func(v any)) (*Forms, error)
}

// layout is the stored list of the indexes that a kind's documents have been put in.
type layout struct {
	Kind    string        `json:"kind"`
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
// Corrupt: the store was made with another key, or a document cannot be read. Exists: two
// documents share a key of an index that is unique now.
func (s *Store) Prepare(ctx context.Context, collections ...AnyCollection) error {
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

func (c *Collection[T]) prepare(tx *Tx) error {
	want := &layout{Kind: c.spec.Kind, Indexes: []layoutIndex{}}
	for _, ix := range c.spec.Indexes {
		want.Indexes = append(want.Indexes, layoutIndex{ix.Name, ix.Unique, ix.Version})
	}
	have, err := layouts.Get(tx, c.spec.Kind)
	if fault.Is(err, fault.NotFound) {
		have, err = &layout{}, nil
	}
	if err != nil || have.Kind == want.Kind && slices.Equal(have.Indexes, want.Indexes) {
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
