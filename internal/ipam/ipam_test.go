package ipam

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
)

func open(t *testing.T) *store.Store {
	s, err := store.New(memory.New(nil), store.Options{Key: store.NewKey(), Rerun: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func update(t *testing.T, s *store.Store, fn func(tx *store.Tx) error) {
	t.Helper()
	require.NoError(t, s.Update(context.Background(), fn))
}

func span(first, last string) Range {
	return Range{netip.MustParseAddr(first), netip.MustParseAddr(last)}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	s := open(t)
	next := func() (out string) {
		update(t, s, func(tx *store.Tx) error {
			a, err := Next(tx, "p", "me")
			out = a.String()
			return err
		})
		return out
	}
	update(t, s, func(tx *store.Tx) error { return Create(tx, "p", []Range{span("10.0.0.2", "10.0.0.5")}) })
	require.Equal(t, "10.0.0.2", next())
	require.Equal(t, "10.0.0.3", next())
	update(t, s, func(tx *store.Tx) error { return Release(tx, "p", netip.MustParseAddr("10.0.0.2"), "me") })
	require.Equal(t, "10.0.0.4", next(), "a released address comes last")
	require.Equal(t, "10.0.0.5", next())
	require.Equal(t, "10.0.0.2", next())
	err := s.Update(context.Background(), func(tx *store.Tx) error { _, err := Next(tx, "p", "me"); return err })
	require.True(t, fault.Is(err, fault.Exhausted), err)
	err = s.Update(context.Background(), func(tx *store.Tx) error { return Drop(tx, "p") })
	require.True(t, fault.Is(err, fault.Conflict), err)
}

func TestEndOfTheAddressSpace(t *testing.T) {
	t.Parallel()
	s := open(t)
	last := netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
	update(t, s, func(tx *store.Tx) error {
		require.NoError(t, Create(tx, "p", []Range{{last.Prev(), last}}))
		for range 2 {
			_, err := Next(tx, "p", "me")
			require.NoError(t, err)
		}
		require.NoError(t, Release(tx, "p", last, "me"))
		a, err := Next(tx, "p", "me")
		require.Equal(t, last, a)
		return err
	})
}

func TestHugeRange(t *testing.T) {
	t.Parallel()
	s := open(t)
	update(t, s, func(tx *store.Tx) error {
		require.NoError(t, Create(tx, "p", []Range{span("fd00::2", "fd00::ffff:ffff:ffff:ffff")}))
		require.NoError(t, Claim(tx, "p", netip.MustParseAddr("fd00::1234:0:0:1"), "me"))
		for i := range 100 {
			a, err := Next(tx, "p", fmt.Sprint(i))
			require.NoError(t, err)
			require.Equal(t, uint8(i+2), a.As16()[15])
		}
		return nil
	})
}

func TestBadRanges(t *testing.T) {
	t.Parallel()
	s := open(t)
	for _, bad := range [][]Range{
		{span("10.0.0.5", "10.0.0.2")},
		{span("10.0.0.5", "fd00::1")},
		{span("10.0.0.5", "10.0.0.9"), span("fd00::1", "fd00::2")},
		{span("10.0.0.5", "10.0.0.9"), span("10.0.0.9", "10.0.0.12")},
		{{}},
	} {
		err := s.Update(context.Background(), func(tx *store.Tx) error { return Create(tx, "p", bad) })
		require.True(t, fault.Is(err, fault.Invalid), "%v: %v", bad, err)
	}
}

// model is what a pool should be: which of a few addresses are in ranges, and who holds which.
type model struct {
	in    map[netip.Addr]bool
	owner map[netip.Addr]string
}

func (m *model) free() (n int) {
	for a := range m.in {
		if m.owner[a] == "" {
			n++
		}
	}
	return n
}

// TestAgainstModel does random things to pools of a few addresses and compares each answer with a naive model.
func TestAgainstModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			s, r := open(t), rand.New(rand.NewPCG(seed, 1))
			base := netip.MustParseAddr("10.0.0.0")
			if seed%2 == 1 {
				base = netip.MustParseAddr("fd00::")
			}
			at := func(i int) netip.Addr {
				a := base
				for range i {
					a = a.Next()
				}
				return a
			}
			const size = 24
			shape := func() (m map[netip.Addr]bool, ranges []Range) {
				m = map[netip.Addr]bool{}
				for i := r.IntN(4); i < size; i += 1 + r.IntN(3) {
					end := min(size-1, i+r.IntN(9))
					ranges = append(ranges, Range{at(i), at(end)})
					for ; i <= end; i++ {
						m[at(i)] = true
					}
				}
				return m, ranges
			}
			m := model{owner: map[netip.Addr]string{}}
			var ranges []Range
			m.in, ranges = shape()
			update(t, s, func(tx *store.Tx) error { return Create(tx, "p", ranges) })
			for step := range 300 {
				who := fmt.Sprint("o", r.IntN(3))
				a := at(r.IntN(size))
				switch r.IntN(10) {
				case 0, 1, 2, 3:
					free := m.free()
					var got netip.Addr
					err := s.Update(context.Background(), func(tx *store.Tx) (err error) { got, err = Next(tx, "p", who); return err })
					if free == 0 {
						require.True(t, fault.Is(err, fault.Exhausted), "step %d: %v", step, err)
						continue
					}
					require.NoError(t, err, "step %d", step)
					require.True(t, m.in[got] && m.owner[got] == "", "step %d gave out %s", step, got)
					m.owner[got] = who
				case 4, 5:
					err := s.Update(context.Background(), func(tx *store.Tx) error { return Claim(tx, "p", a, who) })
					if m.owner[a] != "" {
						require.True(t, fault.Is(err, fault.Exists), "step %d: %v", step, err)
						continue
					}
					require.NoError(t, err)
					m.owner[a] = who
				case 6, 7, 8:
					err := s.Update(context.Background(), func(tx *store.Tx) error { return Release(tx, "p", a, who) })
					if m.owner[a] != who {
						require.True(t, fault.Is(err, fault.NotFound), "step %d: %v", step, err)
						continue
					}
					require.NoError(t, err)
					delete(m.owner, a)
				case 9:
					m.in, ranges = shape()
					update(t, s, func(tx *store.Tx) error { return Resize(tx, "p", ranges) })
				}
				update(t, s, func(tx *store.Tx) error {
					lines, err := Verify(tx, "p")
					require.Empty(t, lines, "step %d", step)
					require.NoError(t, err)
					taken, err := Held(tx, "p")
					require.Len(t, taken, len(m.owner))
					for _, x := range taken {
						require.Equal(t, m.owner[x.Addr], x.Owner)
					}
					return err
				})
			}
		})
	}
}

func TestVerifyFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := open(t)
	update(t, s, func(tx *store.Tx) error {
		require.NoError(t, Create(tx, "p", []Range{span("10.0.0.2", "10.0.0.5")}))
		_, err := Next(tx, "p", "me")
		require.NoError(t, err)
		require.NoError(t, held.Delete(tx, key("p", netip.MustParseAddr("10.0.0.2"))))
		lines, err := Verify(tx, "p")
		require.Len(t, lines, 2, lines)
		return err
	})
}
