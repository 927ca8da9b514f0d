package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/id"
)

// Tx is one transaction: what it writes is buffered, seen by its own reads,
// and handed to the driver when the closure has succeeded. It is used by one
// goroutine and only until its closure returns.
type Tx struct {
	s        *Store
	ctx      context.Context
	below    reader
	now      Instant
	ids      *ids
	readOnly bool
	closed   bool
	err      error // of a call that returns none; fails the Update

	docs   map[docKey]*DocWrite
	order  []docKey
	index  map[space]map[string]IndexWrite // by key
	events []event.Event
	hooks  []func()
	read   map[docKey]Doc // what this transaction of the database has read from a driver that keeps no Memo
}

// ids are the random source of one Update, made at its first use.
type ids struct {
	seed [32]byte // zero in a View, which gets fresh ones
	src  *id.Source
	made map[string]bool // by NewID: what they name is nowhere but in this Update
}

func (i *ids) source() *id.Source {
	if i.src == nil {
		if i.seed == [32]byte{} {
			i.seed = id.Seed()
		}
		i.src = id.NewSource(i.seed)
	}
	return i.src
}

type docKey struct{ kind, id string }
type space struct{ kind, index string }

// reader is what a Tx reads through: the database, or the Tx around it.
type reader interface {
	get(kind, id string) (Doc, bool, error)
	scan(r Range) ([]Entry, error)
}

type txnReader struct{ Txn }

func (t txnReader) get(kind, id string) (Doc, bool, error) { return t.Get(kind, id) }

func (t txnReader) scan(r Range) ([]Entry, error) {
	if r.new {
		return nil, nil
	}
	return t.Scan(r)
}

func newTx(ctx context.Context, s *Store, below reader, now Instant, ids *ids, readOnly bool) *Tx {
	tx := &Tx{s: s, below: below, now: now, ids: ids, readOnly: readOnly}
	tx.ctx = context.WithValue(ctx, ctxKey{s}, tx)
	return tx
}

func (tx *Tx) close() { tx.closed = true }

type ctxKey struct{ s *Store }

func (s *Store) carried(ctx context.Context) *Tx {
	tx, _ := ctx.Value(ctxKey{s}).(*Tx)
	if tx != nil && tx.closed {
		return nil
	}
	return tx
}

// Context returns the closure's context, which carries this transaction:
// View and Update calls made with it become a part of the transaction.
func (tx *Tx) Context() context.Context { return tx.ctx }

// Now is the instant of the transaction, by the database's clock.
func (tx *Tx) Now() time.Time { return tx.now.Wall }

// LeaseNow is the instant of the transaction for leases and back-off.
func (tx *Tx) LeaseNow() time.Time { return tx.now.Lease }

// NewID returns a new UUID, the same when the closure runs again.
func (tx *Tx) NewID() string {
	made := tx.ids.source().New()
	if tx.ids.made == nil {
		tx.ids.made = map[string]bool{}
	}
	tx.ids.made[made] = true
	return made
}

// isNew reports whether one of some index values is an id that this Update has made: nothing stored has it yet.
func (tx *Tx) isNew(values []any) bool {
	if tx.ids == nil || tx.ids.made == nil {
		return false
	}
	for _, v := range values {
		if s, ok := v.(string); ok && tx.ids.made[s] {
			return true
		}
	}
	return false
}

// NewBytes returns n unpredictable bytes, the same when the closure runs again.
func (tx *Tx) NewBytes(n int) []byte { return tx.ids.source().Bytes(n) }

// Emit adds an event; Time and Seq are set by the store. Data that is no JSON fails the Update.
func (tx *Tx) Emit(e event.Event) {
	tx.mustWrite()
	if len(e.Data) > 0 && !json.Valid(e.Data) {
		tx.err = fault.New(fault.Internal, "store: event %s has data that is no JSON: %.100q", e.Type, e.Data)
	}
	e.Time, e.Seq = tx.now.Wall, 0
	tx.events = append(tx.events, e)
}

// OnCommit has f called once the transaction is durable, in commit order.
// f must be quick and must not use the Store.
func (tx *Tx) OnCommit(f func()) {
	if !tx.readOnly {
		tx.hooks = append(tx.hooks, f)
	}
}

func (tx *Tx) nested(ctx context.Context, readOnly bool) *Tx {
	return newTx(ctx, tx.s, tx, tx.now, tx.ids, readOnly || tx.readOnly)
}

