package sqlite_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/sqlite"
)

type thing struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

var things = store.Define(store.Spec[thing]{Kind: "thing", Version: 1, ID: func(t *thing) string { return t.ID }})

func newStore(t testing.TB, d store.Driver) *store.Store {
	t.Helper()
	s, err := store.New(d, store.Options{Key: make([]byte, store.KeySize)})
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func put(s *store.Store, id, text string) error {
	return s.Update(context.Background(), func(tx *store.Tx) error {
		tx.Emit(event.Event{Type: "put", ID: id})
		return things.Put(tx, &thing{id, text})
	})
}

func get(t testing.TB, s *store.Store, id string) (text string) {
	t.Helper()
	require.NoError(t, s.View(context.Background(), func(tx *store.Tx) error {
		v, err := things.Get(tx, id)
		if err == nil {
			text = v.Text
		}
		return err
	}))
	return text
}

// made returns the path of a file with some documents in it.
func made(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cloud.db")
	s := newStore(t, openFile(t, path, nil))
	for i := range 50 {
		require.NoError(t, put(s, fmt.Sprint(i), strings.Repeat(fmt.Sprint(i), 300)))
	}
	require.NoError(t, s.Close())
	return path
}

// refuses opens a file that must not be opened, and requires that nothing beside or in it has changed.
func refuses(t *testing.T, path string, code fault.Code, words ...string) {
	t.Helper()
	before := snapshot(t, filepath.Dir(path))
	_, err := sqlite.Open(path, nil)
	require.Error(t, err)
	require.Equal(t, code.String(), fault.CodeOf(err).String(), "%v", err)
	for _, w := range append(words, path) {
		require.ErrorContains(t, err, w)
	}
	require.Equal(t, before, snapshot(t, filepath.Dir(path)), "something was changed")
}

// snapshot returns the files under a directory with what is in them, but for empty ones and locks.
func snapshot(t testing.TB, dir string) map[string]string {
	out := map[string]string{}
	filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !strings.HasSuffix(p, ".lock") && !strings.HasSuffix(p, "-shm") {
			if b, err := os.ReadFile(p); err == nil && len(b) > 0 {
				out[p] = string(b)
			}
		}
		return nil
	})
	return out
}

// TestPrivate: what is in a store is for its owner alone.
func TestPrivate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	d, err := sqlite.Open(path, nil)
	require.NoError(t, err)
	defer d.Close()
	require.NoError(t, put(newStore(t, d), "a", "x"))
	files, err := filepath.Glob(path + "*")
	require.NoError(t, err)
	require.Contains(t, files, path+"-wal")
	for _, f := range files {
		st, err := os.Stat(f)
		require.NoError(t, err)
		require.EqualValues(t, 0o600, st.Mode().Perm(), f)
	}
}

func TestLocked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cloud.db")
	d, err := sqlite.Open(path, nil)
	require.NoError(t, err)
	_, err = sqlite.Open(path, nil)
	require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
	require.ErrorContains(t, err, path+".lock")
	require.ErrorContains(t, err, fmt.Sprint("process ", os.Getpid()))
	require.NoError(t, os.Truncate(path+".lock", 0))
	_, err = sqlite.Open(path, nil)
	require.ErrorContains(t, err, "in use by another process,", "the holder has not written its id yet")
	link := filepath.Join(t.TempDir(), "link.db")
	require.NoError(t, os.Symlink(path, link))
	_, err = sqlite.Open(link, nil)
	require.ErrorContains(t, err, "in use", "another name of the same file")
	require.NoError(t, d.Close())
	require.NoError(t, openFile(t, link, nil).Close())
}

