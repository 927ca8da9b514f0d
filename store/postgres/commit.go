package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

// Every statement that writes asks whether the commit under way got its number; if it did not, COMMIT commits nothing.
const (
	lockTurn  = "SELECT value FROM meta WHERE name='turn' FOR UPDATE"
	putCommit = `INSERT INTO commits(n, id, replica, seq, wall, lease) SELECT $1::INT8 + 1, $2::TEXT, $3::TEXT, $4::INT8, $5::INT8, $6::INT8
		WHERE (SELECT max(n) FROM commits) = $1`
	ifOurs    = " WHERE EXISTS (SELECT 1 FROM commits WHERE id=$1 AND n > 0)"
	putChange = "INSERT INTO change(n, body) SELECT $2::INT8, $3::BYTEA" + ifOurs
	putDocs   = "INSERT INTO doc(kind, id, version, rev, body) SELECT k, i, v, r, b FROM unnest($2::TEXT[], $3::BYTEA[], $4::INT8[], $5::INT8[], $6::TEXT[]) AS u(k, i, v, r, b)" + ifOurs +
		" ON CONFLICT (kind, id) DO UPDATE SET version=excluded.version, rev=excluded.rev, body=excluded.body"
	deleteDocs = "DELETE FROM doc" + ifOurs + " AND (kind, id) IN (SELECT k, i FROM unnest($2::TEXT[], $3::BYTEA[]) AS u(k, i))"
	putEntries = "INSERT INTO entry(kind, name, key, id) SELECT k, n, e, i FROM unnest($2::TEXT[], $3::TEXT[], $4::BYTEA[], $5::BYTEA[]) AS u(k, n, e, i)" + ifOurs +
		" ON CONFLICT (kind, name, key) DO UPDATE SET id=excluded.id"
	deleteEntries = "DELETE FROM entry" + ifOurs + " AND (kind, name, key) IN (SELECT k, n, e FROM unnest($2::TEXT[], $3::TEXT[], $4::BYTEA[]) AS u(k, n, e))"
	putEvents     = "INSERT INTO event(seq, at, body) SELECT s, a, b FROM unnest($2::INT8[], $3::INT8[], $4::TEXT[]) AS u(s, a, b)" + ifOurs
	wakeOthers    = "SELECT pg_notify($2, '')" + ifOurs
	fence         = "INSERT INTO commits(n, id, replica, seq, wall, lease) VALUES($1, $2, $3, 0, $4, 0) ON CONFLICT (id) DO UPDATE SET id=excluded.id RETURNING n"
)

func (d *Driver) begin() string {
	if d.cock {
		return "BEGIN" // serializable
	}
	return "BEGIN ISOLATION LEVEL READ COMMITTED"
}

// keepTurn is how long the server lets a replica keep the turn without a word: it may have been frozen.
const keepTurn = "SET LOCAL idle_in_transaction_session_timeout = '3s'"

// takeTurn waits until no other replica commits, and catches up: one round trip. Until the transaction on
// the connection ends nobody else commits.
func (d *Driver) takeTurn(ctx context.Context) (*pgxpool.Conn, error) {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	var up *catchUp
	conn, err := d.ask(ctx, d.writers, func(b *pgx.Batch) {
		up = &catchUp{}
		b.Queue(d.begin())
		b.Queue(keepTurn)
		b.Queue(lockTurn).QueryRow(func(row pgx.Row) error { var v int64; return row.Scan(&v) })
		up.ask(b, d, d.position())
	})
	if err != nil {
		return nil, err
	}
	if err := d.absorb(up); err != nil {
		d.giveBack(conn)
		return nil, err
	}
	d.mu.Lock()
	d.behind = false
	d.mu.Unlock()
	return conn, nil
}

// Validate makes sure that what was read was so at some time after Begin.
func (t *txn) Validate(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return errEnded()
	}
	if !t.fresh && !t.reads.empty() && !t.doomed {
		if err := t.d.look(ctx); err != nil {
			return err
		}
	}
	t.d.cache.Lock()
	ok := t.doomed || t.fresh && t.turn == nil || t.advance()
	ok = ok && !t.doomed
	t.d.cache.Unlock()
	t.d.met(!ok)
	t.end()
	if !ok {
		return store.ErrConflict
	}
	return nil
}

// met notes whether a transaction met a conflict.
func (d *Driver) met(conflict bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.beaten = conflict
}

