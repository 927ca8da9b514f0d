package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/store"
)

func testImpure(t *testing.T, h Harness) {
	s, things := newStore(t, h.open(t)), defineThings()
	n := 0
	err := s.Update(context.Background(), func(tx *store.Tx) error {
		n++
		return things.Put(tx, &thing{ID: "x", N: n})
	})
	require.ErrorContains(t, err, "not pure")
	first := true
	err = s.Update(context.Background(), func(tx *store.Tx) error {
		if first {
			first = false
			return errors.New("only at first")
		}
		return things.Put(tx, &thing{ID: "x"})
	})
	require.ErrorContains(t, err, "not pure")
	view(t, s, func(tx *store.Tx) error {
		_, err := things.Get(tx, "x")
		require.True(t, fault.Is(err, fault.NotFound), "nothing of it is kept")
		return nil
	})
}

// testSameIDs: a closure that runs again gets the same ids, bytes and time.
func testSameIDs(t *testing.T, h Harness) {
	s := newStore(t, &gate{Driver: h.open(t), conflicts: 3})
	var seen []string
	update(t, s, func(tx *store.Tx) error {
		seen = append(seen, fmt.Sprint(tx.NewID(), tx.NewBytes(4), tx.NewID()))
		tx.Emit(event.Event{Type: "x"})
		return nil
	})
	require.GreaterOrEqual(t, len(seen), 8, "twice in each of four attempts")
	for _, v := range seen {
		require.Equal(t, seen[0], v)
	}
	require.GreaterOrEqual(t, s.Stats().Conflicts.Load(), int64(3))
}

// testReadConflict: a read that meets a conflict has the closure run again, whatever the others of its group have written.
func testReadConflict(t *testing.T, h Harness) {
	g := &gate{Driver: h.open(t), reads: 3}
	s := newStore(t, g)
	things := defineThings(thingIndexes()...)
	update(t, s, func(tx *store.Tx) error { // alone in its group, it has written nothing when it gives up
		if _, err := things.Get(tx, "a"); !fault.Is(err, fault.NotFound) {
			return fmt.Errorf("looking for it: %w", err)
		}
		return things.Insert(tx, &thing{ID: "a", Name: "a"})
	})
	view(t, s, func(tx *store.Tx) error {
		_, err := things.Get(tx, "a")
		return err
	})
	require.Zero(t, g.reads)
}

// gate is a driver whose commits wait, conflict or fail.
type gate struct {
	store.Driver
	mu        sync.Mutex
	conflicts int           // commits still to be refused
	reads     int           // reads of one document still to be refused, as by a database whose connection was cut
	err       error         // of every commit; nil lets them through
	resolve   error         // of every Resolve; nil lets them through
	entered   chan struct{} // gets a value as a commit begins; nil: nobody waits
	open      chan struct{} // a commit waits until it is closed
}

type gateTxn struct {
	store.Txn
	g *gate
}

func (g *gate) Begin(ctx context.Context, writable bool) (store.Txn, error) {
	txn, err := g.Driver.Begin(ctx, writable)
	return gateTxn{txn, g}, err
}

func (g *gate) Resolve(ctx context.Context, id string) (bool, error) {
	if g.resolve != nil {
		return false, g.resolve
	}
	return g.Driver.Resolve(ctx, id)
}

func (t gateTxn) Get(kind, id string) (store.Doc, bool, error) {
	t.g.mu.Lock()
	defer t.g.mu.Unlock()
	if t.g.reads > 0 {
		t.g.reads--
		return store.Doc{}, false, store.ErrConflict
	}
	return t.Txn.Get(kind, id)
}

func (t gateTxn) Commit(ctx context.Context, id string) (int64, error) {
	if t.g.entered != nil {
		t.g.entered <- struct{}{}
		<-t.g.open
	}
	t.g.mu.Lock()
	defer t.g.mu.Unlock()
	if t.g.err != nil {
		return 0, t.g.err
	}
	if t.g.conflicts > 0 {
		t.g.conflicts--
		return 0, store.ErrConflict
	}
	return t.Txn.Commit(ctx, id)
}

