package fakecompute_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/compute/computetest"
	"github.com/nubecula/cloud/compute/fakecompute"
	"github.com/nubecula/cloud/internal/id"
	"github.com/nubecula/cloud/network/networkdriver"
)

func TestConformanceInMemory(t *testing.T) {
	t.Parallel()
	conformance(t, func(*testing.T) (*fakecompute.Backend, fakecompute.Options) {
		b := fakecompute.NewBackend()
		return b, fakecompute.Options{Backend: b}
	})
}

// In files each connection has a Backend of its own, as another process would.
func TestConformanceInDir(t *testing.T) {
	t.Parallel()
	conformance(t, func(t *testing.T) (*fakecompute.Backend, fakecompute.Options) {
		dir := t.TempDir()
		b, err := fakecompute.OpenBackend(dir)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		return b, fakecompute.Options{Dir: dir}
	})
}

func TestConformanceEnforced(t *testing.T) {
	t.Parallel()
	conformance(t, func(t *testing.T) (*fakecompute.Backend, fakecompute.Options) {
		b := fakecompute.NewBackend()
		return b, fakecompute.Options{Backend: b, Enforce: true}
	})
}

func conformance(t *testing.T, backend func(*testing.T) (*fakecompute.Backend, fakecompute.Options)) {
	computetest.Run(t, computetest.Harness{
		Binding:    networkdriver.Binding{Tap: &networkdriver.Tap{Bridge: "br-fake"}},
		BootMarker: "GUEST-READY",
		New: func(t *testing.T) computetest.Host {
			b, o := backend(t)
			at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
			return computetest.Host{
				Open: func(t *testing.T) computedriver.Hypervisor {
					h, err := fakecompute.New(o)
					require.NoError(t, err)
					return h
				},
				ConfigDrive: func(t *testing.T, r computedriver.Ref) map[string][]byte {
					g, found, err := b.Defined(r.ID)
					require.NoError(t, err)
					require.True(t, found)
					require.Equal(t, r, g.Mark.Ref())
					return g.ConfigDrive
				},
				Crash:    func(t *testing.T, id string) { require.NoError(t, b.Crash(id, at)) },
				PowerOff: func(t *testing.T, id string) { require.NoError(t, b.PowerOff(id, at)) },
				Tear:     func(t *testing.T, id string) { require.NoError(t, b.Tear(id)) },
				Foreign: func(t *testing.T) string {
					name := "by hand " + id.Random()
					require.NoError(t, b.AddForeign(id.Random(), computedriver.GuestState{Name: name, Power: computedriver.Running}))
					return name
				},
			}
		},
	})
}
