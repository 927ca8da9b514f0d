package postgres

import (
	"context"
	"errors"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

// view is a read-only transaction on one snapshot of the database.
type view struct {
	d    *Driver
	ctx  context.Context
	at   int64 // the newest commit it sees
	mu   sync.Mutex
	conn *pgxpool.Conn // nil at its end
}

func (d *Driver) snapshot() string {
	if d.cock {
		return "BEGIN READ ONLY"
	}
	return "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
}

// beginView takes a snapshot and catches up with it: one round trip.
func (d *Driver) beginView(ctx context.Context) (store.Txn, error) {
	bounded, cancel := d.bound(ctx)
	defer cancel()
	var up *catchUp
	conn, err := d.ask(bounded, d.readers, func(b *pgx.Batch) {
		up = &catchUp{}
		b.Queue(d.snapshot())
		up.ask(b, d, d.position())
	})
	if err != nil {
		return nil, err
	}
	if err := d.absorb(up); err != nil {
		d.giveBack(conn)
		return nil, err
	}
	return &view{d: d, ctx: ctx, at: up.newest(), conn: conn}, nil
}

// ask sends a batch that changes nothing on a connection of a pool, once more if the connection turns out to
// be dead: the server may have been restarted since it was used. It returns the connection.
func (d *Driver) ask(ctx context.Context, pool *pgxpool.Pool, queue func(b *pgx.Batch)) (*pgxpool.Conn, error) {
	for again := false; ; again = true {
		conn, err := d.acquire(ctx, pool)
		if err != nil {
			return nil, err
		}
		b := &pgx.Batch{}
		queue(b)
		err = conn.SendBatch(ctx, b).Close()
		if err == nil {
			return conn, nil
		}
		dead := conn.Conn().IsClosed()
		conn.Release()
		if again || !dead || ctx.Err() != nil || !isCut(err) {
			return nil, d.explain(err)
		}
		pool.Reset() // the others are as dead
	}
}

// isCut reports whether a connection was lost, as against a statement refused.
func isCut(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code == "57P01" || pg.Code == "57P02" || pg.Code == "57P03"
	}
	return true
}

func (d *Driver) position() int64 {
	d.cache.Lock()
	defer d.cache.Unlock()
	return d.cache.n
}

// absorb takes over commits that were read.
func (d *Driver) absorb(up *catchUp) error {
	if len(up.rows) == 0 {
		return fault.New(fault.Corrupt, "%s: table commits in schema %s is empty: restore it from a backup", d.where, d.opt.Schema)
	}
	last := up.rows[len(up.rows)-1]
	d.cache.Lock()
	before := d.cache.n
	moved, err := d.cache.catchUp(up.rows)
	d.cache.Unlock()
	if err != nil {
		return fault.New(fault.Corrupt, "%s: schema %s: %w", d.where, d.opt.Schema, err)
	}
	d.clock.observe(up.said)
	d.clock.seen(last.wall, last.lease)
	if !moved {
		return nil
	}
	d.mu.Lock()
	for _, row := range up.rows {
		if row.n > before && !up.mine[row.n] {
			d.company = d.clock.c.Mono()
		}
	}
	d.mu.Unlock()
	d.tell()
	return nil
}

// look catches up: one round trip.
func (d *Driver) look(ctx context.Context) error {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	up := &catchUp{}
	conn, err := d.ask(ctx, d.writers, func(b *pgx.Batch) { up.ask(b, d, d.position()) })
	if err != nil {
		return err
	}
	conn.Release()
	d.mu.Lock()
	d.behind = false
	d.mu.Unlock()
	return d.absorb(up)
}

// answer answers a query from the cache or from the snapshot.
func (v *view) answer(q query) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.conn == nil {
		return errEnded()
	}
	if err := v.d.usable(); err != nil {
		return err
	}
	c := v.d.cache
	c.Lock()
	done := q.cached(c, v.at)
	c.Unlock()
	if done {
		return nil
	}
	ctx, cancel := v.d.bound(v.ctx)
	defer cancel()
	b := &pgx.Batch{}
	q.ask(b)
	if err := v.conn.SendBatch(ctx, b).Close(); err != nil {
		return v.d.explain(err)
	}
	c.Lock()
	if c.n == v.at {
		q.fill(c)
	}
	c.Unlock()
	return nil
}

func errEnded() error {
	return fault.New(fault.Internal, "postgres: use of a transaction after its end")
}

func errReadOnly() error {
	return fault.New(fault.Internal, "postgres: write in a read-only transaction")
}

func (v *view) Get(kind, id string) (store.Doc, bool, error) {
	q := &docQuery{kind: kind, id: id}
	err := v.answer(q)
	return q.doc, q.exists && err == nil, err
}

func (v *view) Scan(r store.Range) ([]store.Entry, error) {
	q := &scanQuery{r: r}
	err := v.answer(q)
	if err != nil {
		return nil, err
	}
	return q.out, nil
}

func (v *view) Events(after int64, limit int) ([]event.Event, error) {
	q := &eventQuery{after: after, limit: limit}
	if err := v.answer(q); err != nil {
		return nil, err
	}
	return q.answer()
}

func (v *view) Apply(*store.Batch) error { return errReadOnly() }

func (v *view) Commit(context.Context, string) (int64, error) { return 0, errReadOnly() }

func (v *view) Validate(context.Context) error { return nil }

func (v *view) Rollback() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.conn != nil {
		v.d.giveBack(v.conn)
		v.conn = nil
	}
}
