package store

import (
	"context"
	"fmt"
	"iter"

	"github.com/nubecula/cloud/fault"
)

// Finding is something that Check found wrong.
type Finding struct {
	Kind, ID string
	Index    string // "" when the document itself is meant
	Problem  string
}

// String is the finding in one line.
func (f Finding) String() string {
	if f.Index == "" {
		return fmt.Sprintf("%s %s: %s", f.Kind, f.ID, f.Problem)
	}
	return fmt.Sprintf("%s %s: index %s: %s", f.Kind, f.ID, f.Index, f.Problem)
}

// Check recounts every index of some kinds against their documents, and reads every document. It returns
// what is wrong, nothing when all is well; it changes nothing.
func Check(ctx context.Context, s *Store, collections ...AnyCollection) ([]Finding, error) {
	var out []Finding
	err := s.View(ctx, func(tx *Tx) error {
		for _, c := range collections {
			found, err := c.check(tx)
			if err != nil {
				return err
			}
			out = append(out, found...)
		}
		return nil
	})
	return out, err
}

func (c *Collection[T]) check(tx *Tx) (out []Finding, err error) {
	due := make([]map[string]string, len(c.spec.Indexes)) // for each index: id by key
	for i := range due {
		due[i] = map[string]string{}
	}
	for e, err := range tx.walk(Range{Kind: c.spec.Kind}) {
		if err != nil {
			return nil, err
		}
		found, err := c.checkDoc(e.Doc, due)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	for i := range c.spec.Indexes {
		if c.spec.Indexes[i].Kept { // not all documents need be in it
			continue
		}
		found, err := c.checkIndex(tx, c.spec.Indexes[i].Name, due[i])
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

// checkDoc reads a document and notes the entries that it should have.
func (c *Collection[T]) checkDoc(doc Doc, due []map[string]string) (out []Finding, err error) {
	v, err := c.decode(doc)
	if fault.Is(err, fault.Corrupt) {
		return []Finding{{Kind: doc.Kind, ID: doc.ID, Problem: err.Error()}}, nil
	}
	if err != nil {
		return nil, err
	}
	if id := c.spec.ID(v); id != doc.ID {
		out = append(out, Finding{Kind: doc.Kind, ID: doc.ID, Problem: fmt.Sprintf("calls itself %q", id)})
	}
	for i, keys := range c.keys(v) {
		ix := &c.spec.Indexes[i]
		for _, key := range keys {
			if other, ok := due[i][string(key)]; ok && ix.Unique {
				out = append(out, Finding{doc.Kind, doc.ID, ix.Name, fmt.Sprintf("has the same key as %s", other)})
			}
			due[i][string(key)] = doc.ID
		}
	}
	return out, nil
}

// checkIndex compares the entries of an index with those that should be there.
func (c *Collection[T]) checkIndex(tx *Tx, name string, due map[string]string) (out []Finding, err error) {
	for e, err := range tx.walk(Range{Kind: c.spec.Kind, Index: name}) {
		if err != nil {
			return nil, err
		}
		id, ok := due[string(e.Key)]
		delete(due, string(e.Key))
		switch {
		case !ok:
			out = append(out, Finding{c.spec.Kind, e.Doc.ID, name, fmt.Sprintf("surplus entry %q", e.Key)})
		case id != e.Doc.ID:
			out = append(out, Finding{c.spec.Kind, id, name, fmt.Sprintf("entry %q points to %s", e.Key, e.Doc.ID)})
		}
	}
	for key, id := range due {
		out = append(out, Finding{c.spec.Kind, id, name, fmt.Sprintf("missing entry %q", key)})
	}
	return out, nil
}

// walk yields a whole range, some at a time.
func (tx *Tx) walk(r Range) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		r.Limit = 1024
		for {
			entries, err := tx.scan(r)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, e := range entries {
				if !yield(e, nil) {
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
