package scheduler

import (
	"cmp"
	"errors"
	"maps"
	"math"
	"slices"

	"github.com/nubecula/cloud/fault"
)

// Snapshot is an immutable set of hosts; nil is an empty one. With and Claim
// return a changed copy that shares nearly everything with the original, so a
// service keeps the latest in an atomic pointer.
//
// Hosts stand at positions 0 to Len-1, in blocks of 64: the host at position
// p is bit p%64 of block p/64. What filters and weighers ask of every host is
// kept as one array for each block. Methods that return an array return a copy.
type Snapshot struct {
	blocks []*block
	index  map[string]int // position by id; shared between snapshots, never written once shared
	n      int
}

// blockSize is the number of bits in a word of a Mask.
const blockSize = 64

type block struct {
	hosts      [blockSize]*Host
	tie        [blockSize]uint64 // hash of the id
	zone       [blockSize]string
	heartbeat  [blockSize]int64
	free, room [resources][blockSize]int64
	enabled    uint64
	up         uint64
}

// NewSnapshot returns a snapshot of hosts, ordered by name. Invalid when an id is empty or
// there twice, an amount is negative or beyond 2^50, a ratio is negative or above 1000.
func NewSnapshot(hosts []Host) (*Snapshot, error) {
	sorted := slices.SortedFunc(slices.Values(hosts), func(a, b Host) int {
		return cmp.Or(cmp.Compare(a.Label(), b.Label()), cmp.Compare(a.ID, b.ID))
	})
	seen := make(map[string]bool, len(hosts))
	var errs []error
	for i := range sorted {
		if id := sorted[i].ID; seen[id] {
			errs = append(errs, fault.InvalidField("host.id", id, "two hosts have this id"))
		}
		seen[sorted[i].ID] = true
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return (*Snapshot)(nil).With(sorted...)
}

// With returns a snapshot in which these hosts replace those of the same id;
// new ones are added at the end. Replacing costs one block of 64 hosts, adding
// costs a copy of the index, so add many at once. Errors as in NewSnapshot;
// of two hosts with one id the later counts.
func (s *Snapshot) With(hosts ...Host) (*Snapshot, error) {
	var errs []error
	for i := range hosts {
		errs = append(errs, hosts[i].validate())
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	next := s.copy()
	owned := false // the index
	fresh := make(map[int]bool)
	for _, h := range hosts {
		p, ok := next.index[h.ID]
		if !ok {
			if !owned {
				next.index, owned = maps.Clone(next.index), true
				if next.index == nil {
					next.index = make(map[string]int, len(hosts))
				}
			}
			p = next.n
			next.index[h.ID] = p
			next.n++
		}
		h.Traits = maps.Clone(h.Traits)
		k := p / blockSize
		switch {
		case k == len(next.blocks):
			next.blocks = append(next.blocks, new(block))
		case !fresh[k]:
			b := *next.blocks[k]
			next.blocks[k] = &b
		}
		fresh[k] = true
		next.blocks[k].set(p%blockSize, &h)
	}
	return next, nil
}

// Without returns a snapshot that lacks the hosts with these ids. It builds a new one.
func (s *Snapshot) Without(ids ...string) *Snapshot {
	var rest []Host
	for p := range s.Len() {
		if h := s.Host(p); !slices.Contains(ids, h.ID) {
			rest = append(rest, *h)
		}
	}
	next, err := (*Snapshot)(nil).With(rest...)
	if err != nil {
		panic(err) // cannot be: every host was accepted before
	}
	return next
}

// Claim returns a snapshot in which the host uses r more, or less where r is
// negative. NotFound when the host is not there, Invalid when it would use less than nothing.
func (s *Snapshot) Claim(id string, r Resources) (*Snapshot, error) {
	p, ok := s.Position(id)
	if !ok {
		return nil, fault.Missing("host", id)
	}
	h := *s.Host(p)
	h.Used.VCPUs += r.VCPUs
	h.Used.MemoryMiB += r.MemoryMiB
	h.Used.DiskGiB += r.DiskGiB
	for k := range resources {
		if v := h.Used.Get(k); v < 0 || v > maxAmount {
			return nil, amountError(id, v)
		}
	}
	next := s.copy()
	b := *s.blocks[p/blockSize]
	b.set(p%blockSize, &h)
	next.blocks[p/blockSize] = &b
	return next, nil
}

// Len returns the number of hosts.
func (s *Snapshot) Len() int {
	if s == nil {
		return 0
	}
	return s.n
}

// Host returns the host at a position below Len. It must not be modified.
func (s *Snapshot) Host(p int) *Host { return s.blocks[p/blockSize].hosts[p%blockSize] }

// Position returns where the host with an id stands.
func (s *Snapshot) Position(id string) (int, bool) {
	if s == nil {
		return 0, false
	}
	p, ok := s.index[id]
	return p, ok
}

// Free returns Host.Free of one resource for block k; hosts that are not there have 0.
func (s *Snapshot) Free(k int, r Resource) [blockSize]int64 { return s.blocks[k].free[r] }

// Room returns Host.Room of one resource for block k.
func (s *Snapshot) Room(k int, r Resource) [blockSize]int64 { return s.blocks[k].room[r] }

// Zones returns Host.Zone for block k.
func (s *Snapshot) Zones(k int) [blockSize]string { return s.blocks[k].zone }

// Heartbeats returns Host.Heartbeat for block k in nanoseconds since 1970;
// of a host whose heartbeats do not count, the greatest int64.
func (s *Snapshot) Heartbeats(k int) [blockSize]int64 { return s.blocks[k].heartbeat }

// Enabled returns the bits of block k's hosts that are not Disabled.
func (s *Snapshot) Enabled(k int) uint64 { return s.blocks[k].enabled }

// Up returns the bits of block k's hosts that are not Down.
func (s *Snapshot) Up(k int) uint64 { return s.blocks[k].up }

func (s *Snapshot) copy() *Snapshot {
	if s == nil {
		return &Snapshot{}
	}
	c := *s
	c.blocks = slices.Clone(s.blocks)
	return &c
}

func (b *block) set(i int, h *Host) {
	b.hosts[i] = h
	b.tie[i] = hash(h.ID)
	b.zone[i] = h.Zone
	b.heartbeat[i] = math.MaxInt64
	if !h.Heartbeat.IsZero() {
		b.heartbeat[i] = h.Heartbeat.UnixNano()
	}
	for k := range resources {
		b.free[k][i], b.room[k][i] = h.Free(k), h.Room(k)
	}
	setBit(&b.enabled, i, !h.Disabled)
	setBit(&b.up, i, !h.Down)
}

func setBit(w *uint64, i int, on bool) {
	*w &^= 1 << i
	if on {
		*w |= 1 << i
	}
}

// hash is FNV-1a: fixed for ever, so that a seed replays on another machine.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// mix spreads every bit of x over the result (the finalizer of splitmix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
