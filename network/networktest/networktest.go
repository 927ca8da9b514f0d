// Package networktest is the conformance suite of networkdriver.Provider:
// each sentence of that interface is a test here, and a driver that passes is
// one that Nubecula can rely on.
//
// The suite never assumes that it has the back end to itself: it looks only
// at networks that it made, under random ids.
package networktest

import (
	"context"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/id"
	"github.com/nubecula/cloud/network/networkdriver"
)

// Harness tells the suite about the driver under test. Only New must be set.
type Harness struct {
	// New returns a back end for one test; it cleans up with t.Cleanup. Tests may share a real one.
	New func(t *testing.T) Backend
	// Serial runs one test at a time.
	Serial bool
	// Hosts are two hosts that ports can be bound to; empty ones mean made-up UUIDs.
	Hosts [2]string
	// Segment is what the suite's networks are on; the zero Segment means a local one.
	Segment networkdriver.Segment
	// Many is how many networks and ports the listing and concurrency tests make; 0 means 12.
	Many int
}

// Backend is one network back end under test.
type Backend struct {
	// Open connects, each time anew, as another process would. The suite closes what it opens.
	Open func(t *testing.T) networkdriver.Provider
	// Topology reads back what the network looks like; nil skips the tests that need it.
	Topology func(t *testing.T, networkID string) (networkdriver.Topology, bool)
	// Changes counts the Applies that changed the network; nil skips the test that needs it.
	Changes func(t *testing.T, networkID string) int
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	for i := range h.Hosts {
		if h.Hosts[i] == "" {
			h.Hosts[i] = id.Random()
		}
	}
	if h.Segment == (networkdriver.Segment{}) {
		h.Segment.Type = "local"
	}
	if h.Many == 0 {
		h.Many = 12
	}
	for _, c := range []struct {
		name string
		run  func(*fixture)
	}{
		{"Apply", testApply},
		{"ApplyAgain", testApplyAgain},
		{"Change", testChange},
		{"ApplyOlder", testApplyOlder},
		{"ApplyFull", testApplyFull},
		{"Remove", testRemove},
		{"RemoveAbsent", testRemoveAbsent},
		{"RemoveWithBindings", testRemoveWithBindings},
		{"Reopen", testReopen},
		{"Listing", testListing},
		{"Bind", testBind},
		{"BindUnknownNetwork", testBindUnknownNetwork},
		{"BindUnknownPort", testBindUnknownPort},
		{"BindMoves", testBindMoves},
		{"BindOlder", testBindOlder},
		{"ApplyKeepsBindings", testApplyKeepsBindings},
		{"Unbind", testUnbind},
		{"UnbindOlder", testUnbindOlder},
		{"UnbindBeforeBind", testUnbindBeforeBind},
		{"UnbindTwice", testUnbindTwice},
		{"TwoConnections", testTwoConnections},
		{"Remember", testRemember},
		{"CanceledContext", testCanceledContext},
		{"ConcurrentBind", testConcurrentBind},
		{"ConcurrentUnbind", testConcurrentUnbind},
		{"ConcurrentApply", testConcurrentApply},
		{"ConcurrentNetworks", testConcurrentNetworks},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !h.Serial {
				t.Parallel()
			}
			c.run(newFixture(t, h))
		})
	}
}

// fixture is one test's back end and a connection to it.
type fixture struct {
	*testing.T
	h   Harness
	b   Backend
	d   networkdriver.Provider
	ctx context.Context
}

func newFixture(t *testing.T, h Harness) *fixture {
	f := &fixture{T: t, h: h, b: h.New(t), ctx: t.Context()}
	f.d = f.open()
	return f
}

func (f *fixture) open() networkdriver.Provider {
	d := f.b.Open(f.T)
	f.Cleanup(func() { _ = d.Close() })
	return d
}

// reopen restarts the driver.
func (f *fixture) reopen() {
	require.NoError(f, f.d.Close())
	f.d = f.open()
}

