// Package store keeps the state of a cloud: typed documents with declared
// indexes, and the events about them, in serializable transactions over a
// small database Driver.
//
//	var servers = store.Define(store.Spec[Server]{Kind: "server", Version: 1, ID: ..., Indexes: ...})
//
//	err := s.Update(ctx, func(tx *store.Tx) error {
//		v, err := servers.Get(tx, id)
//		...
//		return servers.Put(tx, v)
//	})
//
// A closure given to Update may run more than once: it calls no driver,
// sends nothing, never sleeps, and takes time and ids from its Tx alone.
//
// Waiting Updates run one after another inside one database transaction and
// share its commit (group commit): nobody - caller, reader, event feed,
// OnCommit hook - sees any of them before it is durable, and if it fails, all of them fail or run again.
//
// Files: driver.go is what a database does; commit.go runs Updates; broken.go tells when a driver gives up; tx.go is what a closure works
// with; collection.go, query.go and codec.go are typed documents; prepare.go and check.go keep
// indexes true; seal.go and tombstone.go are secrets and deleted documents.
package store

import (
	"context"
	"crypto/cipher"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/id"
	"github.com/nubecula/cloud/internal/meter"
)

// Options configure a Store.
type Options struct {
	// Key seals secrets: KeySize bytes. Required.
	Key []byte
	// Clock is used to wait between attempts. nil means the machine's.
	Clock clock.Clock
	// Group is how many waiting Updates may share a commit. 0 means 64.
	Group int
	// DecodedBytes bounds the documents whose decoded form is kept in memory, by the length of their JSON;
	// a decoded document takes two or three times as much. 0 means 4 MiB, -1 none.
	DecodedBytes int
	// Rerun runs each closure so many extra times and compares what it wants
	// written, so that an impure closure fails. For tests. 0 means none.
	Rerun int
	// Seed draws what the ids of an Update come from, given the context of its caller, so that a test can
	// repeat them. nil means chance, as programs need.
	Seed func(ctx context.Context) [32]byte
}

// Store is a database of documents. It is safe for concurrent use.
type Store struct {
	d     Driver
	opt   Options
	aead  cipher.AEAD
	queue chan *job
	// urgent is the queue of Updates that wait for nobody, where the driver allows two at once; else nil.
	urgent chan *job
	stop   chan struct{}
	done   chan struct{}
	once   sync.Once
	pulse  atomic.Pointer[chan struct{}]
	stats  Stats
	kept   remembers
	watch  watches

	unnotify func() // nil when the driver is no Notifier
	saved    string // by Prepare

	broken chan struct{}
	cause  atomic.Pointer[error] // nil until broken is closed
}

// Stats counts what a Store has done since it was opened.
type Stats struct {
	Updates   atomic.Int64 // closures that were committed
	Commits   atomic.Int64 // database commits they shared
	Conflicts atomic.Int64 // groups that ran again
	Unknown   atomic.Int64 // commits whose outcome had to be asked for
	Events    atomic.Int64 // events that were committed

	CommitTime meter.Timer // of database commits
}

// New opens a Store on a driver, which belongs to the Store from then on.
func New(d Driver, opt Options) (*Store, error) {
	aead, err := newAEAD(opt.Key)
	if err != nil {
		return nil, err
	}
	if opt.Clock == nil {
		opt.Clock = clock.System()
	}
	if opt.Group <= 0 {
		opt.Group = 64
	}
	if opt.Seed == nil {
		opt.Seed = func(context.Context) [32]byte { return id.Seed() }
	}
	if opt.DecodedBytes == 0 {
		opt.DecodedBytes = 4 << 20
	}
	s := &Store{kept: remembers{limit: max(0, opt.DecodedBytes)}, d: d, opt: opt, aead: aead, queue: make(chan *job, opt.Group), stop: make(chan struct{}), done: make(chan struct{}),
		broken: make(chan struct{})}
	s.renewPulse()
	if n, ok := d.(Notifier); ok {
		s.unnotify = n.Notify(s.renewPulse)
	}
	queues := []chan *job{s.queue}
	if !d.Exclusive() {
		s.urgent = make(chan *job)
		queues = append(queues, s.urgent)
	}
	var writers sync.WaitGroup
	for _, queue := range queues {
		writers.Go(func() { s.write(queue) })
	}
	go func() { writers.Wait(); close(s.done) }()
	return s, nil
}

