package network_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/network/fakenetwork"
	"github.com/nubecula/cloud/network/networkdriver"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

func (e *env) operations(networkID string) (out []*operation.Operation) {
	require.NoError(e.t, e.store.View(e.ctx, func(tx *store.Tx) (err error) {
		out, err = operation.Of(tx, operation.Resource{Kind: "network", ID: networkID})
		return err
	}))
	return out
}

func TestChangesAreCoalesced(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	hold := make(chan struct{})
	var once sync.Once
	e.faults.Fail(inject.Rule{Driver: "network", Method: "Apply", When: inject.Before, Nth: 1, Do: func() { once.Do(func() { <-hold }) }, Err: fault.New(fault.Unavailable, "away")})
	n := e.network(e.alice, network.CreateNetwork{})
	e.subnet(e.alice, n.ID, "10.0.0.0/24")
	for range 100 {
		e.port(e.alice, network.CreatePort{NetworkID: n.ID})
	}
	close(hold)
	e.settle()
	require.Len(t, e.applied(n.ID).Ports, 100)
	require.Len(t, e.operations(n.ID), 1, "all changes were seen by the operation under way")
	require.Less(t, e.fake.Changes(n.ID), 5)
	e.sound()
}

func TestProviderAway(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.fake.SetDown(fault.New(fault.Unavailable, "the switch is off"))
	n := e.network(e.alice, network.CreateNetwork{})
	e.subnet(e.alice, n.ID, "10.0.0.0/24")
	for range 50 {
		e.idle()
		e.clock.Advance(10 * time.Second)
	}
	n, err := e.alice.GetNetwork(e.ctx, n.ID)
	require.NoError(t, err)
	require.Equal(t, network.Build, n.Status)
	e.port(e.alice, network.CreatePort{NetworkID: n.ID})
	e.fake.SetDown(nil)
	e.settle()
	require.Len(t, e.applied(n.ID).Ports, 1)
	n, err = e.alice.GetNetwork(e.ctx, n.ID)
	require.NoError(t, err)
	require.Equal(t, network.Active, n.Status)
}

func TestProviderRefuses(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	remove := e.faults.Fail(inject.Rule{Driver: "network", Method: "Apply", Err: fault.New(fault.Invalid, "this switch has no geneve")})
	n := e.network(e.alice, network.CreateNetwork{})
	e.settle()
	n, err := e.alice.GetNetwork(e.ctx, n.ID)
	require.NoError(t, err)
	require.Equal(t, network.Failed, n.Status)
	remove()
	_, err = e.alice.UpdateNetwork(e.ctx, network.UpdateNetwork{ID: n.ID, Name: ptr("again")})
	require.NoError(t, err)
	e.settle()
	n, err = e.alice.GetNetwork(e.ctx, n.ID)
	require.NoError(t, err)
	require.Equal(t, network.Active, n.Status)
	require.Equal(t, "again", e.applied(n.ID).Name)
	e.sound()
}

func TestReconcile(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	remove := e.faults.Fail(inject.Rule{Driver: "network", Method: "Apply", Err: fault.New(fault.Invalid, "this switch has no geneve")})
	n := e.network(e.alice, network.CreateNetwork{})
	e.settle()
	remove()
	for range 2 { // the second finds nothing to do
		require.NoError(t, e.svc.Reconcile(e.ctx))
		e.settle()
	}
	require.Len(t, e.operations(n.ID), 2)
	got, err := e.alice.GetNetwork(e.ctx, n.ID)
	require.NoError(t, err)
	require.Equal(t, network.Active, got.Status)
	e.fake.SetDown(fault.New(fault.Unavailable, "away"))
	requireCode(t, fault.Unavailable, e.svc.Reconcile(e.ctx))
}

