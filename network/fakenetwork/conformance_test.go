package fakenetwork_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/network/fakenetwork"
	"github.com/nubecula/cloud/network/networkdriver"
	"github.com/nubecula/cloud/network/networktest"
)

func TestConformanceInMemory(t *testing.T) {
	t.Parallel()
	networktest.Run(t, networktest.Harness{New: func(*testing.T) networktest.Backend {
		b := fakenetwork.NewBackend()
		return harness(b, fakenetwork.Options{Backend: b}, b.Changes)
	}})
}

// In files each connection has a Backend of its own, as another process would.
func TestConformanceInDir(t *testing.T) {
	t.Parallel()
	ovs := networkdriver.Binding{OVS: &networkdriver.OVS{Bridge: "br-int"}}
	networktest.Run(t, networktest.Harness{New: func(t *testing.T) networktest.Backend {
		dir := t.TempDir()
		b, err := fakenetwork.OpenBackend(dir)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		return harness(b, fakenetwork.Options{Dir: dir, Binding: ovs}, nil)
	}})
}

func harness(b *fakenetwork.Backend, o fakenetwork.Options, changes func(string) int) networktest.Backend {
	h := networktest.Backend{
		Open: func(t *testing.T) networkdriver.Provider {
			p, err := fakenetwork.New(o)
			require.NoError(t, err)
			return p
		},
		Topology: func(t *testing.T, id string) (networkdriver.Topology, bool) {
			top, found, err := b.Topology(id)
			require.NoError(t, err)
			return top, found
		},
	}
	if changes != nil {
		h.Changes = func(_ *testing.T, id string) int { return changes(id) }
	}
	return h
}
