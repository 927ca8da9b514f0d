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
// Where several programs share the database (the driver is not exclusive), the indexes of a kind are those of the
// program that prepared last. Another version that runs at the same time goes on as long as it keeps every one of
// them. If it does not know one, its writes of the kind are Unavailable, since they would leave the index wrong,
// and so is reading by one that was dropped. To have both versions work during an upgrade, first release a version in
// which Index.Kept is set for the new one, then one that reads it; likewise let an index be Kept for one version before it goes.
//
// If documents of an exclusive store may be written in a newer version than before, the driver keeps a copy of the database
// first, if it is a Keeper; Store.Kept tells where.
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

// prepare makes the stored indexes those that the program reads. One that is only Kept stays as it is.
func (c *Collection[T]) prepare(tx *Tx) error {
	have, err := layouts.Get(tx, c.spec.Kind)
	if fault.Is(err, fault.NotFound) {
		have, err = &layout{}, nil
	}
	if err != nil {
		return err
	}
	want := &layout{Kind: c.spec.Kind, Version: max(c.spec.Version, have.Version), Indexes: []layoutIndex{}}
	for i := range c.spec.Indexes {
		ix := c.layoutOf(i)
		if !c.spec.Indexes[i].Kept || slices.Contains(have.Indexes, ix) {
			want.Indexes = append(want.Indexes, ix)
		}
	}
	if have.Kind == want.Kind && have.Version == want.Version && slices.Equal(have.Indexes, want.Indexes) {
		return nil
	}
	for _, ix := range have.Indexes {
		if !slices.Contains(want.Indexes, ix) {
			if err := c.dropIndex(tx, ix.Name); err != nil {
				return err
			}
		}
	}
	var fresh []int
	for i := range c.spec.Indexes {
		ix := c.layoutOf(i)
		if !slices.Contains(want.Indexes, ix) || slices.Contains(have.Indexes, ix) {
			continue
		}
		if err := c.dropIndex(tx, ix.Name); err != nil { // what versions that kept it have left
			return err
		}
		fresh = append(fresh, i)
	}
	if err := c.buildIndexes(tx, fresh); err != nil {
		return err
	}
	return layouts.Put(tx, want)
}

func (c *Collection[T]) layoutOf(i int) layoutIndex {
	ix := &c.spec.Indexes[i]
	return layoutIndex{ix.Name, ix.Unique, ix.Version}
}

// knows reports whether the program keeps an index as it is stored.
func (c *Collection[T]) knows(ix layoutIndex) bool {
	for i := range c.spec.Indexes {
		if c.layoutOf(i) == ix {
			return true
		}
	}
	return false
}

// mayWrite refuses a write that would leave an index of another version of the program wrong.
func (c *Collection[T]) mayWrite(tx *Tx) error {
	l, err := tx.layout(c.spec.Kind)
	if err != nil || l == nil {
		return err
	}
	for _, ix := range l.Indexes {
		if !c.knows(ix) {
			return fault.New(fault.Unavailable, "another version of this program, on the same database, has an index %s of kind %s that this one does not keep: replace this one by that version", ix.Name, c.spec.Kind)
		}
	}
	return nil
}

// mayRead refuses to read by an index that another version of the program has dropped or changed.
func (c *Collection[T]) mayRead(tx *Tx, name string) error {
	l, err := tx.layout(c.spec.Kind)
	if err != nil || l == nil {
		return err
	}
	if i, _ := c.index(name); !slices.Contains(l.Indexes, c.layoutOf(i)) {
		return fault.New(fault.Unavailable, "another version of this program, on the same database, has no index %s of kind %s: replace this one by that version", name, c.spec.Kind)
	}
	return nil
}

// layout returns the stored indexes of a kind, nil when nobody prepared them or nobody else could change them.
func (tx *Tx) layout(kind string) (*layout, error) {
	if tx.s.d.Exclusive() || kind == layouts.spec.Kind || kind == proofs.spec.Kind {
		return nil, nil
	}
	doc, ok, err := tx.get(layouts.spec.Kind, kind)
	if err != nil || !ok {
		return nil, err
	}
	if m := layouts.memoOf(doc); m != nil {
		return m.value.(*layout), nil
	}
	return layouts.load(tx, doc)
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
