package witness_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/witness"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
)

// driver remembers an epoch, or fails.
type driver struct {
	newest int64
	err    error
}

func (d *driver) Remember(_ context.Context, _ string, epoch int64) (int64, error) {
	if d.err != nil {
		return 0, d.err
	}
	d.newest = max(d.newest, epoch)
	return d.newest, nil
}

// start is a process on a store.
func start(t *testing.T, db store.Driver, met map[string]any) (*witness.Witness, *store.Store) {
	t.Helper()
	s, err := store.New(db, store.Options{Key: make([]byte, 32)})
	require.NoError(t, err)
	require.NoError(t, s.Prepare(t.Context(), witness.Collections()...))
	w, err := witness.New(t.Context(), s, "cloud", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	for name, d := range met {
		require.NoError(t, w.Meet(t.Context(), name, d))
	}
	return w, s
}

// copyOf is what a backup of a database has, or a process finds that starts on it.
func copyOf(t *testing.T, db store.Driver) store.Driver {
	t.Helper()
	c, err := db.(*memory.Driver).Restart()
	require.NoError(t, err)
	return c
}

// TestCopyWithinARound: a copy that no round has passed since is known by what the store has no record of; where every driver
// was met again since, by the drivers alone.
func TestCopyWithinARound(t *testing.T) {
	t.Parallel()
	var db store.Driver = memory.New(nil)
	a, b := &driver{}, &driver{}
	met := map[string]any{"host/a": a, "host/b": b, "host/c": nil}
	w, s := start(t, db, met)
	copied := copyOf(t, db)
	born := w.Epoch("host/a")
	require.EqualValues(t, 1, born)
	require.NoError(t, s.Close())

	db = copyOf(t, copied)
	w, s = start(t, db, met)
	require.Nil(t, w.Held(), "the drivers have seen nothing newer")
	require.NoError(t, w.Saw(t.Context(), "host/a", 0, "a guest whose epoch nobody knows"))
	require.NoError(t, w.Saw(t.Context(), "host/none", born, "a guest of a driver that was not met"))
	require.Nil(t, w.Held())
	require.NoError(t, w.Saw(t.Context(), "host/a", born, "a guest that the store does not know"))
	require.NotNil(t, w.Held())
	require.True(t, fault.Is(w.Allow(), fault.Unavailable))
	_, err := w.Accept(t.Context())
	require.NoError(t, err)
	require.NoError(t, w.Saw(t.Context(), "host/a", born, "it is still there"))
	require.Nil(t, w.Held(), "one word is enough")
	require.NoError(t, s.Close())
	w, s = start(t, copyOf(t, db), met)
	require.NoError(t, w.Saw(t.Context(), "host/a", born, "it is still there"))
	require.Nil(t, w.Held(), "also for the next process")
	require.NoError(t, s.Close())

	*a, *b = driver{newest: 1}, driver{newest: 1}
	w, s = start(t, copyOf(t, copied), met)
	w.Compared("host/a")
	require.NoError(t, w.Saw(t.Context(), "host/a", w.Epoch("host/a"), "what came later"))
	require.Nil(t, w.Held())
	b.err = errors.New("no route to host")
	require.ErrorContains(t, w.MeetAll(t.Context()), "host/b: no route to host")
	b.err = nil
	require.NoError(t, w.MeetAll(t.Context()))
	require.EqualValues(t, 4, a.newest)
	require.EqualValues(t, 3, b.newest)
	require.NoError(t, s.Close())
	w, s = start(t, copyOf(t, copied), met)
	require.Len(t, w.Held().Evidence, 2, "the copy is older than what both have seen")
	require.NoError(t, s.Close())
}
