package postgres

import (
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

// query is a question that the cache or the database answers.
type query interface {
	// cached answers from the cache as of commit `at`, if it can.
	cached(c *cache, at int64) bool
	// ask queues the statements that answer it.
	ask(b *pgx.Batch)
	// fill keeps an answer of the database in the cache, which is at that commit.
	fill(c *cache)
	// whole reports whether the answer of the database was the whole answer.
	whole() bool
	// note adds what was looked at.
	note(r *reads)
}

const (
	getDoc = "SELECT version, rev, body FROM doc WHERE kind=$1 AND id=$2"
	// newest reads the commits from a known one on, the last first; that one comes without its changes.
	newest = `SELECT c.n, c.replica, c.seq, c.wall, c.lease, CASE WHEN c.n > $1 THEN h.body END, clock_timestamp()
		FROM commits c LEFT JOIN change h ON h.n = c.n WHERE c.n >= $1 ORDER BY c.n DESC LIMIT $2`
	getDocs   = "SELECT d.id, d.version, d.rev, d.body FROM unnest($2::BYTEA[]) AS u(id) JOIN doc d ON d.kind=$1 AND d.id=u.id"
	getEvents = "SELECT seq, body FROM event WHERE seq > $1 ORDER BY seq LIMIT $2"
	getFloor  = "SELECT value FROM meta WHERE name='floor'"
)

// docQuery asks for a document.
type docQuery struct {
	kind, id string
	doc      store.Doc
	exists   bool
}

func (q *docQuery) cached(c *cache, at int64) bool {
	v, ok := c.doc(docKey{q.kind, q.id}, at)
	q.doc, q.exists = v.doc, v.exists
	return ok
}

func (q *docQuery) ask(b *pgx.Batch) {
	q.doc, q.exists = store.Doc{}, false
	b.Queue(getDoc, kindText(q.kind), []byte(q.id)).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			q.doc, q.exists = store.Doc{Kind: q.kind, ID: q.id, Memo: new(store.Memo)}, true
			if err := rows.Scan(&q.doc.Version, &q.doc.Rev, &q.doc.Body); err != nil {
				return err
			}
		}
		return rows.Err()
	})
}

func (q *docQuery) fill(c *cache) { c.fill(docKey{q.kind, q.id}, q.doc, q.exists) }
func (q *docQuery) whole() bool   { return true }
func (q *docQuery) note(r *reads) { r.addDoc(q.kind, q.id) }

// scanQuery asks for a range.
type scanQuery struct {
	r       store.Range
	out     []store.Entry
	missing []int // of out, when the cache knows the range but not all its documents
	partial bool  // ask for the missing ones alone
	tries   int
}

func (q *scanQuery) cached(c *cache, at int64) bool {
	q.out, q.missing, q.partial = nil, nil, false
	pairs, ok := c.scan(q.r, at)
	if !ok {
		return false
	}
	for i, p := range pairs {
		e := store.Entry{Key: []byte(p.key), Doc: store.Doc{Kind: q.r.Kind, ID: p.id}}
		v, ok := c.doc(docKey{q.r.Kind, p.id}, at)
		switch {
		case !ok:
			q.missing = append(q.missing, i)
		case v.exists:
			e.Doc = v.doc
		}
		q.out = append(q.out, e)
	}
	q.partial = len(q.missing) > 0 && q.tries == 0 && len(q.missing) <= 1000
	q.tries++
	return len(q.missing) == 0
}

func (q *scanQuery) whole() bool { return !q.partial }

func (q *scanQuery) ask(b *pgx.Batch) {
	if q.partial {
		q.askMissing(b)
		return
	}
	q.out, q.missing = nil, nil
	args := []any{kindText(q.r.Kind)}
	if q.r.Index != "" {
		args = append(args, kindText(q.r.Index))
	}
	args = append(args, notNil(q.r.From))
	if q.r.To != nil {
		args = append(args, q.r.To)
	}
	if q.r.Limit > 0 {
		args = append(args, q.r.Limit)
	}
	b.Queue(scanSQL(q.r), args...).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var key, id []byte
			var version *int
			var rev *int64
			var text []byte
			if err := rows.Scan(&key, &id, &version, &rev, &text); err != nil {
				return err
			}
			e := store.Entry{Key: key, Doc: store.Doc{Kind: q.r.Kind, ID: string(id)}}
			if version != nil {
				e.Doc.Version, e.Doc.Rev, e.Doc.Body, e.Doc.Memo = *version, *rev, text, new(store.Memo)
			}
			q.out = append(q.out, e)
		}
		return rows.Err()
	})
}

