// Package postgres is the store driver for several processes on one
// PostgreSQL (15 or newer). Its SQL keeps to what CockroachDB speaks too, on
// which it has never been run.
//
// Commits are numbered, one after another, and each names what it changed. A
// transaction reads from a cache that those commits keep true, or from the
// database; it commits as number n+1 only if it has seen all up to n, and
// none of them touched what it read. So isolation is serializable whatever the
// database's own level, the feed of events has no gap, and an Update takes four round trips at most
// (see doc/design/050-postgres.md).
//
// The tables are for operators too, in a schema of their own (Options.Schema):
//
//	SELECT id, body->>'name' FROM nubecula.document WHERE kind = 'server';
//
// View document shows the documents; tables doc, entry (index entries), event
// (the feed), commits (the latest commits: who, when), change (what they changed) and meta.
// Reading is fine at any time; to change something by hand, stop every replica first.
package postgres

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/store"
)

// Options configure a Driver; nil is fine.
type Options struct {
	// Schema holds the tables; it is made when it is not there. "" means "nubecula".
	Schema string
	// Readers is how many Views may read at once; others wait. Writing, lease renewals too, has
	// connections of its own, four at most. 0 means 16.
	Readers int
	// CacheBytes bounds what is kept in memory of documents, and of indexes. 0 means 64 MiB.
	CacheBytes int
	// Poll is how often to look for commits of other replicas when no notification comes. 0 means 250 ms.
	Poll time.Duration
	// Timeout bounds one round trip, waiting for other replicas included. 0 means 10 s.
	Timeout time.Duration
	// Clock tells the time in place of the database's clock, and is waited on. nil means the
	// database's clock, and the machine's for waiting. For tests.
	Clock clock.Clock

	dial func(ctx context.Context, network, addr string) (net.Conn, error) // nil means the network
}

// Driver is the use of one schema by one replica.
type Driver struct {
	dsn     string
	opt     Options
	where   string // user, host and database, for errors
	replica string // of this run, as table commits names it
	cock    bool   // CockroachDB
	readers *pgxpool.Pool
	writers *pgxpool.Pool
	clock   *dbClock
	cache   *cache

	mu      sync.Mutex
	closed  bool
	notify  map[int]func()
	serial  int                      // of the next entry of notify
	company time.Duration            // of the clock, when another replica's commit was last seen; -1 never
	behind  bool                     // a commit of our own may not have reached the cache
	beaten  bool                     // the last transaction met a conflict: the next waits for its turn before it reads
	busy    bool                     // the last commit came second: the next waits for its turn before it writes
	handed  *pgxpool.Conn            // has the turn, for the next transaction
	commits map[string]time.Duration // when a commit of unknown outcome was tried, of the clock

	stop context.CancelFunc // ends the feed
	work sync.WaitGroup     // the feed, and connections on their way back
}

// maxWriters is how many connections write: the group commit, its urgent lane, Resolve and Prune.
const maxWriters = 4

// companyFor is how long after another replica's commit we think that it is still there: longer than lease renewals are apart.
const companyFor = 30 * time.Second

// Exclusive reports false: other replicas use the database too.
func (d *Driver) Exclusive() bool { return false }

// Now is the time by the database's clock, which never goes back in a store. It asks nobody.
func (d *Driver) Now(context.Context) (store.Instant, error) {
	if err := d.usable(); err != nil {
		return store.Instant{}, err
	}
	return d.clock.now(), nil
}

func (d *Driver) usable() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errClosed()
	}
	return nil
}

func errClosed() error { return fault.New(fault.Unavailable, "the database is closed") }

// Begin starts a transaction. A read-only one sees the newest commit at this moment. A writable one moves along with
// the commits of others as long as none touches what it has read, and is ErrConflict otherwise.
func (d *Driver) Begin(ctx context.Context, writable bool) (store.Txn, error) {
	if err := d.usable(); err != nil {
		return nil, err
	}
	if !writable {
		return d.beginView(ctx)
	}
	t := &txn{d: d, ctx: ctx}
	d.mu.Lock()
	t.turn, d.handed = d.handed, nil
	wait := d.beaten
	look := d.behind || d.company >= 0 && d.clock.c.Mono()-d.company < companyFor
	d.mu.Unlock()
	var err error
	switch {
	case t.turn != nil:
		t.fresh = true
	case wait:
		t.turn, err = d.takeTurn(ctx)
		t.fresh = true
	case look:
		err = d.look(ctx)
		t.fresh = true
	}
	if err != nil {
		return nil, err
	}
	d.cache.Lock()
	defer d.cache.Unlock()
	t.at = d.cache.n
	return t, nil
}

// bound is a context for one round trip.
func (d *Driver) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d.opt.Timeout+d.opt.Timeout/4)
}

// acquire takes a connection out of a pool.
func (d *Driver) acquire(ctx context.Context, pool *pgxpool.Pool) (*pgxpool.Conn, error) {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, d.explain(err)
	}
	return conn, nil
}

// giveBack ends a transaction on a connection and puts it back, behind the caller's back.
func (d *Driver) giveBack(conn *pgxpool.Conn) {
	if conn.Conn().IsClosed() || conn.Conn().PgConn().TxStatus() == 'I' {
		conn.Release()
		return
	}
	d.work.Go(func() {
		ctx, cancel := d.bound(context.Background())
		defer cancel()
		conn.Exec(ctx, "ROLLBACK") // if it fails the connection is closed, which ends the transaction too
		conn.Release()
	})
}

// Notify has f called after each commit of any replica: at once where the database has NOTIFY, else within Options.Poll.
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

func (d *Driver) tell() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.notify {
		f()
	}
}

// Close ends the use of the database; transactions that are open fail.
func (d *Driver) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	handed := d.handed
	d.handed = nil
	d.mu.Unlock()
	d.stop()
	if handed != nil {
		d.giveBack(handed)
	}
	d.work.Wait()
	done := make(chan struct{})
	go func() { // waits for connections that a transaction still holds
		d.readers.Close()
		d.writers.Close()
		close(done)
	}()
	ctx, cancel := d.bound(context.Background())
	defer cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errors.New("postgres: transactions were still open at Close")
	}
}

// Restart gives the database up as a killed process does and opens it again. For tests.
func (d *Driver) Restart() (store.Driver, error) {
	if err := d.Close(); err != nil {
		return nil, err
	}
	return Open(context.Background(), d.dsn, &d.opt)
}

func newReplica() string {
	var b [6]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
