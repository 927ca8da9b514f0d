package network_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/network/fakenetwork"
	"github.com/nubecula/cloud/network/networkdriver"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
)

// env is the network service with everything below it, in memory.
type env struct {
	t      *testing.T
	ctx    context.Context
	clock  *clock.Manual
	store  *store.Store
	engine *engine.Engine
	faults *inject.Plan
	fake   *fakenetwork.Backend
	svc    *network.Service // of nobody
	admin  *network.Service
	alice  *network.Service // member of project "a"
	bob    *network.Service // member of project "b"
	reader *network.Service // reader in project "a"
	change chan struct{}
}

func member(user, project string, roles ...string) *identity.Principal {
	return &identity.Principal{UserID: user, ProjectID: project, Roles: roles}
}

func newEnv(t *testing.T, options ...func(*network.Options)) *env {
	t.Helper()
	e := &env{t: t, ctx: context.Background(), clock: clock.NewManual(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)), change: make(chan struct{}, 1)}
	var err error
	e.store, err = store.New(memory.New(&memory.Options{Clock: e.clock}), store.Options{Key: store.NewKey(), Clock: e.clock, Rerun: 1})
	require.NoError(t, err)
	e.engine, err = engine.New(engine.Options{Store: e.store, Clock: e.clock, Twice: true})
	require.NoError(t, err)
	e.faults = inject.NewPlan(e.clock, 1)
	e.fake = fakenetwork.NewBackend()
	provider, err := fakenetwork.New(fakenetwork.Options{Backend: e.fake, Faults: e.faults})
	require.NoError(t, err)
	opt := network.Options{Store: e.store, Engine: e.engine, Provider: provider, Clock: e.clock}
	for _, f := range options {
		f(&opt)
	}
	e.svc, err = network.New(opt)
	require.NoError(t, err)
	e.admin = e.svc.As(member("root", "admin", "admin", "manager", "member", "reader"))
	e.alice = e.svc.As(member("alice", "a", "member", "reader"))
	e.bob = e.svc.As(member("bob", "b", "member", "reader"))
	e.reader = e.svc.As(member("rita", "a", "reader"))
	e.engine.OnChange(func() {
		select {
		case e.change <- struct{}{}:
		default:
		}
	})
	require.NoError(t, e.engine.Start(e.ctx))
	t.Cleanup(func() {
		require.NoError(t, e.engine.Close(10*time.Second))
		require.NoError(t, e.store.Close())
	})
	return e
}

// settle lets every operation end, moving the clock for those that wait.
func (e *env) settle() {
	e.t.Helper()
	for {
		load := e.engine.Load()
		switch {
		case load.Running+load.Queued > 0:
			<-e.change
		case e.active() == 0:
			return
		default:
			e.clock.Advance(time.Second)
		}
	}
}

// idle lets the workers come to rest without moving the clock.
func (e *env) idle() {
	for load := e.engine.Load(); load.Running+load.Queued > 0; load = e.engine.Load() {
		<-e.change
	}
}

func (e *env) active() (n int) {
	require.NoError(e.t, e.store.View(e.ctx, func(tx *store.Tx) error {
		all, err := operation.Collection.List(tx, store.Query[operation.Operation]{Filter: func(o *operation.Operation) bool { return !o.State.Ended() }})
		n = len(all)
		return err
	}))
	return n
}

// sound checks that everything that is counted equals its recount.
func (e *env) sound() {
	e.t.Helper()
	require.NoError(e.t, e.store.View(e.ctx, func(tx *store.Tx) error {
		lines, err := e.svc.Check(tx)
		require.Empty(e.t, lines)
		return err
	}))
}

func (e *env) network(svc *network.Service, req network.CreateNetwork) *network.Network {
	e.t.Helper()
	n, err := svc.CreateNetwork(e.ctx, req)
	require.NoError(e.t, err)
	return n
}

func (e *env) subnet(svc *network.Service, networkID, cidr string) *network.Subnet {
	e.t.Helper()
	v, err := svc.CreateSubnet(e.ctx, network.CreateSubnet{NetworkID: networkID, CIDR: netip.MustParsePrefix(cidr)})
	require.NoError(e.t, err)
	return v
}

func (e *env) port(svc *network.Service, req network.CreatePort) *network.Port {
	e.t.Helper()
	p, err := svc.CreatePort(e.ctx, req)
	require.NoError(e.t, err)
	return p
}

// applied returns the topology that the provider has.
func (e *env) applied(networkID string) networkdriver.Topology {
	e.t.Helper()
	t, ok, err := e.fake.Topology(networkID)
	require.NoError(e.t, err)
	require.True(e.t, ok, "the provider does not have network %s", networkID)
	return t
}

func requireCode(t *testing.T, code fault.Code, err error, text ...string) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, code.String(), fault.CodeOf(err).String(), "%v", err)
	for _, x := range text {
		require.ErrorContains(t, err, x)
	}
}

func requireReason(t *testing.T, reason network.Reason, err error) {
	t.Helper()
	require.ErrorIs(t, err, reason)
}

func ptr[T any](v T) *T { return &v }

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }
