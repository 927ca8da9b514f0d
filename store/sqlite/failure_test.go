package sqlite

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	lib "modernc.org/sqlite/lib"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/store"
)

type item struct {
	ID, Text string
}

var items = store.Define(store.Spec[item]{Kind: "item", Version: 1, ID: func(i *item) string { return i.ID },
	Indexes: []store.Index[item]{{Name: "text", Keys: func(i *item) []store.Tuple { return []store.Tuple{{i.Text[:min(8, len(i.Text))]}} }}}})

func open(t testing.TB, path string) (*Driver, *store.Store) {
	t.Helper()
	d, err := Open(path, nil)
	require.NoError(t, err)
	s, err := store.New(d, store.Options{Key: make([]byte, store.KeySize)})
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return d, s
}

func put(s *store.Store, id, text string) error {
	return s.Update(context.Background(), func(tx *store.Tx) error {
		tx.Emit(event.Event{Type: "put", ID: id})
		return items.Put(tx, &item{id, text})
	})
}

func all(t testing.TB, s *store.Store) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, s.View(context.Background(), func(tx *store.Tx) error {
		for v, err := range items.Each(tx, store.Query[item]{Index: "text"}) {
			if err != nil {
				return err
			}
			out[v.ID] = v.Text
		}
		return nil
	}))
	found, err := store.Check(context.Background(), s, items)
	require.NoError(t, err)
	require.Empty(t, found)
	return out
}

// TestSyncFails: after a failed fsync nobody knows, and nothing works, until the file is opened again.
func TestSyncFails(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cloud.db")
	d, s := open(t, path)
	require.NoError(t, put(s, "1", "one"))
	k := newDisk(t, d)
	k.failing(func(file, op string) int32 {
		if op == "sync" {
			return lib.SQLITE_IOERR_FSYNC
		}
		return 0
	})
	err := put(s, "2", "two")
	require.True(t, fault.Is(err, fault.Timeout), "%v", err)
	require.ErrorIs(t, err, store.ErrBroken)
	require.ErrorContains(t, err, path)
	k.failing(nil)
	err = put(s, "3", "three")
	require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
	require.ErrorContains(t, err, "opened again")
	require.ErrorIs(t, s.View(context.Background(), func(*store.Tx) error { return nil }), store.ErrBroken)
	require.NoError(t, s.Close())
	_, s = open(t, path)
	have := all(t, s)
	require.Equal(t, "one", have["1"])
	require.NotContains(t, have, "3")
	require.NoError(t, put(s, "3", "three"))
}

// TestCommitIsOneWrite: the pages of a commit are not written to the log one by one, but for those of a transaction that is very large.
func TestCommitIsOneWrite(t *testing.T) {
	t.Parallel()
	d, s := open(t, filepath.Join(t.TempDir(), "cloud.db"))
	require.NoError(t, put(s, "first", "0"))
	k := newDisk(t, d)
	count := map[string]int{}
	k.failing(func(file, op string) int32 { count[file+" "+op]++; return 0 })
	require.NoError(t, put(s, "small", "1"))
	require.Equal(t, map[string]int{"-wal write": 1, "-wal sync": 1}, count)
	clear(count)
	require.NoError(t, put(s, "large", strings.Repeat("x", 1<<20)))
	require.Equal(t, 1, count["-wal sync"])
	require.InDelta(t, 12, count["-wal write"], 2)
	require.Len(t, all(t, s), 3)
}

// TestLogFull: a full disk under the log fails the transaction and nothing else.
func TestLogFull(t *testing.T) {
	t.Parallel()
	d, s := open(t, filepath.Join(t.TempDir(), "cloud.db"))
	k := newDisk(t, d)
	require.NoError(t, put(s, "1", "one"))
	k.failing(func(file, op string) int32 {
		if op == "write" {
			return lib.SQLITE_FULL
		}
		return 0
	})
	for range 3 {
		err := put(s, "2", "two")
		require.True(t, fault.Is(err, fault.Exhausted), "%v", err)
	}
	require.Equal(t, map[string]string{"1": "one"}, all(t, s))
	k.failing(nil)
	require.NoError(t, put(s, "2", "two"))
	require.Equal(t, map[string]string{"1": "one", "2": "two"}, all(t, s))
}

func TestSqueeze(t *testing.T) {
	t.Parallel()
	var s squeeze
	require.True(t, s.next(0))
	require.True(t, s.due)
	require.False(t, s.next(squeezePause-1), "it did not help, and the disk was hardly left alone")
	require.True(t, s.next(squeezePause))
	s = squeeze{} // it helped
	require.True(t, s.next(squeezePause))
}

