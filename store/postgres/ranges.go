package postgres

import (
	"github.com/tidwall/btree"

	"github.com/nubecula/cloud/store"
)

// rangeCache is what is known of one index: the entries of some spans, all of them there.
type rangeCache struct {
	changed int64                     // the last commit that changed the index; not older than the oldest span
	ids     btree.Map[string, string] // document by key
	spans   btree.Map[string, span]   // by from; they neither touch nor overlap
}

// at returns the known span that holds a key.
func (c *rangeCache) at(key string) (found span, ok bool) {
	c.spans.Descend(key, func(_ string, s span) bool {
		found, ok = s, s.holds(key)
		return false
	})
	return found, ok
}

// before returns the known span that reaches up to a bound from below.
func (c *rangeCache) before(to string, open bool) (found span, ok bool) {
	visit := func(_ string, s span) bool {
		if !open && s.from >= to {
			return true // look at the one before
		}
		found, ok = s, s.open || !open && s.to >= to
		return false
	}
	if open {
		c.spans.Reverse(visit)
	} else {
		c.spans.Descend(to, visit)
	}
	return found, ok
}

type pair struct{ key, id string }

// scan returns the entries of a range, if all of them are known.
func (c *rangeCache) scan(r store.Range) (out []pair, ok bool) {
	want := spanOf(r)
	if !want.open && want.from >= want.to {
		return nil, true
	}
	full := false
	visit := func(key, id string) bool {
		out = append(out, pair{key, id})
		full = len(out) == r.Limit
		return !full
	}
	if r.Reverse {
		s, ok := c.before(want.to, want.open)
		if !ok {
			return nil, false
		}
		low := max(s.from, want.from)
		down := func(key, id string) bool {
			if !want.open && key >= want.to {
				return true
			}
			return key >= low && visit(key, id)
		}
		if want.open {
			c.ids.Reverse(down)
		} else {
			c.ids.Descend(want.to, down)
		}
		return out, full || s.from <= want.from
	}
	s, ok := c.at(want.from)
	if !ok {
		return nil, false
	}
	c.ids.Ascend(want.from, func(key, id string) bool {
		return s.holds(key) && want.holds(key) && visit(key, id)
	})
	return out, full || s.open || !want.open && s.to >= want.to
}

// add remembers all entries of a span.
func (c *rangeCache) add(s span, entries []pair) {
	if !s.open && s.from >= s.to {
		return
	}
	for _, e := range entries {
		c.ids.Set(e.key, e.id)
	}
	var gone []string
	c.spans.Descend(s.from, func(from string, old span) bool {
		if old.open || old.to >= s.from {
			gone = append(gone, from)
			s = union(s, old)
		}
		return false
	})
	c.spans.Ascend(s.from, func(from string, old span) bool {
		if !s.open && from > s.to {
			return false
		}
		gone = append(gone, from)
		s = union(s, old)
		return true
	})
	for _, from := range gone {
		c.spans.Delete(from)
	}
	c.spans.Set(s.from, s)
}

func union(a, b span) span {
	return span{from: min(a.from, b.from), to: max(a.to, b.to), open: a.open || b.open}
}

// apply makes a change that commit n has made.
func (c *rangeCache) apply(n int64, ch *change) {
	c.changed = max(c.changed, n)
	if _, known := c.at(ch.key); !known {
		return
	}
	if ch.delete {
		c.ids.Delete(ch.key)
	} else {
		c.ids.Set(ch.key, ch.id)
	}
}

func (c *rangeCache) size() int { return c.ids.Len() + c.spans.Len() }
