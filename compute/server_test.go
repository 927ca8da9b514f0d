package compute_test

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/network"
)

func TestLife(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	v := e.create(e.request("web one"))
	require.Equal(t, compute.StatusBuild, v.Status())
	require.Equal(t, compute.Networking, v.TaskState, "one server is placed as it is accepted")
	e.settle()
	e.sound()
	v = e.get(v.ID)
	require.Equal(t, compute.StatusActive, v.Status(), "%+v", v.Fault)
	require.Equal(t, compute.NoTask, v.TaskState)
	require.Equal(t, compute.PowerRunning, v.PowerState)
	require.Equal(t, "web-one", v.Hostname)
	require.False(t, v.LaunchedAt.IsZero())
	require.Equal(t, int64(1), v.Generation)
	require.Equal(t, "UP", v.HostStatus)
	require.Len(t, v.Addresses, 1)
	require.Equal(t, "private", v.Addresses[0].Network)
	require.True(t, netip.MustParsePrefix("10.0.0.0/16").Contains(v.Addresses[0].Addr))

	out, err := e.alice.ConsoleOutput(e.ctx, v.ID, -1)
	require.NoError(t, err)
	require.NotEmpty(t, out)

	e.during(v.ID, func() {
		require.NoError(t, e.alice.StopServer(e.ctx, v.ID))
		require.Equal(t, compute.PoweringOff, e.get(v.ID).TaskState)
	})
	e.settle()
	require.Equal(t, compute.StatusShutoff, e.get(v.ID).Status())
	require.Equal(t, compute.PowerShutdown, e.get(v.ID).PowerState)
	require.True(t, fault.Is(e.alice.StopServer(e.ctx, v.ID), fault.Conflict))
	require.True(t, fault.Is(e.alice.RebootServer(e.ctx, v.ID, compute.Soft), fault.Conflict))

	require.NoError(t, e.alice.StartServer(e.ctx, v.ID))
	e.settle()
	require.Equal(t, compute.StatusActive, e.get(v.ID).Status())

	e.during(v.ID, func() {
		require.NoError(t, e.alice.RebootServer(e.ctx, v.ID, compute.Soft))
		require.Equal(t, compute.StatusReboot, e.get(v.ID).Status())
	})
	e.settle()
	e.during(v.ID, func() {
		require.NoError(t, e.alice.RebootServer(e.ctx, v.ID, compute.Hard))
		require.Equal(t, compute.StatusHardReboot, e.get(v.ID).Status())
	})
	e.settle()
	require.Equal(t, compute.StatusActive, e.get(v.ID).Status())
	e.sound()

	e.during(v.ID, func() {
		require.NoError(t, e.alice.DeleteServer(e.ctx, v.ID))
		require.NoError(t, e.alice.DeleteServer(e.ctx, v.ID))
	})
	quota, err := e.alice.GetQuota(e.ctx, "a")
	require.NoError(t, err)
	require.Zero(t, quota["instances"].Used, "quota is free at once")
	e.settle()
	e.sound()
	_, err = e.alice.GetServer(e.ctx, v.ID)
	require.True(t, fault.Is(err, fault.NotFound))
	ports, err := e.net.As(alice()).ListPorts(e.ctx, network.PortFilter{})
	require.NoError(t, err)
	require.Empty(t, ports)

	actions, err := e.alice.ListActions(e.ctx, v.ID)
	require.NoError(t, err)
	var names []string
	for _, a := range actions {
		names = append(names, a.Name)
		require.Empty(t, a.Message)
		require.Equal(t, "alice", a.UserID)
	}
	require.Equal(t, []string{"delete", "reboot", "reboot", "start", "stop", "create"}, names)
	require.Len(t, actions[5].Events, 4)
	require.Equal(t, "compute_create_start", actions[5].Events[0].Name)
	require.Equal(t, "Success", actions[5].Events[0].Result)

	gone, err := e.admin.ListServers(e.ctx, compute.ServerQuery{AllProjects: true, Deleted: true})
	require.NoError(t, err)
	require.Len(t, gone.Servers, 1)
	require.Equal(t, compute.StatusDeleted, gone.Servers[0].Status())
}

