package store_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/chaos"
	"github.com/nubecula/cloud/store/memory"
)

// TestBroken: whoever embeds a Store learns that its driver has given up, by a write as well as by a read.
func TestBroken(t *testing.T) {
	t.Parallel()
	for name, use := range map[string]func(s *store.Store) error{
		"write": func(s *store.Store) error {
			return s.Update(context.Background(), func(tx *store.Tx) error { return nil })
		},
		"read": func(s *store.Store) error {
			return s.View(context.Background(), func(tx *store.Tx) error { return nil })
		},
	} {
		d := chaos.New(memory.New(nil), nil)
		s, err := store.New(d, store.Options{Key: store.NewKey()})
		require.NoError(t, err)
		require.NoError(t, use(s), name)
		select {
		case <-s.Broken():
			t.Fatal(name, "is closed although nothing is broken")
		default:
		}
		require.NoError(t, s.Cause())
		d.Crash()
		for range 2 {
			require.True(t, fault.Is(use(s), fault.Unavailable), name)
		}
		<-s.Broken()
		require.ErrorIs(t, s.Cause(), store.ErrBroken, name)
		require.NoError(t, s.Close())
	}
}

// TestFull: a full disk of the database can be told from whatever else has no room.
func TestFull(t *testing.T) {
	t.Parallel()
	plan := inject.NewPlan(nil, 1)
	s, err := store.New(chaos.New(memory.New(nil), &chaos.Options{Faults: plan}), store.Options{Key: store.NewKey()})
	require.NoError(t, err)
	defer s.Close()
	noAddress := fault.New(fault.Exhausted, "no address left")
	err = s.Update(context.Background(), func(tx *store.Tx) error { return noAddress })
	require.Equal(t, error(noAddress), err, "what a closure says is its own")
	for _, method := range []string{"Begin", "Apply", "Commit"} {
		remove := plan.Fail(inject.Rule{Driver: "store", Method: method, Err: fault.New(fault.Exhausted, "the disk at home is full")})
		err = s.Update(context.Background(), func(tx *store.Tx) error {
			tx.Emit(event.Event{Type: "a", ID: "b"})
			return nil
		})
		require.ErrorIs(t, err, store.ErrFull, method)
		require.True(t, fault.Is(err, fault.Exhausted), method)
		require.Equal(t, "the disk at home is full", err.Error(), method)
		remove()
	}
	require.NoError(t, s.Cause(), "it is not broken")
}
