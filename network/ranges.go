package network

import (
	"net/netip"
	"slices"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/ipam"
)

const (
	maxDNS    = 5
	maxRoutes = 20
	maxPools  = 100
)

// ends returns the first and the last address of a prefix.
func ends(p netip.Prefix) (first, last netip.Addr) {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ = netip.AddrFromSlice(b)
	return p.Masked().Addr(), last
}

// usable returns the first and the last address that a port can have: IPv4 keeps the network's and the
// broadcast address back, IPv6 the routers' anycast address; point-to-point and host prefixes keep none.
func usable(p netip.Prefix) (first, last netip.Addr) {
	first, last = ends(p)
	if p.Addr().BitLen()-p.Bits() < 2 {
		return first, last
	}
	first = first.Next()
	if p.Addr().Is4() {
		last = last.Prev()
	}
	return first, last
}

// defaultGateway is the first usable address; a prefix of one address has none.
func defaultGateway(p netip.Prefix) netip.Addr {
	if p.IsSingleIP() {
		return netip.Addr{}
	}
	first, _ := usable(p)
	return first
}

// defaultPools are all usable addresses but the gateway.
func defaultPools(p netip.Prefix, gateway netip.Addr) []Pool {
	first, last := usable(p)
	if !gateway.IsValid() || gateway.Less(first) || last.Less(gateway) {
		return []Pool{{first, last}}
	}
	var out []Pool
	if first.Less(gateway) {
		out = append(out, Pool{first, gateway.Prev()})
	}
	if gateway.Less(last) {
		out = append(out, Pool{gateway.Next(), last})
	}
	return out
}

func ranges(pools []Pool) []ipam.Range {
	out := make([]ipam.Range, len(pools))
	for i, p := range pools {
		out[i] = ipam.Range{First: p.Start, Last: p.End}
	}
	return out
}

func validCIDR(v *Subnet) error {
	a := v.CIDR.Addr()
	switch {
	case !v.CIDR.IsValid():
		return fault.InvalidField("cidr", v.CIDR.String(), "it is an address and a prefix length, such as 10.0.0.0/24")
	case a.Is4In6(), a.IsMulticast(), a.IsLoopback() && v.CIDR.Bits() > 0, a.Is6() && a.IsLinkLocalUnicast(), v.CIDR.Bits() == 0:
		return fault.InvalidField("cidr", v.CIDR.String(), "guests cannot have addresses of this range")
	}
	return nil
}

// validModes checks IPv6 address modes.
func validModes(v *Subnet) error {
	known := []string{"", "slaac", "dhcpv6-stateful", "dhcpv6-stateless"}
	for field, mode := range map[string]string{"ipv6_ra_mode": v.RAMode, "ipv6_address_mode": v.AddressMode} {
		switch {
		case !slices.Contains(known, mode):
			return fault.InvalidField(field, mode, "it is slaac, dhcpv6-stateful or dhcpv6-stateless")
		case mode != "" && v.CIDR.Addr().Is4():
			return fault.InvalidField(field, mode, "a subnet of IPv4 has none")
		case mode != "" && !v.DHCP:
			return fault.InvalidField(field, mode, "it needs enable_dhcp")
		}
	}
	switch {
	case v.RAMode != "" && v.AddressMode != "" && v.RAMode != v.AddressMode:
		return fault.InvalidField("ipv6_address_mode", v.AddressMode, "where both modes are given they are the same")
	case v.automatic() && v.CIDR.Bits() != 64:
		return fault.InvalidField("cidr", v.CIDR.String(), "hosts make up addresses in a /64 only")
	}
	return nil
}

// automatic reports whether hosts make up their own addresses.
func (v *Subnet) automatic() bool {
	return v.AddressMode == "slaac" || v.AddressMode == "dhcpv6-stateless" || v.AddressMode == "" && v.RAMode == "slaac"
}

// validSubnet checks what an update may change too.
func validSubnet(v *Subnet) error {
	if err := validTexts("subnet", v.Name, v.Description, v.Tags); err != nil {
		return err
	}
	is4 := v.CIDR.Addr().Is4()
	if g := v.Gateway; g.IsValid() {
		first, last := usable(v.CIDR)
		if g.Is4() != is4 || g.Zone() != "" || v.CIDR.Contains(g) && (g.Less(first) || last.Less(g)) {
			return fault.InvalidField("gateway_ip", g.String(), "it is a usable address of "+v.CIDR.String()+", or one outside of it, of the same family")
		}
	}
	if err := validPools(v); err != nil {
		return err
	}
	if len(v.DNS) > maxDNS {
		return fault.InvalidField("dns_nameservers", len(v.DNS), sprint("at most %d", maxDNS))
	}
	for i, a := range v.DNS {
		if !a.IsValid() || a.Zone() != "" || slices.Contains(v.DNS[:i], a) {
			return fault.InvalidField("dns_nameservers", a.String(), "addresses, each once")
		}
	}
	if len(v.Routes) > maxRoutes {
		return fault.InvalidField("host_routes", len(v.Routes), sprint("at most %d", maxRoutes))
	}
	for i, r := range v.Routes {
		if !r.Destination.IsValid() || !r.NextHop.IsValid() || r.Destination.Addr().Is4() != is4 || r.NextHop.Is4() != is4 || slices.Contains(v.Routes[:i], r) {
			return fault.InvalidField("host_routes", r.Destination.String(), "each has a destination and a nexthop of the subnet's family, once")
		}
	}
	return nil
}

func validPools(v *Subnet) error {
	if len(v.Pools) > maxPools {
		return fault.InvalidField("allocation_pools", len(v.Pools), sprint("at most %d", maxPools))
	}
	first, last := usable(v.CIDR)
	bad := func(code fault.Code, reason Reason, p Pool, remedy string) error {
		return &fault.Error{Code: code, Kind: "subnet", Field: "allocation_pools", Err: reason, Msg: p.Start.String() + "-" + p.End.String() + " " + remedy}
	}
	for i, p := range v.Pools {
		switch {
		case !p.Start.IsValid() || !p.End.IsValid() || p.End.Less(p.Start) || p.Start.Zone() != "" || p.End.Zone() != "" ||
			p.Start.Is4() != v.CIDR.Addr().Is4() || p.End.Is4() != v.CIDR.Addr().Is4():
			return bad(fault.Invalid, PoolInvalid, p, "is not a run of addresses of the subnet's family")
		case p.Start.Less(first) || last.Less(p.End):
			return bad(fault.Invalid, PoolOutside, p, "reaches beyond "+first.String()+"-"+last.String())
		case v.Gateway.IsValid() && !v.Gateway.Less(p.Start) && !p.End.Less(v.Gateway):
			return bad(fault.Conflict, GatewayInPool, p, "contains the gateway "+v.Gateway.String())
		}
		for _, o := range v.Pools[:i] {
			if !p.End.Less(o.Start) && !o.End.Less(p.Start) {
				return bad(fault.Conflict, PoolsOverlap, p, "overlaps "+o.Start.String()+"-"+o.End.String())
			}
		}
	}
	return nil
}
