package ipam

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

// normal returns ranges in order, those that touch joined. Invalid when they overlap, run backwards or mix families.
func normal(in []Range) ([]Range, error) {
	ranges := slices.Clone(in)
	for _, r := range ranges {
		if !r.First.IsValid() || r.First.BitLen() != r.Last.BitLen() || r.Last.Less(r.First) || r.First.BitLen() != ranges[0].First.BitLen() {
			return nil, fault.InvalidField("ranges", fmt.Sprintf("%s-%s", r.First, r.Last), "the first address of a range comes before the last, all of one family")
		}
	}
	slices.SortFunc(ranges, func(a, b Range) int { return a.First.Compare(b.First) })
	var out []Range
	for _, r := range ranges {
		if n := len(out); n > 0 {
			last := &out[n-1]
			if !last.Last.Less(r.First) {
				return nil, fault.InvalidField("ranges", fmt.Sprintf("%s-%s", r.First, r.Last), fmt.Sprintf("it overlaps %s-%s", last.First, last.Last))
			}
			if last.Last.Next() == r.First {
				last.Last = r.Last
				continue
			}
		}
		out = append(out, r)
	}
	return out, nil
}

// without cuts addresses, in order, out of normal ranges.
func without(ranges []Range, taken []*Address) []Range {
	var out []Range
	for _, r := range ranges {
		from := r.First
		for _, t := range taken {
			if !r.Contains(t.Addr) {
				continue
			}
			if from.Less(t.Addr) {
				out = append(out, Range{from, t.Addr.Prev()})
			}
			from = t.Addr.Next()
		}
		if from.IsValid() && !r.Last.Less(from) {
			out = append(out, Range{from, r.Last})
		}
	}
	return out
}

// Verify compares what a pool says is free and used with what is held, and returns a line for each difference.
func Verify(tx *store.Tx, id string) ([]string, error) {
	p, err := pools.Get(tx, id)
	if err != nil {
		return nil, err
	}
	taken, err := Held(tx, id)
	if err != nil {
		return nil, err
	}
	from, to := within(id, netip.Addr{})
	have, err := runs.List(tx, store.Query[run]{From: from, To: to})
	if err != nil {
		return nil, err
	}
	var out []string
	if int64(len(taken)) != p.Used {
		out = append(out, fmt.Sprintf("address pool %s counts %d addresses, %d are held", id, p.Used, len(taken)))
	}
	want := without(p.Ranges, taken)
	got := make([]Range, len(have))
	for i, r := range have {
		got[i] = r.Range
	}
	if !slices.Equal(want, got) {
		out = append(out, fmt.Sprintf("address pool %s has free %v, it should be %v", id, got, want))
	}
	return out, nil
}