// TestBindingOfDeletedPort: what the provider has bound of a port that was deleted is unbound.
func TestBindingOfDeletedPort(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.network(e.alice, network.CreateNetwork{})
	e.subnet(e.alice, n.ID, "10.0.0.0/24")
	p := e.port(e.alice, network.CreatePort{NetworkID: n.ID})
	require.NoError(t, e.alice.DeletePort(e.ctx, p.ID))
	e.settle()
	require.NoError(t, e.fake.PlantBinding(networkdriver.Port{ID: p.ID, NetworkID: n.ID}, networkdriver.Bind{Host: "host", Generation: 1}))
	require.NoError(t, e.svc.Reconcile(e.ctx))
	states, err := e.fake.Networks()
	require.NoError(t, err)
	require.Empty(t, states[0].Bindings)
}

func TestProviderFailsOnce(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.faults.Fail(inject.Rule{Driver: "network", Method: "Apply", Nth: 1, Err: fault.New(fault.Internal, "disk on fire")})
	n := e.network(e.alice, network.CreateNetwork{})
	e.settle()
	got, err := e.alice.GetNetwork(e.ctx, n.ID)
	require.NoError(t, err)
	require.Equal(t, network.Active, got.Status)
	require.Len(t, e.operations(n.ID), 1)
}

func TestChangeWhileTheProviderRefuses(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.faults.Fail(inject.Rule{Driver: "network", Method: "Apply", Nth: 1, Err: fault.New(fault.Invalid, "no such MTU"), Do: func() {
		list, err := e.alice.ListNetworks(e.ctx, network.NetworkFilter{})
		require.NoError(t, err)
		_, err = e.alice.UpdateNetwork(e.ctx, network.UpdateNetwork{ID: list[0].ID, MTU: ptr(1400)})
		require.NoError(t, err)
	}})
	n := e.network(e.alice, network.CreateNetwork{})
	e.settle()
	require.Equal(t, 1400, e.applied(n.ID).MTU)
	require.Len(t, e.operations(n.ID), 1)
}

func TestLongPassesLeavePauses(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	// The second call of the first pass, since the engine of this test does everything twice.
	e.faults.Fail(inject.Rule{Driver: "network", Method: "Apply", Nth: 2, Hold: func() {
		list, err := e.alice.ListNetworks(e.ctx, network.NetworkFilter{})
		require.NoError(t, err)
		e.subnet(e.alice, list[0].ID, "10.0.0.0/24")
		e.clock.Advance(100 * time.Millisecond)
	}})
	n := e.network(e.alice, network.CreateNetwork{})
	e.idle()
	require.Equal(t, engine.Load{Waiting: 1}, e.engine.Load())
	e.clock.Advance(399 * time.Millisecond)
	e.idle()
	require.Empty(t, e.applied(n.ID).Subnets)
	e.clock.Advance(2 * time.Millisecond)
	e.idle()
	require.Len(t, e.applied(n.ID).Subnets, 1)
}

func TestDeleteGoesFirst(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.faults.Fail(inject.Rule{Driver: "network", Method: "Apply", Hang: true})
	n := e.network(e.alice, network.CreateNetwork{})
	require.NoError(t, e.alice.DeleteNetwork(e.ctx, n.ID))
	_, err := e.alice.GetNetwork(e.ctx, n.ID)
	requireCode(t, fault.NotFound, err)
	e.settle()
	ops := e.operations(n.ID)
	require.Len(t, ops, 2)
	states := map[string]operation.State{}
	for _, o := range ops {
		states[o.Kind] = o.State
	}
	require.Equal(t, map[string]operation.State{"network.apply": operation.Canceled, "network.remove": operation.Done}, states)
	e.sound()
}

