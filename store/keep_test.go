package store_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/sqlite"
)

// TestUpgrade: a newer version of the program keeps a copy before it writes; the older one refuses what the newer has
// written, and goes on with the copy.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	path, ctx := filepath.Join(t.TempDir(), "cloud.db"), context.Background()
	type note struct{ ID, Text string }
	id := func(n *note) string { return n.ID }
	up := map[int]func([]byte) ([]byte, error){1: func(b []byte) ([]byte, error) { return b, nil }, 2: func(b []byte) ([]byte, error) { return b, nil }}
	var versions [4]*store.Collection[note]
	for v := 1; v < len(versions); v++ {
		versions[v] = store.Define(store.Spec[note]{Kind: "note", Version: v, ID: id, Upgrade: up})
	}
	run := func(path string, key byte, version int, text string) (*store.Store, error) {
		t.Helper()
		d, err := sqlite.Open(path, nil)
		require.NoError(t, err)
		k := make([]byte, store.KeySize)
		k[0] = key
		s, err := store.New(d, store.Options{Key: k})
		require.NoError(t, err)
		defer s.Close()
		if err := s.Prepare(ctx, versions[version]); err != nil {
			return s, err
		}
		return s, s.Update(ctx, func(tx *store.Tx) error { return versions[version].Put(tx, &note{"a", text}) })
	}
	read := func(path string, version int) (text string) {
		t.Helper()
		s := openSQLite(t, path)
		require.NoError(t, s.Prepare(ctx, versions[version]))
		require.NoError(t, s.View(ctx, func(tx *store.Tx) error {
			n, err := versions[version].Get(tx, "a")
			if err == nil {
				text = n.Text
			}
			return err
		}))
		require.NoError(t, s.Close())
		return text
	}
	for range 2 {
		s, err := run(path, 0, 1, "one")
		require.NoError(t, err)
		require.Empty(t, s.Kept(), "a new store, and the same version again")
	}
	_, err := run(path, 7, 2, "never")
	require.ErrorContains(t, err, "key")
	require.NoFileExists(t, path+".before-note-2", "with the wrong key there is nothing to upgrade")
	s, err := run(path, 0, 2, "two")
	require.NoError(t, err)
	require.Equal(t, path+".before-note-2", s.Kept())
	s, err = run(path, 0, 2, "two")
	require.NoError(t, err)
	require.Empty(t, s.Kept())
	_, err = run(path, 0, 1, "back")
	require.True(t, fault.Is(err, fault.Corrupt), "%v", err)
	for _, word := range []string{"newer version", "kind note have version 2, this one knows 1", "the copy that was kept"} {
		require.ErrorContains(t, err, word)
	}
	require.Equal(t, "two", read(path, 2), "a refusal changes nothing")
	_, err = sqlite.Restore(path+".before-note-2", path, nil)
	require.NoError(t, err)
	require.Equal(t, "one", read(path, 1))
	s, err = run(path, 0, 3, "three")
	require.NoError(t, err)
	require.Equal(t, path+".before-note-3", s.Kept())
}

func openSQLite(t *testing.T, path string) *store.Store {
	t.Helper()
	d, err := sqlite.Open(path, nil)
	require.NoError(t, err)
	s, err := store.New(d, store.Options{Key: make([]byte, store.KeySize)})
	require.NoError(t, err)
	return s
}
