package sqlite_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/sqlite"
)

// onSmallDisk runs f in a test process of its own, in a mount namespace where it has a tmpfs of a size.
func onSmallDisk(t *testing.T, size string, f func(small string)) {
	t.Helper()
	if os.Getenv("SQLITE_TEST_SMALL_DISK") != t.Name() {
		again := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		again.Env = append(os.Environ(), "SQLITE_TEST_SMALL_DISK="+t.Name())
		again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}}
		out, err := again.CombinedOutput()
		if len(out) == 0 && err != nil {
			t.Skip("this machine allows no mount namespace: ", err)
		}
		require.NoError(t, err, "%s", out)
		if strings.Contains(string(out), "--- SKIP") {
			t.Skipf("%s", out)
		}
		require.Contains(t, string(out), "--- PASS: "+t.Name())
		return
	}
	small := t.TempDir()
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size="+size); err != nil {
		t.Skip("no disk can be mounted here: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(small, 0) })
	f(small)
}

func TestBackupToFullDisk(t *testing.T) {
	t.Parallel()
	onSmallDisk(t, "128k", func(small string) {
		path := made(t)
		d := openFile(t, path, nil)
		s := newStore(t, d)
		require.NoError(t, put(s, "large", strings.Repeat("x", 400<<10)))
		to := filepath.Join(small, "backup")
		err := d.Backup(context.Background(), to)
		require.True(t, fault.Is(err, fault.Exhausted), "%v", err)
		require.ErrorContains(t, err, to+" is full")
		left, err := os.ReadDir(small)
		require.NoError(t, err)
		require.Empty(t, left)
		require.NoError(t, put(s, "after", "the store works on"))

		ok := filepath.Join(t.TempDir(), "backup")
		require.NoError(t, d.Backup(context.Background(), ok))
		db := filepath.Join(small, "cloud.db")
		_, err = sqlite.Restore(ok, db, nil)
		require.True(t, fault.Is(err, fault.Exhausted), "%v", err)
		require.ErrorContains(t, err, db)
		require.NoFileExists(t, db)
	})
}

// left copies what a killed process has left of a database in a file, its log included, to a disk, and fills that to the last byte.
func left(t *testing.T, path, disk string) (to string, filler *os.File) {
	t.Helper()
	to = filepath.Join(disk, "cloud.db")
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(path + suffix)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(to+suffix, b, 0o600))
	}
	filler, err := os.Create(filepath.Join(disk, "filler"))
	require.NoError(t, err)
	t.Cleanup(func() { filler.Close() })
	for size := 1 << 20; size > 0; {
		if _, err := filler.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	return to, filler
}

// grown is left of a database whose log makes the file grow by 300 KiB.
func grown(t *testing.T, disk string) (to string, filler *os.File, size int64) {
	t.Helper()
	path := made(t)
	s := newStore(t, openFile(t, path, nil))
	require.NoError(t, put(s, "large", strings.Repeat("x", 300<<10)))
	to, filler = left(t, path, disk)
	st, err := filler.Stat()
	require.NoError(t, err)
	return to, filler, st.Size()
}

// TestOpenOnFullDisk: without a byte of room a log that changes what the file has is moved into it.
func TestOpenOnFullDisk(t *testing.T) {
	t.Parallel()
	onSmallDisk(t, "4m", func(small string) {
		path := made(t)
		s := newStore(t, openFile(t, path, nil))
		require.NoError(t, put(s, "spare", strings.Repeat("x", 100<<10))) // pages for commit ids and events
		require.NoError(t, s.Update(context.Background(), func(tx *store.Tx) error { return things.Delete(tx, "spare") }))
		require.NoError(t, s.Close())
		s = newStore(t, openFile(t, path, nil))
		for range 20 {
			require.NoError(t, put(s, "3", strings.Repeat("3", 300)))
		}
		require.NoError(t, put(s, "4", "the last"))
		to, _ := left(t, path, small)
		d := openFile(t, to, nil)
		s = newStore(t, d)
		require.Equal(t, "the last", get(t, s, "4"))
		require.NoError(t, put(s, "5", "there is room where the log was"))
	})
}

// TestOpenOnFullDiskNeeds: a log that makes the file grow needs room, and the error says how much; with that it opens.
func TestOpenOnFullDiskNeeds(t *testing.T) {
	t.Parallel()
	onSmallDisk(t, "4m", func(small string) {
		to, filler, size := grown(t, small)
		before := snapshot(t, small)
		_, err := sqlite.Open(to, nil)
		require.True(t, fault.Is(err, fault.Exhausted), "%v", err)
		require.ErrorContains(t, err, to+"-wal")
		need := regexp.MustCompile(`needs (\d+) bytes more`).FindStringSubmatch(err.Error())
		require.NotNil(t, need, "%v", err)
		bytes, err := strconv.ParseInt(need[1], 10, 64)
		require.NoError(t, err)
		require.GreaterOrEqual(t, bytes, int64(300<<10))
		require.Equal(t, before[to+"-wal"], snapshot(t, small)[to+"-wal"], "the log is whole")

		require.NoError(t, filler.Truncate(size-bytes))
		s := newStore(t, openFile(t, to, nil))
		require.Len(t, get(t, s, "large"), 300<<10)
		require.NoError(t, put(s, "after", "the store works on"))
	})
}

// TestReadOnFullDisk: where the index of the log has room, a database opens whose log cannot be moved, and is read; writes say what is the matter.
func TestReadOnFullDisk(t *testing.T) {
	t.Parallel()
	onSmallDisk(t, "4m", func(small string) {
		to, filler, size := grown(t, small)
		require.NoError(t, filler.Truncate(size-36<<10)) // for the index, and the lock's page
		s := newStore(t, openFile(t, to, nil))
		require.Len(t, get(t, s, "large"), 300<<10)
		err := put(s, "more", strings.Repeat("x", 10<<10))
		require.ErrorIs(t, err, store.ErrFull)
		require.Len(t, get(t, s, "large"), 300<<10)
		require.NoError(t, filler.Truncate(0))
		require.NoError(t, put(s, "more", "there is room"))
	})
}

// TestLogIsCut: room that the log took in earlier rounds is given to the file when it cannot grow otherwise.
func TestLogIsCut(t *testing.T) {
	t.Parallel()
	onSmallDisk(t, "16m", func(small string) {
		path := made(t)
		s := newStore(t, openFile(t, path, nil))
		for i := range 18 { // it grows until it is moved, and then begins anew
			require.NoError(t, put(s, "large", strings.Repeat(string(rune('a'+i)), 500<<10)))
		}
		require.NoError(t, put(s, "new", strings.Repeat("x", 3<<20)))
		log, err := os.Stat(path + "-wal")
		require.NoError(t, err)
		to, _ := left(t, path, small)
		s = newStore(t, openFile(t, to, nil))
		require.Len(t, get(t, s, "new"), 3<<20)
		cut, err := os.Stat(to + "-wal")
		require.NoError(t, err)
		require.Less(t, cut.Size(), log.Size())
	})
}
