package fakecompute_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/compute/fakecompute"
	"github.com/nubecula/cloud/fault"
)

func TestDirIsMadeAtFirstUse(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	h := connect(t, fakecompute.Options{ID: "5d1e2f30-4f2b-4a1c-9d3e-000000000001", Dir: dir})
	require.NoDirExists(t, dir)
	_, err := h.Host(t.Context())
	require.NoError(t, err)
	require.NoDirExists(t, dir)
	require.NoError(t, h.Define(t.Context(), guest("g")))
	require.DirExists(t, dir)
}

const childDir = "NUBECULA_TEST_FAKECOMPUTE_DIR"

// TestKill kills a process at an arbitrary point of its work: what it was told to have done is there.
func TestKill(t *testing.T) {
	if dir := os.Getenv(childDir); dir != "" {
		child(t, dir)
		return
	}
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	said := map[string]bool{}
	lines := bufio.NewScanner(out)
	for len(said) < 50 && lines.Scan() {
		said[lines.Text()] = true
	}
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	require.Len(t, said, 50)

	h := connect(t, fakecompute.Options{Dir: dir})
	all, err := h.Guests(t.Context())
	require.NoError(t, err, "no half-written file")
	require.GreaterOrEqual(t, len(all), len(said))
	running := map[string]bool{}
	for _, s := range all {
		running[s.Mark.ID] = s.Power == computedriver.Running
		require.NoError(t, h.Define(t.Context(), guest(s.Mark.ID)))
		require.NoError(t, h.Start(t.Context(), s.Mark.Ref()), "the lock went with the process")
	}
	for id := range said {
		require.True(t, running[id], "guest %s was said to run", id)
	}
}

func child(t *testing.T, dir string) {
	h := connect(t, fakecompute.Options{Dir: dir})
	for i := 0; ; i++ {
		g := guest(fmt.Sprintf("guest-%d", i))
		require.NoError(t, h.Define(t.Context(), g))
		require.NoError(t, h.Start(t.Context(), g.Mark.Ref()))
		fmt.Println(g.Mark.ID)
	}
}

// A damaged file is named, is not touched, and stops only what is about it.
func TestCorruptFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := connect(t, fakecompute.Options{Dir: dir})
	g, other := guest("g"), guest("other")
	require.NoError(t, h.Define(t.Context(), g))
	require.NoError(t, h.Define(t.Context(), other))
	file := filepath.Join(dir, "guests", "g.json")
	whole, err := os.ReadFile(file)
	require.NoError(t, err)

	for _, bad := range []string{"{", string(whole[:len(whole)/2]), `{"format":2,"key":"g","doc":{}}`, `{"format":1,"key":"other","doc":{}}`, `{"format":1,"key":"g"}`} {
		require.NoError(t, os.WriteFile(file, []byte(bad), 0o600))
		_, err := h.Guests(t.Context())
		for what, err := range map[string]error{
			"guests": err, "define": h.Define(t.Context(), g), "start": h.Start(t.Context(), g.Mark.Ref()), "undefine": h.Undefine(t.Context(), g.Mark.Ref()),
		} {
			if what != "guests" && what != "undefine" && fault.Is(err, fault.Stale) {
				continue // the undefine left its tombstone, which is asked first
			}
			require.Equal(t, fault.Corrupt.String(), fault.CodeOf(err).String(), "%s with %q: %v", what, bad, err)
			require.ErrorContains(t, err, file)
		}
		left, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, bad, string(left))
		require.NoError(t, h.Start(t.Context(), other.Mark.Ref()), "another guest")
	}
	require.NoError(t, os.WriteFile(file, whole, 0o600)) // restored from a backup
	all, err := h.Guests(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 2)
}

// FuzzGuestFile: whatever is in the file, the driver answers with a guest or with an error that names the file.
func FuzzGuestFile(f *testing.F) {
	f.Add([]byte(`{"format":1,"key":"g","doc":{"mark":{"Cloud":"cloud","ID":"g","Generation":1},"name":"n","power":"off","uses":{"guests":1}}}`))
	f.Add([]byte(`{"format":1,"key":"g","doc":{"power":"running","events":[{"at":"2026-01-02T03:04:05Z","what":"boot"}]}}`))
	f.Add([]byte("null"))
	f.Add([]byte("{"))
	f.Add([]byte(nil)) // a power cut left the name alone: no guest
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		file := filepath.Join(dir, "guests", "g.json")
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, data, 0o600))
		h := connect(t, fakecompute.Options{Dir: dir})
		all, err := h.Guests(t.Context())
		if err != nil {
			require.Equal(t, fault.Corrupt, fault.CodeOf(err))
			require.ErrorContains(t, err, file)
			left, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, data, left)
			return
		}
		if len(data) == 0 {
			require.Empty(t, all)
			return
		}
		require.Len(t, all, 1)
		r := all[0].Mark.Ref()
		r.ID = "g"
		_ = h.Start(t.Context(), r)
		_, _ = h.ConsoleOutput(t.Context(), r, 1000)
		_ = h.Stop(t.Context(), r, 0)
	})
}
