package store_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
)

type part struct {
	Size int `json:"size"`
}

type named struct {
	part
	ID   string            `json:"id"`
	Name string            `json:"name,omitempty"`
	Meta map[string]string `json:"meta,omitempty"`
}

var nameds = store.Define(store.Spec[named]{Kind: "named", Version: 2, ID: func(n *named) string { return n.ID },
	Upgrade: map[int]func([]byte) ([]byte, error){1: func(body []byte) ([]byte, error) {
		var old struct{ ID, Title string }
		if err := json.Unmarshal(body, &old); err != nil {
			return nil, err
		}
		return json.Marshal(named{ID: old.ID, Name: old.Title})
	}},
	Indexes: []store.Index[named]{{Name: "name", Keys: func(n *named) []store.Tuple { return []store.Tuple{{n.Name}} }}},
})

// FuzzUpgrade: whatever a stored document holds, reading it gives a document or Corrupt, and what was
// read can be written and deleted.
func FuzzUpgrade(f *testing.F) {
	for _, version := range []int{0, 1, 2, 9} {
		f.Add(version, []byte(`{"id":"x","title":"t","name":"n","size":3,"new":{"a":[null]}}`))
	}
	f.Add(2, []byte(`[]`))
	f.Add(9, []byte(`null`))
	f.Fuzz(func(t *testing.T, version int, body []byte) {
		d, ctx := memory.New(nil), context.Background()
		txn, err := d.Begin(ctx, true)
		require.NoError(t, err)
		require.NoError(t, txn.Apply(&store.Batch{Docs: []store.DocWrite{{Doc: store.Doc{Kind: "named", ID: "x", Version: version, Rev: 1, Body: body}}}}))
		_, err = txn.Commit(ctx, "c")
		require.NoError(t, err)
		s, err := store.New(d, store.Options{Key: make([]byte, store.KeySize), Rerun: 1})
		require.NoError(t, err)
		defer s.Close()
		err = s.Update(ctx, func(tx *store.Tx) error {
			v, err := nameds.Get(tx, "x")
			if err != nil {
				return err
			}
			v.ID, v.Name = "x", "changed"
			return nameds.Put(tx, v)
		})
		if err != nil {
			require.True(t, fault.Is(err, fault.Corrupt), "%v", err)
			return
		}
		require.NoError(t, s.View(ctx, func(tx *store.Tx) error {
			v, err := nameds.Get(tx, "x")
			require.NoError(t, err)
			require.Equal(t, "changed", v.Name)
			return nil
		}))
		txn, err = d.Begin(ctx, false)
		require.NoError(t, err)
		got, _, err := txn.Get("named", "x")
		require.NoError(t, err)
		require.Equal(t, max(2, version), got.Version)
		if version > 2 {
			var was, is map[string]json.RawMessage
			require.NoError(t, json.Unmarshal(body, &was))
			require.NoError(t, json.Unmarshal(got.Body, &is))
			if _, ok := was["new"]; ok {
				require.Contains(t, is, "new")
			}
		}
		require.NoError(t, s.Update(ctx, func(tx *store.Tx) error { return nameds.Delete(tx, "x") }))
	})
}

func TestDefine(t *testing.T) {
	t.Parallel()
	id := func(n *named) string { return n.ID }
	for name, spec := range map[string]store.Spec[named]{
		"no kind":        {Version: 1, ID: id},
		"no version":     {Kind: "k", ID: id},
		"no id":          {Kind: "k", Version: 1},
		"no upgrade":     {Kind: "k", Version: 2, ID: id},
		"index id":       {Kind: "k", Version: 1, ID: id, Indexes: []store.Index[named]{{Name: "id", Keys: func(*named) []store.Tuple { return nil }}}},
		"index twice":    {Kind: "k", Version: 1, ID: id, Indexes: []store.Index[named]{{Name: "a", Keys: func(*named) []store.Tuple { return nil }}, {Name: "a", Keys: func(*named) []store.Tuple { return nil }}}},
		"index, no keys": {Kind: "k", Version: 1, ID: id, Indexes: []store.Index[named]{{Name: "a"}}},
	} {
		require.Panics(t, func() { store.Define(spec) }, name)
	}
	require.Panics(t, func() {
		open(t).View(context.Background(), func(tx *store.Tx) error { _, err := nameds.Find(tx, "name", "x"); return err })
	}, "Find needs a unique index")
}
