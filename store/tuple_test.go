package store_test

import (
	"bytes"
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/store"
)

// compareTuples is the order that Encode has to keep, said plainly.
func compareTuples(a, b store.Tuple) int {
	for i := range min(len(a), len(b)) {
		var c int
		switch x := a[i].(type) {
		case string:
			c = strings.Compare(x, b[i].(string))
		case int:
			c = cmp.Compare(x, b[i].(int))
		case int64:
			c = cmp.Compare(x, b[i].(int64))
		case time.Time:
			c = x.Compare(b[i].(time.Time))
		case bool:
			y := b[i].(bool)
			c = map[bool]int{true: 1}[x] - map[bool]int{true: 1}[y]
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

func sameOrder(t *testing.T, a, b store.Tuple) {
	t.Helper()
	require.Equal(t, compareTuples(a, b), bytes.Compare(a.Encode(), b.Encode()), "%#v and %#v", a, b)
}

func TestTupleOrder(t *testing.T) {
	t.Parallel()
	lists := [][]any{
		{"", "\x00", "\x00\x00", "\x00\xff", "\x01", "a", "a\x00", "a\x00\x00", "a\x00b", "a\x01", "a\xff", "ab", "b", "\xff", "\xff\xff"},
		{math.MinInt64, -256, -255, -1, 0, 1, 255, 256, math.MaxInt64},
		{int64(math.MinInt64), int64(-1), int64(0), int64(math.MaxInt64)},
		{time.Time{}, time.Unix(-1, 999999999), time.Unix(0, 0), time.Unix(0, 1), time.Unix(1, 0), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)},
		{false, true},
	}
	for _, list := range lists {
		for _, x := range list {
			for _, y := range list {
				for _, more := range []store.Tuple{{}, {"z"}, {0}, {false}} {
					sameOrder(t, append(store.Tuple{x}, more...), append(store.Tuple{y}, more...))
					sameOrder(t, append(store.Tuple{x}, more...), store.Tuple{y})
				}
			}
		}
	}
	require.Equal(t, store.Tuple{time.Unix(5, 0).UTC()}.Encode(), store.Tuple{time.Unix(5, 0).In(time.FixedZone("x", 3600))}.Encode())
	require.Panics(t, func() { store.Tuple{1.5}.Encode() })
}

func TestTupleOrderRandom(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	var tuples []store.Tuple
	for range 500 {
		s := make([]byte, rnd.IntN(4))
		for i := range s {
			s[i] = byte(rnd.IntN(3)) * 127
		}
		tuple := store.Tuple{string(s), rnd.IntN(5) - 2, rnd.IntN(2) == 0, time.Unix(int64(rnd.IntN(3)-1), int64(rnd.IntN(2)))}
		tuples = append(tuples, tuple[:rnd.IntN(5)])
	}
	plain, encoded := slices.Clone(tuples), slices.Clone(tuples)
	slices.SortStableFunc(plain, compareTuples)
	slices.SortStableFunc(encoded, func(a, b store.Tuple) int { return bytes.Compare(a.Encode(), b.Encode()) })
	require.Equal(t, plain, encoded, "seed %d", seed)
}

func FuzzTupleOrder(f *testing.F) {
	f.Add("a", "a\x00", int64(1), int64(-1), true)
	f.Add("", "\xff\x00", int64(math.MinInt64), int64(0), false)
	f.Fuzz(func(t *testing.T, s1, s2 string, n1, n2 int64, b bool) {
		at := time.Unix(n1>>20, n2&0xff)
		sameOrder(t, store.Tuple{s1, n1, b}, store.Tuple{s2, n2, !b})
		sameOrder(t, store.Tuple{s1, s2}, store.Tuple{s1})
		sameOrder(t, store.Tuple{s1, s2}, store.Tuple{s1 + "\x00", s2})
		sameOrder(t, store.Tuple{s1, s2}, store.Tuple{s1 + s2})
		sameOrder(t, store.Tuple{n1, s1}, store.Tuple{n2, s2})
		sameOrder(t, store.Tuple{at, s1}, store.Tuple{time.Unix(n2>>20, n1&0xff), s2})
	})
}