// topology returns a network that is not applied yet; it is removed when the test ends.
func (f *fixture) topology() networkdriver.Topology {
	n := id.Random()
	f.Cleanup(func() { _ = f.d.Remove(context.Background(), n) })
	return networkdriver.Topology{
		NetworkID: n, Revision: 1, Name: "suite", ProjectID: id.Random(), MTU: 1400, Segment: f.h.Segment, AdminUp: true,
		Subnets: []networkdriver.Subnet{{
			ID: id.Random(), CIDR: netip.MustParsePrefix("10.20.0.0/24"), Gateway: netip.MustParseAddr("10.20.0.1"), DHCP: true,
		}},
	}
}

// port returns a port of the network that is not part of it yet.
func port(t networkdriver.Topology) networkdriver.Port {
	return networkdriver.Port{
		ID: id.Random(), NetworkID: t.NetworkID, MAC: "fa:16:3e:01:02:03", AdminUp: true,
		Fixed: []networkdriver.FixedIP{{SubnetID: t.Subnets[0].ID, Addr: netip.MustParseAddr("10.20.0.7")}},
	}
}

// applied returns a network with one port that is part of it.
func (f *fixture) applied() (networkdriver.Topology, networkdriver.Port) {
	f.Helper()
	t := f.topology()
	p := port(t)
	t.Ports = []networkdriver.Port{p}
	require.NoError(f, f.d.Apply(f.ctx, t))
	return t, p
}

func (f *fixture) on(host int, generation int64) networkdriver.Bind {
	return networkdriver.Bind{Host: f.h.Hosts[host], Generation: generation}
}

// bound checks that Bind succeeds and answers something that a NIC can be plugged into.
func (f *fixture) bound(p networkdriver.Port, b networkdriver.Bind) {
	f.Helper()
	got, err := f.d.Bind(f.ctx, p, b)
	require.NoError(f, err)
	f.usable(got)
	f.holds(p, b)
}

func (f *fixture) usable(b networkdriver.Binding) {
	f.Helper()
	set := 0
	for _, is := range []bool{b.OVS != nil, b.Tap != nil, b.User != nil} {
		if is {
			set++
		}
	}
	require.Equal(f, 1, set, "exactly one field of a binding is set: %+v", b)
}

// state returns the line that d lists for the network.
func (f *fixture) state(d networkdriver.Provider, networkID string) (networkdriver.NetworkState, bool) {
	f.Helper()
	all, err := d.Networks(f.ctx)
	require.NoError(f, err)
	var found []networkdriver.NetworkState
	for _, s := range all {
		if s.NetworkID == networkID {
			found = append(found, s)
		}
	}
	require.LessOrEqual(f, len(found), 1, "network %s is listed more than once: %v", networkID, found)
	if len(found) == 0 {
		return networkdriver.NetworkState{}, false
	}
	return found[0], true
}

// holds checks that the port is listed as bound like this.
func (f *fixture) holds(p networkdriver.Port, want networkdriver.Bind) {
	f.Helper()
	s, _ := f.state(f.d, p.NetworkID)
	require.Contains(f, s.Bindings, p.ID, "port is not listed as bound")
	require.Equal(f, want, s.Bindings[p.ID])
}

// unbound checks that the port is not listed as bound.
func (f *fixture) unbound(p networkdriver.Port) {
	f.Helper()
	s, _ := f.state(f.d, p.NetworkID)
	require.NotContains(f, s.Bindings, p.ID)
}

// stale checks that the generation cannot be bound, now and after a restart of the driver.
func (f *fixture) stale(p networkdriver.Port, b networkdriver.Bind) {
	f.Helper()
	for range 2 {
		_, err := f.d.Bind(f.ctx, p, b)
		f.code(fault.Stale, err, "bind of generation ", b.Generation)
		f.reopen()
	}
}

func (f *fixture) code(want fault.Code, err error, what ...any) {
	f.Helper()
	require.Error(f, err, what...)
	require.Equal(f, want.String(), fault.CodeOf(err).String(), "%v: %v", what, err)
}
