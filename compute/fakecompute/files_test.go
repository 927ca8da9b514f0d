package fakecompute_test

import (
	"bufio"
	"bytes"
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

// A damaged document is named, is not touched, and stops only what is about it.
func TestDamagedGuest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "documents.log")
	g, other := guest("g"), guest("other")
	h := connect(t, fakecompute.Options{Dir: dir})
	require.NoError(t, h.Define(t.Context(), other))
	require.NoError(t, h.Define(t.Context(), g))
	whole, err := os.ReadFile(file)
	require.NoError(t, err)

	for _, bad := range []string{"{", `{"power":"of`, "null", `{"turn":"x"}`} {
		require.NoError(t, os.WriteFile(file, append(whole, "guests g "+bad+"\n"...), 0o600))
		h := connect(t, fakecompute.Options{Dir: dir})
		_, err := h.Guests(t.Context())
		for what, err := range map[string]error{
			"guests": err, "define": h.Define(t.Context(), g), "start": h.Start(t.Context(), g.Mark.Ref()), "undefine": h.Undefine(t.Context(), g.Mark.Ref()),
		} {
			if what != "guests" && what != "undefine" && fault.Is(err, fault.Stale) {
				continue // the undefine left its tombstone, which is asked first
			}
			require.Equal(t, fault.Corrupt.String(), fault.CodeOf(err).String(), "%s with %q: %v", what, bad, err)
			require.ErrorContains(t, err, "guests g in "+file)
		}
		require.NoError(t, h.Start(t.Context(), other.Mark.Ref()), "another guest")
		left, err := os.ReadFile(file)
		require.NoError(t, err)
		require.True(t, bytes.HasPrefix(left, append(whole, "guests g "+bad+"\n"...)))
	}
	require.NoError(t, os.WriteFile(file, whole, 0o600)) // restored from a backup
	all, err := connect(t, fakecompute.Options{Dir: dir}).Guests(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 2)
}

// Guests that an earlier version has kept as a file each are still there.
func TestGuestsOfAnEarlierVersion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"host/host.json":     `{"format":1,"key":"host","doc":{"id":"5d1e2f30-4f2b-4a1c-9d3e-000000000007"}}`,
		"guests/g.json":      `{"format":1,"key":"g","doc":{"mark":{"Cloud":"cloud","ID":"g","Generation":1},"name":"n","power":"off","uses":{"guests":1}}}`,
		"tombstones/h.json":  `{"format":1,"key":"h","doc":3}`,
		"definitions/g.json": `{"format":1,"key":"g","doc":{"mark":{"Cloud":"cloud","ID":"g","Generation":1},"name":"n","hostname":"h","vcpus":1,"memory_mib":64,"root_gib":1,"config_drive":{}}}`,
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text+"\n"), 0o600))
	}
	h := connect(t, fakecompute.Options{Dir: dir})
	host, err := h.Host(t.Context())
	require.NoError(t, err)
	require.Equal(t, "5d1e2f30-4f2b-4a1c-9d3e-000000000007", host.ID)
	all, err := h.Guests(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.NoError(t, h.Start(t.Context(), all[0].Mark.Ref()))
	buried := guest("h")
	buried.Mark.Generation = 3
	require.Equal(t, fault.Stale, fault.CodeOf(h.Define(t.Context(), buried)))
}

// FuzzGuestDocument: whatever is kept of a guest, the driver answers with one or with an error that names it.
func FuzzGuestDocument(f *testing.F) {
	f.Add([]byte(`{"mark":{"Cloud":"cloud","ID":"g","Generation":1},"name":"n","power":"off","uses":{"guests":1}}`))
	f.Add([]byte(`{"power":"running","events":[{"at":"2026-01-02T03:04:05Z","what":"boot"}]}`))
	f.Add([]byte("null"))
	f.Add([]byte("{"))
	f.Add([]byte(nil)) // removed: no guest
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.IndexByte(data, '\n') >= 0 || bytes.IndexByte(data, 0) >= 0 {
			return // statedir's own fuzz test looks at these
		}
		dir := t.TempDir()
		file := filepath.Join(dir, "documents.log")
		require.NoError(t, os.WriteFile(file, []byte("nubecula documents 2\nguests g "+string(data)+"\n"), 0o600))
		h := connect(t, fakecompute.Options{Dir: dir})
		all, err := h.Guests(t.Context())
		if err != nil {
			require.Equal(t, fault.Corrupt, fault.CodeOf(err))
			require.ErrorContains(t, err, "guests g in "+file)
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
