package ledger_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/statedir"
	"github.com/nubecula/cloud/network/internal/ledger"
	"github.com/nubecula/cloud/network/networkdriver"
)

// The conformance suite runs against the ledger in fakenetwork and hostnet; here is what it cannot see.

func apply(t testing.TB, l *ledger.Ledger, id string) {
	t.Helper()
	changed, err := l.Apply(networkdriver.Topology{NetworkID: id, Revision: 1, Segment: networkdriver.Segment{Type: "geneve", ID: 7}})
	require.NoError(t, err)
	require.True(t, changed)
}

func TestPortInTwoNetworks(t *testing.T) {
	t.Parallel()
	l := ledger.New(statedir.Memory())
	apply(t, l, "n1")
	apply(t, l, "n2")
	at := networkdriver.Bind{Host: "h", Generation: 1}
	s, err := l.Bind(networkdriver.Port{ID: "p", NetworkID: "n1"}, at)
	require.NoError(t, err)
	require.Equal(t, networkdriver.Segment{Type: "geneve", ID: 7}, s)
	_, err = l.Bind(networkdriver.Port{ID: "p", NetworkID: "n2"}, at)
	require.Equal(t, fault.Conflict, fault.CodeOf(err))
	require.NoError(t, l.Remove("n1"))
	_, err = l.Bind(networkdriver.Port{ID: "p", NetworkID: "n2"}, at)
	require.NoError(t, err, "its network is gone")
}

func TestNonsense(t *testing.T) {
	t.Parallel()
	l := ledger.New(statedir.Memory())
	apply(t, l, "n")
	p := networkdriver.Port{ID: "p", NetworkID: "n"}
	for _, b := range []networkdriver.Bind{{}, {Host: "h"}, {Generation: 1}, {Host: "h", Generation: -1}} {
		_, err := l.Bind(p, b)
		require.Equal(t, fault.Invalid, fault.CodeOf(err), "%+v", b)
	}
	_, err := l.Apply(networkdriver.Topology{NetworkID: "../n"})
	require.Equal(t, fault.Invalid, fault.CodeOf(err))
	require.Equal(t, fault.Invalid, fault.CodeOf(l.Remove("")))
	require.Equal(t, fault.Invalid, fault.CodeOf(l.Unbind("a/b", networkdriver.Bind{})))
}

// A remove that was killed half way has left bindings: they do not count, and go when it is repeated.
func TestHalfRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := statedir.Open(dir, true)
	require.NoError(t, err)
	l := ledger.New(s)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	apply(t, l, "n")
	_, err = l.Bind(networkdriver.Port{ID: "p", NetworkID: "n"}, networkdriver.Bind{Host: "h", Generation: 1})
	require.NoError(t, err)
	require.NoError(t, l.Remove("n"))
	bindings := func() string {
		text, err := os.ReadFile(filepath.Join(dir, "bindings", "p.json"))
		if err != nil {
			require.ErrorIs(t, err, os.ErrNotExist)
		}
		return string(text)
	}
	require.Empty(t, bindings())

	left := statedir.In[json.RawMessage](s, "bindings")
	require.NoError(t, s.Do(func() error { return left.Put("p", json.RawMessage(`{"network_id":"n","host":"h","generation":1}`)) }))
	require.NotEmpty(t, bindings())
	all, err := l.Networks()
	require.NoError(t, err)
	require.Empty(t, all)
	require.NoError(t, l.Remove("n"))
	require.Empty(t, bindings())
}

// What the ledger was given and what it gives away are copies.
func TestTopologyIsACopy(t *testing.T) {
	t.Parallel()
	l := ledger.New(statedir.Memory())
	top := networkdriver.Topology{NetworkID: "n", Revision: 1, Ports: []networkdriver.Port{{ID: "p"}}}
	_, err := l.Apply(top)
	require.NoError(t, err)
	top.Ports[0].ID = "changed"
	got, found, err := l.Topology("n")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, "p", got.Ports[0].ID)
	got.Ports[0].ID = "changed"
	got, _, err = l.Topology("n")
	require.NoError(t, err)
	require.Equal(t, "p", got.Ports[0].ID)
}

// BenchmarkBind binds and unbinds in a network that has many bindings already.
func BenchmarkBind(b *testing.B) {
	l := ledger.New(statedir.Memory())
	apply(b, l, "n")
	at := networkdriver.Bind{Host: "h", Generation: 1}
	for i := range 10000 {
		_, err := l.Bind(networkdriver.Port{ID: fmt.Sprint("old-", i), NetworkID: "n"}, at)
		require.NoError(b, err)
	}
	for i := 0; b.Loop(); i++ {
		p := fmt.Sprint("p-", i)
		if _, err := l.Bind(networkdriver.Port{ID: p, NetworkID: "n"}, at); err != nil {
			b.Fatal(err)
		}
		if err := l.Unbind(p, at); err != nil {
			b.Fatal(err)
		}
	}
}

// Bind reads a network's head instead of its many ports: it follows the topology, and does without when it is missing.
func TestHead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	space, err := statedir.Open(dir, false)
	require.NoError(t, err)
	l := ledger.New(space)
	defer l.Close()
	apply(t, l, "n")
	moved := networkdriver.Segment{Type: "vlan", Physical: "x", ID: 9}
	_, err = l.Apply(networkdriver.Topology{NetworkID: "n", Revision: 2, Segment: moved})
	require.NoError(t, err)
	s, err := l.Bind(networkdriver.Port{ID: "p", NetworkID: "n"}, networkdriver.Bind{Host: "h", Generation: 1})
	require.NoError(t, err)
	require.Equal(t, moved, s)
	heads := statedir.In[json.RawMessage](space, "heads")
	require.NoError(t, space.Do(func() error { return heads.Delete("n") }))
	s, err = l.Bind(networkdriver.Port{ID: "q", NetworkID: "n"}, networkdriver.Bind{Host: "h", Generation: 1})
	require.NoError(t, err)
	require.Equal(t, moved, s)
	require.NoError(t, l.Remove("n"))
	_, err = l.Bind(networkdriver.Port{ID: "r", NetworkID: "n"}, networkdriver.Bind{Host: "h", Generation: 1})
	require.Equal(t, fault.NotFound, fault.CodeOf(err))
}

// Ports that an earlier version kept in one table are those of their networks, also after a kill half way.
func TestPortsOfAnEarlierVersion(t *testing.T) {
	t.Parallel()
	space := statedir.Memory()
	l := ledger.New(space)
	apply(t, l, "n")
	old := statedir.In[networkdriver.Port](space, "ports")
	require.NoError(t, space.Do(func() error {
		for _, id := range []string{"p", "q"} {
			require.NoError(t, old.Put(id, networkdriver.Port{ID: id, NetworkID: "n"}))
		}
		return statedir.In[networkdriver.Port](space, "ports-n").Put("p", networkdriver.Port{ID: "p", NetworkID: "n"})
	}))
	l = ledger.New(space)
	got, found, err := l.Topology("n")
	require.NoError(t, err)
	require.True(t, found)
	require.Len(t, got.Ports, 2)
	require.NoError(t, space.Do(func() error {
		keys, err := old.Keys()
		require.Empty(t, keys)
		return err
	}))
	changed, err := l.Change(1, networkdriver.Topology{NetworkID: "n", Revision: 2}, []string{"p"})
	require.NoError(t, err)
	require.True(t, changed)
	got, _, err = l.Topology("n")
	require.NoError(t, err)
	require.Len(t, got.Ports, 1)
}
