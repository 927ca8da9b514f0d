package networktest

import (
	"context"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/id"
	"github.com/nubecula/cloud/network/networkdriver"
)

func testBind(f *fixture) {
	_, p := f.applied()
	f.unbound(p)
	first, err := f.d.Bind(f.ctx, p, f.on(0, 1))
	require.NoError(f, err)
	f.usable(first)
	f.holds(p, f.on(0, 1))
	again, err := f.d.Bind(f.ctx, p, f.on(0, 1))
	require.NoError(f, err)
	require.Equal(f, first, again, "a repeated bind answers the same")
	f.holds(p, f.on(0, 1))
}

func testBindUnknownNetwork(f *fixture) {
	t := f.topology()
	_, err := f.d.Bind(f.ctx, port(t), f.on(0, 1))
	f.code(fault.NotFound, err, "bind in a network that was not applied")
	_, listed := f.state(f.d, t.NetworkID)
	require.False(f, listed)
}

// testBindUnknownPort: the port need not be part of the applied topology yet.
func testBindUnknownPort(f *fixture) {
	t := f.topology()
	require.NoError(f, f.d.Apply(f.ctx, t))
	p := port(t)
	f.bound(p, f.on(0, 1))
	t.Revision, t.Ports = 2, []networkdriver.Port{p}
	require.NoError(f, f.d.Apply(f.ctx, t))
	f.holds(p, f.on(0, 1))
}

func testBindMoves(f *fixture) {
	_, p := f.applied()
	f.bound(p, f.on(0, 1))
	f.bound(p, f.on(1, 2))
	f.bound(p, f.on(1, 3)) // the same host again, as a later placement
	f.bound(p, f.on(0, 7))
}

func testBindOlder(f *fixture) {
	_, p := f.applied()
	f.bound(p, f.on(0, 4))
	f.stale(p, f.on(1, 3))
	f.stale(p, f.on(0, 3))
	f.holds(p, f.on(0, 4))
}

func testApplyKeepsBindings(f *fixture) {
	t, p := f.applied()
	f.bound(p, f.on(0, 1))
	t.Revision, t.Name = 2, "renamed"
	require.NoError(f, f.d.Apply(f.ctx, t))
	f.holds(p, f.on(0, 1))
}

func testUnbind(f *fixture) {
	_, p := f.applied()
	f.bound(p, f.on(0, 2))
	require.NoError(f, f.d.Unbind(f.ctx, p.ID, f.on(0, 2)))
	f.unbound(p)
	f.stale(p, f.on(0, 2))
	f.stale(p, f.on(1, 1))
	f.unbound(p)
	f.bound(p, f.on(1, 3))
	f.stale(p, f.on(0, 2))
	f.holds(p, f.on(1, 3))
}

// testUnbindOlder: what an older placement left behind does not disturb the newer one.
func testUnbindOlder(f *fixture) {
	_, p := f.applied()
	f.bound(p, f.on(0, 1))
	f.bound(p, f.on(1, 2))
	require.NoError(f, f.d.Unbind(f.ctx, p.ID, f.on(0, 1)))
	f.holds(p, f.on(1, 2))
	f.bound(p, f.on(1, 2))
	require.NoError(f, f.d.Unbind(f.ctx, p.ID, f.on(1, 2)))
	require.NoError(f, f.d.Unbind(f.ctx, p.ID, f.on(0, 1)), "an older tombstone must not replace a newer one")
	f.unbound(p)
	f.stale(p, f.on(1, 2))
}

// testUnbindBeforeBind: the bind that the unbind overtook arrives late.
func testUnbindBeforeBind(f *fixture) {
	_, p := f.applied()
	require.NoError(f, f.d.Unbind(f.ctx, p.ID, f.on(0, 2)))
	f.stale(p, f.on(0, 2))
	f.stale(p, f.on(0, 1))
	f.unbound(p)
	f.bound(p, f.on(0, 3))
}

func testUnbindTwice(f *fixture) {
	_, p := f.applied()
	f.bound(p, f.on(0, 1))
	for range 3 {
		require.NoError(f, f.d.Unbind(f.ctx, p.ID, f.on(0, 1)))
		f.unbound(p)
	}
	require.NoError(f, f.d.Unbind(f.ctx, id.Random(), f.on(0, 1)), "unbind of a port nobody knows")
}

