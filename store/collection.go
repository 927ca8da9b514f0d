package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"

	"github.com/nubecula/cloud/fault"
)

// Spec declares a kind of document.
type Spec[T any] struct {
	// Kind names the documents in the database: "server". Never changed.
	Kind string
	// Version of the JSON form of T, from 1; older documents go through Upgrade when they are read.
	Version int
	// ID returns the key of a document.
	ID func(*T) string
	// Indexes may be added and removed between versions only with a Rebuild.
	Indexes []Index[T]
	// Upgrade[n] turns the body of version n into that of version n+1.
	Upgrade map[int]func(body []byte) ([]byte, error)
	// Tombstones keeps the last state of a deleted document for the store's retention time.
	Tombstones bool
}

// Index orders documents by tuples. Keys returns the document's tuples: usually one, none to leave
// it out. In a Unique index no two documents may share a tuple; in others equal tuples are ordered by id.
type Index[T any] struct {
	Name   string
	Unique bool
	Keys   func(*T) []Tuple
}

// Collection reads and writes the documents of one kind.
type Collection[T any] struct{ spec Spec[T] }

// byID is the index that every collection has.
const byID = "id"

// Define makes a Collection. It panics when the Spec is not complete, which only a programmer can cause.
func Define[T any](spec Spec[T]) *Collection[T] {
	if spec.Kind == "" || spec.Version < 1 || spec.ID == nil {
		panic("store: Spec needs Kind, Version and ID")
	}
	for v := 1; v < spec.Version; v++ {
		if spec.Upgrade[v] == nil {
			panic(fmt.Sprintf("store: kind %s has no Upgrade from version %d", spec.Kind, v))
		}
	}
	spec.Indexes = append([]Index[T]{{Name: byID, Unique: true, Keys: func(v *T) []Tuple { return []Tuple{{spec.ID(v)}} }}}, spec.Indexes...)
	return &Collection[T]{spec}
}

// Kind returns the name of the kind.
func (c *Collection[T]) Kind() string { return c.spec.Kind }

// Get returns a document; NotFound when there is none.
func (c *Collection[T]) Get(tx *Tx, id string) (*T, error) {
	v, _, err := c.GetRev(tx, id)
	return v, err
}

// GetRev is Get with the document's revision, which counts its writes.
func (c *Collection[T]) GetRev(tx *Tx, id string) (*T, int64, error) {
	doc, ok, err := tx.get(c.spec.Kind, id)
	if err != nil {
		return nil, 0, err
	}
	if !ok {
		return nil, 0, fault.Missing(c.spec.Kind, id)
	}
	v, err := c.decode(doc)
	return v, doc.Rev, err
}

// Has reports whether a document exists.
func (c *Collection[T]) Has(tx *Tx, id string) (bool, error) {
	_, ok, err := tx.get(c.spec.Kind, id)
	return ok, err
}

// Insert adds a document; Exists when its id or a unique key is taken.
func (c *Collection[T]) Insert(tx *Tx, v *T) error {
	id := c.spec.ID(v)
	if ok, err := c.Has(tx, id); err != nil || ok {
		if ok {
			err = &fault.Error{Code: fault.Exists, Kind: c.spec.Kind, ID: id, Msg: "exists already"}
		}
		return err
	}
	return c.Put(tx, v)
}

// Put writes a document, new or not; Exists when a unique key belongs to another.
func (c *Collection[T]) Put(tx *Tx, v *T) error {
	tx.mustWrite()
	id := c.spec.ID(v)
	if id == "" {
		return fault.New(fault.Internal, "store: %s without an id", c.spec.Kind)
	}
	old, exists, err := tx.get(c.spec.Kind, id)
	if err != nil {
		return err
	}
	body, err := json.Marshal(v)
	if err != nil {
		return fault.New(fault.Internal, "store: %s %s: %w", c.spec.Kind, id, err)
	}
	doc := Doc{Kind: c.spec.Kind, ID: id, Version: c.spec.Version, Rev: 1, Body: body}
	var before map[space][][]byte
	if exists {
		doc.Rev = old.Rev + 1
		was, err := c.decode(old)
		if err != nil {
			return err
		}
		before = c.keys(was)
		if old.Version > doc.Version {
			doc.Version = old.Version
			if doc.Body, err = keepUnknown(old.Body, body); err != nil {
				return fault.New(fault.Corrupt, "store: %s %s: %w", c.spec.Kind, id, err)
			}
		}
	}
	if err := c.reindex(tx, id, before, c.keys(v)); err != nil {
		return err
	}
	tx.putDoc(DocWrite{Doc: doc})
	return nil
}

