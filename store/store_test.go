package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
)

type thing struct {
	ID, Name, Group string
	N               int
}

var things = store.Define(store.Spec[thing]{
	Kind: "thing", Version: 1, ID: func(t *thing) string { return t.ID }, Tombstones: true,
	Indexes: []store.Index[thing]{
		{Name: "name", Unique: true, Keys: func(t *thing) []store.Tuple { return []store.Tuple{{t.Name}} }},
		{Name: "group", Keys: func(t *thing) []store.Tuple { return []store.Tuple{{t.Group, t.N}} }},
	},
})

func open(t *testing.T) *store.Store {
	s, err := store.New(memory.New(nil), store.Options{Key: store.NewKey(), Rerun: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestCollection(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), context.Background()
	require.NoError(t, s.Update(ctx, func(tx *store.Tx) error {
		for i := range 10 {
			if err := things.Insert(tx, &thing{ID: fmt.Sprint(i), Name: fmt.Sprint("n", i), Group: "g", N: 9 - i}); err != nil {
				return err
			}
		}
		return nil
	}))
	err := s.Update(ctx, func(tx *store.Tx) error { return things.Insert(tx, &thing{ID: "x", Name: "n3"}) })
	require.True(t, fault.Is(err, fault.Exists), err)
	require.NoError(t, s.Update(ctx, func(tx *store.Tx) error {
		require.NoError(t, things.Delete(tx, "3"))
		got, err := things.List(tx, store.Query[thing]{Index: "group", Prefix: store.Tuple{"g"}, Limit: 3})
		require.NoError(t, err)
		require.Equal(t, []string{"9", "8", "7"}, []string{got[0].ID, got[1].ID, got[2].ID})
		got, err = things.List(tx, store.Query[thing]{Index: "group", Prefix: store.Tuple{"g"}, After: got[2], Reverse: true})
		require.NoError(t, err)
		require.Len(t, got, 2)
		return things.Insert(tx, &thing{ID: "x", Name: "n3"})
	}))
	require.NoError(t, s.View(ctx, func(tx *store.Tx) error {
		v, err := things.Find(tx, "name", "n3")
		require.NoError(t, err)
		require.Equal(t, "x", v.ID)
		d, err := things.GetDeleted(tx, "3")
		require.NoError(t, err)
		require.Equal(t, "n3", d.Doc.Name)
		return nil
	}))
}

func TestJoinedUpdateIsDroppedAlone(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), context.Background()
	boom := errors.New("boom")
	require.NoError(t, s.Update(ctx, func(tx *store.Tx) error {
		require.NoError(t, s.Update(tx.Context(), func(tx *store.Tx) error { return things.Insert(tx, &thing{ID: "kept"}) }))
		err := s.Update(tx.Context(), func(tx *store.Tx) error {
			require.NoError(t, things.Delete(tx, "kept"))
			return boom
		})
		require.ErrorIs(t, err, boom)
		_, err = things.Get(tx, "kept")
		return err
	}))
}

func TestGroupCommit(t *testing.T) {
	t.Parallel()
	s, ctx := open(t), context.Background()
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			require.NoError(t, s.Update(ctx, func(tx *store.Tx) error {
				n := 0
				if v, err := things.Get(tx, "sum"); err == nil {
					n = v.N
				}
				return things.Put(tx, &thing{ID: "sum", N: n + i})
			}))
		})
	}
	wg.Wait()
	require.NoError(t, s.View(ctx, func(tx *store.Tx) error {
		v, err := things.Get(tx, "sum")
		require.NoError(t, err)
		require.Equal(t, 4950, v.N)
		return nil
	}))
}

func TestImpureClosure(t *testing.T) {
	t.Parallel()
	s, n := open(t), 0
	err := s.Update(context.Background(), func(tx *store.Tx) error {
		n++
		return things.Put(tx, &thing{ID: "x", N: n})
	})
	require.ErrorContains(t, err, "not pure")
}
