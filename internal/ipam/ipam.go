// Package ipam gives out addresses of pools inside transactions: exactly,
// without looking at the addresses already given, in logarithmic time.
//
// What is free is kept as runs of addresses, named by their last one, so that
// the run at or after any address is one look at an ordered index. Addresses
// are given out in rotation: one that was released is not given to the next
// who asks, whose neighbours may still remember its former holder.
package ipam

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

// Range is a run of addresses of one family, both ends included.
type Range struct {
	First netip.Addr `json:"first"`
	Last  netip.Addr `json:"last"`
}

// Contains reports whether a is in r.
func (r Range) Contains(a netip.Addr) bool { return !a.Less(r.First) && !r.Last.Less(a) }

// Address is one that is held.
type Address struct {
	Pool  string     `json:"pool"`
	Addr  netip.Addr `json:"addr"`
	Owner string     `json:"owner"` // id of what holds it
}

// pool is the head of a pool.
type pool struct {
	ID     string     `json:"id"`
	Ranges []Range    `json:"ranges,omitempty"` // sorted, apart
	Cursor netip.Addr `json:"cursor"`           // the search begins here; zero: at the start
	Used   int64      `json:"used"`             // addresses held, in the ranges or not
}

// run is a run of free addresses.
type run struct {
	Pool string `json:"pool"`
	Range
}

var (
	pools = store.Define(store.Spec[pool]{Kind: "address_pool", Version: 1, ID: func(p *pool) string { return p.ID }})
	runs  = store.Define(store.Spec[run]{Kind: "address_run", Version: 1, ID: func(r *run) string { return key(r.Pool, r.Last) }})
	held  = store.Define(store.Spec[Address]{Kind: "address", Version: 1, ID: func(a *Address) string { return key(a.Pool, a.Addr) }})
)

// Collections lists the kinds of documents that this package keeps.
func Collections() []store.AnyCollection { return []store.AnyCollection{pools, runs, held} }

// key sorts the addresses of a pool in their own order.
func key(pool string, a netip.Addr) string { return pool + "/" + hex.EncodeToString(a.AsSlice()) }

// within returns the bounds, for Query, of the documents of a pool at or after an address.
func within(pool string, from netip.Addr) (store.Tuple, store.Tuple) {
	return store.Tuple{key(pool, from)}, store.Tuple{pool + "0"} // '0' follows '/'
}

// Create makes a pool. Its ranges may be empty: then addresses can be claimed by name only.
func Create(tx *store.Tx, id string, ranges []Range) error {
	ranges, err := normal(ranges)
	if err != nil {
		return err
	}
	if err := pools.Insert(tx, &pool{ID: id, Ranges: ranges}); err != nil {
		return err
	}
	return free(tx, id, ranges)
}

// Resize gives a pool other ranges. Held addresses stay held, whether in a range or not.
func Resize(tx *store.Tx, id string, ranges []Range) error {
	ranges, err := normal(ranges)
	if err != nil {
		return err
	}
	p, err := pools.Get(tx, id)
	if err != nil {
		return err
	}
	if err := forget(tx, id); err != nil {
		return err
	}
	p.Ranges = ranges
	if err := pools.Put(tx, p); err != nil {
		return err
	}
	taken, err := Held(tx, id)
	if err != nil {
		return err
	}
	return free(tx, id, without(ranges, taken))
}

// Drop removes a pool; Conflict while addresses of it are held.
func Drop(tx *store.Tx, id string) error {
	p, err := pools.Get(tx, id)
	if err != nil {
		return err
	}
	if p.Used > 0 {
		return &fault.Error{Code: fault.Conflict, Kind: "address pool", ID: id, Msg: fmt.Sprintf("has %d addresses in use; release them first", p.Used)}
	}
	if err := forget(tx, id); err != nil {
		return err
	}
	return pools.Delete(tx, id)
}

// Next gives out the next free address. Exhausted when there is none.
func Next(tx *store.Tx, id, owner string) (netip.Addr, error) {
	p, err := pools.Get(tx, id)
	if err != nil {
		return netip.Addr{}, err
	}
	r, err := runAt(tx, id, p.Cursor)
	if err == nil && r == nil {
		r, err = runAt(tx, id, netip.Addr{})
	}
	if err != nil {
		return netip.Addr{}, err
	}
	if r == nil {
		return netip.Addr{}, &fault.Error{Code: fault.Exhausted, Kind: "address pool", ID: id, Msg: fmt.Sprintf("has no free address: %d are in use", p.Used)}
	}
	a := r.First
	if r.Contains(p.Cursor) {
		a = p.Cursor
	}
	p.Cursor = a.Next()
	return a, take(tx, p, r, a, owner)
}