func TestPlugAndDelete(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.faults.Fail(inject.Rule{Driver: "network", Method: "Apply", Nth: 1, Err: fault.New(fault.Unavailable, "not yet")})
	n := e.network(e.alice, network.CreateNetwork{})
	v := e.subnet(e.alice, n.ID, "10.0.0.0/30")
	p := e.port(e.alice, network.CreatePort{NetworkID: n.ID, DeviceID: "server", DeviceOwner: "compute:nova"})
	e.idle()

	b, err := e.svc.Plug(e.ctx, p.ID, "host1", 1)
	require.NoError(t, err, "a network that was not applied yet is applied first")
	require.Equal(t, "bridge", b.VIFType())
	record := func(fn func(tx *store.Tx) error) error { return e.store.Update(e.ctx, fn) }
	require.NoError(t, record(func(tx *store.Tx) error { return e.svc.Bound(tx, p.ID, "server", "host1", 1, b) }))
	err = record(func(tx *store.Tx) error { return e.svc.Bound(tx, p.ID, "another", "host1", 1, b) })
	requireReason(t, network.PortInUse, err)
	p, err = e.alice.GetPort(e.ctx, p.ID)
	require.NoError(t, err)
	require.Equal(t, network.Active, p.Status)
	require.Equal(t, "host1", p.Host)
	ps, err := e.alice.PortsOf(e.ctx, "server")
	require.NoError(t, err)
	require.Len(t, ps, 1)
	_, err = e.alice.UpdatePort(e.ctx, network.UpdatePort{ID: p.ID, MAC: ptr("fa:16:3e:00:00:09")})
	requireReason(t, network.PortBound, err)

	// An older placement can neither bind nor release.
	require.NoError(t, e.svc.Unplug(e.ctx, p.ID, "host0", 0))
	require.NoError(t, record(func(tx *store.Tx) error { return e.svc.Unbound(tx, p.ID, 0) }))
	err = record(func(tx *store.Tx) error { return e.svc.Bound(tx, p.ID, "server", "host0", 0, b) })
	requireCode(t, fault.Stale, err)

	// The only address stays taken until the provider has let go of the deleted port.
	e.settle()
	e.fake.SetDown(fault.New(fault.Unavailable, "the switch is off"))
	require.NoError(t, e.alice.DeletePort(e.ctx, p.ID))
	e.sound()
	_, err = e.alice.CreatePort(e.ctx, network.CreatePort{NetworkID: n.ID})
	requireReason(t, network.NoAddressLeft, err)
	e.fake.SetDown(nil)
	e.settle()
	require.Equal(t, []string{"10.0.0.2"}, addresses(e.port(e.alice, network.CreatePort{NetworkID: n.ID})))
	states, err := e.fake.Networks()
	require.NoError(t, err)
	require.Empty(t, states[0].Bindings)
	_, err = e.svc.Plug(e.ctx, p.ID, "host1", 2)
	requireCode(t, fault.NotFound, err)

	// A subnet and a network go away at once, whatever the provider still has to unbind.
	q, err := e.alice.ListPorts(e.ctx, network.PortFilter{})
	require.NoError(t, err)
	b, err = e.svc.Plug(e.ctx, q[0].ID, "host1", 1)
	require.NoError(t, err)
	require.NoError(t, record(func(tx *store.Tx) error { return e.svc.Bound(tx, q[0].ID, "", "host1", 1, b) }))
	e.settle()
	e.fake.SetDown(fault.New(fault.Unavailable, "the switch is off"))
	require.NoError(t, e.alice.DeletePort(e.ctx, q[0].ID))
	require.NoError(t, e.alice.DeleteSubnet(e.ctx, v.ID))
	e.sound()
	require.NoError(t, e.alice.DeleteNetwork(e.ctx, n.ID))
	e.fake.SetDown(nil)
	e.settle()
	states, err = e.fake.Networks()
	require.NoError(t, err)
	require.Empty(t, states)
	e.sound()
}

func TestClaim(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.network(e.alice, network.CreateNetwork{})
	p := e.port(e.alice, network.CreatePort{NetworkID: n.ID})
	_, err := e.bob.ClaimPort(e.ctx, p.ID, "s1", "compute:nova")
	requireCode(t, fault.NotFound, err)
	for range 2 {
		p, err = e.alice.ClaimPort(e.ctx, p.ID, "s1", "compute:nova")
		require.NoError(t, err)
	}
	require.True(t, p.Compute())
	_, err = e.alice.ClaimPort(e.ctx, p.ID, "s2", "compute:nova")
	requireReason(t, network.PortInUse, err)
	require.NoError(t, e.alice.UnclaimPort(e.ctx, p.ID, "s2"))
	require.NoError(t, e.alice.UnclaimPort(e.ctx, p.ID, "s1"))
	_, err = e.alice.ClaimPort(e.ctx, p.ID, "s2", "compute:nova")
	require.NoError(t, err)
	require.NoError(t, e.alice.DeletePort(e.ctx, p.ID))
	require.NoError(t, e.alice.UnclaimPort(e.ctx, p.ID, "s2"), "a port that is gone is released")
	e.settle()
	e.sound()
}

