package cloudtest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
)

// A host that has started a guest and then says nothing more, not even that it has, may go on running it: the server
// must not be started on another host, unless an operator has declared the silent one down.
// Found by a history of internal/simulate: the guest ran on two hosts.
func TestNoSecondCopyBesideASilentHost(t *testing.T) {
	t.Parallel()
	for _, declared := range []bool{false, true} {
		env := New(t, Options{Hosts: 2})
		silent := -1
		env.Fail(inject.Rule{Method: "Start", Nth: 1, When: inject.After, Do: func() {
			for i, h := range env.Hosts {
				if guests, _ := h.Guests(); len(guests) > 0 {
					silent = i
					h.SetDown(fault.New(fault.Unavailable, "no route to host"))
				}
			}
		}})
		id := env.Boot("web")
		env.rest()
		require.GreaterOrEqual(t, silent, 0)
		if declared {
			yes := true
			_, err := env.Admin().Compute.UpdateHost(env.ctx(), HostName(silent), compute.UpdateHost{ForcedDown: &yes})
			require.NoError(t, err)
		}
		env.Settle()
		s := env.Server(id)
		if declared {
			require.Equal(t, compute.StatusActive, s.Status(), "%+v", s.Fault)
			require.Equal(t, HostName(1-silent), s.Host)
		} else {
			require.Equal(t, compute.StatusError, s.Status())
			require.Contains(t, s.Fault.Message, HostName(silent)+" stopped answering")
			require.Equal(t, 1, copies(t, env, id))
		}
		env.Hosts[silent].SetDown(nil)
		no := false
		_, err := env.Admin().Compute.UpdateHost(env.ctx(), HostName(silent), compute.UpdateHost{ForcedDown: &no})
		require.NoError(t, err)
		env.Advance(reconciled)
		env.Settle()
		env.NoLeaks()
		env.Check()
	}
}

func copies(t *testing.T, env *Env, id string) (n int) {
	for _, h := range env.Hosts {
		guests, err := h.Guests()
		require.NoError(t, err)
		for _, g := range guests {
			if g.Mark.ID == id && g.Power == computedriver.Running {
				n++
			}
		}
	}
	return n
}
