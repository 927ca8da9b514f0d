package cloudtest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault/inject"
)

func TestBoot(t *testing.T) {
	t.Parallel()
	env := New(t)
	id := env.Boot("web")
	env.Settle()
	require.Equal(t, compute.StatusActive, env.Server(id).Status())
	env.NoLeaks()
	env.Check()
}

// A hypervisor's daemon that restarts in the middle of a boot is waited for, also on the only host.
// Found with a real libvirtd, killed and started two seconds later.
func TestBootWaitsForTheOnlyHost(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"Define", "Start"} {
		env := New(t, Options{Hosts: 1})
		env.Fail(inject.Rule{Method: method, Times: 6})
		id := env.Boot("web")
		env.Settle()
		require.Equal(t, compute.StatusActive, env.Server(id).Status(), method)
	}
}
