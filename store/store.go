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
package store

import (
	"context"
	"crypto/cipher"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/id"
)

// Options configure a Store.
type Options struct {
	// Key seals secrets: KeySize bytes. Required.
	Key []byte
	// Clock is used to wait between attempts. nil means the machine's.
	Clock clock.Clock
	// Group is how many waiting Updates may share a commit. 0 means 64.
	Group int
	// Rerun runs each closure so many extra times and compares what it wants
	// written, so that an impure closure fails. For tests. 0 means none.
	Rerun int
}

// Store is a database of documents. It is safe for concurrent use.
type Store struct {
	d     Driver
	opt   Options
	aead  cipher.AEAD
	queue chan *job
	stop  chan struct{}
	done  chan struct{}
	once  sync.Once
	pulse atomic.Pointer[chan struct{}]
	stats Stats
}

// Stats counts what a Store has done since it was opened.
type Stats struct {
	Updates   atomic.Int64 // closures that were committed
	Commits   atomic.Int64 // database commits they shared
	Conflicts atomic.Int64 // groups that ran again
	Unknown   atomic.Int64 // commits whose outcome had to be asked for
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
	if opt.Group == 0 {
		opt.Group = 64
	}
	s := &Store{d: d, opt: opt, aead: aead, queue: make(chan *job, opt.Group), stop: make(chan struct{}), done: make(chan struct{})}
	s.renewPulse()
	go s.write()
	return s, nil
}

