package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/postgres"
)

type item struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Group string `json:"group"`
	N     int    `json:"n"`
}

var items = store.Define(store.Spec[item]{
	Kind: "item", Version: 1, ID: func(v *item) string { return v.ID },
	Indexes: []store.Index[item]{
		{Name: "name", Unique: true, Keys: func(v *item) []store.Tuple { return []store.Tuple{{v.Name}} }},
		{Name: "group", Keys: func(v *item) []store.Tuple { return []store.Tuple{{v.Group, v.N}} }},
	},
})

func newStore(t testing.TB, d store.Driver) *store.Store {
	t.Helper()
	s, err := store.New(d, store.Options{Key: make([]byte, store.KeySize)})
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func through(t testing.TB, p *proxy, opt postgres.Options) *postgres.Driver {
	t.Helper()
	return open(t, *postgres.WithDial(opt, p.dial))
}

func bump(tx *store.Tx, id string) error {
	v, err := items.Get(tx, id)
	if fault.Is(err, fault.NotFound) {
		v, err = &item{ID: id, Name: id}, nil
	}
	if err != nil {
		return err
	}
	v.N++
	return items.Put(tx, v)
}

func count(t testing.TB, s *store.Store, id string) (n int) {
	t.Helper()
	require.NoError(t, s.View(context.Background(), func(tx *store.Tx) error {
		v, err := items.Get(tx, id)
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		if err == nil {
			n = v.N
		}
		return err
	}))
	return n
}

// TestRoundTrips: an Update of what its replica has seen before takes one round trip alone, two with others about, and
// four when another was first. A View takes one.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	p := newProxy(t)
	mine := through(t, p, postgres.Options{Poll: time.Hour})
	a := newStore(t, mine)
	ctx := context.Background()
	during := func(*store.Tx) {}
	work := func(tx *store.Tx) error {
		for i := range 8 {
			if _, err := items.Get(tx, fmt.Sprint("doc", i)); err != nil {
				return err
			}
		}
		in, err := items.List(tx, store.Query[item]{Index: "group", Prefix: store.Tuple{"g"}})
		if err != nil {
			return err
		}
		if _, err := items.Find(tx, "name", "doc3"); err != nil {
			return err
		}
		_, err = items.Find(tx, "name", "nobody")
		if !fault.Is(err, fault.NotFound) {
			return err
		}
		if err := bump(tx, "hot"); err != nil {
			return err
		}
		for _, v := range in {
			v.N++
			if err := items.Put(tx, v); err != nil {
				return err
			}
		}
		during(tx)
		tx.Emit(event.Event{Type: "a"})
		tx.Emit(event.Event{Type: "b"})
		return items.Put(tx, &item{ID: "new", Name: tx.NewID(), Group: "x"})
	}
	require.NoError(t, a.Update(ctx, func(tx *store.Tx) error {
		for i := range 8 {
			if err := items.Insert(tx, &item{ID: fmt.Sprint("doc", i), Name: fmt.Sprint("doc", i), Group: "g"}); err != nil {
				return err
			}
		}
		return nil
	}))
	for range 3 { // each statement is made known to the connection, and what is read to the replica
		require.NoError(t, a.Update(ctx, work))
	}
	p.roundTrips()
	require.NoError(t, a.Update(ctx, work))
	require.Equal(t, 1, p.roundTrips(), "alone: the commit")

	view := func(tx *store.Tx) error {
		_, err := items.List(tx, store.Query[item]{Index: "group", Prefix: store.Tuple{"g"}})
		return err
	}
	least := 100
	for range 6 { // until the connections that the first ones make are there
		require.NoError(t, a.View(ctx, view))
		least = min(least, p.roundTrips())
	}
	require.LessOrEqual(t, least, 2, "a View: its snapshot, whose end nobody waits for")

	b := newStore(t, open(t, *postgres.WithDial(*postgres.Reuse(mine), nil)))
	require.NoError(t, b.Update(ctx, func(tx *store.Tx) error { return bump(tx, "of another") }))
	require.NoError(t, a.View(ctx, view)) // sees that it has company
	for range 3 {
		require.NoError(t, b.Update(ctx, func(tx *store.Tx) error { return bump(tx, "doc5") }))
		require.NoError(t, a.Update(ctx, work))
	}
	p.roundTrips()
	require.NoError(t, b.Update(ctx, func(tx *store.Tx) error { return bump(tx, "doc5") }))
	require.NoError(t, a.Update(ctx, work))
	require.Equal(t, 2, p.roundTrips(), "with others about: look what they did, commit")

	for i := range 6 { // beaten each time
		first := true
		during = func(*store.Tx) {
			if first {
				first = false
				require.NoError(t, b.Update(ctx, func(tx *store.Tx) error { return bump(tx, []string{"unrelated", "hot", "doc2"}[i%3]) }))
			}
		}
		p.roundTrips()
		require.NoError(t, a.Update(ctx, work))
		if n := p.roundTrips(); i >= 3 { // the statements of this path are known too
			require.LessOrEqual(t, n, 4, "beaten: look, commit in vain, wait for the turn, commit")
			t.Logf("another changed %s: %d round trips", []string{"something else", "what is counted", "what is read"}[i%3], n)
		}
	}
	require.Equal(t, 15, count(t, a, "hot")-1, "12 of a, 2 of b, less the first")
}