// Close waits for the group under way, refuses the rest with Unavailable and closes the driver.
func (s *Store) Close() error {
	var err error
	s.once.Do(func() {
		close(s.stop)
		<-s.done
		if s.unnotify != nil {
			s.unnotify()
		}
		err = s.d.Close()
		s.renewPulse() // who waits for a change learns that none will come
		s.watch.end()
	})
	return err
}

// Exclusive reports whether no other process uses the database.
func (s *Store) Exclusive() bool { return s.d.Exclusive() }

// Stats returns the live counters.
func (s *Store) Stats() *Stats { return &s.stats }

// Now returns the database's time.
func (s *Store) Now(ctx context.Context) (Instant, error) { return s.d.Now(ctx) }

// Prune drops what is kept for a time only - events, tombstones, commit ids - and is older than t.
func (s *Store) Prune(ctx context.Context, before time.Time) error {
	if err := s.pruneTombstones(ctx, before); err != nil {
		return err
	}
	return s.d.Prune(ctx, before)
}

// Events returns up to limit events with Seq > after, in order; Gone when some of those were
// pruned. limit 0 means 256.
func (s *Store) Events(ctx context.Context, after int64, limit int) ([]event.Event, error) {
	if limit <= 0 {
		limit = 256
	}
	txn, err := s.beginRead(ctx)
	if err != nil {
		return nil, err
	}
	defer txn.Rollback()
	return txn.Events(after, limit)
}

// Changed returns a channel that is closed at the next commit.
func (s *Store) Changed() <-chan struct{} { return *s.pulse.Load() }

// Watch returns a channel that is closed when a document may have been written or deleted, sooner or later
// than it is seen by others. Call stop when it is not needed any more.
func (c *Collection[T]) Watch(s *Store, id string) (changed <-chan struct{}, stop func()) {
	if !s.Exclusive() { // others write, too
		return s.Changed(), func() {}
	}
	return s.watch.add(docKey{c.spec.Kind, id})
}

func (s *Store) renewPulse() {
	c := make(chan struct{})
	if old := s.pulse.Swap(&c); old != nil {
		close(*old)
	}
}

// Urgent returns a context whose Updates wait for no others of this Store, where the driver allows two at
// once: for what must not be late when many wait or a closure hangs, like the renewal of a lease. Such an Update uses no OnCommit.
func Urgent(ctx context.Context) context.Context { return context.WithValue(ctx, urgentKey{}, true) }

type urgentKey struct{}

func errClosed() error { return fault.New(fault.Unavailable, "the store is closed") }

func (s *Store) beginRead(ctx context.Context) (Txn, error) {
	select {
	case <-s.stop:
		return nil, errClosed()
	default:
		txn, err := s.d.Begin(ctx, false)
		return txn, s.note(err)
	}
}

// View runs fn on one state of the database. If ctx carries a transaction
// of this Store (Tx.Context), fn sees that one, with what it has written so far.
func (s *Store) View(ctx context.Context, fn func(tx *Tx) error) error {
	if outer := s.carried(ctx); outer != nil {
		tx := outer.nested(ctx, true)
		defer tx.close()
		return fn(tx)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	txn, err := s.beginRead(ctx)
	if err != nil {
		return err
	}
	defer txn.Rollback()
	now, err := s.d.Now(ctx)
	if err != nil {
		return err
	}
	tx := newTx(ctx, s, txnReader{txn}, now, &ids{}, true)
	defer tx.close()
	return fn(tx)
}
