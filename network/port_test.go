package network_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/store"
)

func fixed(reqs ...network.FixedRequest) *[]network.FixedRequest { return &reqs }

func addresses(p *network.Port) (out []string) {
	for _, f := range p.Fixed {
		out = append(out, f.Addr.String())
	}
	return out
}

func TestFixedAddresses(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.network(e.alice, network.CreateNetwork{})
	other := e.network(e.alice, network.CreateNetwork{})
	v4 := e.subnet(e.alice, n.ID, "10.0.0.0/29") // .2 to .6
	second := e.subnet(e.alice, n.ID, "10.0.1.0/24")
	v6 := e.subnet(e.alice, n.ID, "fd00:1::/64")
	far := e.subnet(e.alice, other.ID, "10.0.0.0/29")

	require.Equal(t, []string{"10.0.0.2", "fd00:1::2"}, addresses(e.port(e.alice, network.CreatePort{NetworkID: n.ID})))
	require.Empty(t, addresses(e.port(e.alice, network.CreatePort{NetworkID: n.ID, Fixed: fixed()})))
	p := e.port(e.alice, network.CreatePort{NetworkID: n.ID, Fixed: fixed(
		network.FixedRequest{SubnetID: v4.ID}, network.FixedRequest{Addr: addr("10.0.0.3")}, network.FixedRequest{SubnetID: second.ID, Addr: addr("10.0.1.77")})})
	require.ElementsMatch(t, []string{"10.0.0.3", "10.0.1.77", "10.0.0.4"}, addresses(p), "what is asked for by name comes first")

	for name, bad := range map[string]struct {
		req    network.FixedRequest
		code   fault.Code
		reason network.Reason
	}{
		"in use":            {network.FixedRequest{Addr: addr("10.0.0.3")}, fault.Conflict, network.AddressInUse},
		"of no subnet":      {network.FixedRequest{Addr: addr("10.9.0.3")}, fault.Invalid, network.AddressNotOnNetwork},
		"of another subnet": {network.FixedRequest{SubnetID: second.ID, Addr: addr("10.0.0.5")}, fault.Invalid, network.AddressOutside},
		"broadcast":         {network.FixedRequest{Addr: addr("10.0.0.7")}, fault.Invalid, network.AddressOutside},
		"the network's":     {network.FixedRequest{Addr: addr("10.0.0.0")}, fault.Invalid, network.AddressOutside},
		"elsewhere":         {network.FixedRequest{SubnetID: far.ID}, fault.Invalid, network.AddressNotOnNetwork},
	} {
		_, err := e.alice.CreatePort(e.ctx, network.CreatePort{NetworkID: n.ID, Fixed: fixed(bad.req)})
		requireCode(t, bad.code, err)
		require.ErrorIs(t, err, bad.reason, name)
	}
	_, err := e.alice.CreatePort(e.ctx, network.CreatePort{NetworkID: n.ID, Fixed: fixed(network.FixedRequest{})})
	requireCode(t, fault.Invalid, err)
	_, err = e.alice.CreatePort(e.ctx, network.CreatePort{NetworkID: n.ID, Fixed: fixed(network.FixedRequest{Addr: addr("10.0.0.6")}, network.FixedRequest{Addr: addr("10.0.0.6")})})
	requireCode(t, fault.Invalid, err)

	// An update replaces the list; what it repeats is kept, what it leaves out is free again.
	p, err = e.alice.UpdatePort(e.ctx, network.UpdatePort{ID: p.ID, Fixed: fixed(network.FixedRequest{SubnetID: v4.ID}, network.FixedRequest{Addr: addr("10.0.1.5")})})
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"10.0.1.5", "10.0.0.3"}, addresses(p))
	e.port(e.alice, network.CreatePort{NetworkID: n.ID, Fixed: fixed(network.FixedRequest{Addr: addr("10.0.1.77")})})

	// The first subnet full, the second of the same family is used; a subnet asked for by name is not replaced.
	for range 3 {
		e.port(e.alice, network.CreatePort{NetworkID: n.ID, Fixed: fixed(network.FixedRequest{SubnetID: v4.ID})})
	}
	_, err = e.alice.CreatePort(e.ctx, network.CreatePort{NetworkID: n.ID, Fixed: fixed(network.FixedRequest{SubnetID: v4.ID})})
	requireReason(t, network.NoAddressLeft, err)
	require.ErrorContains(t, err, "5 in use")
	p = e.port(e.alice, network.CreatePort{NetworkID: n.ID})
	require.Equal(t, second.ID, p.Fixed[0].SubnetID)
	require.Equal(t, v6.ID, p.Fixed[1].SubnetID)

	// Found by address.
	ps, err := e.alice.ListPorts(e.ctx, network.PortFilter{Addrs: []netip.Addr{addr("10.0.1.77")}})
	require.NoError(t, err)
	require.Len(t, ps, 1)
	e.settle()
	e.sound()
}