// Close waits for the group under way, refuses the rest with Unavailable and closes the driver.
func (s *Store) Close() error {
	var err error
	s.once.Do(func() {
		close(s.stop)
		<-s.done
		err = s.d.Close()
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

// Events returns up to limit events with Seq > after, in order; Gone when some of those were pruned.
func (s *Store) Events(ctx context.Context, after int64, limit int) ([]event.Event, error) {
	txn, err := s.d.Begin(ctx, false)
	if err != nil {
		return nil, err
	}
	defer txn.Rollback()
	return txn.Events(after, limit)
}

// Changed returns a channel that is closed at the next commit.
func (s *Store) Changed() <-chan struct{} { return *s.pulse.Load() }

func (s *Store) renewPulse() {
	c := make(chan struct{})
	if old := s.pulse.Swap(&c); old != nil {
		close(*old)
	}
}

// View runs fn on one state of the database. If ctx carries a transaction
// of this Store (Tx.Context), fn sees that one, with what it has written so far.
func (s *Store) View(ctx context.Context, fn func(tx *Tx) error) error {
	if outer := s.carried(ctx); outer != nil {
		return fn(outer.nested(ctx, true))
	}
	txn, err := s.d.Begin(ctx, false)
	if err != nil {
		return err
	}
	defer txn.Rollback()
	now, err := s.d.Now(ctx)
	if err != nil {
		return err
	}
	return fn(newTx(ctx, s, txnReader{txn}, now, id.Seed(), true))
}

// Update runs fn and commits what it wrote, durably, before it returns nil.
// An error of fn is returned as it is and nothing of that run is kept.
//
// If ctx carries a transaction of this Store (Tx.Context), fn becomes a part
// of that one: what it writes is kept only if fn and all around it succeed.
//
// Errors besides fn's: Canceled or Timeout from ctx - when ctx ended while
// the commit was under way, whether it happened is unknown -, Unavailable
// when the database is, Exhausted when its disk is full.
func (s *Store) Update(ctx context.Context, fn func(tx *Tx) error) error {
	if outer := s.carried(ctx); outer != nil {
		return outer.join(ctx, fn)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{ctx: ctx, fn: fn, seed: id.Seed(), answer: make(chan error, 1)}
	select {
	case s.queue <- j:
	case <-s.stop:
		return errClosed()
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-j.answer:
		return j.result(err)
	case <-s.done:
		select {
		case err := <-j.answer:
			return j.result(err)
		default:
			return errClosed()
		}
	}
}

type job struct {
	ctx      context.Context
	fn       func(tx *Tx) error
	seed     [32]byte
	answer   chan error
	panicked any
	hooks    []func()
	err      error
}

// result gives a panic of fn back to the goroutine that asked.
func (j *job) result(err error) error {
	if j.panicked != nil {
		panic(j.panicked)
	}
	return err
}

func errClosed() error { return fault.New(fault.Unavailable, "the store is closed") }

// write is the one goroutine that runs closures and commits.
func (s *Store) write() {
	defer close(s.done)
	for {
		var group []*job
		select {
		case j := <-s.queue:
			group = append(group, j)
		case <-s.stop:
			return
		}
	more:
		for len(group) < s.opt.Group {
			select {
			case j := <-s.queue:
				group = append(group, j)
			default:
				break more
			}
		}
		s.commitGroup(group)
	}
}

// commitGroup runs a group until it is committed or failed, and answers everyone.
func (s *Store) commitGroup(group []*job) {
	for attempt := 0; ; attempt++ {
		wrote, err := s.attempt(group)
		if errors.Is(err, ErrConflict) {
			s.stats.Conflicts.Add(1)
			if s.pause(attempt) {
				continue
			}
			err = errClosed()
		}
		for _, j := range group {
			if err != nil && j.err == nil && j.panicked == nil {
				j.err, j.hooks = err, nil
			}
			if j.err == nil && j.panicked == nil {
				s.stats.Updates.Add(1)
			}
			for _, hook := range j.hooks {
				hook()
			}
		}
		if err == nil && wrote {
			s.stats.Commits.Add(1)
			s.renewPulse()
		}
		for _, j := range group {
			j.answer <- j.err
		}
		return
	}
}

// pause waits a little, more each time, and reports whether the Store is still open.
func (s *Store) pause(attempt int) bool {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-s.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	if attempt == 0 {
		return true
	}
	return s.opt.Clock.Sleep(ctx, min(time.Second, time.Millisecond<<min(attempt, 10))) == nil
}

// attempt runs every closure of the group once in one database transaction and commits it.
func (s *Store) attempt(group []*job) (wrote bool, err error) {
	ctx := context.Background()
	txn, err := s.d.Begin(ctx, true)
	if err != nil {
		return false, err
	}
	defer txn.Rollback()
	now, err := s.d.Now(ctx)
	if err != nil {
		return false, err
	}
	for _, j := range group {
		j.err, j.panicked, j.hooks = nil, nil, nil
		if j.err = j.ctx.Err(); j.err != nil {
			continue
		}
		tx := s.runJob(j, txn, now)
		if j.err != nil || j.panicked != nil {
			continue
		}
		b := tx.batch()
		j.hooks = tx.hooks
		if b.Empty() {
			continue
		}
		wrote = true
		if err := txn.Apply(b); err != nil {
			return false, err
		}
	}
	if !wrote {
		return false, nil
	}
	commitID := id.Random()
	if _, err = txn.Commit(ctx, commitID); errors.Is(err, ErrUnknown) {
		s.stats.Unknown.Add(1)
		txn.Rollback()
		err = s.resolve(ctx, commitID)
	}
	return true, err
}

// resolve asks until the database answers: nil when the commit has happened, ErrConflict when it never will.
func (s *Store) resolve(ctx context.Context, commitID string) error {
	for attempt := 0; ; attempt++ {
		happened, err := s.d.Resolve(ctx, commitID)
		switch {
		case err == nil && happened:
			return nil
		case err == nil:
			return ErrConflict
		case !s.pause(attempt + 1):
			return fault.New(fault.Timeout, "the store was closed before the outcome of a commit was known: %w", err)
		}
	}
}

// runJob runs one closure, as often as Options.Rerun asks, and keeps the last run.
func (s *Store) runJob(j *job, txn Txn, now Instant) (tx *Tx) {
	defer func() { j.panicked = recover() }()
	var before *Batch
	for run := 0; run <= s.opt.Rerun; run++ {
		tx = newTx(j.ctx, s, txnReader{txn}, now, j.seed, false)
		err := j.fn(tx)
		tx.closed = true
		if run > 0 && err == nil && j.err == nil {
			if diff := before.diff(tx.batch()); diff != "" {
				j.err = fault.New(fault.Internal, "an Update closure is not pure: a second run wrote something else: %s", diff)
				return tx
			}
		}
		j.err = err
		before = tx.batch()
	}
	return tx
}
