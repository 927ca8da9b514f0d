package sqlite_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/sqlite"
)

// TestBackupWhileWriting: a backup has all that was answered before it began, and is the state of one moment.
func TestBackupWhileWriting(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), context.Background()
	d := openFile(t, filepath.Join(dir, "cloud.db"), nil)
	s := newStore(t, d)
	require.NoError(t, put(s, "ballast", strings.Repeat("x", 2<<20))) // it takes several steps, between which others write
	const writers = 16
	var answered [writers]atomic.Int64 // the newest value of a writer's pair of documents
	stop := make(chan struct{})
	var done sync.WaitGroup
	var began sync.WaitGroup
	began.Add(writers)
	for w := range writers {
		done.Go(func() {
			for n := int64(1); ; n++ {
				err := s.Update(ctx, func(tx *store.Tx) error {
					tx.Emit(event.Event{Type: "put", ID: fmt.Sprint(w)})
					text := fmt.Sprintf("%d %s", n, strings.Repeat("x", 2000))
					if err := things.Put(tx, &thing{fmt.Sprintf("a%d", w), text}); err != nil {
						return err
					}
					return things.Put(tx, &thing{fmt.Sprintf("b%d", w), text})
				})
				if err != nil {
					t.Error(err)
					return
				}
				answered[w].Store(n)
				if n == 3 {
					began.Done()
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	began.Wait()
	for round := range 2 {
		var before [writers]int64
		for w := range before {
			before[w] = answered[w].Load()
		}
		path := filepath.Join(dir, fmt.Sprintf("backup%d", round))
		require.NoError(t, d.Backup(ctx, path))
		left, err := filepath.Glob(filepath.Join(dir, ".backup*"))
		require.NoError(t, err)
		require.Empty(t, left)
		st, err := os.Stat(path)
		require.NoError(t, err)
		require.EqualValues(t, 0o600, st.Mode().Perm())
		require.NoFileExists(t, path+"-wal")

		copied := newStore(t, openFile(t, path, nil))
		bad, err := store.Check(ctx, copied, things)
		require.NoError(t, err)
		require.Empty(t, bad)
		for w := range before {
			a, b := get(t, copied, fmt.Sprintf("a%d", w)), get(t, copied, fmt.Sprintf("b%d", w))
			require.Equal(t, a, b, "two documents of one transaction")
			var n int64
			_, err := fmt.Sscan(a, &n)
			require.NoError(t, err)
			require.GreaterOrEqual(t, n, before[w], "answered before the backup began")
			require.LessOrEqual(t, n, answered[w].Load()+1)
		}
		var last int64
		for {
			events, err := copied.Events(ctx, last, 0)
			require.NoError(t, err)
			if len(events) == 0 {
				break
			}
			for _, e := range events {
				last++
				require.Equal(t, last, e.Seq)
			}
		}
		require.NoError(t, copied.Close())
	}
	close(stop)
	done.Wait()
}

func TestBackupRefuses(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), context.Background()
	d, err := sqlite.Open(filepath.Join(dir, "cloud.db"), nil)
	require.NoError(t, err)
	s := newStore(t, d)
	require.NoError(t, put(s, "x", strings.Repeat("y", 4<<20)))
	there := filepath.Join(dir, "there")
	require.NoError(t, os.WriteFile(there, []byte("mine"), 0o600))
	none := filepath.Join(dir, "none", "backup")
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	for _, c := range []struct {
		ctx   context.Context
		path  string
		code  fault.Code
		words string
	}{
		{ctx, there, fault.Exists, "move it away"},
		{ctx, filepath.Join(dir, "cloud.db"), fault.Exists, "exists"},
		{ctx, none, fault.NotFound, "make its directory first"},
		{ctx, filepath.Join(there, "backup"), fault.Invalid, "not a directory"},
		{ctx, "", fault.Invalid, "path"},
		{canceled, filepath.Join(dir, "late"), fault.Canceled, "canceled"},
	} {
		err := d.Backup(c.ctx, c.path)
		require.ErrorContains(t, err, c.words)
		require.Equal(t, c.code.String(), fault.CodeOf(err).String(), "%v", err)
	}
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range left {
		require.True(t, strings.HasPrefix(e.Name(), "cloud.db") || e.Name() == "there", e.Name())
	}
	text, err := os.ReadFile(there)
	require.NoError(t, err)
	require.Equal(t, "mine", string(text))
	require.NoError(t, s.Close())
	require.True(t, fault.Is(d.Backup(ctx, filepath.Join(dir, "closed")), fault.Unavailable))
}

// TestRestore: the backup takes the place of the database, which is kept aside with all that a killed process has left of it.
func TestRestore(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), context.Background()
	path, backup := filepath.Join(dir, "cloud.db"), filepath.Join(dir, "backup")
	d, err := sqlite.Open(path, nil)
	require.NoError(t, err)
	s := newStore(t, d)
	require.NoError(t, put(s, "x", "old"))
	require.NoError(t, d.Backup(ctx, backup))
	require.NoError(t, put(s, "x", "new"))
	_, err = sqlite.Restore(backup, path, nil)
	require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
	require.ErrorContains(t, err, "in use")
	again, err := d.Restart() // its log is not in the file
	require.NoError(t, err)
	require.NoError(t, put(newStore(t, again), "y", "newest"))
	killed, err := again.(*sqlite.Driver).Restart()
	require.NoError(t, err)
	require.NoError(t, killed.Close())

	seen := ""
	kept, err := sqlite.Restore(backup, path, func(copy string) error {
		s := newStore(t, openFile(t, copy, nil))
		seen = get(t, s, "x")
		return s.Close()
	})
	require.NoError(t, err)
	require.Equal(t, "old", seen)
	s = newStore(t, openFile(t, path, nil))
	require.Equal(t, "old", get(t, s, "x"))
	require.NoError(t, put(s, "x", "goes on"))
	was := newStore(t, openFile(t, kept, nil))
	require.Equal(t, "new", get(t, was, "x"))
	require.Equal(t, "newest", get(t, was, "y"))
	require.NoError(t, s.Close())
	require.NoError(t, was.Close())
	fresh := filepath.Join(dir, "fresh.db")
	kept, err = sqlite.Restore(backup, fresh, nil)
	require.NoError(t, err)
	require.Empty(t, kept)
	require.Equal(t, "old", get(t, newStore(t, openFile(t, fresh, nil)), "x"))
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestRestoreKeepsTheLog: what a killed process left in the log is in the database that is kept aside.
func TestRestoreKeepsTheLog(t *testing.T) {
	t.Parallel()
	path := made(t)
	backup := filepath.Join(t.TempDir(), "backup")
	d := openFile(t, path, nil)
	require.NoError(t, d.Backup(context.Background(), backup))
	require.NoError(t, put(newStore(t, d), "late", "in the log"))
	dead := filepath.Join(t.TempDir(), "dead.db") // as the death of the process leaves it
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(path + suffix)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(dead+suffix, b, 0o600))
	}
	kept, err := sqlite.Restore(backup, dead, nil)
	require.NoError(t, err)
	require.Equal(t, "in the log", get(t, newStore(t, openFile(t, kept, nil)), "late"))
	require.NoFileExists(t, dead+"-wal")
}

func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	path := made(t)
	good, dir := filepath.Join(t.TempDir(), "good"), t.TempDir()
	d := openFile(t, path, nil)
	require.NoError(t, d.Backup(context.Background(), good))
	require.NoError(t, d.Close())
	image, err := os.ReadFile(good)
	require.NoError(t, err)
	bad := func(name string, change func(b []byte) []byte) string {
		p := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(p, change(append([]byte(nil), image...)), 0o600))
		return p
	}
	refused := fault.New(fault.Denied, "another key")
	before := snapshot(t, filepath.Dir(path))
	for _, c := range []struct {
		backup string
		code   fault.Code
		words  string
	}{
		{filepath.Join(dir, "none"), fault.NotFound, "there is no backup"},
		{path, fault.Invalid, "the database itself"},
		{bad("empty", func(b []byte) []byte { return nil }), fault.Corrupt, "empty"},
		{bad("short", func(b []byte) []byte { return b[:3*4096] }), fault.Corrupt, "damaged"},
		{bad("torn", func(b []byte) []byte { copy(b[8192:], make([]byte, 8192)); return b }), fault.Corrupt, "damaged"},
		{bad("text", func(b []byte) []byte { copy(b, "dear diary"); return b }), fault.Corrupt, "not a database"},
		{bad("newer", func(b []byte) []byte { binary.BigEndian.PutUint32(b[60:], 99); return b }), fault.Corrupt, "newer version"},
		{bad("other", func(b []byte) []byte { binary.BigEndian.PutUint32(b[68:], 7); return b }), fault.Corrupt, "another program"},
		{good, fault.Denied, "another key"},
	} {
		_, err := sqlite.Restore(c.backup, path, func(string) error { return refused })
		require.ErrorContains(t, err, c.words)
		require.ErrorContains(t, err, filepath.Base(map[bool]string{true: "key", false: c.backup}[c.code == fault.Denied]))
		require.Equal(t, c.code.String(), fault.CodeOf(err).String(), "%v", err)
		require.NotContains(t, err.Error(), ".restore-")
		require.Equal(t, before, snapshot(t, filepath.Dir(path)), "%s: something was changed", c.backup)
	}
}
