//go:build libvirt && linux

package libvirt

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/compute/computetest"
)

// openTest returns a driver on libvirt's own fake, which has one state for all connections of a process.
func openTest(t *testing.T, dir string) *Driver {
	d, err := New(Options{URI: "test:///default", StateDir: dir, HostID: "6b0a1d43-ab9d-4a5c-8c53-6e1ef8a8a0d1"})
	require.NoError(t, err)
	d.opts.VirtType, d.opts.Machine, d.opts.CPUMode = "test", "", "" // all that it knows
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

func TestConformanceOnFake(t *testing.T) {
	t.Parallel()
	keeper := openTest(t, t.TempDir()) // the fake forgets everything with its last connection
	_, err := keeper.Host(t.Context())
	require.NoError(t, err)
	computetest.Run(t, computetest.Harness{
		New: func(t *testing.T) computetest.Host {
			dir := t.TempDir()
			return computetest.Host{Open: func(t *testing.T) computedriver.Hypervisor { return openTest(t, dir) }}
		},
		Wait:  computetest.Poll(time.Minute),
		Limit: time.Minute,
		Many:  6,
	})
}
