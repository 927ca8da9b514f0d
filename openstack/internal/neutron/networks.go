package neutron

import (
	"context"
	"slices"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/network/networkdriver"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// common are the attributes of every resource.
var common = []string{"id", "project_id", "tenant_id", "description", "tags", "revision_number", "created_at", "updated_at"}

func (a *api) networks() resource[network.Network] {
	return resource[network.Network]{
		name: "network", plural: "networks", path: "/networks",
		attributes: append([]string{"name", "admin_state_up", "status", "shared", "mtu", "subnets", "router:external", "port_security_enabled",
			"availability_zones", "availability_zone_hints", "is_default", "dns_domain", "provider:network_type", "provider:physical_network",
			"provider:segmentation_id"}, common...),
		show: a.showNetwork, revision: func(n *network.Network) int64 { return n.Revision },
		list: func(ctx context.Context, svc *network.Service, f filter) ([]*network.Network, error) {
			return svc.ListNetworks(ctx, network.NetworkFilter{IDs: f.values["id"], ProjectID: f.one("project_id"), Names: f.values["name"]})
		},
		get: func(ctx context.Context, svc *network.Service, id string) (*network.Network, error) {
			return svc.GetNetwork(ctx, id)
		},
		create: func(ctx context.Context, svc *network.Service, b *body) (*network.Network, error) {
			req, err := networkRequest(b)
			if err != nil {
				return nil, err
			}
			return svc.CreateNetwork(ctx, req)
		},
		update: func(ctx context.Context, svc *network.Service, id string, rev *int64, b *body) (*network.Network, error) {
			req := network.UpdateNetwork{ID: id, IfRevision: rev, Name: b.text("name"), Description: b.text("description"),
				AdminUp: b.flag("admin_state_up"), Shared: b.flag("shared"), External: b.flag("router:external"), Default: b.flag("is_default"),
				MTU: b.number("mtu"), PortSecurity: b.flag("port_security_enabled"), DNSDomain: b.text("dns_domain")}
			if slices.ContainsFunc(providerFields, func(f string) bool { return b.fields[f] != nil }) {
				n, err := svc.GetNetwork(ctx, id)
				if err != nil {
					return nil, err
				}
				want := segment(b, n.Segment)
				req.Segment = &want
			}
			if err := b.done(); err != nil {
				return nil, err
			}
			return svc.UpdateNetwork(ctx, req)
		},
		delete: func(ctx context.Context, svc *network.Service, id string) error { return svc.DeleteNetwork(ctx, id) },
		tags: func(ctx context.Context, svc *network.Service, id string, change func([]string) []string) (tags []string, err error) {
			err = svc.Together(ctx, func(ctx context.Context) error {
				n, err := svc.GetNetwork(ctx, id)
				if err != nil {
					return err
				}
				tags = change(n.Tags)
				n, err = svc.UpdateNetwork(ctx, network.UpdateNetwork{ID: id, Tags: &tags})
				if err == nil {
					tags = n.Tags
				}
				return err
			})
			return tags, err
		},
	}
}

var providerFields = []string{"provider:network_type", "provider:physical_network", "provider:segmentation_id"}

// segment reads the provider attributes over what is there already.
func segment(b *body, was networkdriver.Segment) networkdriver.Segment {
	if v := b.text(providerFields[0]); v != nil && *v != "" {
		was.Type = *v
	}
	if v := b.text(providerFields[1]); v != nil {
		was.Physical = *v
	}
	if v := b.number(providerFields[2]); v != nil {
		if was.ID = *v; *v < 1 {
			b.bad(providerFields[2], "it is at least 1")
		}
	}
	return was
}

func networkRequest(b *body) (network.CreateNetwork, error) {
	req := network.CreateNetwork{
		ProjectID: b.project(), Name: b.str("name"), Description: b.str("description"), AdminUp: b.flag("admin_state_up"), Shared: b.is("shared"),
		External: b.is("router:external"), Default: b.is("is_default"), Segment: segment(b, networkdriver.Segment{}),
		PortSecurity: b.flag("port_security_enabled"), DNSDomain: b.str("dns_domain"), AvailabilityZones: deref(b.texts("availability_zone_hints")), Tags: b.tags(),
	}
	if mtu := b.number("mtu"); mtu != nil && *mtu != 0 {
		req.MTU = *mtu
	}
	return req, b.done()
}

func (a *api) showNetwork(r *rest.Request, n *network.Network) object {
	zones := []string{}
	if n.Status == network.Active {
		if zones = n.AvailabilityZones; len(zones) == 0 {
			zones = a.svc.AvailabilityZones()
		}
	}
	o := object{
		"id": n.ID, "project_id": n.ProjectID, "tenant_id": n.ProjectID, "name": n.Name, "description": n.Description, "admin_state_up": n.AdminUp,
		"status": n.Status, "shared": n.Shared, "mtu": n.MTU, "subnets": list(n.Subnets), "router:external": n.External,
		"port_security_enabled": n.PortSecurity, "availability_zones": zones, "availability_zone_hints": list(n.AvailabilityZones),
		"dns_domain": n.DNSDomain, "tags": list(n.Tags), "revision_number": n.Revision, "created_at": rest.Seconds(n.CreatedAt), "updated_at": rest.Seconds(n.UpdatedAt),
	}
	if n.External {
		o["is_default"] = n.Default
	}
	if a.svc.As(r.Principal).May("network:network:get_provider", n.ProjectID) {
		o["provider:network_type"], o["provider:physical_network"], o["provider:segmentation_id"] = n.Segment.Type, null(n.Segment.Physical), null(n.Segment.ID)
	}
	return o
}

// list is never null in JSON.
func list(v []string) []string {
	if v == nil {
		return []string{}
	}
	return v
}

// null shows a zero value as null.
func null[T comparable](v T) any {
	var zero T
	if v == zero {
		return nil
	}
	return v
}

// tagRoutes are the calls on the tags of one resource.
func tagRoutes(a *api, one string, tags func(context.Context, *network.Service, string, func([]string) []string) ([]string, error)) []rest.Route {
	change := func(ctx context.Context, r *rest.Request, f func([]string) []string) ([]string, error) {
		return tags(ctx, a.svc.As(r.Principal), r.Value("id"), f)
	}
	missing := func(r *rest.Request) error { return fault.Missing("tag", r.Value("tag")) }
	return []rest.Route{
		route("PUT", one+"/tags", func(ctx context.Context, r *rest.Request) (*rest.Response, error) {
			var in struct {
				Tags []string `json:"tags"`
			}
			if err := r.Decode(&in, rest.Strict); err != nil {
				return nil, err
			}
			now, err := change(ctx, r, func([]string) []string { return in.Tags })
			if err != nil {
				return nil, err
			}
			return rest.OK(object{"tags": list(now)}), nil
		}),
		route("DELETE", one+"/tags", func(ctx context.Context, r *rest.Request) (*rest.Response, error) {
			if _, err := change(ctx, r, func([]string) []string { return nil }); err != nil {
				return nil, err
			}
			return rest.NoContent(), nil
		}),
		route("PUT", one+"/tags/{tag}", func(ctx context.Context, r *rest.Request) (*rest.Response, error) {
			if _, err := change(ctx, r, func(had []string) []string { return append(slices.Clone(had), r.Value("tag")) }); err != nil {
				return nil, err
			}
			return &rest.Response{Status: 201}, nil
		}),
		route("DELETE", one+"/tags/{tag}", func(ctx context.Context, r *rest.Request) (*rest.Response, error) {
			found := false
			_, err := change(ctx, r, func(had []string) []string {
				found = slices.Contains(had, r.Value("tag"))
				return slices.DeleteFunc(slices.Clone(had), func(t string) bool { return t == r.Value("tag") })
			})
			if err == nil && !found {
				err = missing(r)
			}
			if err != nil {
				return nil, err
			}
			return rest.NoContent(), nil
		}),
	}
}

// readTags are the calls that look at the tags of one resource.
func readTags[T any](a *api, k resource[T]) []rest.Route {
	one := k.path + "/{id}"
	have := func(ctx context.Context, r *rest.Request) ([]string, error) {
		v, err := k.get(ctx, a.svc.As(r.Principal), r.Value("id"))
		if err != nil {
			return nil, err
		}
		return k.show(r, v)["tags"].([]string), nil
	}
	return []rest.Route{
		route("GET", one+"/tags", func(ctx context.Context, r *rest.Request) (*rest.Response, error) {
			tags, err := have(ctx, r)
			if err != nil {
				return nil, err
			}
			return rest.OK(object{"tags": tags}), nil
		}),
		route("GET", one+"/tags/{tag}", func(ctx context.Context, r *rest.Request) (*rest.Response, error) {
			tags, err := have(ctx, r)
			if err == nil && !slices.Contains(tags, r.Value("tag")) {
				err = fault.Missing("tag", r.Value("tag"))
			}
			if err != nil {
				return nil, err
			}
			return rest.NoContent(), nil
		}),
	}
}
