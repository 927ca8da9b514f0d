package neutron

import (
	"context"
	"net/netip"

	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

func (a *api) subnets() resource[network.Subnet] {
	return resource[network.Subnet]{
		name: "subnet", plural: "subnets", path: "/subnets",
		attributes: append([]string{"name", "network_id", "ip_version", "cidr", "gateway_ip", "enable_dhcp", "ipv6_ra_mode", "ipv6_address_mode",
			"subnetpool_id", "dns_nameservers"}, common...),
		show: showSubnet, revision: func(v *network.Subnet) int64 { return v.Revision },
		list: func(ctx context.Context, svc *network.Service, f filter) ([]*network.Subnet, error) {
			return svc.ListSubnets(ctx, network.SubnetFilter{IDs: f.values["id"], ProjectID: f.one("project_id"), NetworkIDs: f.values["network_id"], Names: f.values["name"]})
		},
		get: func(ctx context.Context, svc *network.Service, id string) (*network.Subnet, error) {
			return svc.GetSubnet(ctx, id)
		},
		create: func(ctx context.Context, svc *network.Service, b *body) (*network.Subnet, error) {
			req, err := subnetRequest(b)
			if err != nil {
				return nil, err
			}
			return svc.CreateSubnet(ctx, req)
		},
		update: func(ctx context.Context, svc *network.Service, id string, rev *int64, b *body) (*network.Subnet, error) {
			req := network.UpdateSubnet{ID: id, IfRevision: rev, Name: b.text("name"), Description: b.text("description"), Gateway: b.addr("gateway_ip"),
				Pools: pools(b), DNS: b.addrs("dns_nameservers"), Routes: routes(b), DHCP: b.flag("enable_dhcp")}
			if err := b.done(); err != nil {
				return nil, err
			}
			return svc.UpdateSubnet(ctx, req)
		},
		delete: func(ctx context.Context, svc *network.Service, id string) error { return svc.DeleteSubnet(ctx, id) },
		tags: func(ctx context.Context, svc *network.Service, id string, change func([]string) []string) (tags []string, err error) {
			err = svc.Together(ctx, func(ctx context.Context) error {
				v, err := svc.GetSubnet(ctx, id)
				if err != nil {
					return err
				}
				tags = change(v.Tags)
				v, err = svc.UpdateSubnet(ctx, network.UpdateSubnet{ID: id, Tags: &tags})
				if err == nil {
					tags = v.Tags
				}
				return err
			})
			return tags, err
		},
	}
}

func subnetRequest(b *body) (network.CreateSubnet, error) {
	b.need("network_id")
	b.need("cidr")
	req := network.CreateSubnet{
		ProjectID: b.project(), NetworkID: b.str("network_id"), Name: b.str("name"), Description: b.str("description"), DNS: deref(b.addrs("dns_nameservers")),
		Routes: deref(routes(b)), DHCP: b.flag("enable_dhcp"), RAMode: b.str("ipv6_ra_mode"), AddressMode: b.str("ipv6_address_mode"),
		Gateway: b.addr("gateway_ip"), Tags: b.tags(),
	}
	if p := pools(b); p != nil {
		req.Pools = *p
	}
	if b.str("subnetpool_id") != "" {
		b.bad("subnetpool_id", "there are no subnet pools; give a cidr")
	}
	cidr := b.str("cidr")
	p, err := netip.ParsePrefix(cidr)
	if a, err2 := netip.ParseAddr(cidr); err != nil && err2 == nil {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	if err != nil {
		b.bad("cidr", "it is an address and a prefix length, such as 10.0.0.0/24")
	}
	req.CIDR = p
	if v := b.number("ip_version"); v != nil && err == nil && *v != version(p) {
		b.bad("ip_version", "it is the version of the cidr "+cidr)
	}
	return req, b.done()
}

func version(p netip.Prefix) int {
	if p.Addr().Is4() {
		return 4
	}
	return 6
}

func pools(b *body) *[]network.Pool {
	list := b.objects("allocation_pools", "start", "end")
	if list == nil {
		return nil
	}
	out := []network.Pool{}
	for _, o := range *list {
		start, err1 := parseAddr(o["start"])
		end, err2 := parseAddr(o["end"])
		if err1 != nil || err2 != nil || !start.IsValid() || !end.IsValid() {
			b.bad("allocation_pools", "each has a start and an end, both IP addresses")
			return nil
		}
		out = append(out, network.Pool{Start: start, End: end})
	}
	return &out
}

func routes(b *body) *[]network.Route {
	list := b.objects("host_routes", "destination", "nexthop")
	if list == nil {
		return nil
	}
	out := []network.Route{}
	for _, o := range *list {
		to, err1 := netip.ParsePrefix(o["destination"])
		hop, err2 := parseAddr(o["nexthop"])
		if err1 != nil || err2 != nil || !hop.IsValid() {
			b.bad("host_routes", "each has a destination such as 10.0.0.0/24 and a nexthop")
			return nil
		}
		out = append(out, network.Route{Destination: to.Masked(), NextHop: hop})
	}
	return &out
}

func showSubnet(_ *rest.Request, v *network.Subnet) object {
	pools, routes, dns := []object{}, []object{}, []string{}
	for _, p := range v.Pools {
		pools = append(pools, object{"start": p.Start.String(), "end": p.End.String()})
	}
	for _, h := range v.Routes {
		routes = append(routes, object{"destination": h.Destination.String(), "nexthop": h.NextHop.String()})
	}
	for _, d := range v.DNS {
		dns = append(dns, d.String())
	}
	var gateway any
	if v.Gateway.IsValid() {
		gateway = v.Gateway.String()
	}
	return object{
		"id": v.ID, "project_id": v.ProjectID, "tenant_id": v.ProjectID, "name": v.Name, "description": v.Description, "network_id": v.NetworkID,
		"ip_version": version(v.CIDR), "cidr": v.CIDR.String(), "gateway_ip": gateway, "allocation_pools": pools, "dns_nameservers": dns, "host_routes": routes,
		"enable_dhcp": v.DHCP, "ipv6_ra_mode": null(v.RAMode), "ipv6_address_mode": null(v.AddressMode), "subnetpool_id": nil, "tags": list(v.Tags),
		"revision_number": v.Revision, "created_at": rest.Seconds(v.CreatedAt), "updated_at": rest.Seconds(v.UpdatedAt),
	}
}
