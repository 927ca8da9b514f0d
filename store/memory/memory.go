// Package memory is the store driver for tests and throw-away clouds: it
// keeps everything in the process. Readers see immutable snapshots
// (copy-on-write B-trees), so they never wait.
package memory

import (
	"bytes"
	"context"
	"maps"
	"slices"
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

// keepCommits is how many commit ids Resolve knows.
const keepCommits = 1024

// Driver is a database in memory.
type Driver struct {
	opt   Options
	write chan struct{} // holds the right to write
	state atomic.Pointer[state]
	start store.Instant // of this run
	mono  time.Duration // of the clock, then

	mu      sync.Mutex
	last    time.Time       // the latest that Now has given
	commits map[string]bool // the latest commit ids
	ids     []string        // the same, oldest first
	notify  map[int]func()
	serial  int // of the next entry of notify
}

// state is one version of the database. The trees hold pointers, so that copying a node is cheap;
// what they point to never changes.
type state struct {
	docs   *btree.BTreeG[*store.Doc]
	index  *btree.BTreeG[*entry]
	events []event.Event
	floor  int64 // Seq of the newest dropped event
}

type entry struct {
	kind, index string
	key         []byte
	id          string
}

func lessDoc(a, b *store.Doc) bool {
	if a.Kind != b.Kind {
		return a.Kind < b.Kind
	}
	return a.ID < b.ID
}

func lessEntry(a, b *entry) bool {
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
	var o Options
	if opt != nil {
		o = *opt
	}
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	noLocks := btree.Options{NoLocks: true}
	return start(o, time.Time{}, time.Time{}, &state{docs: btree.NewBTreeGOptions(lessDoc, noLocks), index: btree.NewBTreeGOptions(lessEntry, noLocks)})
}

// start begins a run on a state; its times continue those of the run before.
func start(opt Options, wall, lease time.Time, s *state) *Driver {
	d := &Driver{opt: opt, write: make(chan struct{}, 1), commits: map[string]bool{}, notify: map[int]func(){}}
	d.state.Store(s)
	if now := opt.Clock.Now(); now.After(wall) {
		wall = now
	}
	if wall.After(lease) {
		lease = wall
	}
	d.last, d.start, d.mono = wall, store.Instant{Wall: wall, Lease: lease}, opt.Clock.Mono()
	return d
}

// Restart returns a new Driver on what is committed now, as a program finds its database after a
// crash; the old one is no longer connected with it. A shared Driver goes on, as a database does when one of its clients crashes.
func (d *Driver) Restart() (store.Driver, error) {
	if d.opt.Shared {
		return d, nil
	}
	now, err := d.Now(context.Background())
	if err != nil {
		return nil, err
	}
	old := d.state.Load()
	s := *old
	s.docs, s.index = s.docs.Copy(), s.index.Copy()
	s.events = s.events[:len(s.events):len(s.events)]
	return start(d.opt, now.Wall, now.Lease, &s), nil
}

// Notify has f called after each commit.
func (d *Driver) Notify(f func()) (stop func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.serial
	d.serial++
	d.notify[n] = f
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.notify, n)
	}
}

// Now never goes back; Lease follows the clock's monotonic time.
func (d *Driver) Now(context.Context) (store.Instant, error) {
	now, mono := d.opt.Clock.Now(), d.opt.Clock.Mono()
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.After(d.last) {
		d.last = now
	}
	return store.Instant{Wall: d.last, Lease: d.start.Lease.Add(mono - d.mono)}, nil
}

// Exclusive is the opposite of Options.Shared.
func (d *Driver) Exclusive() bool { return !d.opt.Shared }

// Close does nothing: the data lives as long as the Driver, so that a test can open it again.
func (d *Driver) Close() error { return nil }

// Resolve reports whether the commit has happened.
func (d *Driver) Resolve(_ context.Context, commitID string) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.commits[commitID], nil
}

// Prune drops old events. Commit ids are dropped by number.
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
	done     bool
	events   []event.Event
}

func (t *txn) Get(kind, id string) (store.Doc, bool, error) {
	if err := t.use(); err != nil {
		return store.Doc{}, false, err
	}
	doc, ok := t.s.docs.Get(&store.Doc{Kind: kind, ID: id})
	if !ok {
		return store.Doc{}, false, nil
	}
	return *doc, true, nil
}

