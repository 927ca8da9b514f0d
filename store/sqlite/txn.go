package sqlite

import (
	"context"
	"encoding/json"
	"time"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"

	lib "modernc.org/sqlite/lib"
)

// txn is one transaction: of SQLite's on one connection or, as long as the cache is enough, none.
type txn struct {
	d        *Driver
	c        *conn // nil while a reading one has not needed it
	own      bool  // nobody else reads by c
	m        *moment
	at       int64 // the newest commit it sees
	writable bool
	done     bool
	writes   map[key]store.DocWrite
	events   int64
}

const (
	getDoc    = "SELECT version, rev, body FROM doc WHERE kind=?1 AND id=?2"
	putDoc    = "INSERT INTO doc(kind, id, version, rev, body) VALUES(?1,?2,?3,?4,?5) ON CONFLICT(kind, id) DO UPDATE SET version=excluded.version, rev=excluded.rev, body=excluded.body"
	deleteDoc = "DELETE FROM doc WHERE kind=?1 AND id=?2"

	putEntry    = "INSERT INTO entry(kind, name, key, id) VALUES(?1,?2,?3,?4) ON CONFLICT(kind, name, key) DO UPDATE SET id=excluded.id"
	deleteEntry = "DELETE FROM entry WHERE kind=?1 AND name=?2 AND key=?3"

	scanEntry = "SELECT key, id FROM entry WHERE kind=?1 AND name=?2"
	scanDoc   = "SELECT id, id, version, rev, body FROM doc WHERE kind=?1"

	getEvents   = "SELECT seq, body FROM event WHERE seq>?1 ORDER BY seq LIMIT ?2"
	putEvent    = "INSERT INTO event(seq, at, body) VALUES(?1,?2,?3)"
	putCommit   = "INSERT INTO commits(n, id, wall, lease) VALUES(?1,?2,?3,?4)"
	trimCommits = "DELETE FROM commits WHERE n<=?1"
	floor       = "SELECT value FROM meta WHERE name='floor'"
)

// use locks the connection for one call, unless the transaction is over.
func (t *txn) use() (unlock func(), err error) {
	if t.done {
		return nil, errOver()
	}
	if t.c == nil {
		if t.c, t.own, err = t.d.look(t.m); err != nil {
			t.c = nil
			return nil, err
		}
	}
	t.c.mu.Lock()
	if t.c.db == 0 {
		t.c.mu.Unlock()
		return nil, errClosed()
	}
	return t.c.mu.Unlock, nil
}

func errOver() error {
	return fault.New(fault.Internal, "sqlite: use of a transaction after its end")
}

func (t *txn) Get(kind, id string) (store.Doc, bool, error) {
	if t.done {
		return store.Doc{}, false, errOver()
	}
	if !t.writable {
		if doc, exists, known := t.d.cache.get(kind, id, t.at); known {
			return doc, exists, t.d.usable()
		}
	}
	unlock, err := t.use()
	if err != nil {
		return store.Doc{}, false, err
	}
	defer unlock()
	doc, ok, err := t.get(kind, id, true)
	return doc, ok, t.d.explain(err)
}

// get reads a document; keep says whether the cache should hold it from now on.
func (t *txn) get(kind, id string, keep bool) (store.Doc, bool, error) {
	if t.writable {
		if w, ok := t.writes[key{kind, id}]; ok {
			return w.Doc, !w.Delete, nil
		}
	}
	if doc, exists, known := t.d.cache.get(kind, id, t.at); known {
		return doc, exists, nil
	}
	s, err := t.c.prepare(getDoc)
	if err != nil {
		return store.Doc{}, false, err
	}
	s.bindText(1, kind)
	s.bindText(2, id)
	defer s.reset()
	if ok, err := s.step(); err != nil || !ok {
		if err == nil && keep {
			t.d.cache.fillAbsent(kind, id, t.at)
		}
		return store.Doc{}, false, err
	}
	doc := store.Doc{Kind: kind, ID: id, Version: int(s.int(0)), Rev: s.int(1), Body: s.bytes(2)}
	if keep {
		doc.Memo = new(store.Memo)
		t.d.cache.fill(doc, t.at)
	}
	return doc, true, nil
}

// keepScanned is the longest scan whose documents enter the cache.
const keepScanned = 32

func (t *txn) Scan(r store.Range) ([]store.Entry, error) {
	unlock, err := t.use()
	if err != nil {
		return nil, err
	}
	defer unlock()
	out, err := t.scan(r)
	return out, t.d.explain(err)
}

