// Package sqlite is the default store driver: one file, one process, no
// server, no C compiler. It runs SQLite in WAL mode with synchronous=FULL,
// so a commit that was answered survives a power cut.
//
// The file is for operators too: each document is a row of table doc, its body JSON.
//
//	sqlite3 cloud.db "SELECT id, body->>'name' FROM doc WHERE kind='server'"
//
// Tables: doc (documents), entry (index entries), event (the feed), commits (the ids of the
// latest commits, with their time) and meta. Reading while the program runs is fine; to
// change something by hand, stop it first.
package sqlite

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	lib "modernc.org/sqlite/lib"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/filelock"
	"github.com/nubecula/cloud/internal/id"
	"github.com/nubecula/cloud/store"
)

// Options configure a Driver; nil is fine.
type Options struct {
	// Clock tells the time. nil means the machine's.
	Clock clock.Clock
	// CacheBytes bounds the documents kept in memory. 0 means 16 MiB.
	CacheBytes int
	// CheckBytes: a larger file is not checked for damage when it is opened. 0 means 16 MiB, -1 no file is.
	CheckBytes int64
	// MaxBytes: the file may not grow beyond; then writes fail with Exhausted. 0 means no limit.
	MaxBytes int64
}

// Driver is an open file.
type Driver struct {
	path  string
	opt   Options
	lock  *os.File
	write chan struct{} // holds the right to write
	w     *conn         // used by its holder
	cache *cache
	seq   int64 // of the newest event; of the holder

	start store.Instant // at Open
	mono  time.Duration // of the clock, then

	ending sync.RWMutex // held while the newest moment is made one that a commit may end
	newest *moment      // changed by the holder of write, under mu

	mu      sync.Mutex
	wall    time.Time // the latest that Now has given
	readers map[*conn]bool
	idle    []*conn // those of readers that are not in use
	closed  bool
	broken  error
	backups sync.WaitGroup // added to while not closed
	moved   int            // frames in the log when it was last moved into the file; of the holder of write
	squeeze squeeze        // of the holder of write
}

// pruneChunk is the most events that one transaction drops.
const pruneChunk = 4096

// maxIdle is how many readers are kept open.
const maxIdle = 8

// keepCommits is how many commit ids Resolve knows at least; only the newest can be asked for.
const keepCommits = 1024

// Exclusive reports true: the file is locked.
func (d *Driver) Exclusive() bool { return true }

// Now never goes back in a file: it starts at the last commit's time when the machine's clock is behind it.
func (d *Driver) Now(context.Context) (store.Instant, error) {
	now, mono := d.opt.Clock.Now(), d.opt.Clock.Mono()
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.After(d.wall) {
		d.wall = now
	}
	return store.Instant{Wall: d.wall, Lease: d.start.Lease.Add(mono - d.mono)}, nil
}

// usable returns the error that every call gets after Close or after a failure of the disk.
func (d *Driver) usable() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errClosed()
	}
	return d.broken
}

// fail makes the Driver refuse all further work. After a failed fsync the kernel may have dropped
// what it could not write and report success the next time, so only recovery from the file tells what is there.
func (d *Driver) fail(cause error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken == nil {
		d.broken = fault.New(fault.Unavailable, "%s: the disk failed, so the store refuses work until it is opened again: %w", d.path, errors.Join(store.ErrBroken, cause))
	}
}

