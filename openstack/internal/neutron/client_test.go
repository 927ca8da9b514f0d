package neutron_test

import (
	"fmt"
	"testing"

	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/agents"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/attributestags"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/dns"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/external"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/mtu"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/networkipavailabilities"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/portsbinding"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/portsecurity"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/provider"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/quotas"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/groups"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/rules"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"
	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/network/networkdriver"
	"github.com/nubecula/cloud/store"
)

func TestNetworksAndSubnets(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	n, err := networks.Create(l.ctx, l.alice, networks.CreateOpts{Name: "net", Description: "d", AdminStateUp: ptr(true)}).Extract()
	require.NoError(t, err)
	require.Equal(t, "a", n.ProjectID)
	require.Equal(t, "a", n.TenantID)
	l.settle()
	n, err = networks.Get(l.ctx, l.alice, n.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, "ACTIVE", n.Status)
	require.Equal(t, 2030, n.CreatedAt.Year())

	sub, err := subnets.Create(l.ctx, l.alice, subnets.CreateOpts{NetworkID: n.ID, CIDR: "10.0.0.0/24", IPVersion: 4, Name: "sub",
		AllocationPools: []subnets.AllocationPool{{Start: "10.0.0.10", End: "10.0.0.20"}}, DNSNameservers: []string{"9.9.9.9"},
		HostRoutes: []subnets.HostRoute{{DestinationCIDR: "10.9.0.0/16", NextHop: "10.0.0.1"}}}).Extract()
	require.NoError(t, err)
	require.Equal(t, "10.0.0.1", sub.GatewayIP)
	require.True(t, sub.EnableDHCP)
	require.Equal(t, []subnets.AllocationPool{{Start: "10.0.0.10", End: "10.0.0.20"}}, sub.AllocationPools)
	require.Equal(t, []subnets.HostRoute{{DestinationCIDR: "10.9.0.0/16", NextHop: "10.0.0.1"}}, sub.HostRoutes)
	sub, err = subnets.Update(l.ctx, l.alice, sub.ID, subnets.UpdateOpts{Name: ptr("sub2"), GatewayIP: ptr(""), DNSNameservers: &[]string{}, EnableDHCP: ptr(false)}).Extract()
	require.NoError(t, err)
	require.Empty(t, sub.GatewayIP)
	require.Empty(t, sub.DNSNameservers)
	require.Equal(t, "sub2", sub.Name)
	page, err := subnets.List(l.alice, subnets.ListOpts{NetworkID: n.ID, IPVersion: 4, EnableDHCP: ptr(false), CIDR: "10.0.0.0/24"}).AllPages(l.ctx)
	require.NoError(t, err)
	list, err := subnets.ExtractSubnets(page)
	require.NoError(t, err)
	require.Len(t, list, 1)
	six, err := subnets.Create(l.ctx, l.alice, subnets.CreateOpts{NetworkID: n.ID, CIDR: "fd00::/64", IPVersion: 6, IPv6RAMode: "slaac", IPv6AddressMode: "slaac"}).Extract()
	require.NoError(t, err)
	require.Equal(t, "slaac", six.IPv6AddressMode)

	// Provider attributes and the rest for administrators alone.
	var full struct {
		networks.Network
		provider.NetworkProviderExt
		mtu.NetworkMTUExt
		external.NetworkExternalExt
		portsecurity.PortSecurityExt
		dns.NetworkDNSExt
	}
	require.NoError(t, networks.Get(l.ctx, l.admin, n.ID).ExtractInto(&full))
	require.Equal(t, "geneve", full.NetworkType)
	require.Equal(t, "1", full.SegmentationID)
	require.Equal(t, 1442, full.MTU)
	require.True(t, full.PortSecurityEnabled)
	require.Len(t, full.Subnets, 2)
	_, body, _ := l.do(aliceToken, "GET", "/networks/"+n.ID, "")
	require.NotContains(t, body["network"], "provider:network_type")
	ext, err := networks.Create(l.ctx, l.admin, external.CreateOptsExt{External: ptr(true), CreateOptsBuilder: provider.CreateOptsExt{
		CreateOptsBuilder: networks.CreateOpts{Name: "public"}, Segments: nil}}).Extract()
	require.NoError(t, err)
	_, err = networks.Create(l.ctx, l.alice, external.CreateOptsExt{External: ptr(true), CreateOptsBuilder: networks.CreateOpts{}}).Extract()
	requireStatus(t, 403, err)
	status, body, _ := l.do(adminToken, "POST", "/networks", `{"network": {"provider:network_type": "vlan", "provider:physical_network": "p", "provider:segmentation_id": "12", "mtu": 1400}}`)
	require.Equal(t, 201, status, body)
	require.EqualValues(t, 12, body["network"].(map[string]any)["provider:segmentation_id"])

	_, err = networks.Update(l.ctx, l.alice, n.ID, networks.UpdateOpts{Name: ptr("net2"), RevisionNumber: ptr(99)}).Extract()
	requireStatus(t, 412, err)
	upd, err := networks.Update(l.ctx, l.alice, n.ID, networks.UpdateOpts{Name: ptr("net2"), AdminStateUp: ptr(false), RevisionNumber: ptr(n.RevisionNumber + 2)}).Extract()
	require.NoError(t, err)
	require.Equal(t, "net2", upd.Name)
	require.False(t, upd.AdminStateUp)

	page, err = networks.List(l.bob, networks.ListOpts{}).AllPages(l.ctx)
	require.NoError(t, err)
	nets, err := networks.ExtractNetworks(page)
	require.NoError(t, err)
	require.Len(t, nets, 1)
	require.Equal(t, ext.ID, nets[0].ID)
	requireStatus(t, 404, networks.Delete(l.ctx, l.bob, n.ID).ExtractErr())
	require.NoError(t, subnets.Delete(l.ctx, l.alice, six.ID).ExtractErr())
	require.NoError(t, networks.Delete(l.ctx, l.alice, n.ID).ExtractErr())
	_, err = subnets.Get(l.ctx, l.alice, sub.ID).Extract()
	requireStatus(t, 404, err)

	av, err := networkipavailabilities.Get(l.ctx, l.admin, ext.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, "0", av.TotalIPs)
}

