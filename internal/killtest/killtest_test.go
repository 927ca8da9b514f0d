package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/internal/simbackend"
)

func TestParse(t *testing.T) {
	t.Parallel()
	c, err := parse(nil)
	require.NoError(t, err)
	require.NotZero(t, c.seed)
	require.Equal(t, "kill", c.modes[0].name)
	c.seed, c.modes = 0, nil
	require.Equal(t, config{kills: 200, clients: 16}, c)
	c, err = parse([]string{"-mode", "clock,full"})
	require.NoError(t, err)
	require.Equal(t, []string{"clock", "full"}, []string{c.modes[0].name, c.modes[1].name})
	c, err = parse([]string{"-mode", "all"})
	require.NoError(t, err)
	require.Len(t, c.modes, len(modes()))
	c, err = parse([]string{"-kills", "3", "-clients", "2", "-for", "1m", "-seed", "9", "-dir", "/d"})
	require.NoError(t, err)
	c.modes = nil
	require.Equal(t, config{kills: 3, clients: 2, limit: time.Minute, seed: 9, dir: "/d"}, c)
	_, err = parse([]string{"-mode", "kill,fire", "-kills", "0", "-clients", "0", "-for", "-1s", "extra"})
	for _, word := range []string{"-mode fire", "-kills 0", "-clients 0", "-for -1s", "extra"} {
		require.ErrorContains(t, err, word)
	}
	_, err = parse([]string{"-boots", "369"})
	require.ErrorContains(t, err, "-boots 369: use 1 to 368 with 16 clients")
	_, err = parse([]string{"-boots", "368"})
	require.NoError(t, err)
}

func TestLost(t *testing.T) {
	t.Parallel()
	want := map[string]object{
		"a": {kind: "server", id: "a", name: "one", state: "ACTIVE"},
		"b": {kind: "server", id: "b", name: "two"},
		"c": {kind: "image", id: "c", name: "three", state: "active", sum: "x"},
	}
	require.Empty(t, lost(want, map[string]object{"a": want["a"], "c": want["c"]}))
	require.Equal(t, []string{
		"server a (one) must be ACTIVE and is gone",
		"server b (two) must be gone and is SHUTOFF",
		`image c (three) has data with checksum "y", uploaded was "x"`,
	}, lost(want, map[string]object{"b": {state: "SHUTOFF"}, "c": {state: "active", sum: "y"}}))
}

func TestDoubled(t *testing.T) {
	t.Parallel()
	want := map[string]object{
		"a": {kind: "server", id: "a", name: "one", state: "ACTIVE", actions: "create 1, reboot 1"},
		"b": {kind: "server", id: "b", name: "two", actions: "create 1, delete 1"},
		"c": {kind: "port", id: "c", name: "one", state: "there"},
	}
	require.Empty(t, doubled(want, want), "a port may be called like a server")
	got := map[string]object{
		"a": {kind: "server", id: "a", name: "one", state: "ACTIVE", actions: "create 1, reboot 2"},
		"d": {kind: "server", id: "d", name: "one", state: "ACTIVE"},
	}
	require.Equal(t, []string{
		"server a (one) has the actions create 1, reboot 2; acknowledged were create 1, reboot 1",
		"server d (one) was made, and no client was told",
		"server one exists twice: a and d",
	}, doubled(want, got))
}

func TestMisfit(t *testing.T) {
	t.Parallel()
	s := &compute.Server{Host: "h", Generation: 2, VMState: compute.Active}
	g := computedriver.GuestState{Mark: computedriver.Mark{Generation: 2}, Power: computedriver.Running}
	require.Empty(t, misfit(g, "h", s))
	require.Contains(t, misfit(g, "h", nil), "does not exist")
	require.Contains(t, misfit(g, "other", s), "its server is on h")
	g.Power = computedriver.Torn
	require.Contains(t, misfit(g, "h", s), "torn")
	g.Power = computedriver.Running
	s.VMState = compute.Stopped
	require.Contains(t, misfit(g, "h", s), "its server stopped")
	g.Mark.Generation = 1
	require.Contains(t, misfit(g, "h", s), "generation 1")
}

func TestRecord(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	r := newRecord(&out)
	r.expect(object{kind: "server", id: "a", state: "ACTIVE"})
	r.acted("a", "stop")
	r.acted("a", "create")
	r.acted("a", "stop")
	require.Equal(t, map[string]object{"a": {kind: "server", id: "a", state: "ACTIVE", actions: "create 1, stop 2"}}, r.expected())
	r.count("kills")
	r.checked("guests", 4, []string{"guest x"})
	require.Equal(t, 1, r.problemCount())
	require.Equal(t, "PROBLEM guests: guest x\n", out.String())
	out.Reset()
	r.print(&out, 2*time.Second)
	require.Equal(t, "\nDONE   TIMES\nkills  1\n\nCHECKED  LOOKED AT  WRONG\nguests   4          1\n\n1 problems in 2 s\n", out.String())
}