// Delete removes a document; NotFound when there is none.
func (c *Collection[T]) Delete(tx *Tx, id string) error {
	tx.mustWrite()
	old, ok, err := tx.get(c.spec.Kind, id)
	if err != nil {
		return err
	}
	if !ok {
		return fault.Missing(c.spec.Kind, id)
	}
	was, err := c.decode(old)
	if err != nil {
		return err
	}
	if err := c.reindex(tx, id, c.keys(was), nil); err != nil {
		return err
	}
	tx.putDoc(DocWrite{Doc: Doc{Kind: c.spec.Kind, ID: id}, Delete: true})
	if c.spec.Tombstones {
		return tombstones.Put(tx, &Tombstone{Kind: c.spec.Kind, ID: id, Version: old.Version, DeletedAt: tx.Now(), Body: old.Body})
	}
	return nil
}

// Find returns the document with a tuple in a unique index; NotFound when there is none.
func (c *Collection[T]) Find(tx *Tx, index string, tuple ...any) (*T, error) {
	if !c.index(index).Unique {
		panic(fmt.Sprintf("store: index %s of %s is not unique", index, c.spec.Kind))
	}
	key := Tuple(tuple).Encode()
	entries, err := tx.scan(Range{Kind: c.spec.Kind, Index: index, From: key, To: append(bytes.Clone(key), 0), Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, fault.Missing(c.spec.Kind, fmt.Sprint(tuple...))
	}
	return c.decode(entries[0].Doc)
}

// Query selects a run of an index.
type Query[T any] struct {
	// Index to walk; "" means by id.
	Index string
	// Prefix that the tuples start with; empty means all.
	Prefix Tuple
	// From and To bound the tuples after the prefix: From <= tuple < To. nil means no bound.
	From, To Tuple
	// After continues behind this document; it need not exist any more. nil means from the start.
	After *T
	// Reverse walks from the end.
	Reverse bool
	// Limit is the most documents to return; 0 means all.
	Limit int
	// Filter drops documents before they count for Limit. nil keeps all.
	Filter func(*T) bool
}

// List returns the documents that a query selects, in its order.
func (c *Collection[T]) List(tx *Tx, q Query[T]) ([]*T, error) {
	var out []*T
	for v, err := range c.Each(tx, q) {
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// Each yields the documents that a query selects. Writing to the collection while walking it is
// allowed; whether the walk meets what was written is not defined.
func (c *Collection[T]) Each(tx *Tx, q Query[T]) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		r := c.rangeOf(q)
		const chunk = 512
		for n := 0; ; {
			r.Limit = chunk
			if q.Limit > 0 && q.Filter == nil {
				r.Limit = min(chunk, q.Limit-n)
			}
			entries, err := tx.scan(r)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, e := range entries {
				v, err := c.decode(e.Doc)
				if err == nil && q.Filter != nil && !q.Filter(v) {
					continue
				}
				if n++; !yield(v, err) || err != nil || n == q.Limit {
					return
				}
			}
			if len(entries) < r.Limit {
				return
			}
			r.beyond(entries[len(entries)-1].Key)
		}
	}
}

// beyond moves a range behind a key, in its direction.
func (r *Range) beyond(key []byte) {
	if r.Reverse {
		r.To = key
	} else {
		r.From = append(bytes.Clone(key), 0)
	}
}

func (c *Collection[T]) rangeOf(q Query[T]) Range {
	if q.Index == "" {
		q.Index = byID
	}
	ix := c.index(q.Index)
	prefix := q.Prefix.Encode()
	r := Range{Kind: c.spec.Kind, Index: q.Index, From: prefix, To: successor(prefix), Reverse: q.Reverse}
	if len(prefix) == 0 {
		r.To = nil
	}
	if q.From != nil {
		r.From = q.From.append(bytes.Clone(prefix))
	}
	if q.To != nil {
		r.To = q.To.append(bytes.Clone(prefix))
	}
	if q.After != nil {
		for _, key := range c.keys1(ix, q.After) {
			if bytes.HasPrefix(key, prefix) {
				r.beyond(key)
				break
			}
		}
	}
	return r
}

func (c *Collection[T]) index(name string) *Index[T] {
	for i := range c.spec.Indexes {
		if c.spec.Indexes[i].Name == name {
			return &c.spec.Indexes[i]
		}
	}
	panic(fmt.Sprintf("store: kind %s has no index %s", c.spec.Kind, name))
}

func (c *Collection[T]) keys1(ix *Index[T], v *T) [][]byte {
	var out [][]byte
	for _, t := range ix.Keys(v) {
		if !ix.Unique {
			t = append(t[:len(t):len(t)], c.spec.ID(v))
		}
		out = append(out, t.Encode())
	}
	return out
}

func (c *Collection[T]) keys(v *T) map[space][][]byte {
	out := make(map[space][][]byte, len(c.spec.Indexes))
	for i := range c.spec.Indexes {
		ix := &c.spec.Indexes[i]
		out[space{c.spec.Kind, ix.Name}] = c.keys1(ix, v)
	}
	return out
}

// reindex writes the difference between the index keys before and after.
func (c *Collection[T]) reindex(tx *Tx, id string, before, after map[space][][]byte) error {
	for i := range c.spec.Indexes {
		ix := &c.spec.Indexes[i]
		sp := space{c.spec.Kind, ix.Name}
		for _, key := range before[sp] {
			if !contains(after[sp], key) {
				tx.putIndex(IndexWrite{Kind: sp.kind, Index: sp.index, Key: key, ID: id, Delete: true})
			}
		}
		for _, key := range after[sp] {
			if contains(before[sp], key) {
				continue
			}
			if ix.Unique && ix.Name != byID {
				taken, err := tx.scan(Range{Kind: sp.kind, Index: sp.index, From: key, To: append(bytes.Clone(key), 0), Limit: 1})
				if err != nil {
					return err
				}
				if len(taken) > 0 && taken[0].Doc.ID != id {
					return &fault.Error{Code: fault.Exists, Kind: c.spec.Kind, ID: taken[0].Doc.ID, Field: ix.Name, Msg: "has the same " + ix.Name + " already"}
				}
			}
			tx.putIndex(IndexWrite{Kind: sp.kind, Index: sp.index, Key: key, ID: id})
		}
	}
	return nil
}

func contains(keys [][]byte, key []byte) bool {
	for _, k := range keys {
		if bytes.Equal(k, key) {
			return true
		}
	}
	return false
}

func (c *Collection[T]) decode(doc Doc) (*T, error) {
	body := doc.Body
	var err error
	for v := doc.Version; v < c.spec.Version; v++ {
		if body, err = c.spec.Upgrade[v](body); err != nil {
			return nil, fault.New(fault.Corrupt, "store: %s %s of version %d cannot be upgraded: %w", doc.Kind, doc.ID, doc.Version, err)
		}
	}
	out := new(T)
	if err := json.Unmarshal(body, out); err != nil {
		return nil, fault.New(fault.Corrupt, "store: %s %s cannot be read: %w", doc.Kind, doc.ID, err)
	}
	return out, nil
}

// keepUnknown returns body with those top-level fields of old that it does not have: a newer
// version of this program wrote them, and an older one must not lose them.
func keepUnknown(old, body []byte) ([]byte, error) {
	var was, is map[string]json.RawMessage
	if err := json.Unmarshal(old, &was); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(body, &is); err != nil {
		return nil, err
	}
	for k, v := range was {
		if _, ok := is[k]; !ok {
			is[k] = v
		}
	}
	return json.Marshal(is)
}
