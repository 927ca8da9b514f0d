package event_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
)

func open(t *testing.T) *store.Store {
	s, err := store.New(memory.New(nil), store.Options{Key: store.NewKey()})
	require.NoError(t, err)
	return s
}

func emit(t *testing.T, s *store.Store, n int) {
	require.NoError(t, s.Update(context.Background(), func(tx *store.Tx) error {
		for range n {
			tx.Emit(event.Event{Type: "tick"})
		}
		return nil
	}))
}

// TestSubscribe reads more than one page, waits, and reads what comes then, without gaps.
func TestSubscribe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		defer s.Close()
		emit(t, s, 300)
		ctx, cancel := context.WithCancel(context.Background())
		var got []int64
		done := make(chan struct{})
		go func() {
			defer close(done)
			for e, err := range event.Subscribe(ctx, s, 10) {
				if err != nil {
					t.Error(err)
					return
				}
				got = append(got, e.Seq)
			}
		}()
		synctest.Wait()
		require.Len(t, got, 290)
		emit(t, s, 3)
		synctest.Wait()
		require.Len(t, got, 293)
		for i, seq := range got {
			require.EqualValues(t, 11+i, seq)
		}
		cancel()
		<-done
	})
}

func TestSubscribeEndsWithItsReader(t *testing.T) {
	t.Parallel()
	s := open(t)
	defer s.Close()
	emit(t, s, 5)
	n := 0
	for range event.Subscribe(context.Background(), s, 0) {
		if n++; n == 2 {
			break
		}
	}
	require.Equal(t, 2, n)
}

// lost has dropped its oldest events.
type lost struct{}

func (lost) Events(context.Context, int64, int) ([]event.Event, error) {
	return nil, fault.New(fault.Gone, "events before 7 are dropped; list again")
}
func (lost) Changed() <-chan struct{} { return nil }

func TestSubscribeTellsThatTheCursorIsTooOld(t *testing.T) {
	t.Parallel()
	var errs []error
	for _, err := range event.Subscribe(context.Background(), lost{}, 1) {
		errs = append(errs, err)
	}
	require.Len(t, errs, 1)
	require.True(t, fault.Is(errs[0], fault.Gone))
}
