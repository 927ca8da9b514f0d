package network_test

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/network/networkdriver"
	"github.com/nubecula/cloud/store"
)

func TestNewReportsEverythingAtOnce(t *testing.T) {
	t.Parallel()
	_, err := network.New(network.Options{TenantType: "token-ring", MTU: 9, MACPrefix: "01:02:03", VLANLast: 9999, VNIFirst: -1})
	for _, field := range []string{"Store", "Engine", "Provider", "TenantType", "MTU", "MACPrefix", "VLANFirst", "VNIFirst"} {
		require.ErrorContains(t, err, field)
	}
}

func TestNetworkLife(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.network(e.alice, network.CreateNetwork{Name: "net", Tags: []string{"b", "a", "b"}})
	require.Equal(t, network.Build, n.Status)
	require.Equal(t, []string{"a", "b"}, n.Tags)
	require.Equal(t, networkdriver.Segment{Type: "geneve", ID: 1}, n.Segment)
	require.Equal(t, 1442, n.MTU)
	e.settle()
	n, err := e.alice.GetNetwork(e.ctx, n.ID)
	require.NoError(t, err)
	require.Equal(t, network.Active, n.Status)
	require.EqualValues(t, 1, n.Revision)

	v := e.subnet(e.alice, n.ID, "10.0.0.7/24")
	require.Equal(t, "10.0.0.0/24", v.CIDR.String())
	require.Equal(t, "10.0.0.1", v.Gateway.String())
	require.Equal(t, []network.Pool{{Start: addr("10.0.0.2"), End: addr("10.0.0.254")}}, v.Pools)
	p := e.port(e.alice, network.CreatePort{NetworkID: n.ID, Name: "p"})
	require.Equal(t, []network.FixedIP{{SubnetID: v.ID, Addr: addr("10.0.0.2")}}, p.Fixed)
	require.Len(t, p.SecurityGroups, 1)
	e.settle()
	top := e.applied(n.ID)
	require.Len(t, top.Subnets, 1)
	require.Equal(t, []networkdriver.Port{{ID: p.ID, NetworkID: n.ID, MAC: p.MAC, AdminUp: true, Fixed: []networkdriver.FixedIP{{SubnetID: v.ID, Addr: addr("10.0.0.2")}}}}, top.Ports)

	n, err = e.alice.UpdateNetwork(e.ctx, network.UpdateNetwork{ID: n.ID, Name: ptr("other"), IfRevision: ptr(int64(2))})
	require.NoError(t, err)
	require.EqualValues(t, 3, n.Revision)
	_, err = e.alice.UpdateNetwork(e.ctx, network.UpdateNetwork{ID: n.ID, Name: ptr("again"), IfRevision: ptr(int64(2))})
	requireReason(t, network.RevisionMismatch, err)
	e.settle()
	require.Equal(t, "other", e.applied(n.ID).Name)

	err = e.alice.DeleteNetwork(e.ctx, n.ID)
	requireReason(t, network.NetworkInUse, err)
	err = e.alice.DeleteSubnet(e.ctx, v.ID)
	requireReason(t, network.SubnetInUse, err)
	require.NoError(t, e.alice.DeletePort(e.ctx, p.ID))
	require.NoError(t, e.alice.DeleteNetwork(e.ctx, n.ID))
	_, err = e.alice.GetSubnet(e.ctx, v.ID)
	requireCode(t, fault.NotFound, err)
	e.settle()
	_, ok, err := e.fake.Topology(n.ID)
	require.NoError(t, err)
	require.False(t, ok)
	e.sound()

	var types []string
	events, err := e.store.Events(e.ctx, 0, 100)
	require.NoError(t, err)
	for _, ev := range events {
		if ev.OperationID == "" {
			types = append(types, ev.Type)
			require.Equal(t, event.Event{Type: ev.Type, Seq: ev.Seq, Time: ev.Time, Kind: ev.Kind, ID: ev.ID, ProjectID: "a", UserID: "alice"}, ev)
		}
	}
	require.Equal(t, []string{"network.create.end", "subnet.create.end", "security_group.create.end", "port.create.end", "network.update.end",
		"port.delete.end", "subnet.delete.end", "network.delete.end"}, types)
}

