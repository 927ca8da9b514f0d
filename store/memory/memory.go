// Package memory is the store driver for tests and throw-away clouds: it
// keeps everything in the process. Readers see immutable snapshots
// (copy-on-write B-trees), so they never wait.
package memory

import (
	"bytes"
	"context"
	"maps"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/btree"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/store"
)

// Options configure a Driver; nil is fine.
type Options struct {
	// Clock tells the time. nil means the machine's.
	Clock clock.Clock
	// Shared lets several Stores use the driver at once, as replicas use one database;
	// leases of another Store are then honoured. False means that one Store has it alone.
	Shared bool
}

// Driver is a database in memory.
type Driver struct {
	opt     Options
	write   chan struct{} // holds the right to write
	state   atomic.Pointer[state]
	mu      sync.Mutex
	commits map[string]time.Time
	last    time.Time
	start   store.Instant
	mono    time.Duration
}

type state struct {
	docs   *btree.BTreeG[store.Doc]
	index  *btree.BTreeG[entry]
	events []event.Event
	floor  int64 // Seq of the newest dropped event
}

type entry struct {
	kind, index string
	key         []byte
	id          string
}

func lessDoc(a, b store.Doc) bool {
	if a.Kind != b.Kind {
		return a.Kind < b.Kind
	}
	return a.ID < b.ID
}

func lessEntry(a, b entry) bool {
	if a.kind != b.kind {
		return a.kind < b.kind
	}
	if a.index != b.index {
		return a.index < b.index
	}
	return bytes.Compare(a.key, b.key) < 0
}

// New returns an empty database.
func New(opt *Options) *Driver {
	d := &Driver{write: make(chan struct{}, 1), commits: map[string]time.Time{}}
	if opt != nil {
		d.opt = *opt
	}
	if d.opt.Clock == nil {
		d.opt.Clock = clock.System()
	}
	noLocks := btree.Options{NoLocks: true}
	d.state.Store(&state{docs: btree.NewBTreeGOptions(lessDoc, noLocks), index: btree.NewBTreeGOptions(lessEntry, noLocks)})
	now := d.opt.Clock.Now()
	d.start, d.mono = store.Instant{Wall: now, Lease: now}, d.opt.Clock.Mono()
	return d
}

// Now never goes back; Lease follows the clock's monotonic time.
func (d *Driver) Now(context.Context) (store.Instant, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := d.opt.Clock.Now(); now.After(d.last) {
		d.last = now
	}
	return store.Instant{Wall: d.last, Lease: d.start.Lease.Add(d.opt.Clock.Mono() - d.mono)}, nil
}

// Exclusive is the opposite of Options.Shared.
func (d *Driver) Exclusive() bool { return !d.opt.Shared }

// Close does nothing: the data lives as long as the Driver, so that a test can open it again.
func (d *Driver) Close() error { return nil }

// Resolve reports whether the commit has happened.
func (d *Driver) Resolve(_ context.Context, commitID string) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.commits[commitID]
	return ok, nil
}

// Prune drops old events and commit ids.
func (d *Driver) Prune(ctx context.Context, before time.Time) error {
	t, err := d.Begin(ctx, true)
	if err != nil {
		return err
	}
	defer t.Rollback()
	s := t.(*txn).s
	n := sort.Search(len(s.events), func(i int) bool { return !s.events[i].Time.Before(before) })
	if n > 0 {
		s.floor = s.events[n-1].Seq
		s.events = append([]event.Event(nil), s.events[n:]...)
	}
	d.state.Store(s)
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.commits, func(_ string, at time.Time) bool { return at.Before(before) })
	return nil
}

// Begin starts a transaction; a writable one waits for the one before it.
func (d *Driver) Begin(ctx context.Context, writable bool) (store.Txn, error) {
	if !writable {
		return &txn{d: d, s: d.state.Load()}, nil
	}
	select {
	case d.write <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s := *d.state.Load()
	s.docs, s.index = s.docs.Copy(), s.index.Copy()
	return &txn{d: d, s: &s, writable: true}, nil
}

type txn struct {
	d        *Driver
	s        *state
	writable bool
	events   []event.Event
}

func (t *txn) Get(kind, id string) (store.Doc, bool, error) {
	doc, ok := t.s.docs.Get(store.Doc{Kind: kind, ID: id})
	return doc, ok, nil
}

func (t *txn) Scan(r store.Range) ([]store.Entry, error) {
	var out []store.Entry
	visit := func(e entry) bool {
		inside := e.kind == r.Kind && e.index == r.Index && bytes.Compare(e.key, r.From) >= 0 && (r.To == nil || bytes.Compare(e.key, r.To) < 0)
		if !inside {
			return false
		}
		doc, _ := t.s.docs.Get(store.Doc{Kind: r.Kind, ID: e.id})
		out = append(out, store.Entry{Key: e.key, Doc: doc})
		return r.Limit == 0 || len(out) < r.Limit
	}
	if !r.Reverse {
		t.s.index.Ascend(entry{kind: r.Kind, index: r.Index, key: r.From}, visit)
		return out, nil
	}
	end := entry{kind: r.Kind, index: r.Index, key: r.To}
	if r.To == nil {
		end.index += "\x00" // behind every key of the index
	}
	t.s.index.Descend(end, func(e entry) bool {
		if !lessEntry(e, end) {
			return true
		}
		return visit(e)
	})
	return out, nil
}

func (t *txn) Events(after int64, limit int) ([]event.Event, error) {
	if after < t.s.floor {
		return nil, fault.New(fault.Gone, "events after cursor %d were dropped up to %d: list the resources again and continue from there", after, t.s.floor)
	}
	i := sort.Search(len(t.s.events), func(i int) bool { return t.s.events[i].Seq > after })
	end := min(len(t.s.events), i+limit)
	return t.s.events[i:end:end], nil
}

func (t *txn) Apply(b *store.Batch) error {
	for _, w := range b.Docs {
		if w.Delete {
			t.s.docs.Delete(w.Doc)
		} else {
			t.s.docs.Set(w.Doc)
		}
	}
	for _, w := range b.Index {
		e := entry{w.Kind, w.Index, w.Key, w.ID}
		if w.Delete {
			t.s.index.Delete(e)
		} else {
			t.s.index.Set(e)
		}
	}
	t.events = append(t.events, b.Events...)
	return nil
}

func (t *txn) Commit(ctx context.Context, commitID string) (int64, error) {
	if !t.writable {
		return 0, fault.New(fault.Internal, "commit of a read-only transaction")
	}
	now, err := t.d.Now(ctx)
	if err != nil {
		return 0, err
	}
	var first int64
	next := t.s.floor + int64(len(t.s.events)) + 1
	for i := range t.events {
		t.events[i].Seq = next + int64(i)
	}
	if len(t.events) > 0 {
		first = next
		t.s.events = append(t.s.events, t.events...)
	}
	t.d.mu.Lock()
	t.d.commits[commitID] = now.Wall
	t.d.mu.Unlock()
	t.d.state.Store(t.s)
	t.Rollback()
	return first, nil
}

func (t *txn) Rollback() {
	if t.writable {
		t.writable = false
		<-t.d.write
	}
}