// TestFullLogIsMoved: on a full disk the log begins anew, as often as it must, and what needs no new page goes on; what needs one is
// refused, and the disk is not asked for each of those.
func TestFullLogIsMoved(t *testing.T) {
	t.Parallel()
	now := clock.NewManual(time.Unix(0, 0))
	d, err := Open(filepath.Join(t.TempDir(), "cloud.db"), &Options{Clock: now})
	require.NoError(t, err)
	s, err := store.New(d, store.Options{Key: make([]byte, store.KeySize)})
	require.NoError(t, err)
	defer s.Close()
	set := func(id, text string) error {
		return s.Update(context.Background(), func(tx *store.Tx) error { return items.Put(tx, &item{id, text}) })
	}
	want := map[string]string{}
	for i := range 20 {
		want[fmt.Sprint(i)] = strings.Repeat("x", 3000)
		require.NoError(t, set(fmt.Sprint(i), want[fmt.Sprint(i)]))
	}
	require.NoError(t, set("spare", strings.Repeat("z", 400<<10)))
	require.NoError(t, s.Update(context.Background(), func(tx *store.Tx) error { return items.Delete(tx, "spare") })) // pages for commit ids and the index
	d.w.mu.Lock()
	d.w.frames = checkpointFrames
	d.w.mu.Unlock()
	require.NoError(t, set("0", want["0"])) // moves all into the file
	k := newDisk(t, d)
	k.fill(true)
	moves := 0
	k.failing(func(file, op string) int32 {
		if file == "" && op == "sync" {
			moves++
		}
		return 0
	})
	for i := range 200 {
		id := fmt.Sprint(i % 20)
		want[id] = strings.Repeat(string(rune('a'+i%26)), 3000)
		require.NoError(t, set(id, want[id]), "write %d", i)
	}
	require.Greater(t, moves, 1, "the log is small")
	require.Equal(t, want, all(t, s))

	moves = 0
	large := strings.Repeat("y", 4<<20) // more than the log
	for range 5 {
		require.ErrorIs(t, set("large", large), store.ErrFull)
	}
	require.Equal(t, 1, moves)
	require.Equal(t, want, all(t, s))
	k.fill(false)
	want["large"] = large
	require.NoError(t, set("large", large))
	require.Equal(t, want, all(t, s))
}

// TestCheckpointFails: a failed fsync of the file itself, which SQLite would pass over, stops the work as well.
func TestCheckpointFails(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cloud.db")
	d, s := open(t, path)
	k := newDisk(t, d)
	require.NoError(t, put(s, "1", "one"))
	k.failing(func(file, op string) int32 {
		if file == "" && op == "sync" {
			return lib.SQLITE_IOERR_FSYNC
		}
		return 0
	})
	d.w.mu.Lock()
	d.w.frames = checkpointFrames
	d.w.mu.Unlock()
	err := put(s, "2", "two")
	require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
	require.ErrorIs(t, err, store.ErrBroken)
	require.NoError(t, s.Close())
	_, s = open(t, path)
	require.Equal(t, map[string]string{"1": "one"}, all(t, s), "the log still had it")
}

// TestPowerCut: whatever a power cut leaves of the writes that were not synced, what was answered is there.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	d, s := open(t, filepath.Join(dir, "cloud.db"))
	require.NoError(t, put(s, "first", "0"))
	k := newDisk(t, d)
	want := map[string]string{"first": "0"} // what was answered
	maybe := map[string]string{}            // what was asked for
	cuts, ops := 0, 0
	var looks []func() // at what the cuts have left
	cut := func() {
		n := cuts
		cuts++
		path := filepath.Join(dir, fmt.Sprintf("cut%d.db", n))
		must, may := maps.Clone(want), maps.Clone(maybe)
		k.cut(t, path, rnd)
		looks = append(looks, func() { afterCut(t, path, must, may, fmt.Sprintf("seed %d, cut %d", seed, n)) })
	}
	k.failing(func(string, string) int32 { // just before a write or sync, while put waits for it
		if ops++; ops%23 == 0 {
			k.mu.Unlock()
			cut()
			k.mu.Lock()
		}
		return 0
	})
	for i := range 150 {
		id, text := fmt.Sprint(rnd.IntN(30)), fmt.Sprint(i, strings.Repeat("x", rnd.IntN(3000)))
		maybe[id] = text
		if i%40 == 39 { // move the log into the file
			d.w.mu.Lock()
			d.w.frames = checkpointFrames
			d.w.mu.Unlock()
		}
		require.NoError(t, put(s, id, text))
		want[id] = text
		if i%10 == 0 {
			cut()
		}
		for _, look := range looks {
			look()
		}
		looks = nil
	}
	require.Greater(t, cuts, 20)
}

// afterCut opens what a cut has left: each entry of must is there, or what may replace it, and nothing else.
func afterCut(t *testing.T, path string, must, may map[string]string, which string) {
	t.Helper()
	d, err := Open(path, nil)
	require.NoError(t, err, which)
	s, err := store.New(d, store.Options{Key: make([]byte, store.KeySize)})
	require.NoError(t, err, which)
	defer s.Close()
	have := all(t, s)
	for id, text := range must {
		if have[id] != text && have[id] != may[id] {
			t.Fatalf("%s: %s is %.20q, answered was %.20q", which, id, have[id], text)
		}
	}
	for id, text := range have {
		if text != must[id] && text != may[id] {
			t.Fatalf("%s: %s is %.20q, nobody asked for that", which, id, text)
		}
	}
	events, err := s.Events(context.Background(), 0, 10000)
	require.NoError(t, err)
	for i, e := range events {
		require.EqualValues(t, i+1, e.Seq)
	}
	require.NoError(t, s.Close())
}

// TestTornHeader: a checkpoint that ended in the middle of the header of the file is completed from the log beside it,
// wherever it was torn.
func TestTornHeader(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "cloud.db")
	_, s := open(t, path)
	require.NoError(t, put(s, "1", "one"))
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	log, err := os.ReadFile(path + "-wal")
	require.NoError(t, err)
	require.NoError(t, s.Close())
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	for n := range 100 {
		path := filepath.Join(dir, fmt.Sprintf("torn%d.db", n))
		require.NoError(t, os.WriteFile(path, append(append([]byte(nil), after[:n]...), before[n:]...), 0o600))
		require.NoError(t, os.WriteFile(path+"-wal", log, 0o600))
		_, s := open(t, path)
		require.Equal(t, map[string]string{"1": "one"}, all(t, s), "torn after %d bytes", n)
		require.NoError(t, s.Close())
	}
}