func TestNotVisibleToOthers(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	v := e.boot("mine")
	_, err := e.bob.GetServer(e.ctx, v.ID)
	require.True(t, fault.Is(err, fault.NotFound), err)
	for _, err := range []error{
		e.bob.StopServer(e.ctx, v.ID), e.bob.DeleteServer(e.ctx, v.ID), e.bob.RebootServer(e.ctx, v.ID, compute.Hard),
		e.bob.LockServer(e.ctx, v.ID, ""), e.bob.DeleteTags(e.ctx, v.ID), e.bob.ResetState(e.ctx, v.ID, compute.Error),
	} {
		require.True(t, fault.Is(err, fault.NotFound), err)
	}
	page, err := e.bob.ListServers(e.ctx, compute.ServerQuery{})
	require.NoError(t, err)
	require.Empty(t, page.Servers)
	_, err = e.bob.ListServers(e.ctx, compute.ServerQuery{AllProjects: true})
	require.True(t, fault.Is(err, fault.Denied), err)
	reader := e.svc.As(who("rita", "a", "reader"))
	_, err = reader.GetServer(e.ctx, v.ID)
	require.NoError(t, err)
	require.True(t, fault.Is(reader.StopServer(e.ctx, v.ID), fault.Denied))
	_, err = e.svc.CreateServer(e.ctx, e.request("x"))
	require.True(t, fault.Is(err, fault.Unauthenticated), err)
}

func TestNoValidHost(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	req := e.request("big")
	req.FlavorID = "3"
	v := e.create(req)
	e.settle()
	e.sound()
	v = e.get(v.ID)
	require.Equal(t, compute.StatusError, v.Status())
	require.Equal(t, compute.NoTask, v.TaskState)
	require.Equal(t, 500, v.Fault.Code)
	require.Contains(t, v.Fault.Message, "No valid host was found")
	require.Contains(t, v.Fault.Message, "host-1")
	require.Contains(t, v.Fault.Message, "needs 512 vCPUs")
	require.Contains(t, v.Fault.Details, `"filter":"vcpu"`)
	require.Contains(t, e.log.String(), "needs 512 vCPUs")
	require.Empty(t, v.HostID)
	quota, err := e.alice.GetQuota(e.ctx, "a")
	require.NoError(t, err)
	require.Equal(t, int64(1), quota["instances"].Used, "a server in ERROR counts until it is deleted")
	actions, err := e.alice.ListActions(e.ctx, v.ID)
	require.NoError(t, err)
	require.Equal(t, "Error", actions[0].Message)
	require.NoError(t, e.alice.DeleteServer(e.ctx, v.ID))
	e.settle()
	e.sound()
}

func TestNoHosts(t *testing.T) {
	t.Parallel()
	e := newEnv(t, config{hosts: -1})
	v := e.boot("lost")
	require.Equal(t, compute.StatusError, v.Status())
	require.Contains(t, v.Fault.Message, "there are no hosts")
}

// TestAnotherHost has the first hosts fail: the server goes to the next one, in a new generation.
func TestAnotherHost(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"Define", "Start"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			n := 0
			e.faults.Fail(inject.Rule{Method: method, Times: 2, Err: fault.New(fault.Exhausted, "the disk is full"), Do: func() { n++ }})
			v := e.boot("wanderer")
			require.Equal(t, compute.StatusActive, v.Status(), "%+v", v.Fault)
			require.Equal(t, int64(3), v.Generation)
			require.Equal(t, 2, n)
			e.sound()
		})
	}
}

// TestDeleteWhileBuilding cancels the create wherever it is.
func TestDeleteWhileBuilding(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"Bind", "Define", "Start"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			v := e.create(e.request("short-lived"))
			e.faults.Fail(inject.Rule{Method: method, Hang: true, Times: 1})
			e.rest()
			require.NoError(t, e.alice.DeleteServer(e.ctx, v.ID))
			require.Equal(t, compute.Deleting, e.get(v.ID).TaskState)
			e.settle()
			_, err := e.alice.GetServer(e.ctx, v.ID)
			require.True(t, fault.Is(err, fault.NotFound), err)
			e.sound()
		})
	}
}

