package operation_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
)

var (
	ctx = context.Background()
	web = operation.Resource{Kind: "server", ID: "web"}
)

func open(t *testing.T) *store.Store {
	s, err := store.New(memory.New(nil), store.Options{Key: store.NewKey()})
	require.NoError(t, err)
	return s
}

func put(s *store.Store, list ...operation.Operation) error {
	return s.Update(ctx, func(tx *store.Tx) error {
		for _, o := range list {
			if err := operation.Collection.Put(tx, &o); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestOneAtWorkOnAResource(t *testing.T) {
	t.Parallel()
	s := open(t)
	defer s.Close()
	day := func(d int) time.Time { return time.Date(2026, 1, d, 0, 0, 0, 0, time.UTC) }
	require.NoError(t, put(s,
		operation.Operation{ID: "1", Resource: web, State: operation.Done, CreatedAt: day(1), EndedAt: day(2)},
		operation.Operation{ID: "2", Resource: web, State: operation.Undoing, CreatedAt: day(3)},
		operation.Operation{ID: "3", Resource: web, State: operation.Pending, CreatedAt: day(4)},
		operation.Operation{ID: "4", Resource: operation.Resource{Kind: "image", ID: "web"}, State: operation.Running, CreatedAt: day(5)}))
	for _, state := range []operation.State{operation.Running, operation.Undoing, operation.Pending} {
		err := put(s, operation.Operation{ID: "5", Resource: web, State: state, CreatedAt: day(6)})
		require.True(t, fault.Is(err, fault.Exists), "%s beside another: %v", state, err)
	}
	require.NoError(t, s.View(ctx, func(tx *store.Tx) error {
		active, err := operation.Active(tx, web)
		require.NoError(t, err)
		require.Equal(t, "2", active.ID)
		active, err = operation.Active(tx, operation.Resource{Kind: "server", ID: "other"})
		require.NoError(t, err)
		require.Nil(t, active)
		all, err := operation.Of(tx, web)
		require.NoError(t, err)
		require.Len(t, all, 3)
		require.Equal(t, []string{"3", "2", "1"}, []string{all[0].ID, all[1].ID, all[2].ID})
		return nil
	}))
}

func TestWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		defer s.Close()
		_, err := operation.Wait(ctx, s, "1")
		require.True(t, fault.Is(err, fault.NotFound))
		o := operation.Operation{ID: "1", Kind: "server.start", Resource: web, State: operation.Running}
		require.NoError(t, put(s, o))

		short, cancel := context.WithCancel(ctx)
		gaveUp := make(chan error)
		go func() { _, err := operation.Wait(short, s, "1"); gaveUp <- err }()
		ended := make(chan *operation.Operation)
		go func() { o, _ := operation.Wait(ctx, s, "1"); ended <- o }()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-gaveUp, context.Canceled)

		o.State = operation.Undoing
		require.NoError(t, put(s, o))
		synctest.Wait()
		select {
		case <-ended:
			t.Fatal("an operation that is being undone has not ended")
		default:
		}
		o.State, o.Failure = operation.Failed, &operation.Failure{Code: fault.Exhausted, Message: "no host is left"}
		require.NoError(t, put(s, o))
		err = (<-ended).Err()
		require.True(t, fault.Is(err, fault.Exhausted))
		require.EqualError(t, err, "server.start: server web: no host is left")
	})
}

func TestStepAndErr(t *testing.T) {
	t.Parallel()
	o := operation.Operation{Steps: []string{"a", "b"}, Cursor: 1, State: operation.Running}
	require.Equal(t, "b", o.Step())
	o.Cursor, o.State = 2, operation.Done
	require.Equal(t, "", o.Step())
	o.Failure = &operation.Failure{Code: fault.Timeout}
	require.NoError(t, o.Err(), "done is done, whatever happened on the way")
	o.Cursor = -1
	require.Equal(t, "", o.Step())
	for state, ended := range map[operation.State]bool{operation.Pending: false, operation.Running: false, operation.Undoing: false,
		operation.Done: true, operation.Failed: true, operation.Canceled: true} {
		require.Equal(t, ended, state.Ended(), state)
	}
}