// told is a provider that notes how many ports it is told of.
type told struct {
	*fakenetwork.Provider
	mu     sync.Mutex
	whole  []int // ports in each Apply
	change []int // ports, changed and gone, in each Change
}

func (p *told) Apply(ctx context.Context, t networkdriver.Topology) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.whole = append(p.whole, len(t.Ports))
	return p.Provider.Apply(ctx, t)
}

func (p *told) Change(ctx context.Context, since int64, t networkdriver.Topology, gone []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.change = append(p.change, len(t.Ports)+len(gone))
	return p.Provider.Change(ctx, since, t, gone)
}

// TestProviderIsToldOfChanges: a pass hands over what has changed, a burst of changes is one pass, and a provider that has lost
// something gets the whole.
func TestProviderIsToldOfChanges(t *testing.T) {
	t.Parallel()
	backend := fakenetwork.NewBackend()
	inner, err := fakenetwork.New(fakenetwork.Options{Backend: backend})
	require.NoError(t, err)
	p := &told{Provider: inner}
	e := newEnv(t, func(o *network.Options) { o.Provider = p })
	n, err := e.alice.CreateNetwork(e.ctx, network.CreateNetwork{Name: "n"})
	require.NoError(t, err)
	e.settle()
	counts := func() (whole, change int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, n := range p.change {
			change += n
		}
		return len(p.whole), change
	}
	automatic, err := e.alice.CreateSubnet(e.ctx, network.CreateSubnet{NetworkID: n.ID, CIDR: netip.MustParsePrefix("fd00:1::/64"), RAMode: "slaac", AddressMode: "slaac"})
	require.NoError(t, err)
	e.settle()
	wholes, _ := counts()
	p.change = nil
	same := func() {
		t.Helper()
		e.settle()
		top, ok, err := backend.Topology(n.ID)
		require.NoError(t, err)
		require.True(t, ok)
		have, err := e.alice.ListPorts(e.ctx, network.PortFilter{NetworkIDs: []string{n.ID}})
		require.NoError(t, err)
		want, got := map[string]string{}, map[string]string{}
		for _, v := range have {
			want[v.ID] = fmt.Sprint(v.AdminUp, v.Fixed)
		}
		for _, v := range top.Ports {
			got[v.ID] = fmt.Sprint(v.AdminUp, v.Fixed)
		}
		require.Equal(t, want, got)
	}
	var all []*network.Port
	for range 20 {
		v, err := e.alice.CreatePort(e.ctx, network.CreatePort{NetworkID: n.ID})
		require.NoError(t, err)
		all = append(all, v)
	}
	same()
	_, err = e.alice.UpdatePort(e.ctx, network.UpdatePort{ID: all[0].ID, AdminUp: new(bool)})
	require.NoError(t, err)
	require.NoError(t, e.alice.DeletePort(e.ctx, all[1].ID))
	same()
	now, change := counts()
	require.Equal(t, 2*22, change, "each once, but that this engine does everything twice")
	require.Equal(t, 2*2, len(p.change), "a burst is one pass")
	require.Equal(t, wholes+2, now, "only the second of each two is the whole, since the provider has that revision already")

	require.NoError(t, e.alice.DeleteSubnet(e.ctx, automatic.ID))
	same()

	p.Provider, err = fakenetwork.New(fakenetwork.Options{}) // an empty one
	require.NoError(t, err)
	backend = p.Backend()
	_, err = e.alice.CreatePort(e.ctx, network.CreatePort{NetworkID: n.ID})
	require.NoError(t, err)
	same()
	now, _ = counts()
	require.Greater(t, now, wholes, "a provider that has lost the network gets the whole")
}