func TestSegments(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(o *network.Options) { o.VNIFirst, o.VNILast = 10, 11; o.Physical = []string{"phys", "other"} })
	n := e.network(e.alice, network.CreateNetwork{})
	e.network(e.alice, network.CreateNetwork{})
	_, err := e.alice.CreateNetwork(e.ctx, network.CreateNetwork{})
	requireCode(t, fault.Exhausted, err)
	requireReason(t, network.SegmentsExhausted, err)
	require.NoError(t, e.alice.DeleteNetwork(e.ctx, n.ID))
	require.Equal(t, 10, e.network(e.alice, network.CreateNetwork{}).Segment.ID)

	flat := network.CreateNetwork{Segment: networkdriver.Segment{Type: "flat", Physical: "phys"}}
	_, err = e.alice.CreateNetwork(e.ctx, flat)
	requireCode(t, fault.Denied, err, "network:network:set_provider")
	e.network(e.admin, flat)
	_, err = e.admin.CreateNetwork(e.ctx, flat)
	requireReason(t, network.SegmentInUse, err)
	flat.Segment.Physical = "other"
	e.network(e.admin, flat)

	vlan := network.CreateNetwork{Segment: networkdriver.Segment{Type: "vlan", ID: 7}}
	require.Equal(t, "phys", e.network(e.admin, vlan).Segment.Physical)
	_, err = e.admin.CreateNetwork(e.ctx, vlan)
	requireReason(t, network.SegmentInUse, err)
	vlan.Segment.ID = 0
	require.Equal(t, 1, e.network(e.admin, vlan).Segment.ID)
	for _, bad := range []networkdriver.Segment{
		{Type: "vlan", ID: 4095}, {Type: "flat"}, {Type: "flat", Physical: "nowhere"}, {Type: "flat", Physical: "phys", ID: 1},
		{Type: "geneve", Physical: "phys"}, {Type: "geneve", ID: 1 << 24}, {Type: "local", ID: 1}, {Type: "bus"},
	} {
		_, err := e.admin.CreateNetwork(e.ctx, network.CreateNetwork{Segment: bad})
		requireCode(t, fault.Invalid, err)
	}
	e.settle()
	e.sound()
}