func testTwoConnections(f *fixture) {
	other := f.open()
	t, p := f.applied()
	require.NoError(f, other.Apply(f.ctx, t))
	_, err := other.Bind(f.ctx, p, f.on(0, 1))
	require.NoError(f, err)
	f.holds(p, f.on(0, 1))
	require.NoError(f, f.d.Unbind(f.ctx, p.ID, f.on(0, 1)))
	_, err = other.Bind(f.ctx, p, f.on(0, 1))
	f.code(fault.Stale, err, "bind through the other connection after unbind")
	require.NoError(f, f.d.Remove(f.ctx, t.NetworkID))
	f.code(fault.Stale, other.Apply(f.ctx, t), "apply through the other connection after remove")
}

func testCanceledContext(f *fixture) {
	t, p := f.applied()
	f.bound(p, f.on(0, 1))
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	fresh := f.topology()
	f.code(fault.Canceled, f.d.Apply(ctx, fresh), "apply")
	f.code(fault.Canceled, f.d.Remove(ctx, t.NetworkID), "remove")
	_, err := f.d.Bind(ctx, p, f.on(1, 2))
	f.code(fault.Canceled, err, "bind")
	f.code(fault.Canceled, f.d.Unbind(ctx, p.ID, f.on(0, 1)), "unbind")
	_, err = f.d.Networks(ctx)
	f.code(fault.Canceled, err, "networks")
	f.looks(t)
	f.holds(p, f.on(0, 1))
	_, listed := f.state(f.d, fresh.NetworkID)
	require.False(f, listed)
}

// together runs the functions at once and waits for all.
func together(fs ...func()) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for _, f := range fs {
		wg.Go(func() { <-begin; f() })
	}
	close(begin)
	wg.Wait()
}

// testConcurrentBind: the greatest generation wins, whatever the order.
func testConcurrentBind(f *fixture) {
	_, p := f.applied()
	other := f.open()
	errs := make([]error, f.h.Many+1)
	var calls []func()
	for i := 1; i <= f.h.Many; i++ {
		d := f.d
		if i%2 == 0 {
			d = other
		}
		calls = append(calls, func() { _, errs[i] = d.Bind(f.ctx, p, f.on(i%2, int64(i))) })
	}
	together(calls...)
	require.NoError(f, errs[f.h.Many])
	for _, err := range errs {
		if err != nil {
			f.code(fault.Stale, err)
		}
	}
	f.holds(p, f.on(f.h.Many%2, int64(f.h.Many)))
}

// testConcurrentUnbind: whichever of bind and unbind comes first, nothing is left.
func testConcurrentUnbind(f *fixture) {
	t, _ := f.applied()
	other := f.open()
	for range 4 {
		p := port(t)
		var bound, unbound error
		together(
			func() { _, bound = f.d.Bind(f.ctx, p, f.on(0, 1)) },
			func() { unbound = other.Unbind(f.ctx, p.ID, f.on(0, 1)) },
		)
		require.NoError(f, unbound)
		if bound != nil {
			f.code(fault.Stale, bound)
		}
		f.unbound(p)
	}
}

// testConcurrentApply: the greatest revision wins.
func testConcurrentApply(f *fixture) {
	t := f.topology()
	other := f.open()
	errs := make([]error, f.h.Many+1)
	var calls []func()
	for i := 1; i <= f.h.Many; i++ {
		d := f.d
		if i%2 == 0 {
			d = other
		}
		r := t
		r.Revision = int64(i)
		calls = append(calls, func() { errs[i] = d.Apply(f.ctx, r) })
	}
	together(calls...)
	require.NoError(f, errs[f.h.Many])
	for _, err := range errs {
		if err != nil {
			f.code(fault.Stale, err)
		}
	}
	t.Revision = int64(f.h.Many)
	f.looks(t)
}

// testConcurrentNetworks works on many networks while others list.
func testConcurrentNetworks(f *fixture) {
	errs := make([]error, f.h.Many)
	var ports []networkdriver.Port
	var calls []func()
	for i := range f.h.Many {
		t := f.topology()
		p := port(t)
		ports = append(ports, p)
		calls = append(calls, func() {
			if errs[i] = f.d.Apply(f.ctx, t); errs[i] != nil {
				return
			}
			if _, errs[i] = f.d.Bind(f.ctx, p, f.on(0, 1)); errs[i] != nil {
				return
			}
			_, errs[i] = f.d.Networks(f.ctx)
		})
	}
	together(calls...)
	for i, p := range ports {
		require.NoError(f, errs[i])
		f.holds(p, f.on(0, 1))
	}
}
