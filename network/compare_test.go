package network_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/finding"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/network/networkdriver"
	"github.com/nubecula/cloud/store"
)

// bound makes ports on a network and binds them, as boots do.
func (e *env) bound(networkID string, n int) (made []*network.Port) {
	e.t.Helper()
	for i := range n {
		made = append(made, e.port(e.alice, network.CreatePort{NetworkID: networkID, DeviceID: fmt.Sprint("server-", i), DeviceOwner: "compute:nova"}))
	}
	for _, p := range made {
		e.bind(p)
	}
	return made
}

func (e *env) bind(p *network.Port) {
	e.t.Helper()
	vif, err := e.svc.Plug(e.ctx, p.ID, "host", 1)
	require.NoError(e.t, err)
	require.NoError(e.t, e.store.Update(e.ctx, func(tx *store.Tx) error { return e.svc.Bound(tx, p.ID, p.DeviceID, "host", 1, vif) }))
}

func (e *env) inspect() []finding.Finding {
	e.t.Helper()
	found, err := e.admin.Inspect(e.ctx)
	require.NoError(e.t, err)
	return found
}

// TestComparesManyPorts: a network whose ports are read in several parts is compared as a whole, and so are those around it.
func TestComparesManyPorts(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	var all []*network.Port
	for _, ports := range []int{10, 1234, 0, 10} {
		n := e.network(e.alice, network.CreateNetwork{})
		e.subnet(e.alice, n.ID, "10.0.0.0/16")
		all = append(all, e.bound(n.ID, ports)...)
	}
	e.settle()
	require.Empty(t, e.inspect())
	var lost []string
	for i := 0; i < len(all); i += 100 {
		lost = append(lost, all[i].ID)
		require.NoError(t, e.fake.Lose(all[i].ID))
	}
	var missing []string
	for _, f := range e.inspect() {
		require.Equal(t, "binding-missing", f.Rule)
		missing = append(missing, f.ID)
	}
	require.ElementsMatch(t, lost, missing)
	require.NoError(t, e.svc.Reconcile(e.ctx))
	require.Empty(t, e.inspect())
}

// between is a provider behind whose first listing something happens.
type between struct {
	networkdriver.Provider
	happens func()
}

func (b *between) Networks(ctx context.Context) ([]networkdriver.NetworkState, error) {
	states, err := b.Provider.Networks(ctx)
	if f := b.happens; f != nil {
		b.happens = nil
		f()
	}
	return states, err
}

// TestChangesBesideAComparison: a port that is bound, unbound or deleted while a comparison goes on is no finding.
func TestChangesBesideAComparison(t *testing.T) {
	t.Parallel()
	b := &between{}
	e := newEnv(t, func(o *network.Options) {
		b.Provider = o.Provider
		o.Provider = b
	})
	n := e.network(e.alice, network.CreateNetwork{})
	e.subnet(e.alice, n.ID, "10.0.0.0/24")
	old := e.bound(n.ID, 2)
	fresh := e.port(e.alice, network.CreatePort{NetworkID: n.ID, DeviceID: "server", DeviceOwner: "compute:nova"})
	e.settle()
	b.happens = func() {
		e.bind(fresh)
		for _, p := range old {
			require.NoError(t, e.svc.Unplug(e.ctx, p.ID, "host", 1))
			require.NoError(t, e.store.Update(e.ctx, func(tx *store.Tx) error { return e.svc.Unbound(tx, p.ID, 1) }))
		}
		require.NoError(t, e.alice.DeletePort(e.ctx, old[0].ID))
	}
	require.Empty(t, e.inspect())
	require.Nil(t, b.happens, "it was asked")
}

// TestRoundsPause: a round pauses nine times as long as it reads ports; an operator who waits does not.
func TestRoundsPause(t *testing.T) {
	t.Parallel()
	c := &clock.Ticking{}
	e := newEnv(t, func(o *network.Options) {
		c.Manual = clock.NewManual(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC))
		o.Clock = c
	})
	n := e.network(e.alice, network.CreateNetwork{})
	e.subnet(e.alice, n.ID, "10.0.0.0/16")
	e.bound(n.ID, 1500)
	e.settle()
	require.Empty(t, e.inspect())
	require.Zero(t, c.Paused())
	require.NoError(t, e.svc.Reconcile(e.ctx))
	require.Equal(t, 2*9*time.Millisecond, c.Paused(), "two parts")
}