// Begin starts a transaction; a writable one waits for the one before it.
func (d *Driver) Begin(ctx context.Context, writable bool) (store.Txn, error) {
	if err := d.usable(); err != nil {
		return nil, err
	}
	if !writable {
		return d.beginRead()
	}
	select {
	case d.write <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	t, err := d.beginWrite()
	if err != nil {
		<-d.write
		return nil, err
	}
	return t, nil
}

func (d *Driver) beginWrite() (store.Txn, error) {
	if err := d.usable(); err != nil {
		return nil, err
	}
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	if err := d.checkpoint(); err != nil {
		return nil, err
	}
	if err := d.w.exec("BEGIN IMMEDIATE"); err != nil {
		return nil, d.explain(err)
	}
	return &txn{d: d, c: d.w, at: d.newest.at, writable: true, writes: map[key]store.DocWrite{}}, nil
}

// checkpointFrames is the length of the log, in pages, at which it is moved into the file.
const checkpointFrames = 2000

// checkpoint moves the log into the file when it is long. SQLite would do so by itself, but not
// tell when the disk fails. While somebody reads an old state, as a backup does, little can be moved and
// the log goes on growing; then it is tried again when the log has grown by as much, not at every commit.
func (d *Driver) checkpoint() error {
	if d.w.frames < d.moved { // the log began anew
		d.moved = 0
	}
	if d.w.frames < d.moved+checkpointFrames && !d.squeeze.due {
		return nil
	}
	d.moved, d.squeeze.due = d.w.frames, false
	rc := d.w.checkpoint(lib.SQLITE_CHECKPOINT_PASSIVE)
	if rc&0xff == lib.SQLITE_FULL && cutLog(d.path) > 0 {
		rc = d.w.checkpoint(lib.SQLITE_CHECKPOINT_PASSIVE)
	}
	switch rc & 0xff {
	case lib.SQLITE_OK, lib.SQLITE_BUSY, lib.SQLITE_LOCKED:
		return nil
	case lib.SQLITE_FULL:
		return nil // the log stays as it is; the write that needs room will say so
	}
	err := d.w.fail(rc)
	d.fail(err)
	return d.usable()
}

func (d *Driver) beginRead() (store.Txn, error) {
	m, err := d.enter()
	if err != nil {
		return nil, err
	}
	return &txn{d: d, m: m, at: m.at}, nil
}

// reader takes a connection out of the pool, or opens one.
func (d *Driver) reader() (*conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errClosed()
	}
	if n := len(d.idle); n > 0 {
		c := d.idle[n-1]
		d.idle = d.idle[:n-1]
		return c, nil
	}
	c, err := openConn(d.path, lib.SQLITE_OPEN_READWRITE)
	if err == nil {
		if err = c.once("PRAGMA query_only=1; PRAGMA cache_size=-400; PRAGMA mmap_size=0"); err != nil {
			c.close()
		}
	}
	if err != nil {
		return nil, d.explain(err)
	}
	d.readers[c] = true
	return c, nil
}

// release puts a reader back; its mutex is held.
func (d *Driver) release(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed: // and so will c be
	case len(d.idle) >= maxIdle:
		c.close()
		delete(d.readers, c)
	default:
		d.idle = append(d.idle, c)
	}
}

// Resolve looks a commit up. After a failed commit only a reopened file can tell.
func (d *Driver) Resolve(ctx context.Context, commitID string) (bool, error) {
	t, err := d.Begin(ctx, true) // so that no commit is under way
	if err != nil {
		return false, err
	}
	defer t.Rollback()
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	s, err := d.w.prepare("SELECT 1 FROM commits WHERE id=?1")
	if err != nil {
		return false, d.explain(err)
	}
	s.bindText(1, commitID)
	defer s.reset()
	found, err := s.step()
	return found, d.explain(err)
}

// Prune drops old events, some in each transaction. Commit ids are dropped by number.
func (d *Driver) Prune(ctx context.Context, before time.Time) error {
	for {
		n, err := d.pruneSome(ctx, before)
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil || n < pruneChunk {
			return err
		}
	}
}

func (d *Driver) pruneSome(ctx context.Context, before time.Time) (int, error) {
	t, err := d.Begin(ctx, true)
	if err != nil {
		return 0, err
	}
	defer t.Rollback()
	n, err := t.(*txn).dropEvents(before)
	if err != nil || n == 0 {
		return n, err
	}
	_, err = t.Commit(ctx, id.Random())
	return n, err
}

// Close waits for calls under way and closes the file; transactions that are open fail from then on.
func (d *Driver) Close() error { return d.end(true) }

// Restart gives the file up as a killed process does - the log stays as it is, transactions are
// lost - and opens it again. For tests.
func (d *Driver) Restart() (store.Driver, error) {
	if err := d.end(false); err != nil {
		return nil, err
	}
	return Open(d.path, &d.opt)
}

func (d *Driver) end(tidy bool) error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	tidy = tidy && d.broken == nil
	d.mu.Unlock()
	d.backups.Wait() // they see that it is closed
	var errs []error
	end := func(c *conn) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !tidy { // what the log holds is recovered by the next Open
			c.keepLog()
		}
		errs = append(errs, d.explain(c.close()))
	}
	for c := range d.readers { // nobody else touches it once closed
		end(c)
	}
	end(d.w)
	return errors.Join(append(errs, filelock.Close(d.lock))...)
}
