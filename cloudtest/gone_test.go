package cloudtest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/network"
)

// burnt is an environment in which a host with three servers at least has fallen silent.
type burnt struct {
	*logged
	at      int
	name    string
	servers []string
}

func newBurnt(t *testing.T) *burnt {
	b := &burnt{logged: newLogged(t, Options{Hosts: 2})}
	var all [2][]string
	for range 5 {
		id := b.Boot("vm")
		b.Settle()
		all[b.HostOf(id)] = append(all[b.HostOf(id)], id)
	}
	if len(all[1]) > len(all[0]) {
		b.at = 1
	}
	b.name, b.servers = HostName(b.at), all[b.at]
	return b
}

func (b *burnt) die() { b.Hosts[b.at].SetDown(fault.New(fault.Unavailable, "no route to host")) }

func (b *burnt) remove(id string) {
	b.t.Helper()
	b.must(b.Demo().Compute.DeleteServer(b.ctx(), id))
	b.Settle()
	require.Equal(b.t, "gone", status(b.Env, id))
}

// claims is how many placements are counted on the host.
func (b *burnt) claims() int {
	b.t.Helper()
	h, err := b.Admin().Compute.GetHost(b.ctx(), b.name)
	b.must(err)
	return h.Servers
}

// ports is how many ports the servers have, deleted or not.
func (b *burnt) ports(ids ...string) (n int) {
	b.t.Helper()
	all, err := b.Cloud.As(identity.System()).Network.ListPorts(b.ctx(), network.PortFilter{})
	b.must(err)
	for _, p := range all {
		for _, id := range ids {
			if p.DeviceID == id {
				n++
			}
		}
	}
	return n
}

// TestHostGone: what servers of a host that is gone for good have is given back when they are deleted, before and after an
// operator says so; the others are in ERROR. The host comes back all the same, and there is one copy of each.
func TestHostGone(t *testing.T) {
	t.Parallel()
	b := newBurnt(t)
	before, after, kept := b.servers[0], b.servers[1], b.servers[2]
	claims := len(b.servers)
	for _, dry := range []bool{true, false} {
		_, err := b.Cloud.DeclareHostGone(b.ctx(), b.name, dry)
		require.True(t, fault.Is(err, fault.Conflict), "%v", err)
		require.ErrorContains(t, err, "host "+b.Server(kept).HostID+": "+b.name+" cannot be declared gone: its last heartbeat was at "+b.Now().UTC().Format("2006-01-02T15:04"))
		require.ErrorContains(t, err, "see that it has no power")
	}
	_, err := b.Demo().Compute.DeclareHostGone(b.ctx(), b.name, true)
	require.True(t, fault.Is(err, fault.Denied), "%v", err)
	_, err = b.Cloud.DeclareHostGone(b.ctx(), "nowhere", false)
	require.True(t, fault.Is(err, fault.NotFound), "%v", err)

	b.die()
	b.Advance(30 * time.Second)
	_, err = b.Cloud.DeclareHostGone(b.ctx(), b.name, false)
	require.True(t, fault.Is(err, fault.Conflict), "half a minute may be a restart: %v", err)
	b.remove(before)
	b.Advance(2 * time.Minute)
	require.Equal(t, claims, b.claims(), "nobody knows yet whether the guest runs on")
	require.Equal(t, 1, b.ports(before))

	g, err := b.Cloud.DeclareHostGone(b.ctx(), b.name, true)
	b.must(err)
	require.ElementsMatch(t, b.servers[1:], g.Lost)
	require.Equal(t, []string{before}, g.Ended)
	require.Equal(t, claims, b.claims())
	require.Equal(t, compute.StatusActive, b.Server(kept).Status())
	require.Zero(t, b.lines("declared a host gone for good"))

	g, err = b.Cloud.DeclareHostGone(b.ctx(), b.name, false)
	b.must(err)
	require.ElementsMatch(t, b.servers[1:], g.Lost)
	require.Equal(t, []string{before}, g.Ended)
	require.Empty(t, g.Busy)
	require.False(t, g.Host.Gone.IsZero())
	claims--
	require.Equal(t, claims, b.claims())
	require.Zero(t, b.ports(before))
	for _, id := range b.servers[1:] {
		s := b.Server(id)
		require.Equal(t, compute.StatusError, s.Status())
		require.Equal(t, compute.PowerNone, s.PowerState)
		require.Contains(t, s.Fault.Message, b.name+" was declared gone for good")
	}
	b.remove(after)
	claims--
	require.Equal(t, claims, b.claims(), "at once")
	require.Zero(t, b.ports(after))
	require.Empty(t, b.rules(), "nobody waits for the host")
	b.Check()
	b.Crash()
	b.Settle()
	b.Reconcile()
	require.Equal(t, compute.StatusError, b.Server(kept).Status())
	g, err = b.Cloud.DeclareHostGone(b.ctx(), b.name, false)
	b.must(err)
	require.Empty(t, g.Lost, "said again")
	require.Empty(t, g.Ended)
	require.Equal(t, 1, b.lines("declared a host gone for good"))

	b.Hosts[b.at].SetDown(nil)
	b.Advance(reconciled)
	b.Settle()
	require.Equal(t, 1, b.lines("a host answers that an operator declared gone for good"), "told once")
	require.Equal(t, compute.StatusActive, b.Server(kept).Status(), "its guest is there: nothing was lost")
	require.Equal(t, 1, copies(t, b.Env, kept))
	for _, id := range []string{before, after} {
		require.Zero(t, copies(t, b.Env, id))
		h := b.hypervisor(b.at)
		require.True(t, fault.Is(h.Start(b.ctx(), computedriver.Ref{ID: id, Generation: 1}), fault.Stale), "a late start")
	}
	b.NoLeaks()
	b.Check()
	require.Empty(t, b.rules())
	require.Equal(t, HostName(1-b.at), b.Server(b.booted()).Host, "it takes no new servers")
	calm := b.Fail(inject.Rule{Driver: b.name, Method: "Undefine", Err: fault.New(fault.Unavailable, "the disk is busy")})
	b.remove(kept)
	b.Reconcile()
	require.Equal(t, 1, copies(t, b.Env, kept))
	require.Equal(t, 1, b.ports(kept), "its guest runs on the host that is back, and uses its address")
	calm()
	b.Reconcile()
	require.Zero(t, copies(t, b.Env, kept))
	require.Zero(t, b.ports(kept))
	no := false
	h, err := b.Admin().Compute.UpdateHost(b.ctx(), b.name, compute.UpdateHost{ForcedDown: &no})
	b.must(err)
	require.True(t, h.Gone.IsZero() && h.Up)
	b.NoLeaks()
	b.Check()
}