// TestLockedByProcess starts another process that opens the file, then kills it.
func TestLockedByProcess(t *testing.T) {
	t.Parallel()
	if path := os.Getenv("SQLITE_TEST_HOLD"); path != "" {
		d, err := sqlite.Open(path, nil)
		require.NoError(t, err)
		s := newStore(t, d)
		require.NoError(t, put(s, "x", "from the other"))
		fmt.Println("holding")
		io.Copy(io.Discard, os.Stdin)
		return
	}
	path := filepath.Join(t.TempDir(), "cloud.db")
	other := exec.Command(os.Args[0], "-test.run=^TestLockedByProcess$", "-test.v")
	other.Env = append(os.Environ(), "SQLITE_TEST_HOLD="+path)
	_, err := other.StdinPipe()
	require.NoError(t, err)
	out, err := other.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, other.Start())
	var said []byte
	for !bytes.Contains(said, []byte("holding")) {
		b := make([]byte, 1000)
		n, err := out.Read(b)
		require.NoError(t, err, "%s", said)
		said = append(said, b[:n]...)
	}
	_, err = sqlite.Open(path, nil)
	require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
	require.ErrorContains(t, err, fmt.Sprint("process ", other.Process.Pid))
	require.NoError(t, other.Process.Kill())
	other.Wait()
	require.Equal(t, "from the other", get(t, newStore(t, openFile(t, path, nil)), "x"), "kill -9 leaves neither a lock nor a loss")
}

// patch overwrites bytes of a file.
func patch(t testing.TB, path string, at int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt(b, at)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func TestNotOurs(t *testing.T) {
	t.Parallel()
	text := filepath.Join(t.TempDir(), "text.db")
	require.NoError(t, os.WriteFile(text, bytes.Repeat([]byte("I am a letter. "), 1000), 0o600))
	refuses(t, text, fault.Corrupt, "not a database")
	short := filepath.Join(t.TempDir(), "short.db")
	require.NoError(t, os.WriteFile(short, []byte("SQLite format 3\x00"), 0o600))
	refuses(t, short, fault.Corrupt, "not a database")

	newer := made(t)
	patch(t, newer, 60, binary.BigEndian.AppendUint32(nil, 99))
	refuses(t, newer, fault.Corrupt, "newer version", "99")
	other := made(t)
	patch(t, other, 68, binary.BigEndian.AppendUint32(nil, 0x12345678))
	refuses(t, other, fault.Corrupt, "another program", "0x12345678")
	anonymous := made(t)
	patch(t, anonymous, 68, make([]byte, 4))
	refuses(t, anonymous, fault.Corrupt, "another program")

	dir := t.TempDir()
	refuses(t, dir, fault.Invalid, "not a regular file")
	_, err := sqlite.Open("", nil)
	require.True(t, fault.Is(err, fault.Invalid))
	_, err = sqlite.Open("a", &sqlite.Options{CacheBytes: -1, MaxBytes: -1})
	require.ErrorContains(t, err, "CacheBytes")
	require.ErrorContains(t, err, "MaxBytes")
}

func TestDamaged(t *testing.T) {
	t.Parallel()
	path := made(t)
	for at := int64(4096); at < 60000; at += 4096 {
		patch(t, path, at, bytes.Repeat([]byte{0xab}, 200))
	}
	refuses(t, path, fault.Corrupt, "damaged", "backup")

	path = made(t)
	require.NoError(t, os.Truncate(path, 3*4096))
	refuses(t, path, fault.Corrupt, "damaged", "backup")

	// Damage behind the check's back is found when it is met.
	path = made(t)
	d := openFile(t, path, nil)
	for at := int64(4096); at < 60000; at += 4096 {
		patch(t, path, at, bytes.Repeat([]byte{0xab}, 200))
	}
	s := newStore(t, d)
	err := s.View(context.Background(), func(tx *store.Tx) error {
		_, err := things.List(tx, store.Query[thing]{})
		return err
	})
	require.True(t, fault.Is(err, fault.Corrupt), "%v", err)
	require.ErrorContains(t, err, path)
}

func TestPaths(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, []byte("x"), 0o600))
	refuses(t, filepath.Join(file, "cloud.db"), fault.Invalid, "not a directory")
	refuses(t, filepath.Join(dir, "none", "cloud.db"), fault.NotFound, "make its directory")
	for _, name := range []string{"a b?c=d&e.db", "ü%20#.db", "file:x.db"} {
		d := openFile(t, filepath.Join(dir, name), nil)
		require.NoError(t, d.Close())
		require.FileExists(t, filepath.Join(dir, name))
	}
	require.FileExists(t, filepath.Join(dir, "file:x.db"))
}

