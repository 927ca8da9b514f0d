package networktest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/id"
	"github.com/nubecula/cloud/network/networkdriver"
)

// revision checks what is listed for the network.
func (f *fixture) revision(t networkdriver.Topology) {
	f.Helper()
	s, ok := f.state(f.d, t.NetworkID)
	require.True(f, ok, "network %s is not listed", t.NetworkID)
	require.Equal(f, t.Revision, s.Revision)
}

// looks checks what the network looks like, if the harness can tell.
func (f *fixture) looks(want networkdriver.Topology) {
	f.Helper()
	f.revision(want)
	if f.b.Topology == nil {
		return
	}
	got, ok := f.b.Topology(f.T, want.NetworkID)
	require.True(f, ok)
	byID := func(a, b networkdriver.Port) int { return strings.Compare(a.ID, b.ID) }
	want.Ports = slices.SortedFunc(slices.Values(want.Ports), byID)
	got.Ports = slices.SortedFunc(slices.Values(got.Ports), byID)
	require.Equal(f, want, got)
}

func testApply(f *fixture) {
	t := f.topology()
	_, listed := f.state(f.d, t.NetworkID)
	require.False(f, listed)
	require.NoError(f, f.d.Apply(f.ctx, t))
	f.looks(t)
	s, _ := f.state(f.d, t.NetworkID)
	require.Empty(f, s.Bindings)

	t.Revision, t.Name, t.AdminUp = 2, "renamed", false
	t.Ports = []networkdriver.Port{port(t), port(t)}
	t.Ports[1].MAC, t.Ports[1].Fixed = "fa:16:3e:01:02:04", nil
	require.NoError(f, f.d.Apply(f.ctx, t))
	f.looks(t)

	t.Revision, t.Ports = 9, t.Ports[:1] // revisions may be skipped
	require.NoError(f, f.d.Apply(f.ctx, t))
	f.looks(t)
}

func testApplyAgain(f *fixture) {
	t, _ := f.applied()
	before := 0
	if f.b.Changes != nil {
		before = f.b.Changes(f.T, t.NetworkID)
		require.Positive(f, before)
	}
	for range 3 {
		require.NoError(f, f.d.Apply(f.ctx, t))
	}
	f.looks(t)
	if f.b.Changes != nil {
		require.Equal(f, before, f.b.Changes(f.T, t.NetworkID), "an apply of what is there does nothing")
	}
}

// testChange: a provider that can be told of changes alone comes to look like one that was told the whole, and
// admits it when it lacks what went before.
func testChange(f *fixture) {
	c, ok := f.d.(networkdriver.Changer)
	if !ok {
		f.Skip("the driver is no Changer")
	}
	t := f.topology()
	change := func(since int64, ports []networkdriver.Port, gone ...string) error {
		part := t
		part.Ports = ports
		return c.Change(f.ctx, since, part, gone)
	}
	f.code(fault.Conflict, change(0, t.Ports), "a change of a network that was not applied")
	t.Ports = []networkdriver.Port{port(t), port(t), port(t)}
	for i := range t.Ports {
		t.Ports[i].MAC = fmt.Sprintf("fa:16:3e:02:02:%02x", i)
	}
	require.NoError(f, f.d.Apply(f.ctx, t))

	t.Revision, t.Name = 5, "renamed"
	last, added := t.Ports[2].ID, port(t)
	t.Ports = []networkdriver.Port{t.Ports[0], t.Ports[1], added}
	t.Ports[1].AdminUp, t.Ports[1].Fixed = !t.Ports[1].AdminUp, nil
	require.NoError(f, change(1, t.Ports[1:], last, id.Random()))
	f.looks(t)
	f.reopen()
	c = f.d.(networkdriver.Changer)
	f.looks(t)
	f.code(fault.Conflict, change(1, t.Ports[1:], last), "a change that it has already")
	t.Revision = 6
	f.code(fault.Conflict, change(4, nil), "a change since before what it has: it may have seen another story")
	require.NoError(f, change(5, nil))
	f.looks(t)
	f.code(fault.Conflict, change(7, nil), "a change since a revision that it does not have")
	older := t
	older.Revision = 2
	f.code(fault.Stale, c.Change(f.ctx, 1, older, nil), "a change to an older revision")
	f.looks(t)
	t.Revision, t.Ports = 9, t.Ports[:1]
	require.NoError(f, f.d.Apply(f.ctx, t), "the whole, after changes")
	f.looks(t)
	require.NoError(f, f.d.Remove(f.ctx, t.NetworkID))
	t.Revision = 10
	f.code(fault.Stale, change(9, nil), "a change of a removed network")
}

