package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/chaos"
	"github.com/nubecula/cloud/store/memory"
	"github.com/nubecula/cloud/store/sqlite"
	"github.com/nubecula/cloud/store/storetest"
)

// drivers are what chaos is put around.
var drivers = map[string]func(t testing.TB, c clock.Clock) store.Driver{
	"memory": func(t testing.TB, c clock.Clock) store.Driver { return memory.New(&memory.Options{Clock: c}) },
	"sqlite": func(t testing.TB, c clock.Clock) store.Driver {
		d, err := sqlite.Open(filepath.Join(t.TempDir(), "cloud.db"), &sqlite.Options{Clock: c})
		require.NoError(t, err)
		return d
	},
}

// TestDriver runs the suite while commits conflict and their outcomes are lost.
func TestDriver(t *testing.T) {
	t.Parallel()
	for name, open := range drivers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
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
					d := chaos.New(open(t, c), &chaos.Options{Faults: plan})
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
		})
	}
}

type thing struct{ ID string }

var things = store.Define(store.Spec[thing]{Kind: "thing", Version: 1, ID: func(t *thing) string { return t.ID }})

func open(t testing.TB, d store.Driver) *store.Store {
	s, err := store.New(d, store.Options{Key: make([]byte, store.KeySize)})
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func add(s *store.Store, id string) error {
	return s.Update(context.Background(), func(tx *store.Tx) error { return things.Insert(tx, &thing{id}) })
}

func list(t testing.TB, s *store.Store) (out []string) {
	require.NoError(t, s.View(context.Background(), func(tx *store.Tx) error {
		all, err := things.List(tx, store.Query[thing]{})
		for _, v := range all {
			out = append(out, v.ID)
		}
		return err
	}))
	return out
}

func TestCrashAt(t *testing.T) {
	t.Parallel()
	for name, make := range drivers {
		for _, when := range []chaos.When{chaos.Before, chaos.After} {
			t.Run(fmt.Sprint(name, when), func(t *testing.T) {
				t.Parallel()
				d := chaos.New(make(t, clock.System()), nil)
				s := open(t, d)
				require.NoError(t, add(s, "1"))
				d.CrashAt(2, when)
				require.NoError(t, add(s, "2"))
				require.Equal(t, 2, d.Commits())
				reader, err := d.Begin(context.Background(), false)
				require.NoError(t, err)
				require.ErrorContains(t, add(s, "3"), "crashed")
				require.True(t, d.Crashed())
				require.True(t, fault.Is(add(s, "4"), fault.Unavailable))
				_, _, err = reader.Get("thing", "1")
				require.ErrorContains(t, err, "crashed")
				require.ErrorContains(t, s.View(context.Background(), func(*store.Tx) error { return nil }), "crashed")
				_, err = s.Now(context.Background())
				require.ErrorContains(t, err, "crashed")
				require.NoError(t, s.Close())
				again, err := d.Reopen()
				require.NoError(t, err)
				s = open(t, again)
				want := []string{"1", "2"}
				if when == chaos.After {
					want = append(want, "3")
				}
				require.Equal(t, want, list(t, s))
				require.NoError(t, add(s, "5"))
				_, err = d.Begin(context.Background(), true)
				require.ErrorContains(t, err, "crashed", "the dead stay dead")
			})
		}
	}
}

// TestCrashAnytime crashes while many work; what was answered is there, and nothing is there in halves.
func TestCrashAnytime(t *testing.T) {
	t.Parallel()
	for name, make := range drivers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := chaos.New(make(t, clock.System()), nil)
			for round := range 10 {
				s := open(t, d)
				var wg sync.WaitGroup
				var mu sync.Mutex
				var answered []string
				for w := range 4 {
					wg.Go(func() {
						for i := 0; ; i++ {
							id := fmt.Sprint(round, "-", w, "-", i)
							err := s.Update(context.Background(), func(tx *store.Tx) error {
								return errors.Join(things.Insert(tx, &thing{id + "a"}), things.Insert(tx, &thing{id + "b"}))
							})
							if err != nil {
								return
							}
							mu.Lock()
							answered = append(answered, id+"a", id+"b")
							if len(answered) > 40 {
								d.Crash()
							}
							mu.Unlock()
						}
					})
				}
				wg.Wait()
				s.Close()
				again, err := d.Reopen()
				require.NoError(t, err)
				d = again
				s = open(t, again)
				have := list(t, s)
				require.Subset(t, have, answered)
				require.Zero(t, len(have)%2)
				s.Close()
				d, err = again.Reopen()
				require.NoError(t, err)
			}
			require.NoError(t, d.Close())
		})
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	plan := inject.NewPlan(clock.System(), 1)
	d := chaos.New(memory.New(nil), &chaos.Options{Faults: plan})
	s := open(t, d)
	plan.Fail(inject.Rule{Driver: "store", Method: "Commit", Nth: 2, Err: fault.New(fault.Exhausted, "the disk is full")})
	require.NoError(t, add(s, "1"))
	require.True(t, fault.Is(add(s, "2"), fault.Exhausted))
	require.NoError(t, add(s, "3"))
	plan.Fail(inject.Rule{Driver: "store", Method: "Begin", Object: "write", Times: 1})
	require.True(t, fault.Is(add(s, "4"), fault.Unavailable))
	plan.Fail(inject.Rule{Driver: "store", Method: "Apply", Times: 1})
	require.True(t, fault.Is(add(s, "4"), fault.Unavailable))
	plan.Fail(inject.Rule{Driver: "store", Method: "Commit", When: inject.After, Times: 1})
	plan.Fail(inject.Rule{Driver: "store", Method: "Resolve", Times: 1})
	require.NoError(t, add(s, "5"), "a lost reply is asked for, and asked for again")
	plan.Fail(inject.Rule{Driver: "store", Method: "Commit", Err: chaos.ErrLate, Times: 1})
	require.NoError(t, add(s, "6"))
	plan.Fail(inject.Rule{Driver: "store", Method: "Commit", Err: chaos.ErrFenced, Times: 1})
	require.NoError(t, add(s, "7"))
	require.Equal(t, []string{"1", "3", "5", "6", "7"}, list(t, s))
	require.EqualValues(t, 3, s.Stats().Unknown.Load())
	require.EqualValues(t, 1, s.Stats().Conflicts.Load())
	require.Equal(t, 5, d.Commits())
}

// TestFrozen: a commit that is held up when the crash comes never happens.
func TestFrozen(t *testing.T) {
	t.Parallel()
	plan := inject.NewPlan(clock.System(), 1)
	d := chaos.New(memory.New(nil), &chaos.Options{Faults: plan})
	s := open(t, d)
	frozen, thaw := make(chan struct{}), make(chan struct{})
	plan.Fail(inject.Rule{Driver: "store", Method: "Commit", Hold: func() { close(frozen); <-thaw }})
	failed := make(chan error)
	go func() { failed <- add(s, "x") }()
	<-frozen
	again, err := d.Reopen()
	require.NoError(t, err)
	close(thaw)
	require.ErrorContains(t, <-failed, "crashed")
	plan.Clear()
	require.Empty(t, list(t, open(t, again)))
}
