package fileimage

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/image/imagedriver"
)

func newStore(t *testing.T) *Store {
	t.Helper()
	s, err := New(filepath.Join(t.TempDir(), "images"))
	require.NoError(t, err)
	return s
}

func names(t *testing.T, s *Store) []string {
	t.Helper()
	entries, err := os.ReadDir(s.dir)
	require.NoError(t, err)
	all := []string{}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func put(t *testing.T, s *Store, id, data string) {
	t.Helper()
	_, err := s.Put(t.Context(), id, strings.NewReader(data))
	require.NoError(t, err)
}

func TestOneFileForEachImage(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	require.Empty(t, names(t, s), "New leaves nothing")
	put(t, s, "a", "one")
	put(t, s, "b.c", "two")
	require.Equal(t, []string{"a.data", "b.c.data"}, names(t, s))
	info, err := os.Stat(filepath.Join(s.dir, "a.data"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o644), info.Mode().Perm(), "a hypervisor must be able to read it")

	_, err = s.Put(t.Context(), "c", io.MultiReader(strings.NewReader("x"), failing{}))
	require.ErrorIs(t, err, io.ErrNoProgress)
	require.Equal(t, []string{"a.data", "b.c.data"}, names(t, s), "a failed put cleans up after itself")
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrNoProgress }

func TestDiskFull(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	put(t, s, "other", "kept")
	room := 1 << 20
	s.write = func(f *os.File, p []byte) (int, error) {
		if room -= len(p); room < 0 {
			return 0, &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
		}
		return f.Write(p)
	}
	_, err := s.Put(t.Context(), "a", bytes.NewReader(make([]byte, 3<<20)))
	require.Equal(t, fault.Exhausted, fault.CodeOf(err))
	require.ErrorContains(t, err, s.dir)
	require.Equal(t, []string{"other.data"}, names(t, s), "what was written is given back")

	room = 1 << 30
	put(t, s, "a", "there is room again")
}

func TestOptions(t *testing.T) {
	t.Parallel()
	_, err := New("")
	require.Equal(t, fault.Invalid, fault.CodeOf(err))
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = New(file)
	require.ErrorContains(t, err, file)
}

// Deleting an image that is being uploaded ends the upload, and nothing comes back.
func TestDeleteDuringPut(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	r, w := io.Pipe()
	done := make(chan error)
	go func() {
		_, err := s.Put(t.Context(), "a", r)
		done <- err
	}()
	_, err := w.Write([]byte("half"))
	require.NoError(t, err)
	all, err := s.Images(t.Context())
	require.NoError(t, err)
	require.Empty(t, all, "a put under way is not torn")
	require.NoError(t, s.Delete(t.Context(), "a"))
	require.NoError(t, w.Close())
	require.Equal(t, fault.Conflict, fault.CodeOf(<-done))
	require.Empty(t, names(t, s))
}

// A put leaves the part of another alone as long as somebody writes it.
func TestPutSparesLiveParts(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	r, w := io.Pipe()
	done := make(chan error)
	go func() {
		_, err := s.Put(t.Context(), "a", r)
		done <- err
	}()
	_, err := w.Write([]byte("slow"))
	require.NoError(t, err)
	put(t, s, "a", "fast")
	require.NoError(t, w.Close())
	require.NoError(t, <-done)
	got, err := s.Open(t.Context(), "a", 0)
	require.NoError(t, err)
	data, err := io.ReadAll(got)
	require.NoError(t, err)
	require.NoError(t, got.Close())
	require.Equal(t, "slow", string(data), "the last to end wins")
	require.Equal(t, []string{"a.data"}, names(t, s))
}

func TestStrangers(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	put(t, s, "a", "one")
	for _, name := range []string{"README", "lost+found", "a.img", ".data", ".part", "x.part", "a b.data", "a.data.bak", ".a.1.part"} {
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, name), []byte("mine"), 0o600))
	}
	for name, id := range map[string]string{"a.1.part": "beside whole data", "b.1.part": "torn", "b.2.part": "torn again"} {
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, name), []byte(id), 0o600))
	}
	all, err := s.Images(t.Context())
	require.NoError(t, err)
	require.Equal(t, []imagedriver.Data{{ID: "a", SizeBytes: 3}, {ID: "b", SizeBytes: 14, Torn: true}}, all)
	require.NoError(t, s.Delete(t.Context(), "a"))
	require.NoError(t, s.Delete(t.Context(), "b"))
	require.Len(t, names(t, s), 9, "what is not ours stays")
}

const childDir = "NUBECULA_TEST_FILEIMAGE_DIR"

// TestKill kills a process in the middle of a put: what is left is listed as torn, and Put and Delete clean it up.
func TestKill(t *testing.T) {
	if dir := os.Getenv(childDir); dir != "" {
		s, err := New(dir)
		require.NoError(t, err)
		_, err = s.Put(context.Background(), "a", io.MultiReader(strings.NewReader("half"), blocking{}))
		t.Fatal("not reached", err)
	}
	t.Parallel()
	s := newStore(t)
	for _, mend := range []func(){
		func() { require.NoError(t, s.Delete(t.Context(), "a")) },
		func() { put(t, s, "a", "whole"); require.NoError(t, s.Delete(t.Context(), "a")) },
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), childDir+"="+s.dir)
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		defer in.Close()
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		ready := make([]byte, len("ready\n"))
		_, err = io.ReadFull(out, ready)
		require.NoError(t, err)
		require.Equal(t, "ready\n", string(ready))
		all, err := s.Images(t.Context())
		require.NoError(t, err)
		require.Empty(t, all, "the child is at work")
		require.NoError(t, cmd.Process.Kill())
		require.Error(t, cmd.Wait())

		all, err = s.Images(t.Context())
		require.NoError(t, err)
		require.Equal(t, []imagedriver.Data{{ID: "a", SizeBytes: 4, Torn: true}}, all)
		_, err = s.Open(t.Context(), "a", 0)
		require.Equal(t, fault.NotFound, fault.CodeOf(err))
		mend()
		require.Empty(t, names(t, s))
	}
}

// blocking says that the first half was written, and never ends.
type blocking struct{}

func (blocking) Read([]byte) (int, error) {
	fmt.Println("ready")
	// Until the parent ends. Not select {}: without cgo and a time limit the runtime sees that nobody can wake up, and
	// ends the process, at times before the parent has looked.
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(1)
	return 0, nil
}

// FuzzNames: whatever files there are, the list has valid ids, each once, and Delete of all empties it.
func FuzzNames(f *testing.F) {
	f.Add("a.data", "a.1.part")
	f.Add("..data", "a..part")
	f.Add(".x.1.part", "x.y.z.data")
	f.Fuzz(func(t *testing.T, one, two string) {
		s := newStore(t)
		for _, name := range []string{one, two} {
			if name == "" || strings.ContainsAny(name, "/\x00") {
				continue
			}
			_ = os.WriteFile(filepath.Join(s.dir, name), []byte(name), 0o600)
		}
		all, err := s.Images(t.Context())
		require.NoError(t, err)
		seen := map[string]bool{}
		for _, d := range all {
			require.False(t, seen[d.ID], "%q is listed twice", d.ID)
			seen[d.ID] = true
			require.NoError(t, s.Delete(t.Context(), d.ID))
		}
		all, err = s.Images(t.Context())
		require.NoError(t, err)
		require.Empty(t, all)
	})
}
