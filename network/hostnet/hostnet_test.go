package hostnet_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/network/hostnet"
	"github.com/nubecula/cloud/network/networkdriver"
	"github.com/nubecula/cloud/network/networktest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]hostnet.Options{
		"User":    {User: true},
		"Bridge":  {Bridge: "br0"},
		"Bridges": {Bridge: "br0", Bridges: map[string]string{"physnet1": "br1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := networktest.Harness{New: func(t *testing.T) networktest.Backend {
				o := o
				o.StateDir = t.TempDir()
				return networktest.Backend{Open: func(t *testing.T) networkdriver.Provider { return open(t, o) }}
			}}
			if name == "Bridges" {
				h.Segment = networkdriver.Segment{Type: "flat", Physical: "physnet1"}
			}
			networktest.Run(t, h)
		})
	}
}

func open(t *testing.T, o hostnet.Options) *hostnet.Provider {
	t.Helper()
	p, err := hostnet.New(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

func TestBinding(t *testing.T) {
	t.Parallel()
	bridges := hostnet.Options{Bridge: "br0", Bridges: map[string]string{"public": "br1"}}
	user := networkdriver.Binding{User: &networkdriver.User{}}
	tap := func(bridge string) networkdriver.Binding {
		return networkdriver.Binding{Tap: &networkdriver.Tap{Bridge: bridge}}
	}
	for name, c := range map[string]struct {
		o    hostnet.Options
		s    networkdriver.Segment
		want networkdriver.Binding
	}{
		"user":              {hostnet.Options{User: true}, networkdriver.Segment{Type: "geneve", ID: 7}, user},
		"user and physical": {hostnet.Options{User: true}, networkdriver.Segment{Type: "flat", Physical: "x"}, user},
		"default":           {bridges, networkdriver.Segment{Type: "geneve", ID: 7}, tap("br0")},
		"local":             {bridges, networkdriver.Segment{Type: "local"}, tap("br0")},
		"flat":              {bridges, networkdriver.Segment{Type: "flat", Physical: "public"}, tap("br1")},
		"unknown physical":  {o: bridges, s: networkdriver.Segment{Type: "flat", Physical: "dmz"}},
		"vlan":              {o: bridges, s: networkdriver.Segment{Type: "vlan", Physical: "public", ID: 12}},
		"no default":        {o: hostnet.Options{Bridges: bridges.Bridges}, s: networkdriver.Segment{Type: "geneve"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.o.StateDir = t.TempDir()
			p := open(t, c.o)
			err := p.Apply(t.Context(), networkdriver.Topology{NetworkID: "n1", Revision: 1, Segment: c.s})
			if c.want == (networkdriver.Binding{}) {
				require.Equal(t, fault.Invalid, fault.CodeOf(err))
				require.ErrorContains(t, err, "network n1")
				return
			}
			require.NoError(t, err)
			got, err := p.Bind(t.Context(), networkdriver.Port{ID: "p1", NetworkID: "n1"}, networkdriver.Bind{Host: "h", Generation: 1})
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		o    hostnet.Options
		want []string
	}{
		"nothing":  {hostnet.Options{}, []string{"StateDir", "Bridge"}},
		"both":     {hostnet.Options{StateDir: "d", User: true, Bridge: "br0"}, []string{"User"}},
		"too long": {hostnet.Options{StateDir: "d", Bridge: "a-bridge-with-a-long-name"}, []string{"Bridge"}},
		"no name":  {hostnet.Options{StateDir: "d", Bridges: map[string]string{"public": "a/b", "": "br0"}}, []string{"Bridges[public]", "Bridges[]"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := hostnet.New(c.o)
			require.Error(t, err)
			for _, field := range c.want {
				require.ErrorContains(t, err, field)
			}
		})
	}
}

// A damaged file names itself, stops only what depends on it, and stays as it is.
func TestCorruptState(t *testing.T) {
	t.Parallel()
	o := hostnet.Options{User: true, StateDir: t.TempDir()}
	p := open(t, o)
	for _, n := range []string{"n1", "n2"} {
		require.NoError(t, p.Apply(t.Context(), networkdriver.Topology{NetworkID: n, Revision: 1}))
	}
	file := filepath.Join(o.StateDir, "networks", "n1.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"format":1,"key":"n1","doc":{"topo`), 0o600))
	require.NoError(t, p.Close())

	p = open(t, o)
	_, err := p.Networks(t.Context())
	require.Equal(t, fault.Corrupt, fault.CodeOf(err))
	require.ErrorContains(t, err, file)
	require.Error(t, p.Apply(t.Context(), networkdriver.Topology{NetworkID: "n1", Revision: 2}), "nothing is overwritten")
	require.NoError(t, p.Apply(t.Context(), networkdriver.Topology{NetworkID: "n2", Revision: 2}))
	left, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, `{"format":1,"key":"n1","doc":{"topo`, string(left))

	require.NoError(t, os.Remove(file))
	all, err := p.Networks(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
}
