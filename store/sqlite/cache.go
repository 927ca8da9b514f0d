package sqlite

import (
	"sync"

	"github.com/nubecula/cloud/store"
)

// cache keeps recently used documents as they are at the newest commit. Only this process writes
// the file, so an entry stays right until this process writes the document.
//
// Commits are numbered. An entry says since which commit it is right; a reader pinned to an
// earlier one asks SQLite. What a commit writes enters the cache before SQLite commits, so
// nobody who sees the commit can meet an older entry. What the newest commit has replaced stays beside it, for those
// who read while it is under way: most look for what is just being written.
//
// Entries live in two generations: when the young one has grown to half the limit it becomes
// the old one, and what the old one held and nobody asked for is dropped.
type cache struct {
	mu         sync.Mutex
	limit      int   // bytes, both generations together
	size       int   // bytes in young
	newest     int64 // commit that is done or under way
	replaced   []key // entries of young or old that have one before
	young, old map[key]cached
}

type key struct{ kind, id string }

type cached struct {
	doc    store.Doc
	since  int64
	absent bool    // there is no such document
	before *cached // what it was until then; nil when that is not known
}

func newCache(limit int, newest int64) *cache {
	return &cache{limit: limit, newest: newest, young: map[key]cached{}}
}

// get returns a document and whether it exists, if that is known.
func (c *cache) get(kind, id string, at int64) (doc store.Doc, exists, known bool) {
	k := key{kind, id}
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.young[k]
	if !ok {
		if e, ok = c.old[k]; ok {
			delete(c.old, k)
			c.add(k, e)
		}
	}
	if ok && e.since > at && e.before != nil {
		e = *e.before
	}
	if !ok || e.since > at {
		return store.Doc{}, false, false
	}
	return e.doc, !e.absent, true
}

// at is the number of the newest commit.
func (c *cache) at() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.newest
}

// fill adds what a reader pinned to commit `at` found, unless a newer commit may have changed it.
func (c *cache) fill(doc store.Doc, at int64) {
	c.put(key{doc.Kind, doc.ID}, cached{doc: doc, since: at})
}

// fillAbsent is fill for a document that does not exist.
func (c *cache) fillAbsent(kind, id string, at int64) {
	c.put(key{kind, id}, cached{since: at, absent: true})
}

func (c *cache) put(k key, e cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.since == c.newest {
		c.remove(k)
		c.add(k, e)
	}
}

// begin enters what commit n is about to write.
func (c *cache) begin(n int64, writes map[key]store.DocWrite) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.newest = n
	for _, k := range c.replaced {
		if e, ok := c.remove(k); ok {
			e.before = nil
			c.add(k, e)
		}
	}
	c.replaced = c.replaced[:0]
	for k, w := range writes {
		e := cached{doc: w.Doc, since: n, absent: w.Delete}
		if was, ok := c.remove(k); ok {
			e.before = &was
			c.replaced = append(c.replaced, k)
		}
		c.add(k, e)
	}
}

// undo takes out what begin entered, since commit n has failed.
func (c *cache) undo(n int64, writes map[key]store.DocWrite) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.newest = n - 1
	c.replaced = c.replaced[:0]
	for k := range writes {
		if e, ok := c.remove(k); ok && e.before != nil {
			c.add(k, *e.before)
		}
	}
}

func (c *cache) remove(k key) (e cached, ok bool) {
	if e, ok = c.young[k]; ok {
		c.size -= cost(k, e)
		delete(c.young, k)
		return e, true
	}
	e, ok = c.old[k]
	delete(c.old, k)
	return e, ok
}

func (c *cache) add(k key, e cached) {
	if cost(k, e) > c.limit/16 {
		return
	}
	c.young[k] = e
	if c.size += cost(k, e); c.size > c.limit/2 {
		c.old, c.young, c.size = c.young, map[key]cached{}, 0
	}
}

// cost is about what an entry takes in memory.
func cost(k key, e cached) int {
	n := len(k.kind) + len(k.id) + len(e.doc.Body) + 200
	if e.before != nil {
		n += len(e.before.doc.Body) + 200
	}
	return n
}