// Commit makes the transaction the next commit. Without its turn it tries its luck; who comes second waits for the turn.
func (t *txn) Commit(ctx context.Context, commitID string) (int64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return 0, errEnded()
	}
	if err := t.d.usable(); err != nil {
		return 0, err
	}
	defer t.end()
	d := t.d
	d.mu.Lock()
	wait := d.busy
	d.mu.Unlock()
	for {
		if wait && t.turn == nil {
			var err error
			if t.turn, err = d.takeTurn(ctx); err != nil {
				return 0, err
			}
		}
		d.cache.Lock()
		ok := t.advance()
		seq := d.cache.seq
		d.cache.Unlock()
		if !ok {
			d.hand(t)
			d.met(true)
			return 0, store.ErrConflict
		}
		w := t.writes(commitID, seq)
		won, err := t.try(ctx, w)
		switch {
		case err != nil:
			return 0, err
		case won:
			d.mu.Lock()
			d.busy, d.beaten = d.busy && wait && rand.IntN(8) > 0, false // look now and then whether the others rest
			d.mu.Unlock()
			if len(t.events) == 0 {
				return 0, nil
			}
			return seq + 1, nil
		case t.turn != nil: // the server took the turn away
			d.met(true)
			return 0, store.ErrConflict
		}
		d.mu.Lock()
		d.busy = true
		d.mu.Unlock()
		wait = true
	}
}

// hand leaves the turn to the next transaction, which is the same work once more.
func (d *Driver) hand(t *txn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t.turn != nil && d.handed == nil && !d.closed {
		d.handed, t.turn = t.turn, nil
	}
}

// written is a transaction in the form in which it is sent.
type written struct {
	id      string
	n, seq  int64 // of the commit before
	now     store.Instant
	changes []change
	body    []byte
	docs    []store.DocWrite
	index   []store.IndexWrite
	events  []event.Event
}

func (t *txn) writes(commitID string, seq int64) *written {
	w := &written{id: commitID, n: t.at, seq: seq, now: t.d.clock.now(), events: t.events}
	for _, k := range t.order {
		w.docs = append(w.docs, *t.docs[k])
	}
	for _, entries := range t.index {
		for _, e := range entries {
			w.index = append(w.index, e)
		}
	}
	w.changes = changesOf(w.docs, w.index)
	w.body = encodeChanges(w.changes)
	return w
}

// try sends the commit in one round trip. Not won: another was first, and the cache has caught up with it.
func (t *txn) try(ctx context.Context, w *written) (won bool, err error) {
	d := t.d
	ctx, cancel := d.bound(ctx)
	defer cancel()
	conn := t.turn
	b := &pgx.Batch{}
	up := &catchUp{}
	if conn == nil {
		if conn, err = d.acquire(ctx, d.writers); err != nil {
			return false, err
		}
		defer conn.Release()
		b.Queue(d.begin())
		b.Queue(lockTurn).QueryRow(func(row pgx.Row) error { var v int64; return row.Scan(&v) })
		up.ask(b, d, w.n)
	}
	b.Queue(putCommit, w.n, w.id, d.replica, w.seq+int64(len(w.events)), nanos(w.now.Wall), nanos(w.now.Lease)).
		Exec(func(tag pgconn.CommandTag) error { won = tag.RowsAffected() == 1; return nil })
	if err := w.queue(b); err != nil {
		return false, err
	}
	if !d.cock {
		b.Queue(wakeOthers, w.id, d.channel())
	}
	b.Queue("COMMIT")
	if err := conn.SendBatch(ctx, b).Close(); err != nil {
		return false, d.failed(w, err)
	}
	if won {
		d.won(w)
		return true, nil
	}
	if len(up.rows) > 0 {
		err = d.absorb(up)
	}
	return false, err
}