// join runs fn as a part of tx: its writes are kept when it succeeds.
func (tx *Tx) join(ctx context.Context, fn func(tx *Tx) error) error {
	if tx.readOnly {
		return fault.New(fault.Internal, "store: Update inside a View")
	}
	inner := tx.nested(ctx, false)
	defer inner.close()
	err := fn(inner)
	if err == nil {
		err = inner.err
	}
	if err == nil {
		tx.merge(inner)
	}
	return err
}

// merge adds what a transaction inside this one has written, and takes over its maps, which it needs no more, where there are none here.
func (tx *Tx) merge(inner *Tx) {
	tx.mustWrite()
	if tx.docs == nil {
		tx.docs, tx.order = inner.docs, inner.order
	} else {
		for _, k := range inner.order {
			tx.putDoc(*inner.docs[k])
		}
	}
	if tx.index == nil {
		tx.index = inner.index
	} else {
		for sp, entries := range inner.index {
			if tx.index[sp] == nil {
				tx.index[sp] = entries
				continue
			}
			for _, w := range entries {
				tx.putIndex(w)
			}
		}
	}
	tx.events = append(tx.events, inner.events...)
	tx.hooks = append(tx.hooks, inner.hooks...)
}

const uuidLen = 36

// point is the range of one key; what an id that this Update has made is a part of, is not stored.
func (tx *Tx) point(kind, index string, key []byte) Range {
	r := pointRange(kind, index, key)
	if tx.ids == nil || len(tx.ids.made) == 0 {
		return r
	}
	for i := 0; i+1+uuidLen < len(key) && !r.new; i++ {
		r.new = key[i] == tagString && key[i+1+uuidLen] == tagEnd && tx.ids.made[string(key[i+1:i+1+uuidLen])]
	}
	return r
}

func (tx *Tx) mustWrite() {
	if tx.readOnly {
		panic("store: write in a View")
	}
	if tx.closed {
		panic("store: use of a transaction after its end")
	}
}

func (tx *Tx) putDoc(w DocWrite) {
	tx.mustWrite()
	k := docKey{w.Kind, w.ID}
	if tx.docs == nil {
		tx.docs = map[docKey]*DocWrite{}
	}
	if _, ok := tx.docs[k]; !ok {
		tx.order = append(tx.order, k)
	}
	tx.docs[k] = &w
}

func (tx *Tx) putIndex(w IndexWrite) {
	tx.mustWrite()
	sp := space{w.Kind, w.Index}
	if tx.index == nil {
		tx.index = map[space]map[string]IndexWrite{}
	}
	if tx.index[sp] == nil {
		tx.index[sp] = map[string]IndexWrite{}
	}
	tx.index[sp][string(w.Key)] = w
}

func (tx *Tx) get(kind, id string) (Doc, bool, error) {
	if tx.closed {
		return Doc{}, false, errEnded()
	}
	if w, ok := tx.docs[docKey{kind, id}]; ok {
		return w.Doc, !w.Delete, nil
	}
	if tx.ids != nil && tx.ids.made[id] {
		return tx.getOwn(kind, id)
	}
	if doc, ok := tx.read[docKey{kind, id}]; ok {
		return doc, true, nil
	}
	doc, ok, err := tx.below.get(kind, id)
	if ok && doc.Memo == nil && !tx.readOnly {
		if _, nested := tx.below.(*Tx); !nested {
			if tx.read == nil {
				tx.read = map[docKey]Doc{}
			}
			doc.Memo = new(Memo)
			tx.read[docKey{kind, id}] = doc
		}
	}
	return doc, ok, err
}

// getOwn returns a document that this Update, or one around it, has written.
func (tx *Tx) getOwn(kind, id string) (Doc, bool, error) {
	for t := tx; t != nil; t, _ = t.below.(*Tx) {
		if w, ok := t.docs[docKey{kind, id}]; ok {
			return w.Doc, !w.Delete, nil
		}
	}
	return Doc{}, false, nil
}

func errEnded() error {
	return fault.New(fault.Internal, "store: use of a transaction after its end")
}