func (t *txn) Scan(r store.Range) ([]store.Entry, error) {
	if err := t.use(); err != nil {
		return nil, err
	}
	if r.Index == "" {
		return t.scanDocs(r), nil
	}
	var out []store.Entry
	visit := func(e *entry) bool {
		if e.kind != r.Kind || e.index != r.Index || !inside(e.key, r) {
			return false
		}
		doc, ok := t.s.docs.Get(&store.Doc{Kind: r.Kind, ID: e.id})
		if !ok {
			doc = &store.Doc{Kind: r.Kind, ID: e.id}
		}
		out = append(out, store.Entry{Key: e.key, Doc: *doc})
		return r.Limit == 0 || len(out) < r.Limit
	}
	walk(t.s.index, &entry{kind: r.Kind, index: r.Index, key: r.From}, &entry{kind: r.Kind, index: r.Index, key: r.To},
		&entry{kind: r.Kind, index: r.Index + "\x00"}, r, visit)
	return out, nil
}

func (t *txn) scanDocs(r store.Range) []store.Entry {
	var out []store.Entry
	visit := func(d *store.Doc) bool {
		if d.Kind != r.Kind || !inside([]byte(d.ID), r) {
			return false
		}
		out = append(out, store.Entry{Key: []byte(d.ID), Doc: *d})
		return r.Limit == 0 || len(out) < r.Limit
	}
	walk(t.s.docs, &store.Doc{Kind: r.Kind, ID: string(r.From)}, &store.Doc{Kind: r.Kind, ID: string(r.To)},
		&store.Doc{Kind: r.Kind + "\x00"}, r, visit)
	return out
}

func inside(key []byte, r store.Range) bool {
	return bytes.Compare(key, r.From) >= 0 && (r.To == nil || bytes.Compare(key, r.To) < 0)
}

// walk visits a range of a tree from `from`, or in reverse from behind `to`, or from `end` when there is no upper bound.
func walk[T any](tree *btree.BTreeG[T], from, to, end T, r store.Range, visit func(T) bool) {
	if !r.Reverse {
		tree.Ascend(from, visit)
		return
	}
	if r.To == nil {
		to = end
	}
	tree.Descend(to, func(v T) bool { return !tree.Less(v, to) || visit(v) })
}

func (t *txn) Events(after int64, limit int) ([]event.Event, error) {
	if err := t.use(); err != nil {
		return nil, err
	}
	if after < t.s.floor {
		return nil, fault.New(fault.Gone, "events after cursor %d were dropped up to %d: list the resources again and continue from there", after, t.s.floor)
	}
	i := sort.Search(len(t.s.events), func(i int) bool { return t.s.events[i].Seq > after })
	end := min(len(t.s.events), i+limit)
	return t.s.events[i:end:end], nil
}

func (t *txn) Apply(b *store.Batch) error {
	if err := t.use(); err != nil {
		return err
	}
	if !t.writable {
		return fault.New(fault.Internal, "memory: write in a read-only transaction")
	}
	for i := range b.Docs {
		doc := b.Docs[i].Doc
		if b.Docs[i].Delete {
			t.s.docs.Delete(&doc)
		} else {
			t.s.docs.Set(&doc)
		}
	}
	for i := range b.Index {
		w := &b.Index[i]
		e := &entry{w.Kind, w.Index, w.Key, w.ID}
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
	if err := t.use(); err != nil {
		return 0, err
	}
	if !t.writable {
		return 0, fault.New(fault.Internal, "memory: commit of a read-only transaction")
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
	t.d.commit(commitID, t.s)
	t.Rollback()
	return first, nil
}

// Validate has nothing to do: a transaction sees one state.
func (t *txn) Validate(context.Context) error { return t.use() }

// commit makes a state the current one.
func (d *Driver) commit(commitID string, s *state) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.commits[commitID] = true
	d.ids = append(d.ids, commitID)
	if len(d.ids) > keepCommits {
		delete(d.commits, d.ids[0])
		d.ids = d.ids[1:]
	}
	d.state.Store(s)
	for _, n := range slices.Sorted(maps.Keys(d.notify)) { // always in the same order, for tests that repeat
		d.notify[n]()
	}
}

func (t *txn) use() error {
	if t.done {
		return fault.New(fault.Internal, "memory: use of a transaction after its end")
	}
	return nil
}

func (t *txn) Rollback() {
	if !t.done && t.writable {
		<-t.d.write
	}
	t.done = true
}
