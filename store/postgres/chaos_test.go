package postgres_test

import (
	"math/rand/v2"
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
	storetest.Run(t, storetest.Harness{
		Open: func(t testing.TB, c clock.Clock) store.Driver {
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
			d := chaos.New(open(t, postgres.Options{Clock: c}), &chaos.Options{Faults: plan})
			t.Cleanup(func() { d.Close() })
			return d
		},
		Reopen: func(t testing.TB, d store.Driver) store.Driver {
			again, err := d.(*chaos.Driver).Reopen()
			require.NoError(t, err)
			t.Cleanup(func() { again.Close() })
			return again
		},
	})
}