func (b *burnt) booted() string {
	id := b.Boot("new")
	b.Settle()
	return id
}

// TestHostGoneBusy: what is under way on the host ends, and its server follows.
func TestHostGoneBusy(t *testing.T) {
	t.Parallel()
	b := newBurnt(t)
	b.die()
	frozen := b.servers[0]
	b.must(b.Demo().Compute.StopServer(b.ctx(), frozen))
	b.must(b.Demo().Compute.DeleteServer(b.ctx(), b.servers[1]))
	b.Advance(75 * time.Second)
	_, err := b.Cloud.DeclareHostGone(b.ctx(), b.name, false)
	b.must(err)
	b.Settle()
	b.Reconcile()
	require.Equal(t, compute.StatusError, b.Server(frozen).Status())
	require.Empty(t, b.Server(frozen).TaskState)
	require.Equal(t, "gone", status(b.Env, b.servers[1]))
	require.Equal(t, len(b.servers)-1, b.claims())
	require.Zero(t, b.ports(b.servers[1]))
	b.Check()
}

// TestHostGoneHeld: a store that may be older than its drivers gives nothing back before it is accepted.
func TestHostGoneHeld(t *testing.T) {
	t.Parallel()
	b := newBurnt(t)
	backup := b.Backup()
	b.must(b.Cloud.AfterBackup(b.ctx()))
	b.Restore(backup)
	b.die()
	b.Advance(2 * time.Minute)
	g, err := b.Cloud.DeclareHostGone(b.ctx(), b.name, false)
	b.must(err)
	require.ElementsMatch(t, b.servers, g.Lost)
	gone := b.servers[0]
	b.must(b.Demo().Compute.DeleteServer(b.ctx(), gone))
	b.Advance(5 * time.Minute)
	require.Equal(t, len(b.servers), b.claims())
	require.Equal(t, 1, b.ports(gone))
	b.must(b.Cloud.AcceptStore(b.ctx()))
	b.Settle()
	b.Reconcile()
	require.Equal(t, "gone", status(b.Env, gone))
	require.Equal(t, len(b.servers)-1, b.claims())
	require.Zero(t, b.ports(gone))
	b.Check()
}