func TestWhoMay(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	mine := e.network(e.alice, network.CreateNetwork{Name: "mine"})
	shared := e.network(e.admin, network.CreateNetwork{Name: "shared", Shared: true})
	public := e.network(e.admin, network.CreateNetwork{Name: "public", External: true})
	hidden := e.network(e.admin, network.CreateNetwork{Name: "hidden"})
	e.subnet(e.admin, shared.ID, "10.1.0.0/24")
	e.subnet(e.admin, public.ID, "10.2.0.0/24")
	e.subnet(e.admin, hidden.ID, "10.3.0.0/24")
	sub := e.subnet(e.alice, mine.ID, "10.4.0.0/24")

	names := func(svc *network.Service, f network.NetworkFilter) (out []string) {
		list, err := svc.ListNetworks(e.ctx, f)
		require.NoError(t, err)
		for _, n := range list {
			out = append(out, n.Name)
		}
		return out
	}
	require.ElementsMatch(t, []string{"mine", "shared", "public"}, names(e.alice, network.NetworkFilter{}))
	require.ElementsMatch(t, []string{"shared", "public"}, names(e.bob, network.NetworkFilter{}))
	require.ElementsMatch(t, []string{"mine", "shared", "public"}, names(e.reader, network.NetworkFilter{}))
	require.ElementsMatch(t, []string{"mine", "shared", "public", "hidden"}, names(e.admin, network.NetworkFilter{}))
	require.Equal(t, []string{"mine"}, names(e.admin, network.NetworkFilter{ProjectID: "a"}))
	require.Equal(t, []string{"shared"}, names(e.alice, network.NetworkFilter{IDs: []string{hidden.ID, shared.ID}}))
	require.Equal(t, []string{"shared"}, names(e.alice, network.NetworkFilter{Names: []string{"shared"}}))
	list, err := e.bob.ListSubnets(e.ctx, network.SubnetFilter{})
	require.NoError(t, err)
	require.Len(t, list, 2)
	list, err = e.alice.ListSubnets(e.ctx, network.SubnetFilter{NetworkIDs: []string{hidden.ID, mine.ID}})
	require.NoError(t, err)
	require.Len(t, list, 1)

	_, err = e.svc.ListNetworks(e.ctx, network.NetworkFilter{})
	requireCode(t, fault.Unauthenticated, err)
	_, err = e.svc.CreatePort(e.ctx, network.CreatePort{NetworkID: mine.ID})
	requireCode(t, fault.Unauthenticated, err)
	_, err = e.bob.GetNetwork(e.ctx, mine.ID)
	requireCode(t, fault.NotFound, err)
	_, err = e.bob.GetSubnet(e.ctx, sub.ID)
	requireCode(t, fault.NotFound, err)
	requireCode(t, fault.NotFound, e.bob.DeleteNetwork(e.ctx, mine.ID))
	requireCode(t, fault.Denied, e.bob.DeleteNetwork(e.ctx, shared.ID), "network:network:delete")
	requireCode(t, fault.Denied, e.reader.DeleteNetwork(e.ctx, mine.ID))
	_, err = e.reader.CreateNetwork(e.ctx, network.CreateNetwork{})
	requireCode(t, fault.Denied, err)
	_, err = e.alice.CreateNetwork(e.ctx, network.CreateNetwork{ProjectID: "b"})
	requireCode(t, fault.Denied, err)
	_, err = e.alice.CreateNetwork(e.ctx, network.CreateNetwork{Shared: true})
	requireCode(t, fault.Denied, err, "set_shared")
	_, err = e.alice.CreateNetwork(e.ctx, network.CreateNetwork{External: true})
	requireCode(t, fault.Denied, err, "set_external")
	_, err = e.bob.CreateSubnet(e.ctx, network.CreateSubnet{NetworkID: shared.ID, CIDR: netip.MustParsePrefix("10.9.0.0/24")})
	requireCode(t, fault.Denied, err)
	_, err = e.bob.CreatePort(e.ctx, network.CreatePort{NetworkID: public.ID})
	requireCode(t, fault.Denied, err, "external")
	_, err = e.bob.CreatePort(e.ctx, network.CreatePort{NetworkID: hidden.ID})
	requireCode(t, fault.NotFound, err)

	// On a shared network everybody has ports, but whoever owns it decides on addresses.
	p := e.port(e.bob, network.CreatePort{NetworkID: shared.ID})
	for _, req := range []network.CreatePort{
		{MAC: "fa:16:3e:00:00:01"}, {Fixed: &[]network.FixedRequest{{Addr: addr("10.1.0.9")}}}, {PortSecurity: ptr(false)},
		{AddressPairs: []network.AddressPair{{IP: "10.1.0.0/24"}}}, {DeviceOwner: "network:dhcp"}, {Host: "h1"}, {Profile: []byte(`{"a":1}`)},
	} {
		req.NetworkID = shared.ID
		_, err := e.bob.CreatePort(e.ctx, req)
		requireCode(t, fault.Denied, err)
	}
	_, err = e.alice.GetPort(e.ctx, p.ID)
	requireCode(t, fault.NotFound, err)
	_, err = e.admin.UpdateNetwork(e.ctx, network.UpdateNetwork{ID: shared.ID, Shared: ptr(false)})
	requireReason(t, network.SharedInUse, err)

	// Whoever owns a network sees, and may delete, ports that others have on it.
	q := e.port(e.admin, network.CreatePort{NetworkID: mine.ID})
	ps, err := e.alice.ListPorts(e.ctx, network.PortFilter{})
	require.NoError(t, err)
	require.Len(t, ps, 1)
	require.NoError(t, e.alice.DeletePort(e.ctx, q.ID))
	e.settle()
	e.sound()
}