// scan merges the range below with what is written here.
func (tx *Tx) scan(r Range) ([]Entry, error) {
	if tx.closed {
		return nil, errEnded()
	}
	own := tx.written(r)
	below := r
	if r.Limit > 0 {
		below.Limit = r.Limit + len(own) // as many as may be hidden
	}
	base, err := tx.below.scan(below)
	if err != nil || len(own) == 0 && len(tx.docs) == 0 {
		return base, err
	}
	out := make([]Entry, 0, len(base)+len(own))
	for _, e := range base {
		if _, ok := own[string(e.Key)]; ok {
			continue
		}
		if w, ok := tx.docs[docKey{r.Kind, e.Doc.ID}]; ok {
			e.Doc = w.Doc
		}
		out = append(out, e)
	}
	unsorted := false
	for _, w := range own {
		if w.Delete {
			continue
		}
		doc, ok, err := tx.get(w.Kind, w.ID)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, Entry{Key: w.Key, Doc: doc})
			unsorted = true
		}
	}
	if unsorted {
		slices.SortFunc(out, func(a, b Entry) int {
			if r.Reverse {
				return bytes.Compare(b.Key, a.Key)
			}
			return bytes.Compare(a.Key, b.Key)
		})
	}
	if r.Limit > 0 && len(out) > r.Limit {
		out = out[:r.Limit]
	}
	return out, nil
}

// written returns the entries written here that lie in a range, by key.
func (tx *Tx) written(r Range) map[string]IndexWrite {
	if r.Index != "" {
		all := tx.index[space{r.Kind, r.Index}]
		if key, ok := r.point(); ok {
			if w, ok := all[string(key)]; ok {
				return map[string]IndexWrite{string(key): w}
			}
			return nil
		}
		var in map[string]IndexWrite
		for key, w := range all {
			in = keepIn(r, in, key, w)
		}
		return in
	}
	var in map[string]IndexWrite
	for k, w := range tx.docs {
		if k.kind == r.Kind {
			in = keepIn(r, in, k.id, IndexWrite{Kind: k.kind, Key: []byte(k.id), ID: k.id, Delete: w.Delete})
		}
	}
	return in
}

func keepIn(r Range, in map[string]IndexWrite, key string, w IndexWrite) map[string]IndexWrite {
	if key < string(r.From) || r.To != nil && key >= string(r.To) {
		return in
	}
	if in == nil {
		in = map[string]IndexWrite{}
	}
	in[key] = w
	return in
}

// batch is what the transaction wants written, in an order that a rerun repeats. Here documents are encoded,
// once for each however often it was put.
func (tx *Tx) batch() (*Batch, error) {
	b := &Batch{Docs: make([]DocWrite, len(tx.order)), Events: tx.events}
	for i, k := range tx.order {
		w := tx.docs[k]
		doc, err := w.Doc.encoded()
		if err != nil {
			return nil, err
		}
		b.Docs[i] = DocWrite{doc, w.Delete}
	}
	for _, entries := range tx.index {
		for _, w := range entries {
			b.Index = append(b.Index, w)
		}
	}
	sort.Slice(b.Index, func(i, j int) bool {
		a, c := &b.Index[i], &b.Index[j]
		if a.Delete != c.Delete {
			return a.Delete
		}
		if a.Kind != c.Kind {
			return a.Kind < c.Kind
		}
		if a.Index != c.Index {
			return a.Index < c.Index
		}
		return bytes.Compare(a.Key, c.Key) < 0
	})
	return b, nil
}

// diff names the first difference between what two transactions want written, or returns "".
func (tx *Tx) diff(other *Tx) (string, error) {
	b, err1 := tx.batch()
	c, err2 := other.batch()
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	return b.diff(c), nil
}

// diff names the first difference between two batches, or returns "".
func (b *Batch) diff(c *Batch) string {
	if len(b.Docs) != len(c.Docs) || len(b.Index) != len(c.Index) || len(b.Events) != len(c.Events) {
		return fmt.Sprintf("%d documents, %d index entries, %d events; then %d, %d, %d",
			len(b.Docs), len(b.Index), len(b.Events), len(c.Docs), len(c.Index), len(c.Events))
	}
	for i := range b.Docs {
		x, y := b.Docs[i], c.Docs[i]
		if x.Kind != y.Kind || x.ID != y.ID || x.Delete != y.Delete || !bytes.Equal(x.Body, y.Body) {
			return fmt.Sprintf("%s %s: %.300s; then %s %s: %.300s", x.Kind, x.ID, x.Body, y.Kind, y.ID, y.Body)
		}
	}
	for i := range b.Events {
		x, _ := json.Marshal(b.Events[i])
		y, _ := json.Marshal(c.Events[i])
		if !bytes.Equal(x, y) {
			return fmt.Sprintf("event %s; then %s", x, y)
		}
	}
	return ""
}