// failed says what a commit that ended in an error has come to.
func (d *Driver) failed(w *written, err error) error {
	if !mayHaveHappened(err) {
		if isCut(err) { // nothing was sent: the server may have been restarted since the connection was used
			d.writers.Reset()
			return store.ErrConflict
		}
		err = d.explain(err)
		if err == store.ErrConflict {
			d.met(true)
		}
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.behind = true
	d.commits[w.id] = d.clock.c.Mono()
	return fault.New(fault.Unavailable, "%s: the connection was lost inside a commit: %w", d.where, errors.Join(store.ErrUnknown, err))
}

// won takes over a commit of our own.
func (d *Driver) won(w *written) {
	d.cache.Lock()
	if d.cache.n == w.n { // else the feed was faster
		d.cache.apply(w.n+1, w.seq+int64(len(w.events)), w.changes)
	}
	d.cache.Unlock()
	d.clock.seen(nanos(w.now.Wall), nanos(w.now.Lease))
}

// queue queues the statements that write, whole tables at a time.
func (w *written) queue(b *pgx.Batch) error {
	b.Queue(putChange, w.id, w.n+1, w.body)
	var kinds, bodies, goneKinds []string
	var ids, gone [][]byte
	var versions, revs []int64
	for i := range w.docs {
		x := &w.docs[i]
		if x.Delete {
			goneKinds, gone = append(goneKinds, kindText(x.Kind)), append(gone, []byte(x.ID))
			continue
		}
		kinds, ids, bodies = append(kinds, kindText(x.Kind)), append(ids, []byte(x.ID)), append(bodies, string(x.Body))
		versions, revs = append(versions, int64(x.Version)), append(revs, x.Rev)
	}
	if len(gone) > 0 {
		b.Queue(deleteDocs, w.id, goneKinds, gone)
	}
	if len(ids) > 0 {
		b.Queue(putDocs, w.id, kinds, ids, versions, revs, bodies)
	}
	w.queueEntries(b)
	return w.queueEvents(b)
}

func (w *written) queueEntries(b *pgx.Batch) {
	var kinds, names, goneKinds, goneNames []string
	var keys, ids, gone [][]byte
	for i := range w.index {
		x := &w.index[i]
		if x.Delete {
			goneKinds, goneNames, gone = append(goneKinds, kindText(x.Kind)), append(goneNames, kindText(x.Index)), append(gone, notNil(x.Key))
			continue
		}
		kinds, names = append(kinds, kindText(x.Kind)), append(names, kindText(x.Index))
		keys, ids = append(keys, notNil(x.Key)), append(ids, []byte(x.ID))
	}
	if len(gone) > 0 {
		b.Queue(deleteEntries, w.id, goneKinds, goneNames, gone)
	}
	if len(keys) > 0 {
		b.Queue(putEntries, w.id, kinds, names, keys, ids)
	}
}

func (w *written) queueEvents(b *pgx.Batch) error {
	var seqs, times []int64
	var bodies []string
	for i, e := range w.events {
		e.Seq = w.seq + int64(i) + 1
		text, err := json.Marshal(e)
		if err != nil {
			return fault.New(fault.Internal, "event %s cannot be stored: %w", e.Type, err)
		}
		seqs, times, bodies = append(seqs, e.Seq), append(times, nanos(e.Time)), append(bodies, string(text))
	}
	if len(seqs) > 0 {
		b.Queue(putEvents, w.id, seqs, times, bodies)
	}
	return nil
}

// resolvable is how long after a commit was tried its outcome can be asked for; table commits keeps more.
const resolvable = 10 * time.Minute

// Resolve settles a commit: if it has not happened, its id is taken, so that it never will.
func (d *Driver) Resolve(ctx context.Context, commitID string) (bool, error) {
	if err := d.usable(); err != nil {
		return false, err
	}
	d.mu.Lock()
	tried, known := d.commits[commitID]
	d.mu.Unlock()
	if known && d.clock.c.Mono()-tried > resolvable {
		return false, fault.New(fault.Unavailable, "%s was away for longer than the outcome of a commit is kept (%s): look what is there: %w", d.where, resolvable, store.ErrBroken)
	}
	ctx, cancel := d.bound(ctx)
	defer cancel()
	var n int64
	conn, err := d.ask(ctx, d.writers, func(b *pgx.Batch) {
		b.Queue(fence, -1-rand.Int64N(1<<62), commitID, d.replica, nanos(d.clock.now().Wall)).QueryRow(func(row pgx.Row) error { return row.Scan(&n) })
	})
	if err != nil {
		return false, err
	}
	conn.Release()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.commits, commitID)
	return n > 0, nil
}

// nanos is a time as the tables hold it; out of range it is the nearest that fits.
func nanos(t time.Time) int64 {
	switch {
	case t.Year() < 1700:
		return -1 << 63
	case t.Year() > 2200:
		return 1<<63 - 1
	}
	return t.UnixNano()
}
