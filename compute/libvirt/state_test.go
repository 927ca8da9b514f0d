//go:build linux

package libvirt

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/id"
)

func testState(t *testing.T) state {
	s, err := openState(filepath.Join(t.TempDir(), "state"))
	require.NoError(t, err)
	return s
}

func TestStateDir(t *testing.T) {
	t.Parallel()
	s := testState(t)
	for path, mode := range map[string]os.FileMode{"": 0o755, "guests": 0o711, "base": 0o711, "tombstones": 0o700} {
		i, err := os.Stat(s.path(path))
		require.NoError(t, err)
		require.Equal(t, mode, i.Mode().Perm(), path)
	}
	require.NoError(t, os.Mkdir(s.path("trash", "left"), 0o700))
	require.NoError(t, os.Chmod(s.dir, 0o750))
	again, err := openState(s.dir)
	require.NoError(t, err)
	require.NoFileExists(t, s.path("trash", "left"))
	i, err := os.Stat(again.dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o750), i.Mode().Perm(), "an existing directory keeps its mode")
	require.Empty(t, blocked("/proc/self"))
	require.True(t, strings.HasPrefix(s.dir, blocked(s.dir)) && blocked(s.dir) != "", "t.TempDir lets nobody through")

	_, err = openState("/dev/null/state")
	require.True(t, fault.Is(err, fault.Invalid), "%v", err)
}

