package neutron

import (
	"context"
	"encoding/json"
	"math/big"
	"slices"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// extensions are those that work here, by alias. Clients try what is listed, and nothing else.
var extensions = [][3]string{
	{"allowed-address-pairs", "Allowed Address Pairs", "More addresses that a port may send from"},
	{"availability_zone", "Availability Zone", "Zones that resources may name"},
	{"binding", "Port Binding", "Where and how a port is bound, for administrators"},
	{"dns-integration", "DNS Integration", "Names of ports"},
	{"external-net", "Neutron external network", "Networks that lead outside"},
	{"filter-validation", "Filters validation", "A list refuses filters that it does not know"},
	{"ip-substring-filtering", "IP address substring filtering", "Ports by a part of an address"},
	{"net-mtu", "Network MTU", "The MTU of a network"},
	{"net-mtu-writable", "Network MTU (writable)", "The MTU of a network can be set"},
	{"network-ip-availability", "Network IP Availability", "How many addresses of a network are in use"},
	{"network_availability_zone", "Network Availability Zone", "Zones that networks may name"},
	{"pagination", "Pagination support", "Lists come in pages"},
	{"port-security", "Port Security", "Port security can be switched off"},
	{"project-id", "project_id field enabled", "project_id beside tenant_id"},
	{"provider", "Provider Network", "The segment of a network, for administrators"},
	{"quota-check-limit", "Quota engine limit check", "A new limit can be checked against the use"},
	{"quota_details", "Quota details management support", "Use beside limits"},
	{"quotas", "Quota management support", "Limits of projects"},
	{"revision-if-match", "If-Match constraints based on revision_number", "Changes of a certain revision only"},
	{"security-group", "security-group", "Security groups and their rules"},
	{"security-groups-normalized-cidr", "Normalized CIDR field for security group rules", "The remote range in its usual form"},
	{"sorting", "Sorting support", "Lists in a chosen order"},
	{"standard-attr-description", "standard-attr-description", "Descriptions"},
	{"standard-attr-revisions", "Resource revision numbers", "Revision numbers"},
	{"standard-attr-tag", "Tag support for resources with standard attribute", "Tags of networks, subnets, ports and security groups"},
	{"standard-attr-timestamp", "Resource timestamps", "Times of creation and change"},
	{"stateful-security-group", "Stateful security group", "Security groups without connection tracking"},
}

func showExtension(e [3]string) object {
	return object{"alias": e[0], "name": e[1], "description": e[2], "updated": "2026-01-01T00:00:00-00:00", "links": []string{}}
}

func (a *api) otherRoutes() []rest.Route {
	return slices.Concat(
		readTags(a, a.networks()), readTags(a, a.subnets()), readTags(a, a.ports()), readTags(a, a.groups()),
		[]rest.Route{
			route("GET", "/extensions", func(_ context.Context, r *rest.Request) (*rest.Response, error) {
				list := []object{}
				for _, e := range extensions {
					list = append(list, only(showExtension(e), r))
				}
				return rest.OK(object{"extensions": list}), nil
			}),
			route("GET", "/extensions/{alias}", func(_ context.Context, r *rest.Request) (*rest.Response, error) {
				for _, e := range extensions {
					if e[0] == r.Value("alias") {
						return rest.OK(object{"extension": showExtension(e)}), nil
					}
				}
				return nil, fault.Missing("extension", r.Value("alias"))
			}),
			route("GET", "/availability_zones", a.listZones),
			// There are no agents: providers are called directly.
			route("GET", "/agents", func(context.Context, *rest.Request) (*rest.Response, error) {
				return rest.OK(object{"agents": []object{}}), nil
			}),
			route("GET", "/agents/{id}", func(_ context.Context, r *rest.Request) (*rest.Response, error) {
				return nil, fault.Missing("agent", r.Value("id"))
			}),
			route("GET", "/network-ip-availabilities", a.listAvailability),
			route("GET", "/network-ip-availabilities/{id}", func(ctx context.Context, r *rest.Request) (*rest.Response, error) {
				n, err := a.svc.As(r.Principal).GetNetwork(ctx, r.Value("id"))
				if err != nil {
					return nil, err
				}
				o, err := a.availability(ctx, r, n)
				if err != nil {
					return nil, err
				}
				return rest.OK(object{"network_ip_availability": o}), nil
			}),
		})
}

func (a *api) listZones(_ context.Context, r *rest.Request) (*rest.Response, error) {
	f, err := readFilter(r, []string{"name", "resource", "state"})
	if err != nil {
		return nil, err
	}
	list := []object{}
	for _, z := range a.svc.AvailabilityZones() {
		if o := (object{"name": z, "resource": "network", "state": "available"}); f.admits(o) {
			list = append(list, o)
		}
	}
	return rest.OK(object{"availability_zones": list}), nil
}

func (a *api) listAvailability(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	f, err := readFilter(r, []string{"network_id", "network_name", "project_id", "tenant_id", "ip_version"})
	if err != nil {
		return nil, err
	}
	version := f.one("ip_version")
	delete(f.values, "ip_version")
	nets, err := a.svc.As(r.Principal).ListNetworks(ctx, network.NetworkFilter{IDs: f.values["network_id"]})
	if err != nil {
		return nil, err
	}
	list := []object{}
	for _, n := range nets {
		o, err := a.availability(ctx, r, n)
		if err != nil {
			return nil, err
		}
		of := o["subnet_ip_availability"].([]object)
		if f.admits(o) && (version == "" || slices.ContainsFunc(of, func(s object) bool { return matches(s["ip_version"], version) })) {
			list = append(list, only(o, r))
		}
	}
	return rest.OK(object{"network_ip_availabilities": list}), nil
}

func (a *api) availability(ctx context.Context, r *rest.Request, n *network.Network) (object, error) {
	of, err := a.svc.As(r.Principal).NetworkAddresses(ctx, n.ID)
	if err != nil {
		return nil, err
	}
	total, used, list := new(big.Int), int64(0), []object{}
	for _, s := range of {
		size := poolSize(s.Subnet.Pools)
		total.Add(total, size)
		used += s.Used
		list = append(list, object{"subnet_id": s.Subnet.ID, "subnet_name": s.Subnet.Name, "cidr": s.Subnet.CIDR.String(),
			"ip_version": version(s.Subnet.CIDR), "total_ips": json.Number(size.String()), "used_ips": s.Used})
	}
	return object{"network_id": n.ID, "network_name": n.Name, "project_id": n.ProjectID, "tenant_id": n.ProjectID,
		"total_ips": json.Number(total.String()), "used_ips": used, "subnet_ip_availability": list}, nil
}

// poolSize counts the addresses of pools, of which IPv6 has more than any integer type holds.
func poolSize(pools []network.Pool) *big.Int {
	n := new(big.Int)
	for _, p := range pools {
		first, last := new(big.Int).SetBytes(p.Start.AsSlice()), new(big.Int).SetBytes(p.End.AsSlice())
		n.Add(n, last.Sub(last, first)).Add(n, big.NewInt(1))
	}
	return n
}
