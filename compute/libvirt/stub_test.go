//go:build !(libvirt && linux)

package libvirt

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
)

func TestNewSaysHowToBuild(t *testing.T) {
	t.Parallel()
	d, err := New(Options{StateDir: "/state"})
	require.Nil(t, d)
	require.True(t, fault.Is(err, fault.Unsupported), "%v", err)
	require.ErrorContains(t, err, "-tags libvirt,libvirt_dlopen")
}
