package store

import (
	"encoding/json"
	"errors"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/nubecula/cloud/fault"
)

// Memo is what the Store keeps together with a document's Body: the decoded value and its index keys, so that
// neither is worked out again each time the document is read. It belongs to exactly one Body, which never
// changes; so a driver that hands a Body back may hand its Memo back with it, and one that keeps documents in
// memory gives those that it has read itself a new(Memo). No Memo is fine: then the document is decoded.
type Memo struct{ v atomic.Pointer[decoded] }

// decoded is never changed once it is in a Memo.
type decoded struct {
	by    encoder // the *Collection that made it
	value any     // *T, never changed
	keys  [][][]byte
}

// encoder is a Collection without its type.
type encoder interface {
	encode(value any) ([]byte, error)
}

// encoded returns the document with its Body, which one that is not committed yet does not have.
func (d Doc) encoded() (Doc, error) {
	if d.Body != nil || d.Memo == nil {
		return d, nil
	}
	v := d.Memo.v.Load()
	var err error
	if d.Body, err = v.by.encode(v.value); err != nil {
		err = fault.New(fault.Internal, "store: %s %s: %w", d.Kind, d.ID, err)
	}
	return d, err
}

func (c *Collection[T]) encode(value any) ([]byte, error) { return json.Marshal(value) }

// memoOf returns what is kept of a document by this very Collection: another one of the same kind may have
// other indexes, and upgrade documents otherwise.
func (c *Collection[T]) memoOf(doc Doc) *decoded {
	if doc.Memo == nil {
		return nil
	}
	if m := doc.Memo.v.Load(); m != nil && m.by == encoder(c) {
		return m
	}
	return nil
}

// copy returns a value of the caller's own.
func (c *Collection[T]) copy(v *T) *T {
	own := new(T)
	*own = *v
	c.form().copy.run(reflect.ValueOf(own).Elem()) // cannot fail: keep has
	return own
}

// keep returns the value that v will be when it is read again.
func (c *Collection[T]) keep(v *T) (*T, error) {
	own := new(T)
	*own = *v
	return own, c.form().keep.run(reflect.ValueOf(own).Elem())
}

// Forms is a document in all the forms that it takes. For tests.
type Forms struct {
	Given  any    // *T, as it was put
	Kept   any    // what the Store keeps of it
	Copied any    // what a reader gets of that
	Body   []byte // its JSON
	Read   any    // what a reader gets of that
}

// FormsOf shows what becomes of a value that fill makes; Unsupported when the values of that kind are not kept.
func FormsOf(c AnyCollection, fill func(v any)) (*Forms, error) { return c.forms(fill) }

func (c *Collection[T]) forms(fill func(v any)) (*Forms, error) {
	if c.form() == nil {
		return nil, fault.New(fault.Unsupported, "store: documents of kind %s are decoded each time, since %T holds more than plain fields", c.spec.Kind, *new(T))
	}
	given := new(T)
	fill(given)
	kept, err1 := c.keep(given)
	body, err2 := c.encode(given)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	read, err := c.decode(Doc{Kind: c.spec.Kind, Version: c.spec.Version, Body: body})
	return &Forms{given, kept, c.copy(kept), body, read}, err
}

// remembers is what bounds the memory of decoded values: the newest ones, by the length of their bodies.
type remembers struct {
	mu    sync.Mutex
	limit int // bytes of bodies
	size  int
	queue []remembered // oldest first, from head
	head  int
}

type remembered struct {
	memo *Memo
	size int
}

// addAll notes what a commit has written.
func (r *remembers) addAll(docs []DocWrite) {
	for i := range docs {
		if d := &docs[i].Doc; d.Memo != nil {
			r.add(d.Memo, len(d.Body))
		}
	}
}

// add notes a Memo that has a value, and takes the values of the oldest ones away.
func (r *remembers) add(m *Memo, size int) {
	if size += 100; size > r.limit/16 {
		m.v.Store(nil)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = append(r.queue, remembered{m, size})
	for r.size += size; r.size > r.limit; r.head++ {
		old := &r.queue[r.head]
		old.memo.v.Store(nil)
		r.size -= old.size
		*old = remembered{}
	}
	if r.head > 256 && r.head > len(r.queue)/2 {
		n := copy(r.queue, r.queue[r.head:])
		clear(r.queue[n:])
		r.queue, r.head = r.queue[:n], 0
	}
}