func TestPorts(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	n, err := networks.Create(l.ctx, l.alice, networks.CreateOpts{Name: "net"}).Extract()
	require.NoError(t, err)
	sub, err := subnets.Create(l.ctx, l.alice, subnets.CreateOpts{NetworkID: n.ID, CIDR: "10.0.0.0/24", IPVersion: 4}).Extract()
	require.NoError(t, err)
	g, err := groups.Create(l.ctx, l.alice, groups.CreateOpts{Name: "web"}).Extract()
	require.NoError(t, err)
	p, err := ports.Create(l.ctx, l.alice, portsecurity.PortCreateOptsExt{CreateOptsBuilder: dns.PortCreateOptsExt{DNSName: "host", CreateOptsBuilder: ports.CreateOpts{
		NetworkID: n.ID, Name: "p", FixedIPs: []ports.IP{{SubnetID: sub.ID, IPAddress: "10.0.0.9"}, {SubnetID: sub.ID}}, SecurityGroups: &[]string{g.ID},
		AllowedAddressPairs: []ports.AddressPair{{IPAddress: "10.0.0.128/25"}}, DeviceID: "dev", DeviceOwner: "mine", MACAddress: "fa:16:3e:aa:bb:cc"}}, PortSecurityEnabled: ptr(true)}).Extract()
	require.NoError(t, err)
	require.Equal(t, []ports.IP{{SubnetID: sub.ID, IPAddress: "10.0.0.9"}, {SubnetID: sub.ID, IPAddress: "10.0.0.2"}}, p.FixedIPs)
	require.Equal(t, []ports.AddressPair{{IPAddress: "10.0.0.128/25", MACAddress: "fa:16:3e:aa:bb:cc"}}, p.AllowedAddressPairs)
	require.Equal(t, []string{g.ID}, p.SecurityGroups)
	require.Equal(t, "DOWN", p.Status)
	var full struct {
		ports.Port
		dns.PortDNSExt
		portsbinding.PortsBindingExt
		portsecurity.PortSecurityExt
	}
	require.NoError(t, ports.Get(l.ctx, l.alice, p.ID).ExtractInto(&full))
	require.Equal(t, "host", full.DNSName)
	require.Equal(t, "host.openstacklocal.", full.DNSAssignment[0]["fqdn"])
	require.Equal(t, "normal", full.VNICType)
	require.Empty(t, full.VIFType, "for administrators alone")
	require.NoError(t, ports.Get(l.ctx, l.admin, p.ID).ExtractInto(&full))
	require.Equal(t, "unbound", full.VIFType)
	require.NoError(t, l.store.Update(l.ctx, func(tx *store.Tx) error {
		return l.svc.Bound(tx, p.ID, "dev", "host1", 1, networkdriver.Binding{Tap: &networkdriver.Tap{Bridge: "br0"}})
	}))
	require.NoError(t, ports.Get(l.ctx, l.admin, p.ID).ExtractInto(&full))
	require.Equal(t, "bridge", full.VIFType)
	require.Equal(t, "host1", full.HostID)
	require.Equal(t, "br0", full.VIFDetails["bridge_name"])
	require.Equal(t, "ACTIVE", full.Status)

	for i := range 4 {
		_, err := ports.Create(l.ctx, l.alice, ports.CreateOpts{NetworkID: n.ID, Name: fmt.Sprint("q", i%2)}).Extract()
		require.NoError(t, err)
	}
	count := func(opts ports.ListOpts) int {
		page, err := ports.List(l.alice, opts).AllPages(l.ctx)
		require.NoError(t, err, "%+v", opts)
		list, err := ports.ExtractPorts(page)
		require.NoError(t, err)
		return len(list)
	}
	for want, opts := range map[int][]ports.ListOpts{
		0: {{Name: "none"}, {DeviceID: "other"}, {FixedIPs: []ports.FixedIPOpts{{IPAddress: "10.0.0.77"}}}, {ProjectID: "b"}, {Status: "BUILD"}, {SecurityGroups: []string{"x"}}},
		1: {{Name: "p"}, {DeviceID: "dev"}, {FixedIPs: []ports.FixedIPOpts{{IPAddress: "10.0.0.9"}}}, {MACAddress: "fa:16:3e:aa:bb:cc"}, {DeviceOwner: "mine"},
			{ID: p.ID}, {Status: "ACTIVE"}, {SecurityGroups: []string{g.ID}}, {FixedIPs: []ports.FixedIPOpts{{SubnetID: sub.ID, IPAddressSubstr: "0.9"}}}},
		2: {{Name: "q1"}},
		4: {{Status: "DOWN"}, {Name: "", DeviceOwner: "", AdminStateUp: ptr(true), Limit: 2, Status: "DOWN"}},
		5: {{}, {NetworkID: n.ID}, {Limit: 1}, {Limit: 2, SortKey: "name", SortDir: "desc"}, {TenantID: "a"}, {FixedIPs: []ports.FixedIPOpts{{SubnetID: sub.ID}}}},
	} {
		for _, o := range opts {
			require.Equal(t, want, count(o), "%+v", o)
		}
	}

	p, err = ports.Update(l.ctx, l.alice, p.ID, ports.UpdateOpts{Name: ptr("p2"), FixedIPs: []ports.IP{{IPAddress: "10.0.0.9"}}, SecurityGroups: &[]string{},
		AllowedAddressPairs: &[]ports.AddressPair{}, AdminStateUp: ptr(false), DeviceID: ptr("")}).Extract()
	require.NoError(t, err)
	require.Len(t, p.FixedIPs, 1)
	require.Empty(t, p.SecurityGroups)
	require.Empty(t, p.DeviceID)
	require.Equal(t, "DOWN", p.Status)
	page, err := networkipavailabilities.List(l.admin, networkipavailabilities.ListOpts{NetworkName: "net", IPVersion: "4"}).AllPages(l.ctx)
	require.NoError(t, err)
	av, err := networkipavailabilities.ExtractNetworkIPAvailabilities(page)
	require.NoError(t, err)
	require.Equal(t, "253", av[0].TotalIPs)
	require.Equal(t, "5", av[0].UsedIPs)
	require.NoError(t, ports.Delete(l.ctx, l.alice, p.ID).ExtractErr())
	requireStatus(t, 404, ports.Delete(l.ctx, l.alice, p.ID).ExtractErr())
	requireStatus(t, 409, networks.Delete(l.ctx, l.alice, n.ID).ExtractErr())
	requireStatus(t, 409, subnets.Delete(l.ctx, l.alice, sub.ID).ExtractErr())
}

