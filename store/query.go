package store

import (
	"bytes"
	"fmt"
	"iter"

	"github.com/nubecula/cloud/fault"
)

// Find returns the document with a tuple in a unique index; NotFound when there is none.
func (c *Collection[T]) Find(tx *Tx, index string, tuple ...any) (*T, error) {
	if _, ix := c.index(index); !ix.Unique {
		panic(fmt.Sprintf("store: index %s of %s is not unique", index, c.spec.Kind))
	}
	if err := c.mayRead(tx, index); err != nil {
		return nil, err
	}
	entries, err := tx.scan(tx.point(c.spec.Kind, index, Tuple(tuple).Encode()))
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, fault.Missing(c.spec.Label, fmt.Sprint(tuple...))
	}
	return c.load(tx, entries[0].Doc)
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
		for r, err := range c.EachRev(tx, q) {
			if !yield(r.Doc, err) {
				return
			}
		}
	}
}

// Revised is a document with its revision, which counts its writes.
type Revised[T any] struct {
	Doc *T
	Rev int64
}

// EachRev is Each with the documents' revisions.
func (c *Collection[T]) EachRev(tx *Tx, q Query[T]) iter.Seq2[Revised[T], error] {
	return func(yield func(Revised[T], error) bool) {
		r := c.rangeOf(q)
		r.new = tx.isNew(q.Prefix)
		if r.Index != "" {
			if err := c.mayRead(tx, r.Index); err != nil {
				yield(Revised[T]{}, err)
				return
			}
		}
		n, chunk := 0, 64
		for {
			r.Limit = chunk
			if q.Limit > 0 && q.Filter == nil {
				r.Limit = min(chunk, q.Limit-n)
			}
			entries, err := tx.scan(r)
			if err != nil {
				yield(Revised[T]{}, err)
				return
			}
			for _, e := range entries {
				v, err := c.load(tx, e.Doc)
				if err != nil {
					yield(Revised[T]{}, err)
					return
				}
				if q.Filter != nil && !q.Filter(v) {
					continue
				}
				if n++; !yield(Revised[T]{v, e.Doc.Rev}, nil) || n == q.Limit {
					return
				}
			}
			if len(entries) < r.Limit {
				return
			}
			r.beyond(entries[len(entries)-1].Key)
			chunk = min(2*chunk, 1024)
		}
	}
}

// beyond moves a range behind a key, in its direction; it never widens it.
func (r *Range) beyond(key []byte) {
	if r.Reverse {
		if r.To == nil || bytes.Compare(key, r.To) < 0 {
			r.To = key
		}
	} else if next := append(bytes.Clone(key), 0); bytes.Compare(next, r.From) > 0 {
		r.From = next
	}
}

func (c *Collection[T]) rangeOf(q Query[T]) Range {
	if q.Index == "" || q.Index == byID {
		return c.rangeByID(q)
	}
	_, ix := c.index(q.Index)
	prefix := q.Prefix.Encode()
	r := Range{Kind: c.spec.Kind, Index: q.Index, From: prefix, Reverse: q.Reverse}
	if len(prefix) > 0 {
		r.To = append(bytes.Clone(prefix), tagAfter)
	}
	if q.From != nil {
		r.From = q.From.append(bytes.Clone(prefix))
	}
	if q.To != nil {
		r.To = q.To.append(bytes.Clone(prefix))
	}
	if q.After != nil {
		for _, key := range c.keys1(ix, q.After) {
			if extends(key, prefix) {
				r.beyond(key)
				break
			}
		}
	}
	return r
}

// extends reports whether a key starts with the tuple of a prefix.
func extends(key, prefix []byte) bool {
	return bytes.HasPrefix(key, prefix) && (len(key) == len(prefix) || key[len(prefix)] < tagAfter)
}

// rangeByID walks the documents themselves, whose keys are plain ids.
func (c *Collection[T]) rangeByID(q Query[T]) Range {
	r := Range{Kind: c.spec.Kind, Reverse: q.Reverse}
	plain := func(t Tuple) []byte {
		if len(t) == 0 {
			return []byte{}
		}
		id, ok := t[0].(string)
		if !ok || len(t) > 1 {
			panic(fmt.Sprintf("store: an id of %s is one string, not %v", c.spec.Kind, t))
		}
		return []byte(id)
	}
	if len(q.Prefix) > 0 {
		p := pointRange(r.Kind, "", plain(q.Prefix))
		r.From, r.To = p.From, p.To
	}
	if q.From != nil {
		r.From = plain(q.From)
	}
	if q.To != nil {
		r.To = plain(q.To)
	}
	if q.After != nil {
		r.beyond([]byte(c.spec.ID(q.After)))
	}
	return r
}
