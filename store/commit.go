package store

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/id"
)

// Update runs fn and commits what it wrote, durably, before it returns nil.
// An error of fn is returned as it is and nothing of that run is kept.
// fn runs in the caller's goroutine, one Update at a time in the whole Store.
//
// If ctx carries a transaction of this Store (Tx.Context), fn becomes a part
// of that one: what it writes is kept only if fn and all around it succeed. An Update inside fn with
// a context that does not carry the transaction would wait for itself until that context ends.
//
// When ctx ends, Update returns at once unless fn is running. Before fn has run, the error is ctx's and nothing
// has happened. While the commit is under way the error is Timeout and the outcome is unknown:
// the commit may still happen, with its events and OnCommit hooks.
//
// Other errors: Unavailable when the database is, Exhausted (and ErrFull) when its disk is full - nothing
// has happened; Timeout when the database failed inside the commit and must be opened again to tell.
func (s *Store) Update(ctx context.Context, fn func(tx *Tx) error) error {
	if outer := s.carried(ctx); outer != nil {
		return outer.join(ctx, fn)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{ctx: ctx, fn: fn, ids: &ids{seed: s.opt.Seed(ctx)}, turn: make(chan turn), ran: make(chan struct{}), gone: make(chan struct{}), answer: make(chan error, 1)}
	defer close(j.gone)
	queue := s.queue
	if s.urgent != nil && ctx.Value(urgentKey{}) != nil {
		queue = s.urgent
	}
	select {
	case queue <- j:
	case <-s.stop:
		return errClosed()
	case <-ctx.Done():
		return ctx.Err()
	}
	ended, runs := ctx.Done(), 0
	for {
		select {
		case t := <-j.turn:
			runs++
			s.take(j, t)
		case err := <-j.answer:
			return err
		case <-ended:
			select {
			case err := <-j.answer:
				return err
			default:
			}
			if runs == 0 {
				return ctx.Err()
			}
			return fault.New(fault.Timeout, "the commit was still under way when its time was over, and may yet happen: read before trying again: %w", ctx.Err())
		case <-s.done:
			select {
			case err := <-j.answer:
				return err
			default:
				return errClosed()
			}
		}
	}
}

// job is one Update that waits for its commit. The writer hands it a turn, the caller's
// goroutine runs the closure, and the writer goes on when it has run.
type job struct {
	ctx    context.Context
	fn     func(tx *Tx) error
	ids    *ids
	turn   chan turn
	ran    chan struct{}
	gone   chan struct{} // closed when nobody waits any more
	answer chan error

	tx  *Tx   // what the turn wrote; nil when there is nothing to commit
	err error // of the closure
}

// turn is the right to use the group's transaction.
type turn struct{ group *Tx }

// errGone is the error of a closure that left by a panic or runtime.Goexit; nobody reads it.
var errGone = errors.New("store: the closure did not return")

// take runs the closure in the caller's goroutine. A panic goes on up from here.
func (s *Store) take(j *job, t turn) {
	j.tx, j.err = nil, errGone
	defer func() { j.ran <- struct{}{} }()
	if err := j.ctx.Err(); err != nil {
		j.err = err
		return
	}
	tx, err := s.run(j, t.group)
	for range s.opt.Rerun {
		again, err2 := s.run(j, t.group)
		if errors.Is(errors.Join(err, err2), ErrConflict) { // the group runs again
			j.err = ErrConflict
			return
		}
		if (err == nil) != (err2 == nil) {
			j.err = fault.New(fault.Internal, "an Update closure is not pure: it returned %v, then %v", err, err2)
			return
		}
		if err == nil {
			diff, err := tx.diff(again)
			if err != nil {
				j.err = err
				return
			}
			if diff != "" {
				j.err = fault.New(fault.Internal, "an Update closure is not pure: a second run wrote something else: %s", diff)
				return
			}
		}
		tx, err = again, err2
	}
	j.tx, j.err = tx, err
}

func (s *Store) run(j *job, group *Tx) (*Tx, error) {
	tx := newTx(j.ctx, s, group, group.now, &ids{seed: j.ids.seed}, false)
	defer tx.close()
	err := j.fn(tx)
	if err == nil {
		err = tx.err
	}
	return tx, err
}

// write is the one goroutine that commits what a queue brings.
func (s *Store) write(queue chan *job) {
	for {
		var group []*job
		select {
		case <-s.stop:
			return
		case j := <-queue:
			group = append(group, j)
		}
	more:
		for len(group) < s.opt.Group {
			select {
			case j := <-queue:
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
	var wrote bool
	var err error
	for attempt := 0; ; attempt++ {
		wrote, err = s.attempt(group)
		err = s.note(err)
		if !errors.Is(err, ErrConflict) {
			break
		}
		s.stats.Conflicts.Add(1)
		if !s.pause(attempt) {
			err = errClosed()
			break
		}
	}
	for _, j := range group {
		if err == nil && j.err == nil {
			s.stats.Updates.Add(1)
			for _, hook := range j.tx.hooks {
				hook()
			}
		}
	}
	if err == nil && wrote {
		s.stats.Commits.Add(1)
		s.renewPulse()
	}
	for _, j := range group {
		if j.err == nil {
			j.err = err
		}
		j.answer <- j.err
	}
}

// pause waits a little, more each time but not the first, and reports whether the Store is still open. Chance keeps
// Stores that met each other from meeting again.
func (s *Store) pause(attempt int) bool {
	if attempt == 0 {
		return true
	}
	wait := min(time.Second, time.Millisecond<<min(attempt, 10))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-s.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return s.opt.Clock.Sleep(ctx, wait/2+rand.N(wait/2)) == nil
}

// attempt runs every closure of the group in one database transaction and commits it.
func (s *Store) attempt(group []*job) (wrote bool, err error) {
	ctx := context.Background() // a group has many callers; none of them may cut it short
	for _, j := range group {
		j.tx, j.err = nil, nil
	}
	txn, err := s.d.Begin(ctx, true)
	if err != nil {
		return false, err
	}
	defer txn.Rollback()
	now, err := s.d.Now(ctx)
	if err != nil {
		return false, err
	}
	all := newTx(ctx, s, txnReader{txn}, now, nil, false)
	for _, j := range group {
		select {
		case j.turn <- turn{all}:
			<-j.ran
		case <-j.gone:
			j.err = errGone
		}
		if j.err == nil {
			all.merge(j.tx)
		}
	}
	for _, j := range group {
		if errors.Is(j.err, ErrConflict) { // a read met it; the rest of the group may have seen two states as well
			return false, ErrConflict
		}
	}
	b, err := all.batch()
	if err != nil {
		return false, err
	}
	if b.Empty() {
		return false, txn.Validate(ctx)
	}
	if err := txn.Apply(b); err != nil {
		return false, err
	}
	commitID, began := id.Random(), s.opt.Clock.Mono()
	_, err = txn.Commit(ctx, commitID)
	s.stats.CommitTime.Observe(s.opt.Clock.Mono() - began)
	if errors.Is(err, ErrUnknown) {
		s.stats.Unknown.Add(1)
		txn.Rollback()
		err = s.resolve(ctx, commitID)
	}
	if err == nil {
		s.kept.addAll(b.Docs)
		s.stats.Events.Add(int64(len(b.Events)))
		s.watch.wrote(b.Docs)
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
		case errors.Is(err, ErrBroken):
			return fault.New(fault.Timeout, "whether the commit happened is known when the store is opened again: %w", err)
		case !s.pause(attempt + 1):
			return fault.New(fault.Timeout, "the store was closed before the outcome of a commit was known: %w", err)
		}
	}
}
