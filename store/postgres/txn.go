package postgres

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/store"
)

// txn is a writable transaction. Until it commits it holds nothing in the database, unless it has its turn.
type txn struct {
	d      *Driver
	ctx    context.Context
	mu     sync.Mutex
	at     int64 // what was read is so at this commit
	fresh  bool  // that commit was the newest at some time after Begin
	reads  reads
	doomed bool          // another commit has changed what was read
	turn   *pgxpool.Conn // holds the lock that commits are made under; nil when it was not taken yet
	done   bool

	docs   map[docKey]*store.DocWrite
	order  []docKey
	index  map[space]map[string]store.IndexWrite
	events []event.Event
}

// advance moves the transaction on to the cache's commit, unless what it has read was changed. The cache is locked.
func (t *txn) advance() bool {
	c := t.d.cache
	if t.doomed || t.at == c.n {
		return !t.doomed
	}
	passed, ok := c.since(t.at)
	for i := range passed {
		if ok && t.reads.hit(passed[i].changes) {
			ok = false
		}
	}
	t.doomed = !ok && !t.reads.empty()
	t.at = c.n
	return !t.doomed
}

// answer answers a query as of one commit for the whole transaction: from the cache, or in one round trip.
func (t *txn) answer(q query) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return errEnded()
	}
	c := t.d.cache
	for {
		if err := t.d.usable(); err != nil {
			return err
		}
		c.Lock()
		if !t.advance() {
			c.Unlock()
			return store.ErrConflict
		}
		if q.cached(c, t.at) {
			q.note(&t.reads)
			c.Unlock()
			return nil
		}
		c.Unlock()
		at, err := t.fetch(q)
		if err != nil {
			return err
		}
		c.Lock()
		ok := t.take(q, at)
		c.Unlock()
		if ok {
			return nil
		}
	}
}

// take takes over an answer that the database gave at a commit. The cache is locked.
func (t *txn) take(q query, at int64) bool {
	c := t.d.cache
	if passed, ok := c.since(at); ok {
		var r reads
		q.note(&r)
		for i := range passed {
			ok = ok && !r.hit(passed[i].changes)
		}
		if !ok {
			return false // it was changed in the meantime
		}
	} else {
		return false
	}
	q.fill(c)
	if !q.whole() || !t.advance() {
		return false
	}
	t.fresh = true
	q.note(&t.reads)
	return true
}

// fetch asks the database, and catches up with it. It returns the commit at which the answer is right.
func (t *txn) fetch(q query) (int64, error) {
	ctx, cancel := t.d.bound(t.ctx)
	defer cancel()
	if t.turn != nil {
		b := &pgx.Batch{}
		q.ask(b)
		if err := t.turn.SendBatch(ctx, b).Close(); err != nil {
			return 0, t.d.lost(err)
		}
		return t.at, nil
	}
	var up *catchUp
	conn, err := t.d.ask(ctx, t.d.writers, func(b *pgx.Batch) {
		up = &catchUp{}
		b.Queue(t.d.snapshot())
		up.ask(b, t.d, t.d.position())
		q.ask(b)
		b.Queue("COMMIT")
	})
	if err != nil {
		return 0, err
	}
	conn.Release()
	return up.newest(), t.d.absorb(up)
}

// lost is the error of a transaction that had its turn and lost its connection, or waited too long: nothing happened.
func (d *Driver) lost(err error) error {
	if isCut(err) {
		return store.ErrConflict
	}
	return d.explain(err)
}

func (t *txn) Get(kind, id string) (store.Doc, bool, error) {
	if w := t.docs[docKey{kind, id}]; w != nil && !t.done {
		return w.Doc, !w.Delete, nil
	}
	q := &docQuery{kind: kind, id: id}
	err := t.answer(q)
	return q.doc, q.exists && err == nil, err
}

// Scan merges what was applied into what is stored. A Store never scans behind Apply.
func (t *txn) Scan(r store.Range) ([]store.Entry, error) {
	own := t.applied(r)
	below := r
	if len(own) > 0 {
		below.Limit = 0
	}
	q := &scanQuery{r: below}
	if err := t.answer(q); err != nil {
		return nil, err
	}
	if len(own) == 0 && len(t.docs) == 0 {
		return q.out, nil
	}
	var out []store.Entry
	for _, e := range q.out {
		if _, ok := own[string(e.Key)]; !ok {
			out = append(out, e)
		}
	}
	for key, w := range own {
		if !w.Delete {
			out = append(out, store.Entry{Key: []byte(key), Doc: store.Doc{Kind: r.Kind, ID: w.ID}})
		}
	}
	for i := range out {
		doc, ok, err := t.Get(r.Kind, out[i].Doc.ID)
		if err != nil {
			return nil, err
		}
		if ok {
			out[i].Doc = doc
		}
	}
	slices.SortFunc(out, func(a, b store.Entry) int {
		if r.Reverse {
			a, b = b, a
		}
		return bytes.Compare(a.Key, b.Key)
	})
	if r.Limit > 0 && len(out) > r.Limit {
		out = out[:r.Limit]
	}
	return out, nil
}

// applied returns what was applied to the entries of a range, by key.
func (t *txn) applied(r store.Range) map[string]store.IndexWrite {
	in, out := spanOf(r), map[string]store.IndexWrite{}
	for key, w := range t.index[space{r.Kind, r.Index}] {
		if in.holds(key) {
			out[key] = w
		}
	}
	if r.Index == "" {
		for k, w := range t.docs {
			if k.kind == r.Kind && in.holds(k.id) {
				out[k.id] = store.IndexWrite{ID: k.id, Delete: w.Delete}
			}
		}
	}
	return out
}

func (t *txn) Events(after int64, limit int) ([]event.Event, error) {
	q := &eventQuery{after: after, limit: limit}
	if err := t.answer(q); err != nil {
		return nil, err
	}
	return q.answer()
}

// Apply keeps the batch for Commit.
func (t *txn) Apply(b *store.Batch) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return errEnded()
	}
	if t.docs == nil {
		t.docs, t.index = map[docKey]*store.DocWrite{}, map[space]map[string]store.IndexWrite{}
	}
	for i := range b.Docs {
		w := &b.Docs[i]
		k := docKey{w.Kind, w.ID}
		if t.docs[k] == nil {
			t.order = append(t.order, k)
		}
		t.docs[k] = w
	}
	for _, w := range b.Index {
		sp := space{w.Kind, w.Index}
		if t.index[sp] == nil {
			t.index[sp] = map[string]store.IndexWrite{}
		}
		t.index[sp][string(w.Key)] = w
	}
	t.events = append(t.events, b.Events...)
	return nil
}

// Rollback drops the transaction.
func (t *txn) Rollback() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end()
}

func (t *txn) end() {
	t.done = true
	if t.turn != nil {
		t.d.giveBack(t.turn)
		t.turn = nil
	}
}