func newGate(t testing.TB, h Harness) (*gate, *store.Store) {
	g := &gate{Driver: h.open(t), entered: make(chan struct{}, 1000), open: make(chan struct{})}
	return g, newStore(t, g)
}

// testGroupUnseen: nobody sees anything of a group before its commit is durable.
func testGroupUnseen(t *testing.T, h Harness) {
	g, s := newGate(t, h)
	things := defineThings(thingIndexes()...)
	var mu sync.Mutex
	var hooks []string
	var wg sync.WaitGroup
	answered := make(chan string, 10)
	add := func(id string) {
		wg.Go(func() {
			err := s.Update(context.Background(), func(tx *store.Tx) error {
				tx.OnCommit(func() { mu.Lock(); hooks = append(hooks, id); mu.Unlock() })
				tx.Emit(event.Event{Type: "added", ID: id})
				return things.Insert(tx, &thing{ID: id, Name: id})
			})
			if err != nil {
				t.Error(err)
			}
			answered <- id
		})
	}
	changed := s.Changed()
	add("a")
	<-g.entered
	for i := range 5 {
		add(fmt.Sprint(i))
	}
	view(t, s, func(tx *store.Tx) error {
		list, err := things.List(tx, store.Query[thing]{})
		require.NoError(t, err)
		require.Empty(t, list)
		return nil
	})
	events, err := s.Events(context.Background(), 0, 10)
	require.NoError(t, err)
	require.Empty(t, events)
	mu.Lock()
	require.Empty(t, hooks)
	mu.Unlock()
	require.Empty(t, answered)
	select {
	case <-changed:
		t.Fatal("woken before the commit")
	default:
	}
	close(g.open)
	<-changed
	wg.Wait()
	require.ElementsMatch(t, []string{"a", "0", "1", "2", "3", "4"}, hooks)
	events, err = s.Events(context.Background(), 0, 10)
	require.NoError(t, err)
	require.Len(t, events, 6)
	require.Less(t, s.Stats().Commits.Load(), int64(7))
}