func TestSecurityGroups(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	page, err := groups.List(l.alice, groups.ListOpts{Name: "default"}).AllPages(l.ctx)
	require.NoError(t, err)
	list, err := groups.ExtractGroups(page)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Len(t, list[0].Rules, 4)
	g, err := groups.Create(l.ctx, l.alice, groups.CreateOpts{Name: "web", Description: "d"}).Extract()
	require.NoError(t, err)
	require.True(t, g.Stateful)
	require.Len(t, g.Rules, 2)
	g, err = groups.Update(l.ctx, l.alice, g.ID, groups.UpdateOpts{Name: "www", Description: ptr("")}).Extract()
	require.NoError(t, err)
	require.Equal(t, "www", g.Name)
	opts := rules.CreateOpts{SecGroupID: g.ID, Direction: "ingress", EtherType: "IPv4", Protocol: "tcp", PortRangeMin: 80, PortRangeMax: 81, RemoteIPPrefix: "10.1.0.0/16"}
	r, err := rules.Create(l.ctx, l.alice, opts).Extract()
	require.NoError(t, err)
	require.Equal(t, 81, r.PortRangeMax)
	_, err = rules.Create(l.ctx, l.alice, opts).Extract()
	requireStatus(t, 409, err)
	many, err := rules.CreateBulk(l.ctx, l.alice, []rules.CreateOpts{
		{SecGroupID: g.ID, Direction: "ingress", EtherType: "IPv6", Protocol: "ipv6-icmp"}, {SecGroupID: g.ID, Direction: "ingress", EtherType: "IPv4", RemoteGroupID: g.ID}}).Extract()
	require.NoError(t, err)
	require.Len(t, many, 2)
	got, err := rules.Get(l.ctx, l.alice, r.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, "10.1.0.0/16", got.RemoteIPPrefix)
	page, err = rules.List(l.alice, rules.ListOpts{SecGroupID: g.ID, Direction: "ingress"}).AllPages(l.ctx)
	require.NoError(t, err)
	all, err := rules.ExtractRules(page)
	require.NoError(t, err)
	require.Len(t, all, 3)
	require.NoError(t, rules.Delete(l.ctx, l.alice, r.ID).ExtractErr())
	_, err = groups.Get(l.ctx, l.bob, g.ID).Extract()
	requireStatus(t, 404, err)
	require.NoError(t, groups.Delete(l.ctx, l.alice, g.ID).ExtractErr())
	requireStatus(t, 409, groups.Delete(l.ctx, l.alice, list[0].ID).ExtractErr())
}

