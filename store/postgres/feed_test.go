package postgres_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/postgres"
)

// TestNaiveReader: a reader that polls a sequence's numbers loses what commits out of order; a reader of our feed loses nothing.
func TestNaiveReader(t *testing.T) {
	t.Parallel()
	const writers, each = 16, 25
	lost := naive(t, writers, each)
	t.Logf("a reader of seq > last lost %d of %d events with %d writers", lost, writers*each, writers)
	require.Positive(t, lost, "otherwise this test shows nothing")

	opt := postgres.Options{Schema: newSchema(t)}
	reader := newStore(t, open(t, opt))
	var wg sync.WaitGroup
	for r := range 4 { // 16 writers in 4 replicas
		s := newStore(t, open(t, opt))
		for w := range writers / 4 {
			wg.Go(func() {
				for i := range each {
					if err := s.Update(context.Background(), func(tx *store.Tx) error {
						tx.Emit(event.Event{Type: "e", Kind: fmt.Sprint(r, w), ID: fmt.Sprint(i)})
						return items.Put(tx, &item{ID: fmt.Sprint(r, w), Name: fmt.Sprint(r, w), N: i})
					}); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	got := 0
	for e, err := range event.Subscribe(ctx, reader, 0) {
		require.NoError(t, err)
		got++
		require.EqualValues(t, got, e.Seq)
		if got == writers*each {
			break
		}
	}
	wg.Wait()
	t.Logf("a reader of the feed lost %d of %d events with %d writers at 4 replicas", writers*each-got, writers*each, writers)
}

// naive returns how many events a reader loses that remembers the largest number it has seen.
func naive(t *testing.T, writers, each int) int {
	ctx := context.Background()
	table := newSchema(t) + ".naive"
	sql(t, "CREATE SCHEMA "+table[:len(table)-len(".naive")]+"; CREATE TABLE "+table+"(seq BIGSERIAL PRIMARY KEY, body TEXT)")
	config, err := pgxpool.ParseConfig(server(t))
	require.NoError(t, err)
	config.MaxConns = int32(writers + 1)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	require.NoError(t, err)
	defer pool.Close()
	var writing sync.WaitGroup
	var done atomic.Bool
	for range writers {
		writing.Go(func() {
			for range each {
				tx, err := pool.Begin(ctx)
				if err == nil {
					tx.Exec(ctx, "INSERT INTO "+table+"(body) VALUES('x')")
					tx.Exec(ctx, "SELECT pg_sleep($1)", rand.Float64()/500) // as long as an Update may take
					err = tx.Commit(ctx)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() { writing.Wait(); done.Store(true) }()
	seen, last := 0, int64(0)
	for more := true; more; {
		more = !done.Load()
		rows, err := pool.Query(ctx, "SELECT seq FROM "+table+" WHERE seq > $1 ORDER BY seq", last)
		require.NoError(t, err)
		for rows.Next() {
			require.NoError(t, rows.Scan(&last))
			seen++
		}
		require.NoError(t, rows.Err())
	}
	return writers*each - seen
}

// TestHotDocument: three replicas hammer one document; each gets its share, and nobody starves.
func TestHotDocument(t *testing.T) {
	t.Parallel()
	opt := postgres.Options{Schema: newSchema(t)}
	const replicas, clients, each = 3, 8, 20
	var wg sync.WaitGroup
	var stores []*store.Store
	var slowest atomic.Int64
	for range replicas {
		stores = append(stores, newStore(t, open(t, opt)))
	}
	began := time.Now()
	for _, s := range stores {
		for range clients {
			wg.Go(func() {
				for range each {
					asked := time.Now()
					if err := s.Update(context.Background(), func(tx *store.Tx) error { return bump(tx, "hot") }); err != nil {
						t.Error(err)
					}
					took := int64(time.Since(asked))
					for {
						was := slowest.Load()
						if took <= was || slowest.CompareAndSwap(was, took) {
							break
						}
					}
				}
			})
		}
	}
	wg.Wait()
	took := time.Since(began)
	require.Equal(t, replicas*clients*each, count(t, stores[0], "hot"))
	var commits, conflicts int64
	for _, s := range stores {
		commits += s.Stats().Commits.Load()
		conflicts += s.Stats().Conflicts.Load()
		require.Less(t, s.Stats().Conflicts.Load(), 2*s.Stats().Commits.Load()+10, "a livelock")
	}
	t.Logf("%d Updates of one document at %d replicas in %v (%.0f/s): %d commits, %d groups ran again; the slowest Update took %v",
		replicas*clients*each, replicas, took.Round(time.Millisecond), float64(replicas*clients*each)/took.Seconds(), commits, conflicts, time.Duration(slowest.Load()).Round(time.Millisecond))
}