func TestMadeUpAddresses(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.network(e.alice, network.CreateNetwork{})
	v, err := e.alice.CreateSubnet(e.ctx, network.CreateSubnet{NetworkID: n.ID, CIDR: netip.MustParsePrefix("fd00:2::/64"), RAMode: "slaac", AddressMode: "slaac"})
	require.NoError(t, err)
	p := e.port(e.alice, network.CreatePort{NetworkID: n.ID, MAC: "FA-16-3E-01-02-03"})
	require.Equal(t, "fa:16:3e:01:02:03", p.MAC)
	require.Equal(t, []string{"fd00:2::f816:3eff:fe01:203"}, addresses(p))
	_, err = e.alice.CreatePort(e.ctx, network.CreatePort{NetworkID: n.ID, Fixed: fixed(network.FixedRequest{Addr: addr("fd00:2::5")})})
	requireReason(t, network.AddressOutside, err)
	p, err = e.alice.UpdatePort(e.ctx, network.UpdatePort{ID: p.ID, MAC: ptr("fa:16:3e:01:02:04")})
	require.NoError(t, err)
	require.Equal(t, []string{"fd00:2::f816:3eff:fe01:204"}, addresses(p))
	e.sound()
	require.NoError(t, e.alice.DeleteSubnet(e.ctx, v.ID), "addresses that hosts make up do not hold a subnet")
	p, err = e.alice.GetPort(e.ctx, p.ID)
	require.NoError(t, err)
	require.Empty(t, p.Fixed)
	e.settle()
	e.sound()
}

func TestMAC(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.network(e.alice, network.CreateNetwork{})
	other := e.network(e.alice, network.CreateNetwork{})
	p := e.port(e.alice, network.CreatePort{NetworkID: n.ID})
	require.Regexp(t, "^fa:16:3e:", p.MAC)
	_, err := e.alice.CreatePort(e.ctx, network.CreatePort{NetworkID: n.ID, MAC: p.MAC})
	requireReason(t, network.MACInUse, err)
	e.port(e.alice, network.CreatePort{NetworkID: other.ID, MAC: p.MAC})
	for _, bad := range []string{"x", "01:00:00:00:00:01", "00:00:00:00:00:00", "fa:16:3e:01:02", "fa:16:3e:01:02:03:04", "fa163e010203"} {
		_, err := e.alice.CreatePort(e.ctx, network.CreatePort{NetworkID: n.ID, MAC: bad})
		requireCode(t, fault.Invalid, err)
	}
	e.sound()
}

