package memory_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
	"github.com/nubecula/cloud/store/storetest"
)

func TestDriver(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.Harness{
		Open: func(t testing.TB, c clock.Clock) store.Driver { return memory.New(&memory.Options{Clock: c}) },
		Reopen: func(t testing.TB, d store.Driver) store.Driver {
			again, err := d.(*memory.Driver).Restart()
			require.NoError(t, err)
			return again
		},
	})
}

// TestSharedDriver runs the suite on a database that several Stores use.
func TestSharedDriver(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.Harness{
		Open: func(t testing.TB, c clock.Clock) store.Driver {
			return memory.New(&memory.Options{Clock: c, Shared: true})
		},
		Share:     func(t testing.TB, d store.Driver) store.Driver { return d },
		OneWriter: true,
	})
}

// TestShared: two Stores on one database see each other's commits and are woken by them.
func TestShared(t *testing.T) {
	t.Parallel()
	d := memory.New(&memory.Options{Shared: true})
	require.False(t, d.Exclusive())
	open := func() *store.Store {
		s, err := store.New(d, store.Options{Key: make([]byte, store.KeySize)})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		return s
	}
	a, b := open(), open()
	woken := b.Changed()
	require.NoError(t, a.Update(context.Background(), func(tx *store.Tx) error {
		tx.Emit(event.Event{Type: "hello"})
		return nil
	}))
	<-woken
	events, err := b.Events(context.Background(), 0, 10)
	require.NoError(t, err)
	require.Len(t, events, 1)
}