func testApplyOlder(f *fixture) {
	t, _ := f.applied()
	older := t
	t.Revision, t.Name = 5, "newer"
	require.NoError(f, f.d.Apply(f.ctx, t))
	for range 2 {
		f.code(fault.Stale, f.d.Apply(f.ctx, older), "apply of an older revision")
		f.looks(t)
		f.reopen()
	}
}

// testApplyFull hands over a network with everything that a topology can say.
func testApplyFull(f *fixture) {
	t := f.topology()
	t.Subnets[0].DNS = []netip.Addr{netip.MustParseAddr("9.9.9.9"), netip.MustParseAddr("2620:fe::fe")}
	t.Subnets[0].HostRoutes = []networkdriver.Route{{
		Destination: netip.MustParsePrefix("192.168.0.0/16"), NextHop: netip.MustParseAddr("10.20.0.9"),
	}}
	t.Subnets = append(t.Subnets,
		networkdriver.Subnet{ID: id.Random(), CIDR: netip.MustParsePrefix("fd00:20::/64"), Gateway: netip.MustParseAddr("fd00:20::1")},
		networkdriver.Subnet{ID: id.Random(), CIDR: netip.MustParsePrefix("10.21.0.0/28")}, // no gateway
	)
	p := port(t)
	p.DeviceID = id.Random()
	p.Fixed = append(p.Fixed, networkdriver.FixedIP{SubnetID: t.Subnets[1].ID, Addr: netip.MustParseAddr("fd00:20::7")})
	t.Ports = []networkdriver.Port{p}
	require.NoError(f, f.d.Apply(f.ctx, t))
	f.looks(t)
	f.reopen()
	f.looks(t)
}

func testRemove(f *fixture) {
	t, _ := f.applied()
	require.NoError(f, f.d.Remove(f.ctx, t.NetworkID))
	_, listed := f.state(f.d, t.NetworkID)
	require.False(f, listed)
	require.NoError(f, f.d.Remove(f.ctx, t.NetworkID), "remove of an absent network")
	t.Revision = 99
	for range 2 {
		f.code(fault.Stale, f.d.Apply(f.ctx, t), "apply of a removed network")
		f.reopen()
	}
	_, listed = f.state(f.d, t.NetworkID)
	require.False(f, listed)
}

func testRemoveAbsent(f *fixture) {
	t := f.topology()
	require.NoError(f, f.d.Remove(f.ctx, t.NetworkID))
	f.code(fault.Stale, f.d.Apply(f.ctx, t), "the apply that the remove overtook")
}

func testRemoveWithBindings(f *fixture) {
	t, p := f.applied()
	f.bound(p, f.on(0, 1))
	require.NoError(f, f.d.Remove(f.ctx, t.NetworkID))
	_, listed := f.state(f.d, t.NetworkID)
	require.False(f, listed)
	_, err := f.d.Bind(f.ctx, p, f.on(0, 1))
	f.code(fault.NotFound, err, "bind in a removed network")
	require.NoError(f, f.d.Unbind(f.ctx, p.ID, f.on(0, 1)), "unbind after the network went")
}

func testReopen(f *fixture) {
	t, p := f.applied()
	f.bound(p, f.on(0, 1))
	f.reopen()
	f.looks(t)
	f.holds(p, f.on(0, 1))
	require.NoError(f, f.d.Apply(f.ctx, t))
	f.bound(p, f.on(0, 1))
}

func testListing(f *fixture) {
	want := map[string]int64{}
	for i := range f.h.Many {
		t := f.topology()
		t.Revision = int64(i + 1)
		require.NoError(f, f.d.Apply(f.ctx, t))
		if i%3 == 0 {
			require.NoError(f, f.d.Remove(f.ctx, t.NetworkID))
			continue
		}
		want[t.NetworkID] = t.Revision
	}
	for _, d := range []networkdriver.Provider{f.d, f.open()} {
		all, err := d.Networks(f.ctx)
		require.NoError(f, err)
		got := map[string]int64{}
		for _, s := range all {
			if _, mine := want[s.NetworkID]; mine {
				got[s.NetworkID] = s.Revision
			}
		}
		require.Equal(f, want, got)
	}
}

// testRemember: the greatest epoch of each Cloud is kept, for good, and is nothing that is listed.
func testRemember(f *fixture) {
	remember := func(cloud string, epoch, want int64) {
		f.Helper()
		r, ok := f.d.(networkdriver.Rememberer)
		if !ok {
			f.Skip("the driver is no Rememberer")
		}
		got, err := r.Remember(f.ctx, cloud, epoch)
		require.NoError(f, err)
		require.Equal(f, want, got)
	}
	cloud, other := id.Random(), id.Random()
	remember(cloud, 0, 0)
	remember(cloud, 3, 3)
	remember(cloud, 2, 3)
	remember(cloud, 1<<40, 1<<40)
	remember(other, 1, 1)
	f.reopen()
	remember(cloud, 0, 1<<40)
	remember(other, 0, 1)
}