func (t *txn) scan(r store.Range) ([]store.Entry, error) {
	out, err := t.rows(r)
	if err != nil || r.Index == "" {
		return out, err
	}
	for i := range out {
		doc, ok, err := t.get(r.Kind, out[i].Doc.ID, len(out) <= keepScanned)
		if err != nil {
			return nil, err
		}
		if ok {
			out[i].Doc = doc
		}
	}
	return out, nil
}

// rows reads entries, whose documents have Kind and ID alone, or documents.
func (t *txn) rows(r store.Range) ([]store.Entry, error) {
	s, err := t.c.prepare(scanSQL(r))
	if err != nil {
		return nil, err
	}
	defer s.reset()
	s.bindText(1, r.Kind)
	bind := s.bindBlob
	if r.Index == "" {
		bind = s.bindBody
	} else {
		s.bindText(2, r.Index)
	}
	bind(3, r.From)
	if r.To != nil {
		bind(4, r.To)
	}
	s.bindInt(5, -1)
	if r.Limit > 0 {
		s.bindInt(5, int64(r.Limit))
	}
	var out []store.Entry
	for {
		row, err := s.step()
		if err != nil || !row {
			return out, err
		}
		e := store.Entry{Key: s.bytes(0), Doc: store.Doc{Kind: r.Kind, ID: string(s.bytes(1))}}
		if r.Index == "" {
			e.Doc.Version, e.Doc.Rev, e.Doc.Body = int(s.int(2)), s.int(3), s.bytes(4)
		}
		out = append(out, e)
	}
}

// scanSQL is one of eight statements; each is compiled once for a connection.
func scanSQL(r store.Range) string {
	sql, key := scanEntry, "key"
	if r.Index == "" {
		sql, key = scanDoc, "id"
	}
	sql += " AND " + key + ">=?3"
	if r.To != nil {
		sql += " AND " + key + "<?4"
	}
	sql += " ORDER BY " + key
	if r.Reverse {
		sql += " DESC"
	}
	return sql + " LIMIT ?5"
}

func (t *txn) Events(after int64, limit int) ([]event.Event, error) {
	unlock, err := t.use()
	if err != nil {
		return nil, err
	}
	defer unlock()
	low, err := t.c.integer(floor)
	if err != nil {
		return nil, t.d.explain(err)
	}
	if after < low {
		return nil, fault.New(fault.Gone, "events after cursor %d were dropped up to %d: list the resources again and continue from there", after, low)
	}
	s, err := t.c.prepare(getEvents)
	if err != nil {
		return nil, t.d.explain(err)
	}
	defer s.reset()
	s.bindInt(1, after)
	s.bindInt(2, int64(limit))
	var out []event.Event
	for {
		row, err := s.step()
		if err != nil || !row {
			return out, t.d.explain(err)
		}
		var e event.Event
		if err := json.Unmarshal(s.bytes(1), &e); err != nil {
			return nil, fault.New(fault.Corrupt, "%s: event %d cannot be read: %w", t.d.path, s.int(0), err)
		}
		e.Seq = s.int(0)
		out = append(out, e)
	}
}

func (t *txn) Apply(b *store.Batch) error {
	unlock, err := t.use()
	if err != nil {
		return err
	}
	defer unlock()
	if !t.writable {
		return fault.New(fault.Internal, "sqlite: write in a read-only transaction")
	}
	return t.explain(t.apply(b))
}

func (t *txn) apply(b *store.Batch) error {
	for i := range b.Docs {
		if err := t.putDoc(&b.Docs[i]); err != nil {
			return err
		}
	}
	for i := range b.Index {
		if err := t.putEntry(&b.Index[i]); err != nil {
			return err
		}
	}
	for _, e := range b.Events {
		e.Seq = t.d.seq + t.events + 1
		if err := t.putEvent(e); err != nil {
			return err
		}
		t.events++
	}
	return nil
}

func (t *txn) putDoc(w *store.DocWrite) error {
	sql := putDoc
	if w.Delete {
		sql = deleteDoc
	}
	s, err := t.c.prepare(sql)
	if err != nil {
		return err
	}
	s.bindText(1, w.Kind)
	s.bindText(2, w.ID)
	if !w.Delete {
		s.bindInt(3, int64(w.Version))
		s.bindInt(4, w.Rev)
		s.bindBody(5, w.Body)
	}
	t.writes[key{w.Kind, w.ID}] = *w
	return s.run()
}

func (t *txn) putEntry(w *store.IndexWrite) error {
	sql := putEntry
	if w.Delete {
		sql = deleteEntry
	}
	s, err := t.c.prepare(sql)
	if err != nil {
		return err
	}
	s.bindText(1, w.Kind)
	s.bindText(2, w.Index)
	s.bindBlob(3, w.Key)
	if !w.Delete {
		s.bindText(4, w.ID)
	}
	return s.run()
}