// TestNoPermission runs as a user who may not write: root may write everywhere, so it starts itself as another.
func TestNoPermission(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("SQLITE_TEST_DENIED")
	if dir == "" {
		var err error
		dir, err = os.MkdirTemp("", "sqlite-denied-*") // t.TempDir is below a directory that is closed to others
		require.NoError(t, err)
		t.Cleanup(func() { os.Chmod(dir, 0o700); os.RemoveAll(dir) })
		readOnly := filepath.Join(dir, "readonly.db")
		s := newStore(t, openFile(t, readOnly, nil))
		require.NoError(t, put(s, "x", "y"))
		require.NoError(t, s.Close())
		require.NoError(t, os.Remove(readOnly+".lock"))
		require.NoError(t, os.Chmod(readOnly, 0o444))
		secret := filepath.Join(dir, "secret.db")
		require.NoError(t, os.WriteFile(secret, []byte("x"), 0o000))
		require.NoError(t, os.Chmod(dir, 0o555))
	}
	if os.Geteuid() != 0 {
		for _, name := range []string{"new.db", "readonly.db", "secret.db"} {
			refuses(t, filepath.Join(dir, name), fault.Denied, "permission")
		}
		return
	}
	binary := filepath.Join(dir, "test.bin")
	b, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(binary, b, 0o755))
	other := exec.Command(binary, "-test.run=^TestNoPermission$", "-test.v")
	other.Dir = "/"
	other.Env = append(os.Environ(), "SQLITE_TEST_DENIED="+dir)
	other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := other.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: TestNoPermission")
}

// TestReadOnlyFileSystem uses /proc, where no user can make a file.
func TestReadOnlyFileSystem(t *testing.T) {
	t.Parallel()
	_, err := sqlite.Open("/proc/self/cloud.db", nil)
	require.Error(t, err)
	require.Contains(t, []fault.Code{fault.Denied, fault.NotFound, fault.Unavailable}, fault.CodeOf(err), "%v", err)
	require.ErrorContains(t, err, "/cloud.db")
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cloud.db")
	d := openFile(t, path, &sqlite.Options{MaxBytes: 400 << 10})
	s := newStore(t, d)
	n := 0
	var err error
	for ; err == nil; n++ {
		err = put(s, fmt.Sprint(n), strings.Repeat("x", 20000))
	}
	n--
	require.True(t, fault.Is(err, fault.Exhausted), "%v", err)
	require.ErrorIs(t, err, store.ErrFull)
	require.ErrorContains(t, err, path)
	require.Greater(t, n, 5)
	count := func(s *store.Store) (n int) {
		require.NoError(t, s.View(context.Background(), func(tx *store.Tx) error {
			all, err := things.List(tx, store.Query[thing]{})
			n = len(all)
			return err
		}))
		events, err := s.Events(context.Background(), 0, 1000)
		require.NoError(t, err)
		require.Len(t, events, n, "documents and events go together")
		return n
	}
	require.Equal(t, n, count(s), "the one that failed left nothing")
	require.True(t, fault.Is(put(s, "again", strings.Repeat("x", 20000)), fault.Exhausted))
	require.NoError(t, s.Update(context.Background(), func(tx *store.Tx) error {
		tx.Emit(event.Event{Type: "a", ID: "b"})
		for i := range 3 {
			if err := things.Delete(tx, fmt.Sprint(i)); err != nil {
				return err
			}
		}
		return nil
	}), "room can be made")
	require.NoError(t, put(s, "again", strings.Repeat("y", 20000)))
	require.NoError(t, s.Close())
	s = newStore(t, openFile(t, path, nil))
	require.Equal(t, strings.Repeat("y", 20000), get(t, s, "again"))
}

// TestOperator: the documents can be asked with SQL.
func TestOperator(t *testing.T) {
	t.Parallel()
	path := made(t)
	text, err := sqlite.QueryText(path, "SELECT body->>'text' FROM doc WHERE kind='thing' AND id='7'")
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("7", 300), text)
	text, err = sqlite.QueryText(path, "SELECT count(*) || (body->>'type') FROM event")
	require.NoError(t, err)
	require.Equal(t, "50put", text)
}
