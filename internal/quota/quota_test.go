package quota_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/quota"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
)

func open(t *testing.T) *store.Store {
	s, err := store.New(memory.New(nil), store.Options{Key: store.NewKey(), Rerun: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func book() *quota.Book {
	return quota.NewBook("test", quota.Resource{Name: "port", Label: "ports", Default: quota.Unlimited},
		quota.Resource{Name: "core", Label: "cores", Default: 4}, quota.Resource{Name: "item", Default: 128, Uncounted: true})
}

type amounts = map[string]int64

func TestLedger(t *testing.T) {
	t.Parallel()
	s, b, ctx := open(t), book(), context.Background()
	do := func(fn func(tx *store.Tx) error) error { return s.Update(ctx, fn) }
	require.NoError(t, do(func(tx *store.Tx) error { return b.Reserve(tx, "p", amounts{"port": 10, "core": 3}) }))
	require.NoError(t, do(func(tx *store.Tx) error { return b.SetLimits(tx, "p", amounts{"port": 10}) }))

	err := do(func(tx *store.Tx) error { return b.Reserve(tx, "p", amounts{"port": 1, "core": 1}) })
	require.True(t, fault.Is(err, fault.Quota), err)
	require.ErrorContains(t, err, "project p has 10 of 10 ports, 1 more asked")
	var over *quota.Exceeded
	require.True(t, errors.As(err, &over))
	require.Len(t, over.Over, 1)

	require.NoError(t, do(func(tx *store.Tx) error { return b.Adjust(tx, "p", amounts{"port": -1, "core": 1}) }))
	err = do(func(tx *store.Tx) error { return b.Reserve(tx, "p", amounts{"core": 1}) })
	require.True(t, fault.Is(err, fault.Quota), err)
	require.NoError(t, do(func(tx *store.Tx) error { return b.Reserve(tx, "p", amounts{"core": 0}) }), "nothing is never refused")
	require.NoError(t, do(func(tx *store.Tx) error { return b.SetLimits(tx, "", amounts{"core": 5}) }))
	require.NoError(t, do(func(tx *store.Tx) error { return b.Reserve(tx, "p", amounts{"core": 1}) }), "the defaults were raised")

	require.NoError(t, do(func(tx *store.Tx) error {
		u, err := b.Usage(tx, "p")
		require.Equal(t, map[string]quota.Usage{"port": {9, 10}, "core": {5, 5}, "item": {0, 128}}, u)
		require.NoError(t, err)
		projects, err := b.Projects(tx)
		require.Equal(t, []string{"p"}, projects)
		require.NoError(t, err)
		lines, err := b.Verify(tx, map[string]map[string]int64{"p": {"port": 9, "core": 4}, "q": {"port": 1}})
		require.Equal(t, []string{"quota of project p counts 5 cores, there are 4", "quota of project q counts 0 ports, there are 1"}, lines)
		return err
	}))
	require.NoError(t, do(func(tx *store.Tx) error { return b.ResetLimits(tx, "p") }))
	require.NoError(t, do(func(tx *store.Tx) error { return b.Reserve(tx, "p", amounts{"port": 1000}) }))
	for _, bad := range []amounts{{"core": -2}, {"cpu": 1}} {
		err = do(func(tx *store.Tx) error { return b.SetLimits(tx, "p", bad) })
		require.True(t, fault.Is(err, fault.Invalid), err)
	}
	err = do(func(tx *store.Tx) error { return b.Release(tx, "p", amounts{"core": 6}) })
	require.True(t, fault.Is(err, fault.Corrupt), err)
}

func TestNoOversellUnderConcurrency(t *testing.T) {
	t.Parallel()
	s, b, ctx := open(t), book(), context.Background()
	require.NoError(t, s.Update(ctx, func(tx *store.Tx) error { return b.SetLimits(tx, "p", amounts{"port": 17}) }))
	var got atomic.Int64
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			err := s.Update(ctx, func(tx *store.Tx) error { return b.Reserve(tx, "p", amounts{"port": 1}) })
			if err == nil {
				got.Add(1)
			} else {
				require.True(t, fault.Is(err, fault.Quota), err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 17, got.Load())
}