func TestPortSettings(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.network(e.alice, network.CreateNetwork{})
	e.subnet(e.alice, n.ID, "10.0.0.0/24")
	g, err := e.alice.CreateSecurityGroup(e.ctx, network.CreateSecurityGroup{Name: "web"})
	require.NoError(t, err)
	foreign, err := e.bob.CreateSecurityGroup(e.ctx, network.CreateSecurityGroup{Name: "web"})
	require.NoError(t, err)
	p := e.port(e.alice, network.CreatePort{NetworkID: n.ID, SecurityGroups: &[]string{g.ID, g.ID}, DNSName: "host",
		AddressPairs: []network.AddressPair{{IP: "10.0.0.0/25"}}})
	require.Equal(t, []string{g.ID}, p.SecurityGroups)
	require.Equal(t, p.MAC, p.AddressPairs[0].MAC)
	_, err = e.alice.CreatePort(e.ctx, network.CreatePort{NetworkID: n.ID, SecurityGroups: &[]string{foreign.ID}})
	requireCode(t, fault.NotFound, err)
	requireReason(t, network.GroupInUse, e.alice.DeleteSecurityGroup(e.ctx, g.ID))
	_, err = e.alice.UpdatePort(e.ctx, network.UpdatePort{ID: p.ID, PortSecurity: ptr(false), AddressPairs: &[]network.AddressPair{}})
	requireReason(t, network.GroupsNeedPortSecurity, err)
	_, err = e.alice.UpdatePort(e.ctx, network.UpdatePort{ID: p.ID, PortSecurity: ptr(false), SecurityGroups: &[]string{}})
	requireReason(t, network.PairsNeedPortSecurity, err)
	_, err = e.alice.UpdatePort(e.ctx, network.UpdatePort{ID: p.ID, PortSecurity: ptr(false), SecurityGroups: &[]string{}, AddressPairs: &[]network.AddressPair{}})
	require.NoError(t, err)
	require.NoError(t, e.alice.DeleteSecurityGroup(e.ctx, g.ID))
	require.Empty(t, e.port(e.alice, network.CreatePort{NetworkID: n.ID, PortSecurity: ptr(false)}).SecurityGroups)
	for _, bad := range []network.CreatePort{
		{DNSName: "a b"}, {VNICType: "odd"}, {AddressPairs: []network.AddressPair{{IP: "x"}}}, {Name: string(make([]byte, 256))},
		{AddressPairs: []network.AddressPair{{IP: "10.0.0.1"}, {IP: "10.0.0.1"}}}, {Tags: []string{"a,b"}},
		{DeviceID: strings.Repeat("x", 256)}, {DeviceOwner: strings.Repeat("x", 256)},
	} {
		bad.NetworkID = n.ID
		_, err := e.alice.CreatePort(e.ctx, bad)
		requireCode(t, fault.Invalid, err)
	}
	e.settle()
	e.sound()
}

