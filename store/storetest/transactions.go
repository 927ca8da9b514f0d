package storetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/store"
)

// testSnapshot: a reader sees the state at its Begin, however often it looks.
func testSnapshot(t *testing.T, h Harness) {
	d := h.open(t)
	write := func(n int) {
		commit(t, d, &store.Batch{
			Docs:   []store.DocWrite{doc("k", "x", fmt.Sprint(n)), doc("k", fmt.Sprint("n", n), `0`)},
			Index:  []store.IndexWrite{entry("k", "i", fmt.Sprint(n), "x")},
			Events: []event.Event{{Type: "written"}},
		})
	}
	look := func(txn store.Txn, n int) {
		t.Helper()
		requireDoc(t, txn, doc("k", "x", fmt.Sprint(n)).Doc)
		for _, index := range []string{"i", ""} {
			entries, err := txn.Scan(store.Range{Kind: "k", Index: index})
			require.NoError(t, err)
			require.Len(t, entries, map[string]int{"i": n, "": n + 1}[index])
		}
		entries, err := txn.Scan(store.Range{Kind: "k", Index: "i"})
		require.NoError(t, err)
		for _, e := range entries {
			require.Equal(t, fmt.Sprint(n), string(e.Doc.Body))
		}
		events, err := txn.Events(0, 100)
		require.NoError(t, err)
		require.Len(t, events, n)
	}
	var readers []store.Txn
	for n := 1; n <= 5; n++ {
		write(n)
		txn, err := d.Begin(context.Background(), false)
		require.NoError(t, err)
		defer txn.Rollback()
		readers = append(readers, txn)
		for i, r := range readers {
			look(r, i+1)
		}
	}
}