// TestCall: a request whose answer is lost is sent again with the same key; an answer of 500 is a problem.
func TestCall(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var keys, paths []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		paths = append(paths, r.URL.Path)
		switch len(keys) {
		case 1:
			panic(http.ErrAbortHandler) // the lab dies
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 3:
			w.Header().Set("Idempotent-Replayed", "true")
			io.WriteString(w, "done")
		default:
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer s.Close()
	var out strings.Builder
	c := &client{record: newRecord(&out), urls: []string{s.URL, s.URL + "/other"}, at: &atomic.Int64{}, http: s.Client()}
	a, err := c.call(t.Context(), "POST", "/x", "key", nil)
	require.NoError(t, err)
	require.Equal(t, "200 done", a.String())
	require.Equal(t, []string{"key", "key", "key"}, keys)
	require.Equal(t, []string{"/x", "/other/x", "/x"}, paths, "it tries the next replica")
	require.Equal(t, map[string]int{"answers that say later: 503": 1, "requests sent again": 1, "answers replayed: the effect was there, its answer lost": 1}, c.counts)
	require.Zero(t, c.problemCount())
	_, err = c.call(t.Context(), "POST", "/x", "key", nil)
	require.NoError(t, err)
	require.Equal(t, 1, c.problemCount())

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.call(ctx, "GET", "/x", "", nil)
	require.ErrorIs(t, err, context.Canceled)
}

func TestFull(t *testing.T) {
	t.Parallel()
	require.True(t, reply{status: 507, body: []byte("the cloud's disk is full, and nothing was changed")}.later())
	require.True(t, reply{status: 413, body: []byte("the disk that holds x is full: free some space")}.later())
	require.False(t, reply{status: 413, body: []byte("too large")}.later())
	require.False(t, reply{status: 200, body: []byte("my name is full")}.later())
}

func TestMisdone(t *testing.T) {
	t.Parallel()
	there := func(id string) bool { return id != "gone" }
	for name, c := range map[string]struct {
		id      string
		owed, d simbackend.Tally
		want    string
		again   int
	}{
		"right":          {"a", simbackend.Tally{Starts: 2, Stops: 1, Reboots: 1}, simbackend.Tally{Placements: 1, Starts: 2, Stops: 1, Reboots: 1}, "", 0},
		"twice":          {"a", simbackend.Tally{Starts: 1}, simbackend.Tally{Placements: 1, Starts: 2}, "started 2 times", 0},
		"elsewhere":      {"a", simbackend.Tally{Starts: 1}, simbackend.Tally{Placements: 2, Starts: 2}, "", 0},
		"lost":           {"a", simbackend.Tally{Starts: 1}, simbackend.Tally{}, "started 0", 0},
		"deleted":        {"gone", simbackend.Tally{Starts: 1}, simbackend.Tally{}, "", 0},
		"deleted, twice": {"gone", simbackend.Tally{Starts: 1}, simbackend.Tally{Placements: 1, Starts: 2}, "started 2 times", 0},
		"asked again":    {"a", simbackend.Tally{Starts: 1, Reboots: 1}, simbackend.Tally{Placements: 1, Starts: 1, Reboots: 3}, "", 2},
		"not asked":      {"a", simbackend.Tally{Starts: 1}, simbackend.Tally{Placements: 1, Starts: 1, Reboots: 1}, "nobody had asked", 1},
	} {
		out, again := misdone(map[string]simbackend.Tally{c.id: c.owed}, map[string]simbackend.Tally{c.id: c.d}, there)
		require.Equal(t, c.again, again, name)
		if c.want == "" {
			require.Empty(t, out, name)
			continue
		}
		require.Len(t, out, 1, name)
		require.Contains(t, out[0], c.want, name)
	}
}

func TestFreeAddress(t *testing.T) {
	t.Parallel()
	a, err := freeAddress()
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(a)
	require.NoError(t, err)
	require.Less(t, port, "30000")
	require.Len(t, port, 5)
}

// TestWatch: a control plane that does not come back is told from one that is down on purpose, by what it does and what it wrote last.
func TestWatch(t *testing.T) {
	t.Parallel()
	answers := func(status int) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/readyz" {
				w.WriteHeader(status)
				io.WriteString(w, "its state")
			}
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	plane := func(url string, wanted bool) *world {
		p, err := newProcess(t.TempDir(), "lab", "lab")
		require.NoError(t, err)
		t.Cleanup(func() { p.log.Close() })
		_, err = p.log.WriteString("first\n" + strings.Repeat("middle\n", 2*logLines) + "cannot open the store\n")
		require.NoError(t, err)
		p.status, p.wanted = "exit status 1", wanted
		return &world{planes: []*process{p}, urls: []string{url}}
	}
	for url, why := range map[string]string{gone.URL: "does not answer", answers(503): "answers 503 its state"} {
		err := plane(url, true).watch(t.Context(), 0)
		for _, want := range []string{"lab should be up and was not ready for ", "ended by itself (exit status 1)", why, "lab.log:\nmiddle\n", "\ncannot open the store"} {
			require.ErrorContains(t, err, want)
		}
		require.NotContains(t, err.Error(), "first")
	}
	for _, w := range []*world{plane(gone.URL, false), plane(answers(200), true)} {
		ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond) // two rounds and more
		require.NoError(t, w.watch(ctx, 0))
		cancel()
	}
}
