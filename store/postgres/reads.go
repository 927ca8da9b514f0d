package postgres

import "github.com/nubecula/cloud/store"

// reads is what a transaction has looked at: what it wrote depends on that alone.
type reads struct {
	docs   map[space]map[string]bool // by kind, index ""; then id
	ranges map[space][]span
}

// span is a part of an index, from included, to excluded; open means without end.
type span struct {
	from, to string
	open     bool
}

func (s span) holds(key string) bool { return key >= s.from && (s.open || key < s.to) }

// spanOf is the part of its index that a range names.
func spanOf(r store.Range) span {
	return span{from: string(r.From), to: string(r.To), open: r.To == nil}
}

// walked is the part of a range that was walked to find n entries, the last of them at a key.
func walked(r store.Range, n int, last string) span {
	s := spanOf(r)
	if r.Limit == 0 || n < r.Limit || n == 0 {
		return s
	}
	if r.Reverse {
		s.from = last
	} else {
		s.to, s.open = last+"\x00", false
	}
	return s
}

func (r *reads) addDoc(kind, id string) {
	sp := space{kind: kind}
	if r.docs == nil {
		r.docs = map[space]map[string]bool{}
	}
	if r.docs[sp] == nil {
		r.docs[sp] = map[string]bool{}
	}
	r.docs[sp][id] = true
}

// maxSpans is how many spans of an index are remembered one by one; more become one that holds them all.
const maxSpans = 256

func (r *reads) addSpan(sp space, s span) {
	if r.ranges == nil {
		r.ranges = map[space][]span{}
	}
	list := r.ranges[sp]
	for _, old := range list {
		if s.from >= old.from && (old.open || !s.open && s.to <= old.to) {
			return
		}
	}
	if list = append(list, s); len(list) > maxSpans {
		whole := list[0]
		for _, x := range list[1:] {
			whole.from = min(whole.from, x.from)
			whole.open = whole.open || x.open
			whole.to = max(whole.to, x.to)
		}
		list = []span{whole}
	}
	r.ranges[sp] = list
}

func (r *reads) empty() bool { return len(r.docs) == 0 && len(r.ranges) == 0 }

// hit reports whether any of some changes is of something that was looked at.
func (r *reads) hit(changes []change) bool {
	for i := range changes {
		c := &changes[i]
		if c.index == "" && r.docs[c.space][c.key] {
			return true
		}
		if c.index == "" && c.doc != nil && c.doc.Rev > 1 {
			continue // it was there before: no list of documents has changed
		}
		for _, s := range r.ranges[c.space] {
			if s.holds(c.key) {
				return true
			}
		}
	}
	return false
}