func TestSubnetRules(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.network(e.alice, network.CreateNetwork{})
	v := e.subnet(e.alice, n.ID, "10.0.0.0/24")
	pool := func(from, to string) []network.Pool { return []network.Pool{{Start: addr(from), End: addr(to)}} }
	for name, c := range map[string]struct {
		req    network.CreateSubnet
		reason network.Reason
	}{
		"overlap":           {network.CreateSubnet{CIDR: netip.MustParsePrefix("10.0.0.128/25")}, network.SubnetOverlap},
		"around":            {network.CreateSubnet{CIDR: netip.MustParsePrefix("10.0.0.0/8")}, network.SubnetOverlap},
		"no cidr":           {network.CreateSubnet{}, ""},
		"multicast":         {network.CreateSubnet{CIDR: netip.MustParsePrefix("224.0.0.0/24")}, ""},
		"everything":        {network.CreateSubnet{CIDR: netip.MustParsePrefix("0.0.0.0/0")}, ""},
		"gateway is net":    {network.CreateSubnet{Gateway: ptr(addr("10.1.0.0"))}, ""},
		"gateway v6":        {network.CreateSubnet{Gateway: ptr(addr("fd00::1"))}, ""},
		"gateway in pool":   {network.CreateSubnet{Pools: pool("10.1.0.1", "10.1.0.9")}, network.GatewayInPool},
		"pool outside":      {network.CreateSubnet{Pools: pool("10.1.0.9", "10.1.1.9")}, network.PoolOutside},
		"pool backwards":    {network.CreateSubnet{Pools: pool("10.1.0.9", "10.1.0.8")}, network.PoolInvalid},
		"pools overlap":     {network.CreateSubnet{Pools: append(pool("10.1.0.9", "10.1.0.20"), pool("10.1.0.20", "10.1.0.30")...)}, network.PoolsOverlap},
		"dns twice":         {network.CreateSubnet{DNS: []netip.Addr{addr("9.9.9.9"), addr("9.9.9.9")}}, ""},
		"route family":      {network.CreateSubnet{Routes: []network.Route{{Destination: netip.MustParsePrefix("fd00::/64"), NextHop: addr("10.1.0.1")}}}, ""},
		"mode of v4":        {network.CreateSubnet{RAMode: "slaac"}, ""},
		"slaac not 64":      {network.CreateSubnet{CIDR: netip.MustParsePrefix("fd00::/80"), RAMode: "slaac", AddressMode: "slaac"}, ""},
		"modes differ":      {network.CreateSubnet{CIDR: netip.MustParsePrefix("fd00::/64"), RAMode: "slaac", AddressMode: "dhcpv6-stateful"}, ""},
		"mode without dhcp": {network.CreateSubnet{CIDR: netip.MustParsePrefix("fd00::/64"), RAMode: "slaac", DHCP: ptr(false)}, ""},
	} {
		c.req.NetworkID = n.ID
		if !c.req.CIDR.IsValid() && name != "no cidr" {
			c.req.CIDR = netip.MustParsePrefix("10.1.0.0/24")
		}
		_, err := e.alice.CreateSubnet(e.ctx, c.req)
		require.Error(t, err, name)
		require.Contains(t, []fault.Code{fault.Invalid, fault.Conflict}, fault.CodeOf(err), name)
		if c.reason != "" {
			require.ErrorIs(t, err, c.reason, name)
		}
	}
	for cidr, want := range map[string][3]string{
		"10.2.0.0/30": {"10.2.0.1", "10.2.0.2", "10.2.0.2"},
		"10.3.0.0/31": {"10.3.0.0", "10.3.0.1", "10.3.0.1"},
		"10.4.0.0/32": {"invalid IP", "10.4.0.0", "10.4.0.0"},
		"fd01::/64":   {"fd01::1", "fd01::2", "fd01::ffff:ffff:ffff:ffff"},
		"fd02::/127":  {"fd02::", "fd02::1", "fd02::1"},
	} {
		v := e.subnet(e.alice, n.ID, cidr)
		require.Equal(t, want, [3]string{v.Gateway.String(), v.Pools[0].Start.String(), v.Pools[0].End.String()}, cidr)
	}
	none, err := e.alice.CreateSubnet(e.ctx, network.CreateSubnet{NetworkID: n.ID, CIDR: netip.MustParsePrefix("10.5.0.0/24"), Gateway: &netip.Addr{}})
	require.NoError(t, err)
	require.Equal(t, pool("10.5.0.1", "10.5.0.254"), none.Pools)

	// Pools may change under ports; what is held stays held.
	p := e.port(e.alice, network.CreatePort{NetworkID: n.ID, Fixed: fixed(network.FixedRequest{SubnetID: v.ID})})
	require.Equal(t, []string{"10.0.0.2"}, addresses(p))
	_, err = e.alice.UpdateSubnet(e.ctx, network.UpdateSubnet{ID: v.ID, Pools: ptr(pool("10.0.0.2", "10.0.0.3")), DNS: &[]netip.Addr{addr("9.9.9.9")}})
	require.NoError(t, err)
	require.Equal(t, []string{"10.0.0.3"}, addresses(e.port(e.alice, network.CreatePort{NetworkID: n.ID, Fixed: fixed(network.FixedRequest{SubnetID: v.ID})})))
	_, err = e.alice.UpdateSubnet(e.ctx, network.UpdateSubnet{ID: v.ID, Gateway: ptr(addr("10.0.0.2"))})
	requireReason(t, network.GatewayInPool, err)
	_, err = e.alice.UpdateSubnet(e.ctx, network.UpdateSubnet{ID: v.ID, Gateway: ptr(addr("10.0.0.2")), Pools: &[]network.Pool{}})
	requireReason(t, network.GatewayInUse, err)
	e.settle()
	require.Equal(t, []netip.Addr{addr("9.9.9.9")}, e.applied(n.ID).Subnets[0].DNS)
	e.sound()
}

func TestTogetherIsAllOrNothing(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.network(e.alice, network.CreateNetwork{})
	e.subnet(e.alice, n.ID, "10.0.0.0/29")
	err := e.store.Update(e.ctx, func(tx *store.Tx) error {
		for range 6 {
			if _, err := e.alice.CreatePort(tx.Context(), network.CreatePort{NetworkID: n.ID}); err != nil {
				return err
			}
		}
		return nil
	})
	requireReason(t, network.NoAddressLeft, err)
	ps, err := e.alice.ListPorts(e.ctx, network.PortFilter{})
	require.NoError(t, err)
	require.Empty(t, ps)
	e.settle()
	e.sound()
}