// TestDeleteOnDeadHost leaves a debt: addresses and capacity are kept until the host is back.
func TestDeleteOnDeadHost(t *testing.T) {
	t.Parallel()
	e := newEnv(t, config{hosts: 1})
	v := e.boot("stranded")
	e.hosts[0].SetDown(fault.New(fault.Unavailable, "no power"))
	e.advance(90 * time.Second)
	require.False(t, e.host(0).Up)
	require.Equal(t, "DOWN", e.get(v.ID).HostStatus)
	err := e.alice.StopServer(e.ctx, v.ID)
	require.True(t, fault.Is(err, fault.Conflict), "an answer that clients are shown: %v", err)
	require.ErrorContains(t, err, "does not answer since")
	require.NoError(t, e.alice.DeleteServer(e.ctx, v.ID))
	e.settle()
	_, err = e.alice.GetServer(e.ctx, v.ID)
	require.True(t, fault.Is(err, fault.NotFound), err)
	e.sound()
	require.Equal(t, 1, e.host(0).Servers, "its share of the host is kept")
	ports, err := e.net.As(alice()).ListPorts(e.ctx, network.PortFilter{})
	require.NoError(t, err)
	require.Len(t, ports, 1, "its address is kept")

	e.hosts[0].SetDown(nil)
	e.advance(30 * time.Second)
	require.True(t, e.host(0).Up)
	require.Equal(t, 0, e.host(0).Servers)
	ports, err = e.net.As(alice()).ListPorts(e.ctx, network.PortFilter{})
	require.NoError(t, err)
	require.Empty(t, ports)
	e.settle()
	e.sound()
}

// TestGuestChangesOnItsOwn: the record follows the guest.
func TestGuestChangesOnItsOwn(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	v := e.boot("moody")
	var host int
	for i := range e.hosts {
		if hostName(i) == v.Host {
			host = i
		}
	}
	require.NoError(t, e.hosts[host].Crash(v.ID, e.clock.Now()))
	for e.get(v.ID).Status() == compute.StatusActive { // the driver's hint is enough, without the clock
		runtime.Gosched()
	}
	e.rest()
	v = e.get(v.ID)
	require.Equal(t, compute.StatusShutoff, v.Status())
	require.Equal(t, compute.PowerCrashed, v.PowerState)
	require.NoError(t, e.alice.StartServer(e.ctx, v.ID))
	e.settle()
	require.Equal(t, compute.StatusActive, e.get(v.ID).Status())
	e.sound()
}

// TestMissedHint: without hints the next round sees it.
func TestMissedHint(t *testing.T) {
	t.Parallel()
	e := newEnv(t, config{hosts: 1, options: func(o *compute.Options) {
		o.Hypervisors[0].Driver = deaf{o.Hypervisors[0].Driver}
	}})
	v := e.boot("moody")
	require.NoError(t, e.hosts[0].PowerOff(v.ID, e.clock.Now()))
	e.advance(5 * time.Second)
	require.Equal(t, compute.StatusActive, e.get(v.ID).Status())
	e.advance(60 * time.Second)
	require.Equal(t, compute.StatusShutoff, e.get(v.ID).Status())

	_, err := e.alice.ConsoleOutput(e.ctx, v.ID, 10)
	require.True(t, fault.Is(err, fault.Unsupported), err)
	require.NoError(t, e.alice.StartServer(e.ctx, v.ID))
	e.settle()
	require.NoError(t, e.alice.RebootServer(e.ctx, v.ID, compute.Soft), "a stop and a start where there is no Rebooter")
	e.settle()
	require.Equal(t, compute.StatusActive, e.get(v.ID).Status())
	require.Positive(t, e.hosts[0].Counts(v.ID).Stops)
	e.sound()
}

// deaf has no optional verbs.
type deaf struct{ computedriver.Hypervisor }

// TestFailedStop: the server is what its guest is, and the action tells of the error.
func TestFailedStop(t *testing.T) {
	t.Parallel()
	for _, when := range []inject.When{inject.Before, inject.After} {
		e := newEnv(t)
		v := e.boot("stubborn")
		remove := e.faults.Fail(inject.Rule{Method: "Stop", When: when, Err: fault.New(fault.Internal, "no")})
		require.NoError(t, e.alice.StopServer(e.ctx, v.ID))
		e.settle()
		remove()
		want := compute.StatusActive
		if when == inject.After {
			want = compute.StatusShutoff
		}
		require.Equal(t, want, e.get(v.ID).Status())
		require.Equal(t, compute.NoTask, e.get(v.ID).TaskState)
		actions, err := e.alice.ListActions(e.ctx, v.ID)
		require.NoError(t, err)
		require.Equal(t, "Error", actions[0].Message)
		e.sound()
	}
}
