package lease_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/lease"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
)

func TestLease(t *testing.T) {
	t.Parallel()
	ctx, c := context.Background(), clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	s, err := store.New(memory.New(&memory.Options{Clock: c, Shared: true}), store.Options{Key: store.NewKey(), Clock: c, Rerun: 1})
	require.NoError(t, err)
	defer s.Close()
	alive := func(owner string) (ok bool) {
		require.NoError(t, s.View(ctx, func(tx *store.Tx) error {
			ok, err = lease.Alive(tx, owner)
			return err
		}))
		return ok
	}
	rows := func() (n int) {
		require.NoError(t, s.View(ctx, func(tx *store.Tx) error {
			all, err := lease.Collection.List(tx, store.Query[lease.Lease]{})
			n = len(all)
			return err
		}))
		return n
	}
	require.False(t, alive("a"))
	require.NoError(t, lease.Renew(ctx, s, "a", 15*time.Second))
	require.NoError(t, lease.Renew(ctx, s, "b", 15*time.Second))
	c.Jump(time.Hour) // an administrator sets the clock: nobody dies of it
	require.True(t, alive("a"))
	c.Advance(15*time.Second - 1)
	require.True(t, alive("a"))
	c.Advance(1)
	require.False(t, alive("a"))

	require.NoError(t, lease.Renew(ctx, s, "b", 15*time.Second)) // it was frozen, and goes on
	require.True(t, alive("b"))
	require.Equal(t, 2, rows())
	c.Advance(150*time.Second + 1)
	require.NoError(t, lease.Renew(ctx, s, "b", 15*time.Second))
	require.Equal(t, 1, rows(), "the row of a, long dead, is dropped")

	require.NoError(t, lease.End(ctx, s, "b"))
	require.False(t, alive("b"))
	require.NoError(t, lease.End(ctx, s, "b"))
}
