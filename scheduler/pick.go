package scheduler

import (
	"cmp"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
)

// Pick returns the best hosts for r, best first, and why others were refused.
// The same s and r give the same Decision; the candidates do not even depend
// on the order in which hosts were added.
//
// Making reasons takes longer than deciding. So of each filter's refusals only
// the first 16 are explained when a host was found, and the first 1,000 when
// none was; the rest is counted. With r.Explain all are explained.
func (sc *Scheduler) Pick(s *Snapshot, r *Request) Decision {
	t := sc.sift(s, r)
	defer sc.scratch.Put(t)
	passed := t.last()
	d := Decision{Hosts: s.Len(), Passed: passed.Count()}
	if d.Passed > 0 {
		sc.weigh(s, r, t)
		d.Candidates = sc.best(s, r, t)
	}
	for i, f := range sc.opts.Filters {
		if n := t.masks[i].Count() - t.masks[i+1].Count(); n > 0 {
			d.Counts = append(d.Counts, Count{Filter: f.Name(), Refused: n})
		}
	}
	limit := explainedBeside
	switch {
	case r.Explain:
		limit = math.MaxInt
	case d.Passed == 0:
		limit = explainedAlone
	}
	d.explain(sc.refusals(s, r, t, limit), sc.opts.Reasons)
	return d
}

// Explain yields one Refusal for each host that r may not have, by filter in
// order, without the bounds of a Decision. Reasons are made as they are asked for.
func (sc *Scheduler) Explain(s *Snapshot, r *Request) iter.Seq[Refusal] {
	return func(yield func(Refusal) bool) {
		t := sc.sift(s, r)
		defer sc.scratch.Put(t)
		sc.refusals(s, r, t, math.MaxInt)(yield)
	}
}

// table is what one Pick works with: masks[0] has all hosts, masks[i] those
// that the first i filters let pass.
type table struct {
	masks  []Mask
	weight []float64 // by one weigher
	score  []float64 // by all
	top    []entry
}

func (t *table) last() Mask { return t.masks[len(t.masks)-1] }

type entry struct {
	score float64
	tie   uint64
	pos   int
}

func (sc *Scheduler) sift(s *Snapshot, r *Request) *table {
	t, ok := sc.scratch.Get().(*table)
	if !ok {
		t = &table{masks: make([]Mask, len(sc.opts.Filters)+1)}
	}
	n := s.Len()
	words := (n + blockSize - 1) / blockSize
	for i := range t.masks {
		t.masks[i] = slices.Grow(t.masks[i][:0], words)[:words]
	}
	for k := range words {
		t.masks[0][k] = math.MaxUint64
	}
	if n%blockSize != 0 {
		t.masks[0][words-1] = 1<<(n%blockSize) - 1
	}
	for i, f := range sc.opts.Filters {
		before, after := t.masks[i], t.masks[i+1]
		copy(after, before)
		f.Keep(s, r, after)
		for k := range after {
			after[k] &= before[k] // whatever a filter does, it cannot bring a host back
		}
	}
	return t
}

// weigh adds up the weights of the hosts that passed, each scaled to 0..1
// between the least and the greatest of them; when all are equal they count 0.
func (sc *Scheduler) weigh(s *Snapshot, r *Request, t *table) {
	const limit = 1e300
	m := t.last()
	size := len(m) * blockSize
	t.weight = slices.Grow(t.weight[:0], size)[:size]
	t.score = slices.Grow(t.score[:0], size)[:size]
	clear(t.score)
	for _, by := range sc.opts.Weighers {
		clear(t.weight) // a weigher that skips a host must not see the last Pick's
		by.By.Weigh(s, r, m, t.weight)
		least, most := math.Inf(1), math.Inf(-1)
		for p := range m.All() {
			w := t.weight[p]
			if !(w >= -limit) { // also NaN
				w = -limit
				t.weight[p] = w
			} else if w > limit {
				w = limit
				t.weight[p] = w
			}
			if w < least { // min and max also care for NaN, at four times the price
				least = w
			}
			if w > most {
				most = w
			}
		}
		if least == most {
			continue
		}
		scale := most - least
		for p := range m.All() {
			// The conversion keeps machines with fused multiply-add from rounding otherwise.
			t.score[p] += float64(by.Multiplier * ((t.weight[p] - least) / scale))
		}
	}
}

// best selects without sorting everything: a heap of the few best so far, the worst of them on top.
func (sc *Scheduler) best(s *Snapshot, r *Request, t *table) []Candidate {
	limit := max(sc.opts.Candidates, sc.opts.SubsetSize)
	seed := mix(r.Seed + 0x9e3779b97f4a7c15)
	order := func(a, b entry) int {
		switch {
		case a.score != b.score:
			return cmp.Compare(b.score, a.score)
		case a.tie != b.tie:
			return cmp.Compare(b.tie, a.tie)
		}
		return cmp.Compare(s.Host(a.pos).ID, s.Host(b.pos).ID)
	}
	top := t.top[:0]
	for p := range t.last().All() {
		full := len(top) == limit
		if full && t.score[p] < top[0].score {
			continue
		}
		e := entry{t.score[p], mix(s.blocks[p/blockSize].tie[p%blockSize] ^ seed), p}
		switch {
		case !full:
			top = append(top, e)
			if len(top) == limit {
				for i := limit/2 - 1; i >= 0; i-- {
					sink(top, i, order)
				}
			}
		case order(e, top[0]) < 0:
			top[0] = e
			sink(top, 0, order)
		}
	}
	t.top = top
	slices.SortFunc(top, order)
	if n := min(sc.opts.SubsetSize, len(top)); n > 1 {
		rand.New(rand.NewPCG(r.Seed, seed)).Shuffle(n, func(i, j int) { top[i], top[j] = top[j], top[i] })
	}
	top = top[:min(sc.opts.Candidates, len(top))]
	out := make([]Candidate, len(top))
	for i, e := range top {
		h := s.Host(e.pos)
		out[i] = Candidate{ID: h.ID, Name: h.Name, Weight: e.score}
	}
	return out
}

// sink restores the heap below i: no entry is better than those under it.
func sink(h []entry, i int, order func(a, b entry) int) {
	for {
		worst := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(h); c++ {
			if order(h[c], h[worst]) > 0 {
				worst = c
			}
		}
		if worst == i {
			return
		}
		h[i], h[worst] = h[worst], h[i]
		i = worst
	}
}