// TestUnknownCommit: the connection is cut around commits; each happens exactly once.
func TestUnknownCommit(t *testing.T) {
	t.Parallel()
	p := newProxy(t)
	s := newStore(t, through(t, p, postgres.Options{Poll: time.Hour}))
	ctx := context.Background()
	for range 2 {
		require.NoError(t, s.Update(ctx, func(tx *store.Tx) error { return bump(tx, "n") }))
	}
	const rounds = 40
	for i := range rounds {
		p.arm(cut(i%4 + 1))
		require.NoError(t, s.Update(ctx, func(tx *store.Tx) error {
			tx.Emit(event.Event{Type: "bumped"})
			return bump(tx, "n")
		}))
		if i%3 == 0 {
			p.sendLate()
		}
		require.Equal(t, 3+i, count(t, s, "n"))
		p.arm(cutNothing)
	}
	p.sendLate()
	require.Equal(t, 2+rounds, count(t, s, "n"))
	require.Equal(t, rounds, p.cuts)
	require.Positive(t, s.Stats().Unknown.Load())
	events, err := s.Events(ctx, 0, 1000)
	require.NoError(t, err)
	require.Len(t, events, rounds)
	t.Logf("%d commits cut, %d of unknown outcome", p.cuts, s.Stats().Unknown.Load())
}

// TestAway: while the server is away everything is Unavailable; then it works by itself.
func TestAway(t *testing.T) {
	t.Parallel()
	p := newProxy(t)
	s := newStore(t, through(t, p, postgres.Options{Timeout: 20 * time.Second}))
	ctx := context.Background()
	update := func() error { return s.Update(ctx, func(tx *store.Tx) error { return bump(tx, "n") }) }
	look := func() error {
		return s.View(ctx, func(tx *store.Tx) error { _, err := items.Get(tx, "n"); return err })
	}
	require.NoError(t, update())
	for round := range 3 {
		p.setDown(true)
		err := look()
		require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
		require.ErrorContains(t, err, "not reachable")
		answer := make(chan error, 1)
		go func() { answer <- update() }()
		p.setDown(false)
		if err := <-answer; err != nil { // it was refused before the server came back, or happened once
			require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
			require.NoError(t, update())
		}
		require.NoError(t, look())
		require.Equal(t, 2+round, count(t, s, "n"))
	}
}

// TestTerminated: an administrator ends every session again and again; nothing is lost or done twice.
func TestTerminated(t *testing.T) {
	t.Parallel()
	d := open(t, postgres.Options{})
	s := newStore(t, d)
	ctx := context.Background()
	done := make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	answered := 0
	for w := range 4 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				err := s.Update(ctx, func(tx *store.Tx) error {
					return errors.Join(bump(tx, "sum"), bump(tx, fmt.Sprint("of ", w)))
				})
				if err != nil && !fault.Is(err, fault.Unavailable) {
					t.Error(err)
					return
				}
				if err == nil {
					mu.Lock()
					answered++
					mu.Unlock()
				}
			}
		})
	}
	conn, err := pgx.Connect(ctx, server(t))
	require.NoError(t, err)
	defer conn.Close(ctx)
	for range 8 {
		_, err := conn.Exec(ctx, "SELECT pg_sleep(0.4)")
		require.NoError(t, err)
		_, err = conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", postgres.ApplicationName(d))
		require.NoError(t, err)
	}
	close(done)
	wg.Wait()
	sum := 0
	for w := range 4 {
		sum += count(t, s, fmt.Sprint("of ", w))
	}
	require.Equal(t, answered, sum)
	require.Equal(t, answered, count(t, s, "sum"))
	t.Logf("%d Updates, %d commits of unknown outcome", answered, s.Stats().Unknown.Load())
}

// TestServerRestart restarts the server for real, with the command in NUBECULA_POSTGRES_RESTART.
func TestServerRestart(t *testing.T) {
	command := os.Getenv("NUBECULA_POSTGRES_RESTART")
	if command == "" {
		t.Skip("set NUBECULA_POSTGRES_RESTART to a command that restarts the server; internal/real/postgres.sh does")
	}
	s := newStore(t, open(t, postgres.Options{}))
	ctx := context.Background()
	update := func() error { return s.Update(ctx, func(tx *store.Tx) error { return bump(tx, "n") }) }
	happened := 0
	restarted := make(chan error, 1)
	go func() { restarted <- exec.Command("sh", "-c", command).Run() }()
	for waiting := true; waiting; {
		select {
		case err := <-restarted:
			require.NoError(t, err)
			waiting = false
		default:
		}
		err := update()
		if err == nil {
			happened++
		} else {
			require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
		}
	}
	require.NoError(t, update())
	require.Equal(t, happened+1, count(t, s, "n"))
}

// TestTurnKept: a replica that keeps the turn without a word loses it; one that blocks the tables costs others a clear error.
func TestTurnKept(t *testing.T) {
	t.Parallel()
	opt := postgres.Options{Schema: newSchema(t), Timeout: 8 * time.Second}
	frozen, d := open(t, opt), open(t, opt)
	s := newStore(t, d)
	ctx := context.Background()
	require.NoError(t, s.Update(ctx, func(tx *store.Tx) error { return bump(tx, "n") }))
	require.NoError(t, frozen.TakeTurn(ctx))
	require.NoError(t, s.Update(ctx, func(tx *store.Tx) error { return bump(tx, "n") }), "after the time that a replica may keep the turn")

	opt.Timeout = 4 * time.Second
	quick := newStore(t, open(t, opt))
	conn, err := pgx.Connect(ctx, server(t))
	require.NoError(t, err)
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "BEGIN; SELECT * FROM "+opt.Schema+".meta FOR UPDATE")
	require.NoError(t, err)
	err = quick.Update(ctx, func(tx *store.Tx) error { return bump(tx, "n") })
	require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
	require.ErrorContains(t, err, "pg_stat_activity")
	_, err = conn.Exec(ctx, "ROLLBACK")
	require.NoError(t, err)
	require.NoError(t, quick.Update(ctx, func(tx *store.Tx) error { return bump(tx, "n") }))
	require.Equal(t, 3, count(t, s, "n"))
}
