package store

import (
	"fmt"
	"reflect"
	"sync"

	"github.com/nubecula/cloud/fault"
)

// Spec declares a kind of document.
type Spec[T any] struct {
	// Kind names the documents in the database: "server". Never changed.
	Kind string
	// Label is what errors call a document: "" means Kind.
	Label string
	// Version of the JSON form of T, from 1. Every change of the form raises it, also an added field. Older
	// documents go through Upgrade when they are read; a newer one is read as far as T knows its fields,
	// and keeps those that T does not know when it is written back.
	Version int
	// ID returns the key of a document.
	ID func(*T) string
	// Indexes may be added, removed and changed between versions of the program: Store.Prepare fills them.
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
	// Version is raised when Keys gives something else than before, so that Prepare builds the index anew.
	Version int
	// Kept has the program keep the index without reading it: a step between two versions that run on one database at once, see Prepare.
	Kept bool
}

// Collection reads and writes the documents of one kind.
type Collection[T any] struct {
	spec  Spec[T]
	known func() map[string]bool // fields of T's JSON form, in lower case
	form  func() *form           // nil: values are not kept
}

// byID is the index that every collection has: the documents themselves.
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
	names := map[string]bool{"": true, byID: true}
	for _, ix := range spec.Indexes {
		if names[ix.Name] || ix.Keys == nil {
			panic(fmt.Sprintf("store: kind %s: index %q needs Keys and a name of its own", spec.Kind, ix.Name))
		}
		names[ix.Name] = true
	}
	if spec.Label == "" {
		spec.Label = spec.Kind
	}
	return &Collection[T]{spec, sync.OnceValue(jsonFields[T]), sync.OnceValue(formOf[T])} // a program uses few of them before it serves
}

// Kind returns the name of the kind.
func (c *Collection[T]) Kind() string { return c.spec.Kind }

// Label returns what errors call a document.
func (c *Collection[T]) Label() string { return c.spec.Label }

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
		return nil, 0, fault.Missing(c.spec.Label, id)
	}
	v, err := c.load(tx, doc)
	return v, doc.Rev, err
}

// Has reports whether a document exists.
func (c *Collection[T]) Has(tx *Tx, id string) (bool, error) {
	_, ok, err := tx.get(c.spec.Kind, id)
	return ok, err
}

// Insert adds a document; Exists when its id or a unique key is taken.
func (c *Collection[T]) Insert(tx *Tx, v *T) error { return c.write(tx, v, true) }

// Put writes a document, new or not; Exists when a unique key belongs to another.
func (c *Collection[T]) Put(tx *Tx, v *T) error { return c.write(tx, v, false) }

func (c *Collection[T]) write(tx *Tx, v *T, insert bool) error {
	tx.mustWrite()
	if err := c.mayWrite(tx); err != nil {
		return err
	}
	id := c.spec.ID(v)
	if id == "" {
		return fault.New(fault.Internal, "store: %s without an id", c.spec.Kind)
	}
	old, exists, err := tx.get(c.spec.Kind, id)
	if err != nil {
		return err
	}
	if exists && insert {
		return &fault.Error{Code: fault.Exists, Kind: c.spec.Label, ID: id, Msg: "exists already"}
	}
	doc := Doc{Kind: c.spec.Kind, ID: id, Version: c.spec.Version, Rev: 1}
	var before [][][]byte
	if exists {
		doc.Rev = old.Rev + 1
		if before, err = c.keysOf(old); err != nil {
			return err
		}
	}
	after := c.keys(v)
	if err := c.fill(tx, &doc, old, v, after); err != nil {
		return err
	}
	if err := c.reindex(tx, id, before, after); err != nil {
		return err
	}
	tx.putDoc(DocWrite{Doc: doc})
	return nil
}

// fill gives a document its value, which is encoded with the commit, or its body if it cannot wait.
func (c *Collection[T]) fill(tx *Tx, doc *Doc, old Doc, v *T, keys [][][]byte) (err error) {
	bad := func(err error) error {
		return fault.New(fault.Internal, "store: %s %s: %w", doc.Kind, doc.ID, err)
	}
	if c.form() == nil || old.Version > doc.Version {
		if doc.Body, err = c.encode(v); err != nil {
			return bad(err)
		}
		if old.Version > doc.Version {
			doc.Version = old.Version
			if old, err = old.encoded(); err != nil {
				return err
			}
			if doc.Body, err = c.keepUnknown(old.Body, doc.Body); err != nil {
				return fault.New(fault.Corrupt, "store: %s %s: %w", doc.Kind, doc.ID, err)
			}
		}
		return nil
	}
	kept, err := c.keep(v)
	if err != nil {
		return bad(err)
	}
	doc.Memo = new(Memo)
	doc.Memo.v.Store(&decoded{c, kept, keys})
	if tx.s.opt.Rerun > 0 {
		return c.same(*doc, kept)
	}
	return nil
}

