package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

// testModel plays random histories on a Store and on a plain map, and compares them.
func testModel(t *testing.T, h Harness) {
	seed := rand.Uint64()
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	rnd := rand.New(rand.NewPCG(seed, 0))
	d := h.open(t)
	things := defineThings(thingIndexes()...)
	model := map[string]thing{}
	open := func() *store.Store {
		s, err := store.New(shared{d}, store.Options{Key: make([]byte, store.KeySize), Rerun: 1})
		require.NoError(t, err)
		return s
	}
	s := open()
	for round := range 60 {
		steps := randomSteps(rnd, 1+rnd.IntN(12))
		next := maps.Clone(model)
		fails := rnd.IntN(5) == 0
		cancelled := errors.New("cancelled")
		err := s.Update(context.Background(), func(tx *store.Tx) error {
			clear(next)
			maps.Copy(next, model)
			if err := play(tx, s, things, next, steps); err != nil {
				return err
			}
			if fails {
				return cancelled
			}
			return nil
		})
		if fails {
			require.ErrorIs(t, err, cancelled, "round %d", round)
		} else {
			require.NoError(t, err, "round %d", round)
			model = next
		}
		view(t, s, func(tx *store.Tx) error { return compare(tx, things, model) })
		if round%20 == 19 {
			found, err := store.Check(context.Background(), s, things)
			require.NoError(t, err)
			require.Empty(t, found)
			if h.Reopen != nil {
				require.NoError(t, s.Close())
				d = h.Reopen(t, d)
				s = open()
			}
		}
	}
	require.NoError(t, s.Close())
}

type step struct {
	op   int
	v    thing
	deep []step // played in a joined Update, dropped when op says so
}

func randomSteps(rnd *rand.Rand, n int) []step {
	out := make([]step, n)
	for i := range out {
		out[i] = step{op: rnd.IntN(10), v: thing{ID: fmt.Sprint(rnd.IntN(12)), Group: fmt.Sprint("g", rnd.IntN(3)), N: rnd.IntN(5) - 2}}
		if rnd.IntN(3) > 0 {
			out[i].v.Name = fmt.Sprint("n", rnd.IntN(8))
		}
		for range rnd.IntN(3) {
			out[i].v.Tags = append(out[i].v.Tags, fmt.Sprint("t", rnd.IntN(3)))
		}
		if out[i].op >= 8 && n > 2 {
			out[i].deep = randomSteps(rnd, n/2)
		}
	}
	return out
}

// play runs steps on a transaction and on the model, and returns an error where they differ.
func play(tx *store.Tx, s *store.Store, things *store.Collection[thing], model map[string]thing, steps []step) error {
	for _, st := range steps {
		_, there := model[st.v.ID]
		taken := false
		for id, v := range model {
			taken = taken || st.v.Name != "" && v.Name == st.v.Name && id != st.v.ID
		}
		var err error
		want := fault.Code(-1)
		switch {
		case st.op < 3:
			err = things.Insert(tx, &st.v)
			if there || taken {
				want = fault.Exists
			}
		case st.op < 6:
			err = things.Put(tx, &st.v)
			if taken {
				want = fault.Exists
			}
		case st.op < 8:
			err = things.Delete(tx, st.v.ID)
			if !there {
				want = fault.NotFound
			} else {
				delete(model, st.v.ID)
			}
		default:
			if err := playDeep(tx, s, things, model, st); err != nil {
				return err
			}
			continue
		}
		if want >= 0 && !fault.Is(err, want) || want < 0 && err != nil {
			return fmt.Errorf("step %+v: got %w, want %v", st, err, want)
		}
		if want < 0 && st.op < 6 {
			model[st.v.ID] = st.v
		}
	}
	return compare(tx, things, model)
}

func playDeep(tx *store.Tx, s *store.Store, things *store.Collection[thing], model map[string]thing, st step) error {
	inner := maps.Clone(model)
	dropped := errors.New("dropped")
	err := s.Update(tx.Context(), func(tx *store.Tx) error {
		if err := play(tx, s, things, inner, st.deep); err != nil {
			return err
		}
		if st.op == 9 {
			return dropped
		}
		return nil
	})
	if st.op == 9 && errors.Is(err, dropped) {
		return compare(tx, things, model)
	}
	if err == nil {
		clear(model)
		maps.Copy(model, inner)
	}
	return err
}

// compare looks at the collection through every index.
func compare(tx *store.Tx, things *store.Collection[thing], model map[string]thing) error {
	expect := func(q store.Query[thing], keys func(v thing) []string) error {
		var want []string
		for _, v := range model {
			for _, k := range keys(v) {
				want = append(want, k+"\x00"+v.ID)
			}
		}
		slices.Sort(want)
		want = slices.Compact(want)
		for i, w := range want {
			want[i] = w[strings.LastIndex(w, "\x00")+1:]
		}
		if q.Reverse {
			slices.Reverse(want)
		}
		if q.Limit > 0 && len(want) > q.Limit {
			want = want[:q.Limit]
		}
		got, err := things.List(tx, q)
		if err != nil {
			return err
		}
		if strings.Join(want, " ") != ids(got) {
			return fmt.Errorf("%+v: got %q, want %q", q, ids(got), strings.Join(want, " "))
		}
		for _, v := range got {
			if fmt.Sprint(*v) != fmt.Sprint(model[v.ID]) {
				return fmt.Errorf("%s: got %+v, want %+v", v.ID, *v, model[v.ID])
			}
		}
		return nil
	}
	for _, reverse := range []bool{false, true} {
		for _, limit := range []int{0, 1, 4} {
			q := store.Query[thing]{Reverse: reverse, Limit: limit}
			err := expect(q, func(v thing) []string { return []string{""} })
			q.Index = "group"
			err = errors.Join(err, expect(q, func(v thing) []string { return []string{fmt.Sprint(v.Group, v.N+5)} }))
			q.Prefix = store.Tuple{"g1"}
			err = errors.Join(err, expect(q, func(v thing) []string {
				if v.Group != "g1" {
					return nil
				}
				return []string{fmt.Sprint(v.N + 5)}
			}))
			q.Index, q.Prefix = "tag", nil
			err = errors.Join(err, expect(q, func(v thing) []string { return v.Tags }))
			q.Index = "name"
			err = errors.Join(err, expect(q, func(v thing) []string {
				if v.Name == "" {
					return nil
				}
				return []string{v.Name}
			}))
			if err != nil {
				return err
			}
		}
	}
	return nil
}