// testConcurrent: a writer moves an amount between documents; no reader ever finds it missing or twice.
func testConcurrent(t *testing.T, h Harness) {
	d := h.open(t)
	const docs, rounds, readers = 8, 200, 4
	write := func(full int) {
		b := &store.Batch{}
		for i := range docs {
			amount := 0
			if i == full%docs {
				amount = 100
			}
			b.Docs = append(b.Docs, doc("k", fmt.Sprint(i), fmt.Sprint(amount)))
			b.Index = append(b.Index, entry("k", "i", fmt.Sprint(i), fmt.Sprint(i)))
		}
		commit(t, d, b)
	}
	write(0)
	var wg sync.WaitGroup
	done := make(chan struct{})
	look := func() error {
		txn, err := d.Begin(context.Background(), false)
		if err != nil {
			return err
		}
		defer txn.Rollback()
		sum, scanned := 0, 0
		for i := range docs {
			got, _, err := txn.Get("k", fmt.Sprint(i))
			if err != nil {
				return err
			}
			n, err := strconv.Atoi(string(got.Body))
			if err != nil {
				return err
			}
			sum += n
		}
		entries, err := txn.Scan(store.Range{Kind: "k", Index: "i"})
		for _, e := range entries {
			n, _ := strconv.Atoi(string(e.Doc.Body))
			scanned += n
		}
		if err == nil && (sum != 100 || scanned != 100) {
			err = fmt.Errorf("a reader found %d and scanned %d, not 100", sum, scanned)
		}
		return err
	}
	for range readers {
		wg.Go(func() {
			for {
				if err := look(); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range rounds {
		write(i)
	}
	close(done)
	wg.Wait()
}

func testResolve(t *testing.T, h Harness) {
	d, ctx := h.open(t), context.Background()
	begin := func(n int) store.Txn {
		txn, err := d.Begin(ctx, true)
		require.NoError(t, err)
		require.NoError(t, txn.Apply(&store.Batch{Docs: []store.DocWrite{doc("k", "x", fmt.Sprint(n))}}))
		return txn
	}
	var ids []string
	for n := range 20 {
		id := commitID()
		txn := begin(n)
		_, err := txn.Commit(ctx, id)
		txn.Rollback()
		if err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrUnknown) {
			require.NoError(t, err)
		}
		happened, asked := d.Resolve(ctx, id)
		require.NoError(t, asked)
		if err == nil {
			require.True(t, happened)
		}
		if errors.Is(err, store.ErrConflict) {
			require.False(t, happened)
		}
		if happened {
			ids = append(ids, id)
			read(t, d, func(txn store.Txn) { requireDoc(t, txn, doc("k", "x", fmt.Sprint(n)).Doc) })
		}
	}
	for _, id := range ids {
		happened, err := d.Resolve(ctx, id)
		require.NoError(t, err)
		require.True(t, happened, "a commit stays known")
	}

	commit(t, d, &store.Batch{Docs: []store.DocWrite{doc("k", "x", `0`)}})
	late := begin(100)
	late.Rollback()
	id := commitID()
	happened, err := d.Resolve(ctx, id)
	require.NoError(t, err)
	require.False(t, happened)
	_, err = late.Commit(ctx, id)
	require.Error(t, err, "after Resolve said no it never happens")
	read(t, d, func(txn store.Txn) { requireDoc(t, txn, doc("k", "x", `0`).Doc) })
}

// testEnded: what is used after its end fails, and harms nobody.
func testEnded(t *testing.T, h Harness) {
	d := h.open(t)
	txn, err := d.Begin(context.Background(), true)
	require.NoError(t, err)
	require.NoError(t, txn.Apply(&store.Batch{Docs: []store.DocWrite{doc("k", "x", `1`)}}))
	commitTxn(t, d, txn)
	reader, err := d.Begin(context.Background(), false)
	require.NoError(t, err)
	require.Error(t, reader.Apply(&store.Batch{Docs: []store.DocWrite{doc("k", "y", `1`)}}))
	_, err = reader.Commit(context.Background(), commitID())
	require.Error(t, err)
	reader.Rollback()
	for _, txn := range []store.Txn{txn, reader} {
		_, _, err = txn.Get("k", "x")
		require.Error(t, err)
		_, err = txn.Scan(store.Range{Kind: "k"})
		require.Error(t, err)
		_, err = txn.Events(0, 1)
		require.Error(t, err)
		require.Error(t, txn.Apply(&store.Batch{Docs: []store.DocWrite{doc("k", "x", `2`)}}))
		_, err = txn.Commit(context.Background(), commitID())
		require.Error(t, err)
		txn.Rollback()
	}
	commit(t, d, &store.Batch{Docs: []store.DocWrite{doc("k", "z", `1`)}})
	read(t, d, func(txn store.Txn) { requireNoDoc(t, txn, "k", "y") })

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if txn, err := d.Begin(ctx, true); err == nil {
		txn.Rollback() // allowed: the right to write was free
	} else {
		require.Equal(t, fault.Canceled, fault.CodeOf(err))
	}
}

func testClock(t *testing.T, h Harness) {
	c := clock.NewManual(start)
	d := h.Open(t, c)
	now := func() store.Instant {
		t.Helper()
		i, err := d.Now(context.Background())
		require.NoError(t, err)
		return i
	}
	first := now()
	require.False(t, first.Wall.Before(start))
	c.Jump(-time.Hour)
	back := now()
	require.False(t, back.Wall.Before(first.Wall), "the wall clock went back")
	require.Equal(t, first.Lease, back.Lease)
	c.Advance(time.Second)
	require.Equal(t, first.Lease.Add(time.Second), now().Lease)
	require.False(t, now().Wall.Before(back.Wall))
	c.Jump(3 * time.Hour)
	ahead := now()
	require.True(t, ahead.Wall.After(first.Wall.Add(time.Hour)), "the wall clock follows a jump ahead")
	require.Equal(t, first.Lease.Add(time.Second), ahead.Lease)
	c.Jump(-3 * time.Hour)
	c.Advance(time.Minute)
	require.False(t, now().Wall.Before(ahead.Wall))
	require.Equal(t, first.Lease.Add(61*time.Second), now().Lease)
}

func testReopen(t *testing.T, h Harness) {
	if h.Reopen == nil {
		t.Skip("this driver keeps nothing")
	}
	d := h.open(t)
	for round := range 3 {
		for i := range 50 {
			id := fmt.Sprint(round, "-", i)
			commit(t, d, &store.Batch{Docs: []store.DocWrite{doc("k", id, fmt.Sprint(i))}, Index: []store.IndexWrite{entry("k", "i", id, id)}, Events: []event.Event{{Type: id}}})
		}
		commit(t, d, &store.Batch{Docs: []store.DocWrite{{Doc: store.Doc{Kind: "k", ID: fmt.Sprint(round, "-0")}, Delete: true}},
			Index: []store.IndexWrite{{Kind: "k", Index: "i", Key: []byte(fmt.Sprint(round, "-0")), Delete: true}}})
		txn, err := d.Begin(context.Background(), true)
		require.NoError(t, err)
		require.NoError(t, txn.Apply(&store.Batch{Docs: []store.DocWrite{doc("k", "never", `1`)}}))
		txn.Rollback()
		d = h.Reopen(t, d)
		read(t, d, func(txn store.Txn) {
			for _, index := range []string{"", "i"} {
				entries, err := txn.Scan(store.Range{Kind: "k", Index: index})
				require.NoError(t, err)
				require.Len(t, entries, 49*(round+1))
			}
			requireDoc(t, txn, doc("k", fmt.Sprint(round, "-7"), `7`).Doc)
			requireNoDoc(t, txn, "k", fmt.Sprint(round, "-0"))
			events, err := txn.Events(0, 1000)
			require.NoError(t, err)
			require.Len(t, events, 50*(round+1))
			for i, e := range events {
				require.EqualValues(t, i+1, e.Seq)
				require.Equal(t, fmt.Sprint(i/50, "-", i%50), e.Type)
			}
		})
	}
}

func testReopenClock(t *testing.T, h Harness) {
	if h.Reopen == nil {
		t.Skip("this driver keeps nothing")
	}
	c := clock.NewManual(start)
	d := h.Open(t, c)
	c.Advance(time.Minute)
	commit(t, d, &store.Batch{Docs: []store.DocWrite{doc("k", "x", `1`)}})
	last, err := d.Now(context.Background())
	require.NoError(t, err)
	c.Jump(-24 * time.Hour)
	d = h.Reopen(t, d)
	now, err := d.Now(context.Background())
	require.NoError(t, err)
	require.False(t, now.Wall.Before(last.Wall), "%v after %v", now.Wall, last.Wall)
	require.False(t, now.Lease.Before(last.Lease))
	c.Advance(time.Minute)
	later, err := d.Now(context.Background())
	require.NoError(t, err)
	require.Equal(t, now.Lease.Add(time.Minute), later.Lease)
	c.Jump(48 * time.Hour)
	ahead, err := d.Now(context.Background())
	require.NoError(t, err)
	require.True(t, ahead.Wall.After(last.Wall))
}
