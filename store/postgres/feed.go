package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

func (d *Driver) channel() string { return "nubecula_" + d.opt.Schema }

// feed looks for new commits, when told that there may be some and every Options.Poll, and tells who
// wants to know. A lost connection is made again.
func (d *Driver) feed(ctx context.Context, config *pgx.ConnConfig) {
	var conn *pgx.Conn
	hangUp := func() {
		if conn != nil {
			closing, cancel := context.WithTimeout(context.Background(), time.Second)
			conn.Close(closing)
			cancel()
			conn = nil
		}
	}
	defer hangUp()
	wait := time.Duration(0)
	trimmed := d.position()
	for ctx.Err() == nil {
		if conn == nil {
			if d.clock.c.Sleep(ctx, wait) != nil {
				return
			}
			wait = min(max(2*wait, d.opt.Poll), 5*time.Second)
			var err error
			if conn, err = d.listen(ctx, config); err != nil {
				continue
			}
		}
		if err := d.lookOn(ctx, conn); err != nil {
			hangUp()
			continue
		}
		if n := d.position(); n-trimmed >= keepLog {
			trimmed = n
			if d.trim(ctx, conn, n) != nil {
				hangUp()
				continue
			}
		}
		wait = 0
		if !d.await(ctx, conn) {
			hangUp()
		}
	}
}

func (d *Driver) listen(ctx context.Context, config *pgx.ConnConfig) (*pgx.Conn, error) {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil || d.cock {
		return conn, err
	}
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{d.channel()}.Sanitize()); err != nil {
		conn.Close(ctx)
		return nil, err
	}
	return conn, nil
}

func (d *Driver) lookOn(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	up := &catchUp{}
	b := &pgx.Batch{}
	up.ask(b, d, d.position())
	if err := conn.SendBatch(ctx, b).Close(); err != nil {
		return err
	}
	return d.absorb(up)
}

// await waits for a notification or the time to look again; false: the connection is dead.
func (d *Driver) await(ctx context.Context, conn *pgx.Conn) bool {
	if d.cock {
		d.clock.c.Sleep(ctx, d.opt.Poll)
		return true
	}
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	defer d.clock.c.AfterFunc(d.opt.Poll, cancel)()
	_, err := conn.WaitForNotification(waiting)
	return err == nil || errors.Is(err, context.Canceled) && !conn.IsClosed()
}

const (
	keepCommits = 15 * time.Minute // more than resolvable
	trimChange  = "DELETE FROM change WHERE n <= $1"
	trimCommits = `DELETE FROM commits WHERE n IN (SELECT n FROM (SELECT n, wall FROM commits WHERE n <= $1 AND n > 0 ORDER BY n LIMIT 1000) AS o WHERE wall < $2)`
	trimFences  = "DELETE FROM commits WHERE n < 0 AND wall < $1"
)

// trim drops what no replica asks for any more.
func (d *Driver) trim(ctx context.Context, conn *pgx.Conn, n int64) error {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	before := nanos(d.clock.now().Wall.Add(-keepCommits))
	b := &pgx.Batch{}
	b.Queue(trimChange, n-4*keepLog)
	b.Queue(trimCommits, n-4*keepLog, before)
	b.Queue(trimFences, before)
	return conn.SendBatch(ctx, b).Close()
}

const (
	pruneChunk   = 4096 // the most events that one transaction drops
	oldEvents    = "SELECT seq, at FROM event ORDER BY seq LIMIT $1"
	raiseFloor   = "UPDATE meta SET value=$1 WHERE name='floor' AND value < $1"
	deleteEvents = "DELETE FROM event WHERE seq <= $1"
)

// Prune drops old events, some in each transaction.
func (d *Driver) Prune(ctx context.Context, before time.Time) error {
	for {
		n, err := d.pruneSome(ctx, nanos(before))
		if err != nil || n < pruneChunk {
			return err
		}
	}
}

func (d *Driver) pruneSome(ctx context.Context, before int64) (n int, err error) {
	if err := d.usable(); err != nil {
		return 0, err
	}
	ctx, cancel := d.bound(ctx)
	defer cancel()
	var last int64
	conn, err := d.ask(ctx, d.writers, func(b *pgx.Batch) {
		n = 0
		b.Queue(oldEvents, pruneChunk).Query(func(rows pgx.Rows) error {
			old := true
			for rows.Next() {
				var seq, at int64
				if err := rows.Scan(&seq, &at); err != nil {
					return err
				}
				if old = old && at < before; old {
					n, last = n+1, seq
				}
			}
			return rows.Err()
		})
	})
	if err != nil {
		return 0, err
	}
	defer conn.Release()
	if n == 0 {
		return 0, nil
	}
	b := &pgx.Batch{}
	b.Queue(d.begin())
	b.Queue(raiseFloor, last)
	b.Queue(deleteEvents, last)
	b.Queue("COMMIT")
	return n, d.explain(conn.SendBatch(ctx, b).Close())
}