// Claim gives out one address, which need not be in a range. Exists when it is held; the error's ID is its owner.
func Claim(tx *store.Tx, id string, a netip.Addr, owner string) error {
	p, err := pools.Get(tx, id)
	if err != nil {
		return err
	}
	if by, err := Owner(tx, id, a); err != nil {
		return err
	} else if by != "" {
		return &fault.Error{Code: fault.Exists, Kind: "address", ID: a.String(), Msg: "is in use by " + by}
	}
	r, err := runAt(tx, id, a)
	if err != nil {
		return err
	}
	if r != nil && !r.Contains(a) {
		r = nil
	}
	return take(tx, p, r, a, owner)
}

// Release gives an address back. NotFound when owner does not hold it.
func Release(tx *store.Tx, id string, a netip.Addr, owner string) error {
	p, err := pools.Get(tx, id)
	if err != nil {
		return err
	}
	if by, err := Owner(tx, id, a); err != nil {
		return err
	} else if by == "" || by != owner {
		return &fault.Error{Code: fault.NotFound, Kind: "address", ID: a.String(), Msg: fmt.Sprintf("is not held by %s", owner)}
	}
	if err := held.Delete(tx, key(id, a)); err != nil {
		return err
	}
	p.Used--
	if err := pools.Put(tx, p); err != nil {
		return err
	}
	if !slices.ContainsFunc(p.Ranges, func(r Range) bool { return r.Contains(a) }) {
		return nil
	}
	grown := Range{a, a}
	if next := a.Next(); next.IsValid() {
		r, err := runAt(tx, id, next)
		if err != nil {
			return err
		}
		if r != nil && r.First == next {
			grown.Last = r.Last
		}
	}
	if prev := a.Prev(); prev.IsValid() {
		r, err := runs.Get(tx, key(id, prev))
		if err == nil {
			grown.First = r.First
			err = runs.Delete(tx, key(id, prev))
		}
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	return runs.Put(tx, &run{id, grown})
}

// Owner returns who holds an address; "" when nobody does.
func Owner(tx *store.Tx, id string, a netip.Addr) (string, error) {
	got, err := held.Get(tx, key(id, a))
	if fault.Is(err, fault.NotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return got.Owner, nil
}

// Held returns the held addresses of a pool in their order.
func Held(tx *store.Tx, id string) ([]*Address, error) {
	from, to := within(id, netip.Addr{})
	return held.List(tx, store.Query[Address]{From: from, To: to})
}

// Used returns how many addresses of a pool are held.
func Used(tx *store.Tx, id string) (int64, error) {
	p, err := pools.Get(tx, id)
	if err != nil {
		return 0, err
	}
	return p.Used, nil
}

// take marks an address as held and cuts it out of its run; r is nil when it is in none.
func take(tx *store.Tx, p *pool, r *run, a netip.Addr, owner string) error {
	if owner == "" {
		return fault.New(fault.Internal, "ipam: an address needs an owner")
	}
	if err := held.Insert(tx, &Address{p.ID, a, owner}); err != nil {
		return err
	}
	p.Used++
	if err := pools.Put(tx, p); err != nil || r == nil {
		return err
	}
	if r.First.Less(a) {
		if err := runs.Put(tx, &run{p.ID, Range{r.First, a.Prev()}}); err != nil {
			return err
		}
	}
	if a == r.Last {
		return runs.Delete(tx, key(p.ID, r.Last))
	}
	return runs.Put(tx, &run{p.ID, Range{a.Next(), r.Last}})
}

// runAt returns the first run that ends at or after an address, or nil. The zero Addr means the start.
func runAt(tx *store.Tx, id string, a netip.Addr) (*run, error) {
	from, to := within(id, a)
	found, err := runs.List(tx, store.Query[run]{From: from, To: to, Limit: 1})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

func free(tx *store.Tx, id string, ranges []Range) error {
	for _, r := range ranges {
		if err := runs.Put(tx, &run{id, r}); err != nil {
			return err
		}
	}
	return nil
}

// forget drops all runs of a pool.
func forget(tx *store.Tx, id string) error {
	from, to := within(id, netip.Addr{})
	all, err := runs.List(tx, store.Query[run]{From: from, To: to})
	for _, r := range all {
		if err == nil {
			err = runs.Delete(tx, key(id, r.Last))
		}
	}
	return err
}
