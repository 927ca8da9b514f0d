package sqlite_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/sqlite"
)

type thing struct {
	ID, Name, Group string
	N               int
}

var things = store.Define(store.Spec[thing]{
	Kind: "thing", Version: 1, ID: func(t *thing) string { return t.ID },
	Indexes: []store.Index[thing]{
		{Name: "name", Unique: true, Keys: func(t *thing) []store.Tuple { return []store.Tuple{{t.Name}} }},
		{Name: "group", Keys: func(t *thing) []store.Tuple { return []store.Tuple{{t.Group, t.N}} }},
	},
})

func TestReopen(t *testing.T) {
	t.Parallel()
	path, ctx := filepath.Join(t.TempDir(), "cloud.db"), context.Background()
	for round := range 3 {
		d, err := sqlite.Open(path, nil)
		require.NoError(t, err)
		s, err := store.New(d, store.Options{Key: make([]byte, store.KeySize)})
		require.NoError(t, err)
		for i := range 100 {
			require.NoError(t, s.Update(ctx, func(tx *store.Tx) error {
				tx.Emit(event.Event{Type: "made"})
				return things.Insert(tx, &thing{ID: fmt.Sprint(round, "-", i), Name: fmt.Sprint(round, i), Group: "g", N: -i})
			}))
		}
		require.NoError(t, s.View(ctx, func(tx *store.Tx) error {
			all, err := things.List(tx, store.Query[thing]{Index: "group", Prefix: store.Tuple{"g"}})
			require.NoError(t, err)
			require.Len(t, all, 100*(round+1))
			return nil
		}))
		events, err := s.Events(ctx, 0, 1000)
		require.NoError(t, err)
		require.Len(t, events, 100*(round+1))
		require.NoError(t, s.Close())
	}
}