func TestQuotas(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	q, err := quotas.Get(l.ctx, l.alice, "a").Extract()
	require.NoError(t, err)
	require.Equal(t, -1, q.Port)
	q, err = quotas.Update(l.ctx, l.admin, "a", quotas.UpdateOpts{Network: ptr(1), Subnet: ptr(0)}).Extract()
	require.NoError(t, err)
	require.Equal(t, 1, q.Network)
	_, err = quotas.Update(l.ctx, l.admin, "a", quotas.UpdateOpts{FloatingIP: ptr(1)}).Extract()
	requireStatus(t, 400, err)
	_, err = quotas.Update(l.ctx, l.alice, "a", quotas.UpdateOpts{Network: ptr(5)}).Extract()
	requireStatus(t, 403, err)
	n, err := networks.Create(l.ctx, l.alice, networks.CreateOpts{}).Extract()
	require.NoError(t, err)
	d, err := quotas.GetDetail(l.ctx, l.alice, "a").Extract()
	require.NoError(t, err)
	require.Equal(t, quotas.QuotaDetail{Used: 1, Limit: 1}, d.Network)
	status, body, _ := l.do(aliceToken, "POST", "/networks", `{"network": {}}`)
	l.refused(409, "OverQuota", status, body)
	status, body, _ = l.do(aliceToken, "POST", "/subnets", `{"subnet": {"network_id": "`+n.ID+`", "cidr": "10.0.0.0/24", "ip_version": 4}}`)
	l.refused(409, "OverQuota", status, body)
	// What openstack quota set --check-limit and --force send, whichever quotas they are about.
	status, body, _ = l.do(adminToken, "PUT", "/quotas/a", `{"quota": {"network": 0, "check_limit": true}}`)
	l.refused(400, "HTTPBadRequest", status, body)
	status, body, _ = l.do(adminToken, "PUT", "/quotas/a", `{"quota": {"check_limit": true, "force": true}}`)
	l.refused(400, "HTTPBadRequest", status, body)
	for _, sent := range []string{`"network": 2, "check_limit": true`, `"network": -1, "check_limit": true`, `"network": 0, "force": true`, `"network": 1`, `"force": true`} {
		status, body, _ = l.do(adminToken, "PUT", "/quotas/a", `{"quota": {`+sent+`}}`)
		require.Equal(t, 200, status, "%s: %v", sent, body)
	}
	require.EqualValues(t, 1, body["quota"].(map[string]any)["network"])
	_, body, _ = l.do(adminToken, "GET", "/quotas", "")
	require.Len(t, body["quotas"], 1)
	_, body, _ = l.do(aliceToken, "GET", "/quotas/a/default", "")
	require.EqualValues(t, -1, body["quota"].(map[string]any)["network"])
	status, _, _ = l.do(adminToken, "DELETE", "/quotas/a", "")
	require.Equal(t, 204, status)
	_, err = networks.Create(l.ctx, l.alice, networks.CreateOpts{}).Extract()
	require.NoError(t, err)
}