func TestQuota(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.network(e.alice, network.CreateNetwork{})
	_, err := e.alice.SetQuota(e.ctx, "a", map[string]int64{"port": 1})
	requireCode(t, fault.Denied, err)
	u, err := e.admin.SetQuota(e.ctx, "a", map[string]int64{"port": 1, "network": 1, "security_group": 0, "security_group_rule": 0})
	require.NoError(t, err)
	require.Equal(t, network.Usage{Used: 1, Limit: 1}, u["network"])
	_, err = e.alice.CreateNetwork(e.ctx, network.CreateNetwork{})
	requireCode(t, fault.Quota, err, "project a has 1 of 1 networks, 1 more asked")
	p := e.port(e.alice, network.CreatePort{NetworkID: n.ID})
	_, err = e.alice.CreatePort(e.ctx, network.CreatePort{NetworkID: n.ID})
	requireCode(t, fault.Quota, err)
	_, err = e.alice.CreateSecurityGroup(e.ctx, network.CreateSecurityGroup{Name: "x"})
	requireCode(t, fault.Quota, err)
	_, err = e.alice.CreateSecurityGroupRule(e.ctx, network.CreateSecurityGroupRule{GroupID: p.SecurityGroups[0], Direction: "ingress"})
	requireCode(t, fault.Quota, err)
	require.NoError(t, e.alice.DeletePort(e.ctx, p.ID))
	e.port(e.alice, network.CreatePort{NetworkID: n.ID})
	all, err := e.admin.ListQuotas(e.ctx)
	require.NoError(t, err)
	require.Len(t, all, 1)
	_, err = e.alice.GetQuota(e.ctx, "b")
	requireCode(t, fault.Denied, err)
	require.NoError(t, e.admin.ResetQuota(e.ctx, "a"))
	e.port(e.alice, network.CreatePort{NetworkID: n.ID})
	e.sound()
}

// TestExactAddresses has many clients ask at once for the few addresses of a small subnet.
func TestExactAddresses(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.network(e.alice, network.CreateNetwork{})
	e.subnet(e.alice, n.ID, "10.0.0.0/28")
	var wg sync.WaitGroup
	var refused atomic.Int64
	got := make([]string, 1000)
	for i := range got {
		wg.Go(func() {
			p, err := e.alice.CreatePort(e.ctx, network.CreatePort{NetworkID: n.ID})
			if err != nil {
				refused.Add(1)
				requireReason(t, network.NoAddressLeft, err)
				return
			}
			got[i] = p.Fixed[0].Addr.String()
		})
	}
	wg.Wait()
	var addresses, want []string
	for _, a := range got {
		if a != "" {
			addresses = append(addresses, a)
		}
	}
	for i := 2; i <= 14; i++ {
		want = append(want, fmt.Sprintf("10.0.0.%d", i))
	}
	require.ElementsMatch(t, want, addresses)
	require.EqualValues(t, 1000-13, refused.Load())
	e.settle()
	require.Len(t, e.applied(n.ID).Ports, 13)
	e.sound()
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.network(e.alice, network.CreateNetwork{})
	e.subnet(e.alice, n.ID, "10.0.0.0/28")
	e.port(e.alice, network.CreatePort{NetworkID: n.ID})
	e.settle()
	type row struct {
		ID string `json:"id"`
	}
	raw := store.Define(store.Spec[row]{Kind: "port", Version: 1, ID: func(r *row) string { return r.ID }})
	require.NoError(t, e.store.Update(e.ctx, func(tx *store.Tx) error {
		all, err := raw.List(tx, store.Query[row]{})
		if err != nil {
			return err
		}
		return raw.Delete(tx, all[0].ID)
	}))
	require.NoError(t, e.store.View(e.ctx, func(tx *store.Tx) error {
		lines, err := e.svc.Check(tx)
		require.Len(t, lines, 2, "the address and the quota: %q", lines)
		return err
	}))
}
