package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/store"
)

func testEvents(t *testing.T, h Harness) {
	d := h.open(t)
	full := event.Event{Time: start.Add(time.Nanosecond), Type: "server.create", Kind: "server", ID: "1", ProjectID: "p", UserID: "u", RequestID: "r", OperationID: "o", Data: json.RawMessage(`{"a":[1,2]}`)}
	commit(t, d, &store.Batch{Events: []event.Event{full, {Type: "second"}}})
	commit(t, d, &store.Batch{Docs: []store.DocWrite{doc("k", "x", `1`)}})
	commit(t, d, &store.Batch{Events: []event.Event{{Type: "third"}}})
	txn, err := d.Begin(context.Background(), true)
	require.NoError(t, err)
	require.NoError(t, txn.Apply(&store.Batch{Events: []event.Event{{Type: "never"}}}))
	txn.Rollback()
	commit(t, d, &store.Batch{Events: []event.Event{{Type: "fourth"}}})
	types := func(after int64, limit int) (out []string) {
		read(t, d, func(txn store.Txn) {
			events, err := txn.Events(after, limit)
			require.NoError(t, err)
			for i, e := range events {
				require.Equal(t, after+int64(i)+1, e.Seq, "a gap")
				out = append(out, e.Type)
			}
		})
		return out
	}
	require.Equal(t, []string{"server.create", "second", "third", "fourth"}, types(0, 100))
	require.Equal(t, []string{"second", "third"}, types(1, 2))
	require.Empty(t, types(4, 100))
	require.Empty(t, types(99, 100))
	read(t, d, func(txn store.Txn) {
		events, err := txn.Events(0, 1)
		require.NoError(t, err)
		full.Seq = 1
		require.True(t, full.Time.Equal(events[0].Time))
		events[0].Time = full.Time
		require.Equal(t, []event.Event{full}, events)
	})
}

func testEventsPruned(t *testing.T, h Harness) {
	c := clock.NewManual(start)
	d := h.Open(t, c)
	for i := range 10 {
		commit(t, d, &store.Batch{Events: []event.Event{{Type: fmt.Sprint(i), Time: start.Add(time.Duration(i) * time.Minute)}}})
	}
	seqs := func(after int64) (out []int64, err error) {
		read(t, d, func(txn store.Txn) {
			var events []event.Event
			events, err = txn.Events(after, 100)
			for _, e := range events {
				out = append(out, e.Seq)
			}
		})
		return out, err
	}
	require.NoError(t, d.Prune(context.Background(), start))
	got, err := seqs(0)
	require.NoError(t, err)
	require.Len(t, got, 10)
	require.NoError(t, d.Prune(context.Background(), start.Add(4*time.Minute)))
	_, err = seqs(3)
	require.True(t, fault.Is(err, fault.Gone), "%v", err)
	got, err = seqs(4)
	require.NoError(t, err)
	require.Equal(t, []int64{5, 6, 7, 8, 9, 10}, got)
	require.NoError(t, d.Prune(context.Background(), start.Add(time.Hour)))
	_, err = seqs(9)
	require.True(t, fault.Is(err, fault.Gone), "%v", err)
	got, err = seqs(10)
	require.NoError(t, err)
	require.Empty(t, got)
	if h.Reopen != nil {
		d = h.Reopen(t, d)
		_, err = seqs(9)
		require.True(t, fault.Is(err, fault.Gone), "%v", err)
	}
	commit(t, d, &store.Batch{Events: []event.Event{{Type: "next", Time: start.Add(2 * time.Hour)}}})
	got, err = seqs(10)
	require.NoError(t, err)
	require.Equal(t, []int64{11}, got, "the order goes on where it was")
}

// testSubscribers: several readers of the feed get every event once, in order, from wherever they start.
func testSubscribers(t *testing.T, h Harness) {
	s := newStore(t, h.open(t))
	const writers, each = 4, 25
	var wg sync.WaitGroup
	subscribe := func(after int64) {
		wg.Go(func() {
			last := after
			for e, err := range event.Subscribe(t.Context(), s, after) {
				if err != nil {
					t.Error(err)
					return
				}
				if e.Seq != last+1 {
					t.Errorf("event %d after %d", e.Seq, last)
				}
				if last = e.Seq; last == writers*each {
					return
				}
			}
		})
	}
	for _, after := range []int64{0, 0, 17, 99} {
		subscribe(after)
	}
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := s.Update(t.Context(), func(tx *store.Tx) error {
					tx.Emit(event.Event{Type: "e", Kind: fmt.Sprint(w), ID: fmt.Sprint(i)})
					return nil
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	events, err := s.Events(context.Background(), 0, 1000)
	require.NoError(t, err)
	next := map[string]int{}
	for _, e := range events {
		require.Equal(t, fmt.Sprint(next[e.Kind]), e.ID, "events of one writer are in its order")
		next[e.Kind]++
	}
}