func TestTags(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	n, err := networks.Create(l.ctx, l.alice, networks.CreateOpts{Name: "net"}).Extract()
	require.NoError(t, err)
	s, err := subnets.Create(l.ctx, l.alice, subnets.CreateOpts{NetworkID: n.ID, CIDR: "10.0.0.0/24", IPVersion: 4}).Extract()
	require.NoError(t, err)
	p, err := ports.Create(l.ctx, l.alice, ports.CreateOpts{NetworkID: n.ID}).Extract()
	require.NoError(t, err)
	for kind, id := range map[string]string{"networks": n.ID, "subnets": s.ID, "ports": p.ID, "security-groups": p.SecurityGroups[0]} {
		tags, err := attributestags.ReplaceAll(l.ctx, l.alice, kind, id, attributestags.ReplaceAllOpts{Tags: []string{"b", "a"}}).Extract()
		require.NoError(t, err, kind)
		require.Equal(t, []string{"a", "b"}, tags)
		require.NoError(t, attributestags.Add(l.ctx, l.alice, kind, id, "c").ExtractErr())
		require.NoError(t, attributestags.Delete(l.ctx, l.alice, kind, id, "a").ExtractErr())
		requireStatus(t, 404, attributestags.Delete(l.ctx, l.alice, kind, id, "a").ExtractErr())
		ok, err := attributestags.Confirm(l.ctx, l.alice, kind, id, "c").Extract()
		require.NoError(t, err)
		require.True(t, ok)
		ok, err = attributestags.Confirm(l.ctx, l.alice, kind, id, "a").Extract()
		require.NoError(t, err)
		require.False(t, ok)
		tags, err = attributestags.List(l.ctx, l.alice, kind, id).Extract()
		require.NoError(t, err)
		require.Equal(t, []string{"b", "c"}, tags)
	}
	other, err := networks.Create(l.ctx, l.alice, networks.CreateOpts{Name: "other"}).Extract()
	require.NoError(t, err)
	for want, opts := range map[string][]networks.ListOpts{
		n.ID:     {{Tags: "b,c"}, {TagsAny: "c,x"}, {NotTags: "x", Name: "net"}},
		other.ID: {{NotTags: "b,c"}, {NotTagsAny: "c,x"}},
	} {
		for _, o := range opts {
			page, err := networks.List(l.alice, o).AllPages(l.ctx)
			require.NoError(t, err)
			list, err := networks.ExtractNetworks(page)
			require.NoError(t, err)
			require.Len(t, list, 1, "%+v", o)
			require.Equal(t, want, list[0].ID, "%+v", o)
		}
	}
	require.NoError(t, attributestags.DeleteAll(l.ctx, l.alice, "networks", n.ID).ExtractErr())
	n, err = networks.Get(l.ctx, l.alice, n.ID).Extract()
	require.NoError(t, err)
	require.Empty(t, n.Tags)
}

func TestExtensionsAndZones(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	page, err := extensions.List(l.alice).AllPages(l.ctx)
	require.NoError(t, err)
	list, err := extensions.ExtractExtensions(page)
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, e := range list {
		require.False(t, seen[e.Alias], e.Alias)
		seen[e.Alias] = true
		got, err := extensions.Get(l.ctx, l.alice, e.Alias).Extract()
		require.NoError(t, err)
		require.Equal(t, e.Name, got.Name)
	}
	for alias, path := range map[string]string{"router": "/routers", "floatingip": "/floatingips", "subnet_allocation": "/subnetpools", "trunk": "/trunks", "qos": "/qos/policies"} {
		require.False(t, seen[alias], alias)
		status, body, _ := l.do(aliceToken, "GET", path, "")
		l.refused(404, "HTTPNotFound", status, body)
	}
	_, err = extensions.Get(l.ctx, l.alice, "router").Extract()
	requireStatus(t, 404, err)
	_, body, _ := l.do(aliceToken, "GET", "/availability_zones", "")
	require.Equal(t, []any{map[string]any{"name": "nova", "resource": "network", "state": "available"}}, body["availability_zones"])
	page, err = agents.List(l.admin, agents.ListOpts{}).AllPages(l.ctx)
	require.NoError(t, err)
	none, err := agents.ExtractAgents(page)
	require.NoError(t, err)
	require.Empty(t, none)
}
