package postgres_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/chaos"
	"github.com/nubecula/cloud/store/postgres"
	"github.com/nubecula/cloud/store/storetest"
)

// TestChaos runs the suite while commits conflict and their outcomes are lost.
func TestChaos(t *testing.T) {
	t.Parallel()
	server(t)
	var inside sync.Map // the driver that a chaos driver is around
	around := func(t testing.TB, c clock.Clock, inner *postgres.Driver) store.Driver {
		seed := rand.Uint64()
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("seed of the fault plan: %d", seed)
			}
		})
		plan := inject.NewPlan(c, seed)
		for _, r := range []inject.Rule{
			{Err: store.ErrConflict, Chance: 0.1}, {Err: store.ErrUnknown, Chance: 0.1}, {Err: store.ErrUnknown, When: inject.After, Chance: 0.1},
			{Err: chaos.ErrLate, Chance: 0.1}, {Err: chaos.ErrFenced, Chance: 0.1},
		} {
			r.Driver, r.Method = "store", "Commit"
			plan.Fail(r)
		}
		d := chaos.New(inner, &chaos.Options{Faults: plan})
		inside.Store(d, inner)
		t.Cleanup(func() { d.Close() })
		return d
	}
	storetest.Run(t, storetest.Harness{
		Open: func(t testing.TB, c clock.Clock) store.Driver {
			return around(t, c, open(t, postgres.Options{Clock: c}))
		},
		Share: func(t testing.TB, d store.Driver) store.Driver {
			inner, _ := inside.Load(d)
			opt := *postgres.Reuse(inner.(*postgres.Driver))
			return around(t, opt.Clock, open(t, opt))
		},
		Reopen: func(t testing.TB, d store.Driver) store.Driver {
			again, err := d.(*chaos.Driver).Reopen()
			require.NoError(t, err)
			t.Cleanup(func() { again.Close() })
			return again
		},
	})
}