// testGroupFails: when the commit of a group fails, all of it fails.
func testGroupFails(t *testing.T, h Harness) {
	g, s := newGate(t, h)
	things := defineThings(thingIndexes()...)
	g.err = fault.New(fault.Exhausted, "the disk is full")
	own := errors.New("the closure's own")
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			err := s.Update(context.Background(), func(tx *store.Tx) error {
				tx.OnCommit(func() { t.Error("a hook of a failed commit") })
				if i == 3 {
					return own
				}
				return things.Insert(tx, &thing{ID: fmt.Sprint(i)})
			})
			if i == 3 && !errors.Is(err, own) || i != 3 && !(fault.Is(err, fault.Exhausted) && errors.Is(err, store.ErrFull)) {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	close(g.open)
	wg.Wait()
	g.mu.Lock()
	g.err = nil
	g.mu.Unlock()
	update(t, s, func(tx *store.Tx) error { return things.Insert(tx, &thing{ID: "later"}) })
	view(t, s, func(tx *store.Tx) error {
		list, err := things.List(tx, store.Query[thing]{})
		require.Equal(t, "later", ids(list))
		return err
	})
}

// testGroupOrder: an Update of a group sees those before it, one that fails leaves no trace, and events are in the order of hooks.
func testGroupOrder(t *testing.T, h Harness) {
	s, things := newStore(t, h.open(t)), defineThings(thingIndexes()...)
	var hooks []string
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			id := fmt.Sprint(i)
			err := s.Update(context.Background(), func(tx *store.Tx) error {
				last, err := things.List(tx, store.Query[thing]{Index: "group", Reverse: true, Limit: 1})
				if err != nil {
					return err
				}
				n := 0
				if len(last) > 0 {
					n = last[0].N + 1
				}
				if err := things.Insert(tx, &thing{ID: id, N: n}); err != nil {
					return err
				}
				tx.Emit(event.Event{Type: id})
				tx.OnCommit(func() { hooks = append(hooks, id) })
				if i%4 == 0 {
					return fault.New(fault.Conflict, "not this one")
				}
				return nil
			})
			if (err != nil) != (i%4 == 0) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	events, err := s.Events(context.Background(), 0, 100)
	require.NoError(t, err)
	require.Len(t, events, 30)
	require.Len(t, hooks, 30)
	view(t, s, func(tx *store.Tx) error {
		list, err := things.List(tx, store.Query[thing]{Index: "group"})
		require.NoError(t, err)
		for i, v := range list {
			require.Equal(t, i, v.N)
			require.Equal(t, v.ID, events[i].Type)
			require.Equal(t, v.ID, hooks[i])
		}
		return nil
	})
}

func testCounter(t *testing.T, h Harness) {
	s, things := newStore(t, h.open(t)), defineThings(thingIndexes()...)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if err := s.Update(context.Background(), func(tx *store.Tx) error {
				v, err := things.Get(tx, "sum")
				if fault.Is(err, fault.NotFound) {
					v, err = &thing{ID: "sum", Name: "sum"}, nil
				}
				if err != nil {
					return err
				}
				v.N += i
				return things.Put(tx, v)
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	view(t, s, func(tx *store.Tx) error {
		v, err := things.Get(tx, "sum")
		require.NoError(t, err)
		require.Equal(t, 4950, v.N)
		return nil
	})
	found, err := store.Check(context.Background(), s, things)
	require.NoError(t, err)
	require.Empty(t, found)
}

// testPanic: a closure that panics, or leaves by Goexit as t.FailNow does, harms its own goroutine alone.
func testPanic(t *testing.T, h Harness) {
	s, things := newStore(t, h.open(t)), defineThings()
	require.PanicsWithValue(t, "boom", func() {
		s.Update(context.Background(), func(tx *store.Tx) error {
			if err := things.Put(tx, &thing{ID: "x"}); err != nil {
				return err
			}
			panic("boom")
		})
	})
	left := make(chan struct{})
	go func() {
		defer close(left)
		s.Update(context.Background(), func(tx *store.Tx) error { runtime.Goexit(); return nil })
	}()
	<-left
	update(t, s, func(tx *store.Tx) error { return things.Put(tx, &thing{ID: "y"}) })
	view(t, s, func(tx *store.Tx) error {
		list, err := things.List(tx, store.Query[thing]{})
		require.Equal(t, "y", ids(list))
		return err
	})
}

// testContextEnds: before the closure has run nothing happens; while the commit is under way nobody knows.
func testContextEnds(t *testing.T, h Harness) {
	g, s := newGate(t, h)
	things := defineThings()
	put := func(id string) func(tx *store.Tx) error {
		return func(tx *store.Tx) error { return things.Put(tx, &thing{ID: id}) }
	}
	ctx, cancel := context.WithCancel(context.Background())
	underWay := make(chan error, 1)
	go func() { underWay <- s.Update(ctx, put("under way")) }()
	<-g.entered
	waiting := make(chan error, 1)
	go func() { waiting <- s.Update(ctx, put("waiting")) }()
	cancel()
	err := <-underWay
	require.True(t, fault.Is(err, fault.Timeout), "%v", err)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, <-waiting, context.Canceled)
	require.ErrorIs(t, s.Update(ctx, put("too late")), context.Canceled)
	require.ErrorIs(t, s.View(ctx, func(*store.Tx) error { return nil }), context.Canceled)
	close(g.open)
	update(t, s, put("next"))
	view(t, s, func(tx *store.Tx) error {
		list, err := things.List(tx, store.Query[thing]{})
		if s.Stats().Conflicts.Load() > 0 && ids(list) == "next" {
			return err // the first attempt did not happen, and nobody waited for a second
		}
		require.Equal(t, "next under way", ids(list))
		return err
	})
}

// testBroken: when only a reopened database can tell, the caller hears so at once.
func testBroken(t *testing.T, h Harness) {
	g, s := newGate(t, h)
	close(g.open)
	things := defineThings()
	g.err, g.resolve = store.ErrUnknown, fault.New(fault.Unavailable, "disk failed: %w", store.ErrBroken)
	err := s.Update(context.Background(), func(tx *store.Tx) error { return things.Put(tx, &thing{ID: "x"}) })
	require.True(t, fault.Is(err, fault.Timeout), "%v", err)
	require.ErrorIs(t, err, store.ErrBroken)
}

func testClose(t *testing.T, h Harness) {
	s, err := store.New(h.open(t), store.Options{Key: make([]byte, store.KeySize)})
	require.NoError(t, err)
	things := defineThings()
	update(t, s, func(tx *store.Tx) error { return things.Put(tx, &thing{ID: "x"}) })
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	none := func(*store.Tx) error { t.Error("a closure ran"); return nil }
	require.True(t, fault.Is(s.Update(context.Background(), none), fault.Unavailable))
	require.True(t, fault.Is(s.View(context.Background(), none), fault.Unavailable))
	_, err = s.Events(context.Background(), 0, 1)
	require.True(t, fault.Is(err, fault.Unavailable))

	g := &gate{Driver: h.open(t), entered: make(chan struct{}, 10), open: make(chan struct{})}
	s, err = store.New(g, store.Options{Key: make([]byte, store.KeySize)})
	require.NoError(t, err)
	first := make(chan error, 1)
	go func() {
		first <- s.Update(context.Background(), func(tx *store.Tx) error { return things.Put(tx, &thing{ID: "x"}) })
	}()
	<-g.entered
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	close(g.open)
	err = <-first
	require.NoError(t, <-closed)
	if s.Stats().Conflicts.Load() > 0 {
		return // it may have been refused at its next attempt
	}
	require.NoError(t, err, "the group under way ends")
}

func testMisuse(t *testing.T, h Harness) {
	c := clock.NewManual(start)
	s, things := newStore(t, h.Open(t, c)), defineThings(thingIndexes()...)
	require.Panics(t, func() {
		s.View(context.Background(), func(tx *store.Tx) error { return things.Put(tx, &thing{ID: "x"}) })
	})
	var old *store.Tx
	update(t, s, func(tx *store.Tx) error {
		old = tx
		require.False(t, tx.Now().Before(start))
		return nil
	})
	_, err := things.Get(old, "x")
	require.Error(t, err)
	_, err = things.List(old, store.Query[thing]{})
	require.Error(t, err)
	require.Panics(t, func() { things.Put(old, &thing{ID: "x"}) })
	err = s.Update(context.Background(), func(tx *store.Tx) error {
		tx.Emit(event.Event{Type: "x", Data: []byte("no JSON")})
		return nil
	})
	require.ErrorContains(t, err, "no JSON")
	ctx, cancel := context.WithTimeout(context.Background(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	require.Equal(t, fault.Timeout, fault.CodeOf(s.Update(ctx, func(*store.Tx) error { return nil })))
}

// testMadeIDs: an Update finds what it has written under an id of its own making, in every index, and nothing else.
func testMadeIDs(t *testing.T, h Harness) {
	s, things := newStore(t, h.open(t)), defineThings(thingIndexes()...)
	var made string
	update(t, s, func(tx *store.Tx) error {
		made = tx.NewID()
		_, err := things.Get(tx, made)
		require.True(t, fault.Is(err, fault.NotFound))
		require.NoError(t, s.Update(tx.Context(), func(tx *store.Tx) error {
			return things.Insert(tx, &thing{ID: made, Name: made, Group: made, Tags: []string{made}})
		}))
		require.True(t, fault.Is(things.Insert(tx, &thing{ID: made}), fault.Exists))
		require.True(t, fault.Is(things.Insert(tx, &thing{ID: tx.NewID(), Name: made}), fault.Exists))
		return s.Update(tx.Context(), func(tx *store.Tx) error {
			v, err := things.Find(tx, "name", made)
			require.NoError(t, err)
			in, err := things.List(tx, store.Query[thing]{Index: "group", Prefix: store.Tuple{made}})
			require.NoError(t, err)
			require.Equal(t, made, ids(in))
			v.N = 7
			return things.Put(tx, v)
		})
	})
	update(t, s, func(tx *store.Tx) error {
		v, rev, err := things.GetRev(tx, made)
		require.NoError(t, err)
		require.Equal(t, 7, v.N)
		require.EqualValues(t, 2, rev)
		require.True(t, fault.Is(things.Insert(tx, &thing{ID: tx.NewID(), Name: made}), fault.Exists), "of an earlier Update")
		return nil
	})
	found, err := store.Check(context.Background(), s, things)
	require.NoError(t, err)
	require.Empty(t, found)
}