// askMissing asks for the documents that the cache does not know.
func (q *scanQuery) askMissing(b *pgx.Batch) {
	ids := make([][]byte, len(q.missing))
	at := make(map[string][]int, len(q.missing))
	for i, n := range q.missing {
		id := q.out[n].Doc.ID
		ids[i] = []byte(id)
		at[id] = append(at[id], n)
	}
	b.Queue(getDocs, kindText(q.r.Kind), ids).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var id []byte
			doc := store.Doc{Kind: q.r.Kind, Memo: new(store.Memo)}
			if err := rows.Scan(&id, &doc.Version, &doc.Rev, &doc.Body); err != nil {
				return err
			}
			doc.ID = string(id)
			for _, n := range at[doc.ID] {
				q.out[n].Doc = doc
			}
		}
		return rows.Err()
	})
}

func (q *scanQuery) fill(c *cache) {
	if q.partial {
		for _, n := range q.missing {
			q.fillDoc(c, &q.out[n])
		}
		return
	}
	pairs := make([]pair, len(q.out))
	for i := range q.out {
		pairs[i] = pair{string(q.out[i].Key), q.out[i].Doc.ID}
		q.fillDoc(c, &q.out[i])
	}
	c.fillRange(q.r, pairs)
}

func (q *scanQuery) fillDoc(c *cache, e *store.Entry) {
	c.fill(docKey{q.r.Kind, e.Doc.ID}, e.Doc, e.Doc.Body != nil)
}

func (q *scanQuery) note(r *reads) {
	last := ""
	for i := range q.out {
		r.addDoc(q.r.Kind, q.out[i].Doc.ID)
		last = string(q.out[i].Key)
	}
	r.addSpan(space{q.r.Kind, q.r.Index}, walked(q.r, len(q.out), last))
}

// scanSQL is one of sixteen statements, each planned once for a connection.
func scanSQL(r store.Range) string {
	sql, key, n := "SELECT e.key, e.id, d.version, d.rev, d.body FROM entry e LEFT JOIN doc d ON d.kind=e.kind AND d.id=e.id WHERE e.kind=$1 AND e.name=$2", "e.key", 2
	if r.Index == "" {
		sql, key, n = "SELECT id, id, version, rev, body FROM doc WHERE kind=$1", "id", 1
	}
	arg := func() string { n++; return "$" + string(rune('0'+n)) }
	sql += " AND " + key + ">=" + arg()
	if r.To != nil {
		sql += " AND " + key + "<" + arg()
	}
	sql += " ORDER BY " + key
	if r.Reverse {
		sql += " DESC"
	}
	if r.Limit > 0 {
		sql += " LIMIT " + arg()
	}
	return sql
}

// eventQuery asks for a part of the feed. Nothing of it is cached.
type eventQuery struct {
	after int64
	limit int
	floor int64
	out   []event.Event
}

func (q *eventQuery) cached(*cache, int64) bool { return false }
func (q *eventQuery) fill(*cache)               {}
func (q *eventQuery) whole() bool               { return true }
func (q *eventQuery) note(*reads)               {}

func (q *eventQuery) ask(b *pgx.Batch) {
	q.out = nil
	b.Queue(getFloor).QueryRow(func(row pgx.Row) error { return row.Scan(&q.floor) })
	b.Queue(getEvents, q.after, q.limit).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var seq int64
			var text []byte
			if err := rows.Scan(&seq, &text); err != nil {
				return err
			}
			var e event.Event
			if err := json.Unmarshal(text, &e); err != nil {
				return fault.New(fault.Corrupt, "postgres: event %d cannot be read: %w", seq, err)
			}
			e.Seq = seq
			q.out = append(q.out, e)
		}
		return rows.Err()
	})
}

func (q *eventQuery) answer() ([]event.Event, error) {
	if q.after < q.floor {
		return nil, fault.New(fault.Gone, "events after cursor %d were dropped up to %d: list the resources again and continue from there", q.after, q.floor)
	}
	return q.out, nil
}

// catchUp asks for the commits after one.
type catchUp struct {
	rows []commit // oldest first
	said time.Time
	mine map[int64]bool
}

func (u *catchUp) ask(b *pgx.Batch, d *Driver, after int64) {
	b.Queue(newest, after, keepLog).Query(func(rows pgx.Rows) error {
		u.rows, u.mine = nil, map[int64]bool{}
		for rows.Next() {
			var c commit
			var replica string
			if err := rows.Scan(&c.n, &replica, &c.seq, &c.wall, &c.lease, &c.changes, &u.said); err != nil {
				return err
			}
			u.mine[c.n] = replica == d.replica
			u.rows = append(u.rows, c)
		}
		for i, j := 0, len(u.rows)-1; i < j; i, j = i+1, j-1 {
			u.rows[i], u.rows[j] = u.rows[j], u.rows[i]
		}
		return rows.Err()
	})
}

// newest is the newest commit that was read.
func (u *catchUp) newest() int64 { return u.rows[len(u.rows)-1].n }