func TestMarkFiles(t *testing.T) {
	t.Parallel()
	s := testState(t)
	r := record{Cloud: "c", ID: testID, Generation: 3, Name: "n"}
	_, ok, err := s.mark(testID)
	require.NoError(t, err)
	require.False(t, ok)
	require.NoError(t, os.Mkdir(s.young(testID), 0o711), "a make that broke off")
	all, err := s.marks()
	require.NoError(t, err)
	require.Empty(t, all)
	require.NoError(t, s.make(r))
	all, err = s.marks()
	require.NoError(t, err)
	require.Equal(t, map[string]record{testID: r}, all)

	damaged := id.Random()
	require.NoError(t, os.Mkdir(s.guest(damaged), 0o711))
	require.NoError(t, os.WriteFile(filepath.Join(s.guest(damaged), "mark.json"), []byte("{"), 0o600))
	_, _, err = s.mark(damaged)
	require.True(t, fault.Is(err, fault.Corrupt), "%v", err)
	all, err = s.marks()
	require.NoError(t, err)
	require.Equal(t, map[string]record{testID: r, damaged: {}}, all, "one damaged mark must not hide the others")

	require.NoError(t, s.remove(testID))
	require.NoError(t, s.remove(testID))
	_, ok, err = s.mark(testID)
	require.NoError(t, err)
	require.False(t, ok)
	left, err := os.ReadDir(s.path("trash"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestTombstones(t *testing.T) {
	t.Parallel()
	s := testState(t)
	for _, c := range []struct{ bury, want int64 }{{0, 0}, {3, 3}, {2, 3}, {3, 3}, {1 << 40, 1 << 40}} {
		if c.bury > 0 {
			require.NoError(t, s.bury(testID, c.bury))
		}
		n, err := s.tombstone(testID)
		require.NoError(t, err)
		require.Equal(t, c.want, n)
	}
	require.NoError(t, os.WriteFile(s.path("tombstones", testID), []byte("\n"), 0o600))
	_, err := s.tombstone(testID)
	require.True(t, fault.Is(err, fault.Corrupt), "a damaged tombstone must not pass for none: %v", err)
	require.Error(t, s.bury(testID, 5))
}

func TestLock(t *testing.T) {
	t.Parallel()
	s := testState(t)
	unlock, err := s.lock(t.Context(), "a")
	require.NoError(t, err)
	other, err := s.lock(t.Context(), "b")
	require.NoError(t, err)
	other()

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.lock(ctx, "a")
	require.True(t, fault.Is(err, fault.Canceled), "%v", err)
	unlock()

	var wg sync.WaitGroup
	var inside, total atomic.Int32
	for range 50 {
		wg.Go(func() {
			unlock, err := s.lock(t.Context(), "a")
			if err != nil {
				t.Error(err)
				return
			}
			if inside.Add(1) != 1 {
				t.Error("two have the lock")
			}
			total.Add(1)
			inside.Add(-1)
			unlock()
		})
	}
	wg.Wait()
	require.EqualValues(t, 50, total.Load())
	left, err := os.ReadDir(s.path("locks"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestLockOfAnotherProcess: util-linux's flock holds it until it dies.
func TestLockOfAnotherProcess(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("flock"); err != nil {
		t.Skip("flock (package util-linux) is not installed")
	}
	s := testState(t)
	other := exec.Command("flock", "--no-fork", s.path("locks", "a"), "sh", "-c", "echo locked; exec sleep 1000")
	out, err := other.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, other.Start())
	_, err = io.ReadFull(out, make([]byte, len("locked")))
	require.NoError(t, err)
	got := make(chan error)
	go func() {
		_, err := s.lock(t.Context(), "a")
		got <- err
	}()
	select {
	case <-got:
		require.Fail(t, "two processes have the lock")
	default:
	}
	_ = other.Process.Kill()
	_ = other.Wait()
	require.NoError(t, <-got)
}

func testBase(data []byte) (*computedriver.Base, *atomic.Int32) {
	sum := sha512.Sum512(data)
	opened := &atomic.Int32{}
	return &computedriver.Base{
		ID: id.Random(), Format: "raw", SizeBytes: int64(len(data)), SHA512: strings.ToUpper(hex.EncodeToString(sum[:])),
		Open: func(context.Context) (io.ReadCloser, error) {
			opened.Add(1)
			return io.NopCloser(bytes.NewReader(data)), nil
		},
	}, opened
}

func TestBase(t *testing.T) {
	t.Parallel()
	s := testState(t)
	data := bytes.Repeat([]byte("image"), 100_000)
	b, opened := testBase(data)
	require.NoError(t, os.WriteFile(s.path("base", "."+b.ID+".new"), []byte("left by a crash"), 0o600))
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			path, err := s.base(t.Context(), b)
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(data, got) {
				t.Error("not the image", err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, opened.Load(), "concurrent calls share one copy")
	i, err := os.Stat(s.path("base", b.ID))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o444), i.Mode().Perm())

	local, opened := testBase(data)
	local.Path = filepath.Join(t.TempDir(), "local")
	require.NoError(t, os.WriteFile(local.Path, data, 0o600))
	_, err = s.base(t.Context(), local)
	require.NoError(t, err)
	require.Zero(t, opened.Load())
	gone, opened := testBase(data)
	gone.Path = local.Path + "-gone"
	_, err = s.base(t.Context(), gone)
	require.NoError(t, err)
	require.EqualValues(t, 1, opened.Load(), "without the file the image is streamed")

	for _, name := range []string{"", "../x", ".hidden", strings.Repeat("x", 200)} {
		bad, _ := testBase(data)
		bad.ID = name
		_, err := s.base(t.Context(), bad)
		require.True(t, fault.Is(err, fault.Invalid), "%q: %v", name, err)
	}
}

func TestBaseRefused(t *testing.T) {
	t.Parallel()
	s := testState(t)
	for name, change := range map[string]func(b *computedriver.Base){
		"sum":  func(b *computedriver.Base) { b.SHA512 = strings.Repeat("0", 128) },
		"size": func(b *computedriver.Base) { b.SizeBytes++ },
	} {
		b, _ := testBase([]byte("image"))
		change(b)
		_, err := s.base(t.Context(), b)
		require.True(t, fault.Is(err, fault.Corrupt), "%s: %v", name, err)
		require.ErrorContains(t, err, b.ID)
	}
	b, _ := testBase([]byte("image"))
	broken := errors.New("broken")
	b.Open = func(context.Context) (io.ReadCloser, error) { return nil, broken }
	_, err := s.base(t.Context(), b)
	require.ErrorIs(t, err, broken)
	left, err := os.ReadDir(s.path("base"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestRootDisk(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("qemu-img (package qemu-utils) is not installed")
	}
	o, err := Options{StateDir: "/unused"}.withDefaults()
	require.NoError(t, err)
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	img := func(args ...string) {
		_, err := o.qemuImg(t.Context(), args...)
		require.NoError(t, err)
	}
	img("create", "-q", "-f", "qcow2", path("base.qcow2"), "2G")
	img("create", "-q", "-f", "raw", path("base.raw"), "3M")
	img("create", "-q", "-f", "qcow2", "-b", path("base.raw"), "-F", "raw", path("overlay.qcow2"))
	for _, c := range []struct {
		base, format string
		gib, want    int64
		code         fault.Code
	}{
		{"", "", 1, gib, 0},
		{"base.qcow2", "qcow2", 0, 2 * gib, 0},
		{"base.qcow2", "qcow2", 5, 5 * gib, 0},
		{"base.qcow2", "qcow2", 1, 0, fault.Invalid},
		{"base.raw", "raw", 0, 3 << 20, 0},
		{"base.raw", "iso", 1, gib, 0},
		{"base.raw", "vmdk", 1, 0, fault.Unsupported},
		{"base.raw", "qcow2", 1, 0, fault.Internal}, // not what it says
		{"overlay.qcow2", "qcow2", 1, 0, fault.Invalid},
	} {
		d, base, root := computedriver.Disk{SizeGiB: c.gib}, "", path(id.Random())
		if c.base != "" {
			d.Base, base = &computedriver.Base{ID: "img", Format: c.format}, path(c.base)
		}
		err := o.makeRoot(t.Context(), d, base, root)
		if c.want == 0 {
			require.True(t, fault.Is(err, c.code), "%+v: %v", c, err)
			require.NoFileExists(t, root)
			continue
		}
		require.NoError(t, err, "%+v", c)
		size, err := o.inspect(t.Context(), &computedriver.Base{}, root, "qcow2")
		if c.base != "" {
			require.ErrorContains(t, err, path(c.base), "it is an overlay")
			out, err := o.qemuImg(t.Context(), "info", "-U", root)
			require.NoError(t, err)
			require.Contains(t, string(out), "("+strconv.Itoa(int(c.want))+" bytes)")
		} else {
			require.NoError(t, err)
			require.Equal(t, c.want, size)
		}
		before, err := os.Stat(root)
		require.NoError(t, err)
		require.NoError(t, o.makeRoot(t.Context(), d, base, root), "a disk that is there stays")
		after, err := os.Stat(root)
		require.NoError(t, err)
		require.True(t, os.SameFile(before, after))
	}
	cutOff, err := os.Create(path("locked.new")) // a killed process left a qemu-img behind, which is at it still
	require.NoError(t, err)
	defer cutOff.Close()
	require.NoError(t, unix.FcntlFlock(cutOff.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}))
	require.NoError(t, o.makeRoot(t.Context(), computedriver.Disk{SizeGiB: 1}, "", path("locked")))
	require.FileExists(t, path("locked"))
	left, err := filepath.Glob(path("*.new"))
	require.NoError(t, err)
	require.Empty(t, left)

	o.QemuImg = "no-such-program"
	err = o.makeRoot(t.Context(), computedriver.Disk{SizeGiB: 1}, "", path("none"))
	require.True(t, fault.Is(err, fault.Unsupported), "%v", err)
}

func TestTail(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "console.log")
	want := func(max int, text string) {
		t.Helper()
		got, err := tail(log, max)
		require.NoError(t, err)
		require.Equal(t, text, string(got))
	}
	want(10, "")
	require.NoError(t, os.WriteFile(log, []byte("newest"), 0o600))
	want(0, "")
	want(3, "est")
	want(100, "newest")
	require.NoError(t, os.WriteFile(log+".0", []byte("older-"), 0o600))
	require.NoError(t, os.WriteFile(log+".1", []byte("oldest-"), 0o600))
	want(8, "r-newest")
	want(100, "oldest-older-newest")
	require.NoError(t, os.Remove(log))
	want(8, "t-older-")
}

func TestEnded(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(context.DeadlineExceeded) // as clock.WithTimeout does
	require.Equal(t, fault.Timeout, fault.CodeOf(ended(ctx)))
	late, stop := context.WithTimeout(t.Context(), -time.Second)
	defer stop()
	require.Equal(t, fault.Timeout, fault.CodeOf(ended(late)))
	gone, stop := context.WithCancel(t.Context())
	stop()
	require.Equal(t, fault.Canceled, fault.CodeOf(ended(gone)))
}