// same checks that what is kept of a document is what reading it would give. For tests.
func (c *Collection[T]) same(doc Doc, kept *T) error {
	read, err := c.decode(doc)
	if err == nil && !reflect.DeepEqual(read, kept) {
		err = fault.New(fault.Internal, "store: %s %s would be read as %#v, not as %#v", doc.Kind, doc.ID, read, kept)
	}
	return err
}

// Delete removes a document; NotFound when there is none.
func (c *Collection[T]) Delete(tx *Tx, id string) error {
	tx.mustWrite()
	if err := c.mayWrite(tx); err != nil {
		return err
	}
	old, ok, err := tx.get(c.spec.Kind, id)
	if err != nil {
		return err
	}
	if !ok {
		return fault.Missing(c.spec.Label, id)
	}
	before, err := c.keysOf(old)
	if err != nil {
		return err
	}
	if err := c.reindex(tx, id, before, nil); err != nil {
		return err
	}
	tx.putDoc(DocWrite{Doc: Doc{Kind: c.spec.Kind, ID: id}, Delete: true})
	if c.spec.Tombstones {
		if old, err = old.encoded(); err != nil {
			return err
		}
		return tombstones.Put(tx, &Tombstone{Kind: c.spec.Kind, ID: id, Version: old.Version, DeletedAt: tx.Now(), Body: old.Body})
	}
	return nil
}

// load returns the value of a document that a transaction has read.
func (c *Collection[T]) load(tx *Tx, doc Doc) (*T, error) {
	if m := c.memoOf(doc); m != nil {
		return c.copy(m.value.(*T)), nil
	}
	v, err := c.decode(doc)
	if err == nil && doc.Memo != nil && doc.Body != nil && c.form() != nil {
		if doc.Memo.v.CompareAndSwap(nil, &decoded{c, v, c.keys(v)}) {
			tx.s.kept.add(doc.Memo, len(doc.Body))
			return c.copy(v), nil
		}
	}
	return v, err
}

// keysOf returns the index keys of a stored document.
func (c *Collection[T]) keysOf(doc Doc) ([][][]byte, error) {
	if len(c.spec.Indexes) == 0 {
		return nil, nil
	}
	if m := c.memoOf(doc); m != nil {
		return m.keys, nil
	}
	v, err := c.decode(doc)
	if err != nil {
		return nil, err
	}
	return c.keys(v), nil
}

// index returns a declared index and its place among them.
func (c *Collection[T]) index(name string) (int, *Index[T]) {
	for i := range c.spec.Indexes {
		if c.spec.Indexes[i].Name == name {
			return i, &c.spec.Indexes[i]
		}
	}
	panic(fmt.Sprintf("store: kind %s has no index %s", c.spec.Kind, name))
}

func (c *Collection[T]) keys1(ix *Index[T], v *T) [][]byte {
	tuples := ix.Keys(v)
	out := make([][]byte, 0, len(tuples))
	for _, t := range tuples {
		key := t.Encode()
		if !ix.Unique {
			key = Tuple{c.spec.ID(v)}.append(key)
		}
		if !contains(out, key) {
			out = append(out, key)
		}
	}
	return out
}

// keys returns a document's keys, one list for each index.
func (c *Collection[T]) keys(v *T) [][][]byte {
	out := make([][][]byte, len(c.spec.Indexes))
	for i := range c.spec.Indexes {
		out[i] = c.keys1(&c.spec.Indexes[i], v)
	}
	return out
}

// reindex writes the difference between the index keys before and after; nil means none. When a unique key
// is taken it writes nothing, since the closure may go on.
func (c *Collection[T]) reindex(tx *Tx, id string, before, after [][][]byte) error {
	var writes []IndexWrite
	for i := range c.spec.Indexes {
		ix := &c.spec.Indexes[i]
		var was, is [][]byte
		if before != nil {
			was = before[i]
		}
		if after != nil {
			is = after[i]
		}
		for _, key := range was {
			if !contains(is, key) {
				writes = append(writes, IndexWrite{Kind: c.spec.Kind, Index: ix.Name, Key: key, ID: id, Delete: true})
			}
		}
		for _, key := range is {
			if contains(was, key) {
				continue
			}
			if ix.Unique {
				taken, err := tx.scan(tx.point(c.spec.Kind, ix.Name, key))
				if err != nil {
					return err
				}
				if len(taken) > 0 && taken[0].Doc.ID != id {
					return &fault.Error{Code: fault.Exists, Kind: c.spec.Label, ID: taken[0].Doc.ID, Field: ix.Name, Msg: "has the same " + ix.Name + " already"}
				}
			}
			writes = append(writes, IndexWrite{Kind: c.spec.Kind, Index: ix.Name, Key: key, ID: id})
		}
	}
	for _, w := range writes {
		tx.putIndex(w)
	}
	return nil
}
