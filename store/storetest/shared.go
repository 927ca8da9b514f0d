package storetest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/store"
)

// Cases for drivers that several replicas use at once. Each replica here is a Store on a driver of its own.

// replicas opens n Stores on one database, on a clock that stands still but while a test waits.
func replicas(t testing.TB, h Harness, n int) ([]*store.Store, *clock.Manual) {
	t.Helper()
	if h.Share == nil {
		t.Skip("this driver has its database alone")
	}
	c := clock.NewManual(start)
	d := h.Open(t, c)
	out := []*store.Store{newStore(t, d)}
	for len(out) < n {
		out = append(out, newStore(t, h.Share(t, d)))
	}
	// Who lost a race waits on the clock before it tries again, and so does who looks for the commits of others.
	stop := make(chan struct{})
	var ticking sync.WaitGroup
	ticking.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				c.Advance(10 * time.Millisecond)
				breath, cancel := context.WithTimeout(context.Background(), time.Millisecond)
				<-breath.Done()
				cancel()
			}
		}
	})
	t.Cleanup(func() { close(stop); ticking.Wait() })
	return out, c
}

// testSharedCounter: Updates of several replicas to one document are each counted once.
func testSharedCounter(t *testing.T, h Harness) {
	all, _ := replicas(t, h, 3)
	things := defineThings(thingIndexes()...)
	const workers, rounds = 3, 10
	var wg sync.WaitGroup
	for _, s := range all {
		for w := range workers {
			wg.Go(func() {
				for i := range rounds {
					if err := s.Update(context.Background(), func(tx *store.Tx) error {
						v, err := things.Get(tx, "sum")
						if fault.Is(err, fault.NotFound) {
							v, err = &thing{ID: "sum", Name: "sum"}, nil
						}
						if err != nil {
							return err
						}
						v.N++
						v.Group = fmt.Sprint(w, i)
						return things.Put(tx, v)
					}); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	for _, s := range all {
		view(t, s, func(tx *store.Tx) error {
			v, rev, err := things.GetRev(tx, "sum")
			require.NoError(t, err)
			require.Equal(t, len(all)*workers*rounds, v.N)
			require.EqualValues(t, len(all)*workers*rounds, rev)
			return nil
		})
		found, err := store.Check(context.Background(), s, things)
		require.NoError(t, err)
		require.Empty(t, found)
	}
}

// testSharedUnique: of those who want one name at once, one gets it.
func testSharedUnique(t *testing.T, h Harness) {
	all, _ := replicas(t, h, 3)
	things := defineThings(thingIndexes()...)
	const rounds = 15
	won := make([]atomic.Int64, rounds)
	var wg sync.WaitGroup
	for r, s := range all {
		wg.Go(func() {
			for i := range rounds {
				err := s.Update(context.Background(), func(tx *store.Tx) error {
					return things.Insert(tx, &thing{ID: fmt.Sprint(r, "-", i), Name: fmt.Sprint("n", i)})
				})
				switch {
				case err == nil:
					won[i].Add(1)
				case !fault.Is(err, fault.Exists):
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for i := range won {
		require.EqualValues(t, 1, won[i].Load(), "name n%d", i)
	}
	found, err := store.Check(context.Background(), all[1], things)
	require.NoError(t, err)
	require.Empty(t, found)
}

// testSharedSkew: two may each go if the other stays; never do both go.
func testSharedSkew(t *testing.T, h Harness) {
	all, _ := replicas(t, h, 2)
	things := defineThings(thingIndexes()...)
	for round := range 15 {
		update(t, all[0], func(tx *store.Tx) error {
			for _, id := range []string{"a", "b"} {
				if err := things.Put(tx, &thing{ID: id, N: 1}); err != nil {
					return err
				}
			}
			return nil
		})
		var wg sync.WaitGroup
		for i, own := range []string{"a", "b"} {
			wg.Go(func() {
				if err := all[i].Update(context.Background(), func(tx *store.Tx) error {
					a, err := things.Get(tx, "a")
					if err != nil {
						return err
					}
					b, err := things.Get(tx, "b")
					if err != nil || a.N+b.N < 2 {
						return err
					}
					return things.Put(tx, &thing{ID: own})
				}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		view(t, all[1], func(tx *store.Tx) error {
			a, err := things.Get(tx, "a")
			require.NoError(t, err)
			b, err := things.Get(tx, "b")
			require.NoError(t, err)
			require.Equal(t, 1, a.N+b.N, "round %d", round)
			return nil
		})
	}
}

// testSharedPhantom: a rule about how many there are holds although each replica adds another document.
func testSharedPhantom(t *testing.T, h Harness) {
	all, _ := replicas(t, h, 3)
	things := defineThings(thingIndexes()...)
	const most = 7
	var wg sync.WaitGroup
	for r, s := range all {
		wg.Go(func() {
			for i := range 5 {
				if err := s.Update(context.Background(), func(tx *store.Tx) error {
					in, err := things.List(tx, store.Query[thing]{Index: "group", Prefix: store.Tuple{"g"}})
					if err != nil || len(in) >= most {
						return err
					}
					return things.Insert(tx, &thing{ID: fmt.Sprint(r, "-", i), Group: "g", N: len(in)})
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	view(t, all[0], func(tx *store.Tx) error {
		in, err := things.List(tx, store.Query[thing]{Index: "group", Prefix: store.Tuple{"g"}})
		require.NoError(t, err)
		require.Len(t, in, most)
		for i, v := range in {
			require.Equal(t, i, v.N, "each counted all before it")
		}
		return nil
	})
}

// testSharedFresh: what one replica has been told is done, another sees at once, in Views and Updates, also in those that write nothing.
func testSharedFresh(t *testing.T, h Harness) {
	all, _ := replicas(t, h, 2)
	things := defineThings(thingIndexes()...)
	for i := range 20 {
		writer, reader := all[i%2], all[1-i%2]
		update(t, writer, func(tx *store.Tx) error {
			if i%4 == 3 {
				return things.Delete(tx, "x")
			}
			return things.Put(tx, &thing{ID: "x", Name: fmt.Sprint("n", i), Group: "g", N: i})
		})
		look := func(tx *store.Tx) error {
			in, err := things.List(tx, store.Query[thing]{Index: "group", Prefix: store.Tuple{"g"}})
			if err != nil {
				return err
			}
			v, err := things.Get(tx, "x")
			if i%4 == 3 {
				if len(in) != 0 || !fault.Is(err, fault.NotFound) {
					return fmt.Errorf("round %d: a deleted document is there: %v, %v", i, ids(in), err)
				}
				return nil
			}
			if err != nil {
				return err
			}
			if _, err := things.Find(tx, "name", fmt.Sprint("n", i)); err != nil {
				return err
			}
			if v.N != i || len(in) != 1 || in[0].N != i {
				return fmt.Errorf("round %d: found %+v", i, v)
			}
			return nil
		}
		if i%3 > 0 {
			require.NoError(t, reader.Update(context.Background(), look))
		}
		require.NoError(t, reader.View(context.Background(), look))
	}
}

// testSharedEvents: readers at every replica get all events, once, in one order.
func testSharedEvents(t *testing.T, h Harness) {
	all, _ := replicas(t, h, 3)
	const each = 20
	feeds := make([][]string, len(all))
	var wg sync.WaitGroup
	for r, s := range all {
		wg.Go(func() {
			for e, err := range event.Subscribe(t.Context(), s, 0) {
				if err != nil {
					t.Error(err)
					return
				}
				feeds[r] = append(feeds[r], fmt.Sprint(e.Seq, " ", e.Kind, " ", e.ID))
				if len(feeds[r]) == each*len(all) {
					return
				}
			}
		})
		wg.Go(func() {
			for i := range each {
				if err := s.Update(context.Background(), func(tx *store.Tx) error {
					tx.Emit(event.Event{Type: "e", Kind: fmt.Sprint(r), ID: fmt.Sprint(i)})
					return nil
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	next := map[string]int{}
	for i, line := range feeds[0] {
		var seq int
		var kind string
		var n int
		_, err := fmt.Sscan(line, &seq, &kind, &n)
		require.NoError(t, err)
		require.Equal(t, i+1, seq, "a gap")
		require.Equal(t, next[kind], n, "events of one replica are in its order")
		next[kind]++
	}
	require.Equal(t, feeds[0], feeds[1])
	require.Equal(t, feeds[0], feeds[2])
}

// testSharedPruned: what one replica has dropped is Gone for the others, and the order goes on.
func testSharedPruned(t *testing.T, h Harness) {
	all, c := replicas(t, h, 2)
	emit := func(s *store.Store) {
		update(t, s, func(tx *store.Tx) error { tx.Emit(event.Event{Type: "e"}); return nil })
	}
	emit(all[0])
	emit(all[1])
	require.NoError(t, all[0].Prune(context.Background(), c.Now().Add(time.Hour)))
	_, err := all[1].Events(context.Background(), 1, 10)
	require.True(t, fault.Is(err, fault.Gone), "%v", err)
	emit(all[1])
	for _, s := range all {
		events, err := s.Events(context.Background(), 2, 10)
		require.NoError(t, err)
		require.Len(t, events, 1)
		require.EqualValues(t, 3, events[0].Seq)
	}
}

// testSharedWoken: a commit wakes who waits at another replica.
func testSharedWoken(t *testing.T, h Harness) {
	all, _ := replicas(t, h, 2)
	things := defineThings()
	for i := range 4 {
		changed := all[1-i%2].Changed()
		update(t, all[i%2], func(tx *store.Tx) error { return things.Put(tx, &thing{ID: "x", N: i}) })
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		select {
		case <-changed:
		case <-ctx.Done():
			t.Error("nobody was woken")
		}
		cancel()
	}
}

// testSharedClock: time goes forward from commit to commit, whoever commits, also when the machine's clock is set.
func testSharedClock(t *testing.T, h Harness) {
	if h.Share == nil {
		t.Skip("this driver has its database alone")
	}
	c := clock.NewManual(start)
	d := h.Open(t, c)
	a, b := newStore(t, d), newStore(t, h.Share(t, d))
	things := defineThings()
	var last time.Time
	var lease time.Time
	look := func(tx *store.Tx) error {
		if tx.Now().Before(last) || tx.LeaseNow().Before(lease) {
			return fmt.Errorf("time went back: %v after %v, lease %v after %v", tx.Now(), last, tx.LeaseNow(), lease)
		}
		return nil
	}
	for i := range 24 {
		s := []*store.Store{a, b}[i%2]
		switch i % 8 {
		case 2:
			c.Jump(-time.Hour)
		case 5:
			c.Jump(3 * time.Hour)
		default:
			c.Advance(time.Second)
		}
		var now, leaseNow time.Time
		update(t, s, func(tx *store.Tx) error {
			now, leaseNow = tx.Now(), tx.LeaseNow()
			if err := look(tx); err != nil {
				return err
			}
			return things.Put(tx, &thing{ID: "x", N: i})
		})
		last, lease = now, leaseNow
		view(t, []*store.Store{b, a}[i%2], look)
	}
	require.Equal(t, 18*time.Second, lease.Sub(start).Truncate(time.Second), "lease time follows no jump")
}

// testSharedClose: the others go on when one ends.
func testSharedClose(t *testing.T, h Harness) {
	if h.Share == nil {
		t.Skip("this driver has its database alone")
	}
	d := h.open(t)
	a, b := newStore(t, d), newStore(t, h.Share(t, d))
	require.False(t, a.Exclusive())
	things := defineThings()
	update(t, b, func(tx *store.Tx) error { return things.Put(tx, &thing{ID: "x"}) })
	require.NoError(t, b.Close())
	update(t, a, func(tx *store.Tx) error { return things.Delete(tx, "x") })
}

// testSharedUrgent: an urgent Update is not kept waiting by a closure of another that hangs.
func testSharedUrgent(t *testing.T, h Harness) {
	if h.Share == nil {
		t.Skip("this driver has its database alone")
	}
	if h.OneWriter {
		t.Skip("this driver has one writer at a time")
	}
	s, things := newStore(t, h.open(t)), defineThings()
	entered, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	hanging := make(chan error, 1)
	go func() {
		hanging <- s.Update(context.Background(), func(tx *store.Tx) error {
			once.Do(func() { close(entered) })
			<-leave
			return things.Put(tx, &thing{ID: "slow"})
		})
	}()
	<-entered
	for i := range 3 {
		require.NoError(t, s.Update(store.Urgent(context.Background()), func(tx *store.Tx) error { return things.Put(tx, &thing{ID: "quick", N: i}) }))
	}
	close(leave)
	require.NoError(t, <-hanging)
	view(t, s, func(tx *store.Tx) error {
		list, err := things.List(tx, store.Query[thing]{})
		require.Equal(t, "quick slow", ids(list))
		return err
	})
}

// testSharedPrepare: replicas that start at once build each index once, and agree on the key.
func testSharedPrepare(t *testing.T, h Harness) {
	all, _ := replicas(t, h, 3)
	old, things := defineThings(), defineThings(thingIndexes()...)
	update(t, all[0], func(tx *store.Tx) error {
		for i := range 100 {
			if err := old.Insert(tx, &thing{ID: fmt.Sprint(i), Name: fmt.Sprint("n", i), Group: "g", N: i}); err != nil {
				return err
			}
		}
		return nil
	})
	var wg sync.WaitGroup
	for _, s := range all {
		wg.Go(func() {
			if err := s.Prepare(context.Background(), things); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, s := range all {
		found, err := store.Check(context.Background(), s, things)
		require.NoError(t, err)
		require.Empty(t, found)
		view(t, s, func(tx *store.Tx) error {
			v, err := things.Find(tx, "name", "n42")
			require.NoError(t, err)
			require.Equal(t, 42, v.N)
			return nil
		})
	}
}

// testSharedVersions: two versions of a program on one database never leave an index wrong; with a version between them
// that keeps the index both work all the time.
func testSharedVersions(t *testing.T, h Harness) {
	all, _ := replicas(t, h, 2)
	ctx := context.Background()
	indexes := thingIndexes()
	v1, v3 := defineThings(indexes[0]), defineThings(indexes[0], indexes[1])
	kept := indexes[1]
	kept.Kept = true
	v2 := defineThings(indexes[0], kept)
	put := func(s *store.Store, c *store.Collection[thing], id, group string) error {
		return s.Update(ctx, func(tx *store.Tx) error { return c.Put(tx, &thing{ID: id, Name: id, Group: group}) })
	}
	list := func(s *store.Store, c *store.Collection[thing]) (out string, err error) {
		err = s.View(ctx, func(tx *store.Tx) error {
			in, err := c.List(tx, store.Query[thing]{Index: "group"})
			out = ids(in)
			return err
		})
		return out, err
	}
	a, b := all[0], all[1]
	require.NoError(t, a.Prepare(ctx, v1))
	require.NoError(t, put(a, v1, "1", "b"))

	// Without the step between: the old version is refused what it would spoil, and may read.
	require.NoError(t, b.Prepare(ctx, v3))
	err := put(a, v1, "2", "a")
	require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
	require.ErrorContains(t, err, "group")
	view(t, a, func(tx *store.Tx) error { _, err := v1.Find(tx, "name", "1"); return err })
	require.NoError(t, put(b, v3, "3", "a"))

	// Rolled back: the old version prepares again, and the new one is refused what is no more.
	require.NoError(t, a.Prepare(ctx, v1))
	_, err = list(b, v3)
	require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
	require.NoError(t, put(a, v1, "3", "c"))
	require.NoError(t, put(b, v3, "4", "d"), "it keeps all that there is")

	// With the step: v1 and v2 together, then v2 and v3.
	require.NoError(t, b.Prepare(ctx, v2))
	require.NoError(t, put(a, v1, "5", "e"))
	require.NoError(t, put(b, v2, "1", "z"))
	require.NoError(t, put(a, v1, "1", "b"), "v2's entry is wrong now, and nobody reads it")
	require.NoError(t, a.Prepare(ctx, v3))
	require.NoError(t, put(b, v2, "5", "a"))
	require.NoError(t, put(a, v3, "6", "b"))
	require.NoError(t, b.Prepare(ctx, v2), "one of the version between may be started again")
	got, err := list(a, v3)
	require.NoError(t, err)
	require.Equal(t, "5 1 6 3 4", got)
	found, err := store.Check(ctx, a, v3)
	require.NoError(t, err)
	require.Empty(t, found)
}
