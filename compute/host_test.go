package compute_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/internal/clock"
)

func TestHosts(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	list, err := e.admin.ListHosts(e.ctx)
	require.NoError(t, err)
	require.Len(t, list, 3)
	require.Equal(t, "host-1", list[0].Name)
	require.True(t, list[0].Up)
	_, err = e.alice.ListHosts(e.ctx)
	require.True(t, fault.Is(err, fault.Denied), err)
	_, err = e.admin.GetHost(e.ctx, "host-9")
	require.True(t, fault.Is(err, fault.NotFound), err)
	_, err = e.alice.ListZones(e.ctx, true)
	require.True(t, fault.Is(err, fault.Denied), err)

	v := e.boot("guest")
	h, err := e.admin.GetHost(e.ctx, v.HostID)
	require.NoError(t, err)
	require.Equal(t, 1, h.Servers)
	require.Equal(t, int64(512), h.Used.MemoryMiB)

	yes, no := true, false
	for _, h := range list {
		_, err = e.admin.UpdateHost(e.ctx, h.ID, compute.UpdateHost{ForcedDown: &yes})
		require.NoError(t, err)
	}
	require.Equal(t, "DOWN", e.get(v.ID).HostStatus)
	other := e.boot("nowhere")
	require.Equal(t, compute.StatusError, other.Status())
	require.Contains(t, other.Fault.Message, "forced down by an operator")
	zones, err := e.alice.ListZones(e.ctx, false)
	require.NoError(t, err)
	require.False(t, zones[0].Available)
	for _, h := range list {
		_, err = e.admin.UpdateHost(e.ctx, h.ID, compute.UpdateHost{ForcedDown: &no})
		require.NoError(t, err)
	}
	require.Equal(t, compute.StatusActive, e.boot("somewhere").Status())
	e.sound()
}

// TestSilentHost: a host that does not answer gets no servers once it counts as down, and some again once it is back.
func TestSilentHost(t *testing.T) {
	t.Parallel()
	e := newEnv(t, config{hosts: 1})
	remove := e.faults.Fail(inject.Rule{Method: "Host"})
	e.advance(30 * time.Second)
	require.True(t, e.host(0).Up, "half a minute is no reason")
	e.advance(60 * time.Second)
	require.False(t, e.host(0).Up)
	v := e.boot("waiting")
	require.Equal(t, compute.StatusError, v.Status())
	require.Contains(t, v.Fault.Message, "no heartbeat for")
	remove()
	e.advance(15 * time.Second)
	require.True(t, e.host(0).Up)
	require.Equal(t, compute.StatusActive, e.boot("served").Status())
	require.Contains(t, e.log.String(), "a host does not answer")
	e.sound()
}

// TestRoundsPause: a round over hosts pauses nine times as long as it reads the records of each.
func TestRoundsPause(t *testing.T) {
	t.Parallel()
	c := &clock.Ticking{}
	e := newEnv(t, config{hosts: 2, options: func(o *compute.Options) {
		c.Manual = o.Clock.(*clock.Manual)
		o.Clock = c
	}})
	e.boot("vm")
	e.settle()
	e.rest()
	before := c.Paused()
	e.advance(time.Minute)
	require.Equal(t, 2*9*time.Millisecond, c.Paused()-before)
}

// TestHungHost: a driver that does not return keeps nobody else waiting.
func TestHungHost(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.faults.Fail(inject.Rule{Driver: "host-1", Method: "Host", Hang: true})
	e.advance(2 * time.Minute)
	require.False(t, e.host(0).Up)
	require.True(t, e.host(1).Up)
	require.True(t, e.host(2).Up)
}

// TestRestart ends the process in the middle of a boot; the next one ends it.
func TestRestart(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	running := e.boot("running")
	e.faults.Fail(inject.Rule{Method: "Start", Hang: true, Times: 1})
	req := e.request("halfway")
	v := e.create(req)
	e.rest()
	e.engine.Kill()
	e.svc.Kill()
	e.start()
	e.settle()
	require.Equal(t, compute.StatusActive, e.get(v.ID).Status(), "%+v", e.get(v.ID).Fault)
	require.Equal(t, compute.StatusActive, e.get(running.ID).Status())
	require.Equal(t, "UP", e.get(running.ID).HostStatus)
	require.Equal(t, compute.StatusActive, func() compute.Status { v := e.create(req); e.settle(); return e.get(v.ID).Status() }())
	e.sound()
}

func TestOptions(t *testing.T) {
	t.Parallel()
	_, err := compute.New(compute.Options{DownAfter: time.Second, MaxAttempts: -1, Hypervisors: []compute.Hypervisor{{Zone: "a:b"}}})
	for _, field := range []string{"Store", "Engine", "Image", "Network", "CloudID", "DownAfter", "MaxAttempts", "Hypervisors[0].Driver", "Hypervisors[0].Zone"} {
		require.ErrorContains(t, err, field)
	}
}

// TestHostDiesDuringBoot: the server goes elsewhere, since nobody has tried to start it, and what the dead host may have of it is removed once it is back.
func TestHostDiesDuringBoot(t *testing.T) {
	t.Parallel()
	e := newEnv(t, config{hosts: 2})
	var dead int
	e.faults.Fail(inject.Rule{Method: "Define", When: inject.After, Times: 1, Do: func() {
		for i, b := range e.hosts {
			if guests, err := b.Guests(); err == nil && len(guests) == 1 {
				dead = i
			}
		}
		e.hosts[dead].SetDown(fault.New(fault.Unavailable, "no power"))
	}})
	v := e.boot("survivor")
	require.Equal(t, compute.StatusActive, v.Status(), "%+v", v.Fault)
	require.Equal(t, hostName(1-dead), v.Host)
	require.Equal(t, int64(2), v.Generation)
	e.sound()
	require.Equal(t, 1, e.host(dead).Servers, "its share of the dead host is kept")
	e.hosts[dead].SetDown(nil)
	e.advance(30 * time.Second)
	e.settle()
	require.Equal(t, 0, e.host(dead).Servers)
	guests, err := e.hosts[dead].Guests()
	require.NoError(t, err)
	require.Empty(t, guests)
	e.sound()
	require.Equal(t, compute.StatusActive, e.get(v.ID).Status())
}
