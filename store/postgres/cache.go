package postgres

import (
	"sync"

	"github.com/nubecula/cloud/store"
)

// cache holds documents and parts of indexes as they are at commit n, and the
// latest commits. Every commit, of whatever replica, passes through it in
// order, so that what it holds is true, not old. All methods but those of
// sync.Mutex need the mutex held.
type cache struct {
	sync.Mutex
	limit  int // bytes
	n, seq int64
	young  map[docKey]known // documents used lately
	old    map[docKey]known // those before; dropped when young is full
	bytes  int              // of young
	ranges map[space]*rangeCache
	log    []logged // the latest commits, the last of them n
}

type docKey struct{ kind, id string }

// known is a document, or that there is none.
type known struct {
	doc    store.Doc
	exists bool
	n      int64 // a commit at which it was so; it is until now
}

// logged is what one commit has changed.
type logged struct {
	n       int64
	changes []change
}

// keepLog is how many commits are remembered: a transaction that began before them all must run again.
const keepLog = 256

func newCache(limit int) *cache {
	c := &cache{limit: limit}
	c.drop()
	return c
}

// drop forgets everything but where it is.
func (c *cache) drop() {
	c.young, c.old, c.bytes = map[docKey]known{}, map[docKey]known{}, 0
	c.ranges = map[space]*rangeCache{}
}

// reset forgets everything and goes on at another commit.
func (c *cache) reset(n, seq int64) {
	c.drop()
	c.log = nil
	c.n, c.seq = n, seq
}

// commit is a row of table commits with what it changed.
type commit struct {
	n, seq      int64
	wall, lease int64
	changes     []byte // nil: not known any more
}

// catchUp takes over the commits after n, in order; it reports whether there were any. rows lead up to the newest.
func (c *cache) catchUp(rows []commit) (moved bool, err error) {
	if len(rows) == 0 || rows[len(rows)-1].n <= c.n {
		return false, nil
	}
	last := rows[len(rows)-1]
	for _, row := range rows {
		if row.n <= c.n {
			continue
		}
		if row.n != c.n+1 || row.changes == nil {
			c.reset(last.n, last.seq)
			return true, nil
		}
		changes, err := decodeChanges(row.changes)
		if err != nil {
			return false, err
		}
		c.apply(row.n, row.seq, changes)
	}
	return true, nil
}

// apply takes over the next commit.
func (c *cache) apply(n, seq int64, changes []change) {
	c.n, c.seq = n, seq
	if c.log = append(c.log, logged{n, changes}); len(c.log) > 2*keepLog {
		c.log = append([]logged(nil), c.log[len(c.log)-keepLog:]...)
	}
	for i := range changes {
		ch := &changes[i]
		if rc := c.ranges[ch.space]; rc != nil {
			rc.apply(n, ch)
		}
		if ch.index != "" {
			continue
		}
		k := docKey{ch.kind, ch.id}
		_, had := c.lookup(k)
		c.forget(k)
		switch {
		case ch.delete && had:
			c.put(k, known{n: n})
		case ch.doc != nil && had || ch.doc != nil && ch.doc.Rev == 1:
			c.put(k, known{*ch.doc, true, n})
		}
	}
}

// since returns the commits after n, and whether all of them are remembered.
func (c *cache) since(n int64) ([]logged, bool) {
	missing := c.n - n
	if missing > int64(len(c.log)) {
		return nil, false
	}
	return c.log[len(c.log)-int(missing):], true
}

func (c *cache) lookup(k docKey) (known, bool) {
	if v, ok := c.young[k]; ok {
		return v, true
	}
	v, ok := c.old[k]
	return v, ok
}

func (c *cache) forget(k docKey) {
	if v, ok := c.young[k]; ok {
		c.bytes -= v.size()
		delete(c.young, k)
	}
	delete(c.old, k)
}

func (c *cache) put(k docKey, v known) {
	if v.size() > c.limit/4 {
		return
	}
	c.young[k] = v
	if c.bytes += v.size(); c.bytes > c.limit/2 {
		c.old, c.young, c.bytes = c.young, map[docKey]known{}, 0
	}
}

// size is about what it takes in memory.
func (v known) size() int { return 250 + len(v.doc.ID) + len(v.doc.Body) }

// doc returns what is known of a document at commit `at`, which is not after n.
func (c *cache) doc(k docKey, at int64) (known, bool) {
	v, ok := c.lookup(k)
	if !ok || v.n > at {
		return known{}, false
	}
	if _, young := c.young[k]; !young {
		delete(c.old, k)
		c.put(k, v)
	}
	return v, true
}

// fill adds a document that was read at n.
func (c *cache) fill(k docKey, doc store.Doc, exists bool) {
	c.forget(k)
	c.put(k, known{doc, exists, c.n})
}

// rangeBytes is about what an entry or a span takes in memory.
const rangeBytes = 200

// scan returns the entries of a range at commit `at`, if they are known.
func (c *cache) scan(r store.Range, at int64) ([]pair, bool) {
	rc := c.ranges[space{r.Kind, r.Index}]
	if rc == nil || rc.changed > at {
		return nil, false
	}
	return rc.scan(r)
}

// fillRange adds the entries of a range that were read at n.
func (c *cache) fillRange(r store.Range, entries []pair) {
	if len(entries)*rangeBytes > c.limit/4 {
		return
	}
	sp := space{r.Kind, r.Index}
	rc := c.ranges[sp]
	if rc == nil || rc.size()*rangeBytes > c.limit/4 {
		rc = &rangeCache{changed: c.n}
		c.ranges[sp] = rc
	}
	last := ""
	if len(entries) > 0 {
		last = entries[len(entries)-1].key
	}
	rc.add(walked(r, len(entries), last), entries)
}
