package store_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
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