func (t *txn) putEvent(e event.Event) error {
	body, err := json.Marshal(e)
	if err != nil {
		return fault.New(fault.Internal, "event %s cannot be stored: %w", e.Type, err)
	}
	s, err := t.c.prepare(putEvent)
	if err != nil {
		return err
	}
	s.bindInt(1, e.Seq)
	s.bindInt(2, nanos(e.Time))
	s.bindBody(3, body)
	return s.run()
}

func (t *txn) Commit(ctx context.Context, commitID string) (int64, error) {
	now, err := t.d.Now(ctx)
	if err != nil {
		return 0, err
	}
	unlock, err := t.use()
	if err != nil {
		return 0, err
	}
	defer unlock()
	if !t.writable {
		return 0, fault.New(fault.Internal, "commit of a read-only transaction")
	}
	if err := t.number(commitID, now); err != nil {
		return 0, t.explain(err)
	}
	if err := t.d.share(); err != nil {
		return 0, err
	}
	n := t.at + 1
	t.d.cache.begin(n, t.writes)
	if err := t.c.commit(); err != nil {
		t.d.cache.undo(n, t.writes)
		t.d.next(t.at) // one that nobody has shared, so that the log can begin anew
		if code(err) == lib.SQLITE_IOERR {
			t.d.fail(err)
			return 0, store.ErrUnknown
		}
		return 0, t.explain(err)
	}
	t.d.squeeze = squeeze{}
	var first int64
	if t.events > 0 {
		first = t.d.seq + 1
	}
	t.d.next(n)
	t.d.seq += t.events
	t.finish()
	return first, nil
}

// Validate has nothing to do: a transaction sees one state.
func (t *txn) Validate(context.Context) error {
	unlock, err := t.use()
	if err == nil {
		unlock()
	}
	return err
}

// number writes the commit's row, which readers find their place by.
func (t *txn) number(commitID string, now store.Instant) error {
	s, err := t.c.prepare(putCommit)
	if err != nil {
		return err
	}
	n := t.at + 1
	s.bindInt(1, n)
	s.bindText(2, commitID)
	s.bindInt(3, nanos(now.Wall))
	s.bindInt(4, nanos(now.Lease))
	if err := s.run(); err != nil || n%256 != 0 {
		return err
	}
	if s, err = t.c.prepare(trimCommits); err != nil {
		return err
	}
	s.bindInt(1, n-keepCommits)
	return s.run()
}

// explain is the driver's, and notes a disk that failed, or was full, while writing.
func (t *txn) explain(err error) error {
	switch code(err) {
	case lib.SQLITE_IOERR:
		t.d.fail(err)
	case lib.SQLITE_FULL:
		if t.d.squeeze.next(t.d.opt.Clock.Mono()) {
			return store.ErrConflict
		}
	}
	return t.d.explain(err)
}

func (t *txn) Rollback() {
	if t.done {
		return
	}
	if !t.writable {
		t.done = true
		if t.c != nil && t.own {
			t.c.mu.Lock()
			defer t.c.mu.Unlock()
			t.d.giveBack(t.c)
		}
		t.d.leave(t.m)
		return
	}
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	if t.c.db != 0 && lib.Xsqlite3_get_autocommit(t.c.tls, t.c.db) == 0 {
		if err := t.c.exec("ROLLBACK"); err != nil {
			t.d.fail(err)
		}
	}
	t.finish()
}

// finish lets the next one write.
func (t *txn) finish() {
	t.done = true
	<-t.d.write
}

// dropEvents drops up to pruneChunk events from before a time.
func (t *txn) dropEvents(before time.Time) (int, error) {
	unlock, err := t.use()
	if err != nil {
		return 0, err
	}
	defer unlock()
	n, last, err := t.eventsBefore(before)
	if err != nil || n == 0 {
		return 0, t.explain(err)
	}
	for _, sql := range []string{"UPDATE meta SET value=?1 WHERE name='floor'", "DELETE FROM event WHERE seq<=?1"} {
		s, err := t.c.prepare(sql)
		if err != nil {
			return 0, t.explain(err)
		}
		s.bindInt(1, last)
		if err := s.run(); err != nil {
			return 0, t.explain(err)
		}
	}
	return n, nil
}

func (t *txn) eventsBefore(before time.Time) (n int, last int64, err error) {
	s, err := t.c.prepare("SELECT seq, at FROM event ORDER BY seq LIMIT ?1")
	if err != nil {
		return 0, 0, err
	}
	defer s.reset()
	s.bindInt(1, pruneChunk)
	for {
		row, err := s.step()
		if err != nil || !row || s.int(1) >= nanos(before) {
			return n, last, err
		}
		n, last = n+1, s.int(0)
	}
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
