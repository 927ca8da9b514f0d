package neutron

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

func (a *api) ports() resource[network.Port] {
	return resource[network.Port]{
		name: "port", plural: "ports", path: "/ports",
		attributes: append([]string{"name", "network_id", "mac_address", "admin_state_up", "status", "device_id", "device_owner", "fixed_ips", "security_groups",
			"port_security_enabled", "dns_name", "binding:vnic_type", "binding:host_id", "binding:vif_type"}, common...),
		show: a.showPort, revision: func(p *network.Port) int64 { return p.Revision },
		list: func(ctx context.Context, svc *network.Service, f filter) ([]*network.Port, error) {
			return svc.ListPorts(ctx, network.PortFilter{IDs: f.values["id"], ProjectID: f.one("project_id"), NetworkIDs: f.values["network_id"],
				DeviceIDs: f.values["device_id"], Names: f.values["name"], Addrs: f.addrs()})
		},
		get: func(ctx context.Context, svc *network.Service, id string) (*network.Port, error) {
			return svc.GetPort(ctx, id)
		},
		create: func(ctx context.Context, svc *network.Service, b *body) (*network.Port, error) {
			req, err := portRequest(b)
			if err != nil {
				return nil, err
			}
			return svc.CreatePort(ctx, req)
		},
		update: func(ctx context.Context, svc *network.Service, id string, rev *int64, b *body) (*network.Port, error) {
			req := network.UpdatePort{ID: id, IfRevision: rev, Name: b.text("name"), Description: b.text("description"), MAC: b.text("mac_address"),
				Fixed: fixedIPs(b), DeviceID: b.text("device_id"), DeviceOwner: b.text("device_owner"), AdminUp: b.flag("admin_state_up"),
				SecurityGroups: b.texts("security_groups"), AddressPairs: pairs(b), PortSecurity: b.flag("port_security_enabled"),
				DNSName: b.text("dns_name"), VNICType: b.text("binding:vnic_type"), Host: b.text("binding:host_id")}
			if p := profile(b); p != nil {
				req.Profile = p
			}
			if err := b.done(); err != nil {
				return nil, err
			}
			return svc.UpdatePort(ctx, req)
		},
		delete: func(ctx context.Context, svc *network.Service, id string) error { return svc.DeletePort(ctx, id) },
		tags: func(ctx context.Context, svc *network.Service, id string, change func([]string) []string) (tags []string, err error) {
			err = svc.Together(ctx, func(ctx context.Context) error {
				p, err := svc.GetPort(ctx, id)
				if err != nil {
					return err
				}
				tags = change(p.Tags)
				p, err = svc.UpdatePort(ctx, network.UpdatePort{ID: id, Tags: &tags})
				if err == nil {
					tags = p.Tags
				}
				return err
			})
			return tags, err
		},
	}
}

func portRequest(b *body) (network.CreatePort, error) {
	b.need("network_id")
	req := network.CreatePort{
		ProjectID: b.project(), NetworkID: b.str("network_id"), Name: b.str("name"), Description: b.str("description"), MAC: b.str("mac_address"),
		Fixed: fixedIPs(b), DeviceID: b.str("device_id"), DeviceOwner: b.str("device_owner"), AdminUp: b.flag("admin_state_up"),
		SecurityGroups: b.texts("security_groups"), AddressPairs: deref(pairs(b)), PortSecurity: b.flag("port_security_enabled"), DNSName: b.str("dns_name"),
		VNICType: b.str("binding:vnic_type"), Host: b.str("binding:host_id"), Profile: deref(profile(b)), Tags: b.tags(),
	}
	return req, b.done()
}

func fixedIPs(b *body) *[]network.FixedRequest {
	list := b.objects("fixed_ips", "subnet_id", "ip_address")
	if list == nil {
		return nil
	}
	out := []network.FixedRequest{}
	for _, o := range *list {
		a, err := parseAddr(o["ip_address"])
		if err != nil {
			b.bad("fixed_ips", "ip_address is an IP address")
			return nil
		}
		out = append(out, network.FixedRequest{SubnetID: o["subnet_id"], Addr: a})
	}
	return &out
}

func pairs(b *body) *[]network.AddressPair {
	list := b.objects("allowed_address_pairs", "ip_address", "mac_address")
	if list == nil {
		return nil
	}
	out := []network.AddressPair{}
	for _, o := range *list {
		out = append(out, network.AddressPair{IP: o["ip_address"], MAC: o["mac_address"]})
	}
	return &out
}

// profile reads the binding profile; an empty one counts as none.
func profile(b *body) *json.RawMessage {
	m := get[map[string]any](b, "binding:profile", "it must be an object")
	if m == nil {
		return nil
	}
	out := json.RawMessage{}
	if len(*m) > 0 {
		out = append(out, b.fields["binding:profile"]...)
	} else {
		out = nil
	}
	return &out
}

func (a *api) showPort(r *rest.Request, p *network.Port) object {
	fixed, pairs, names := []object{}, []object{}, []object{}
	for _, f := range p.Fixed {
		addr := f.Addr.String()
		fixed = append(fixed, object{"subnet_id": f.SubnetID, "ip_address": addr})
		host := p.DNSName
		if host == "" {
			host = "host-" + strings.NewReplacer(".", "-", ":", "-").Replace(addr)
		}
		names = append(names, object{"hostname": host, "ip_address": addr, "fqdn": host + "." + a.svc.DNSDomain()})
	}
	for _, v := range p.AddressPairs {
		pairs = append(pairs, object{"ip_address": v.IP, "mac_address": v.MAC})
	}
	o := object{
		"id": p.ID, "project_id": p.ProjectID, "tenant_id": p.ProjectID, "name": p.Name, "description": p.Description, "network_id": p.NetworkID,
		"mac_address": p.MAC, "fixed_ips": fixed, "device_id": p.DeviceID, "device_owner": p.DeviceOwner, "admin_state_up": p.AdminUp, "status": p.Status,
		"security_groups": list(p.SecurityGroups), "allowed_address_pairs": pairs, "port_security_enabled": p.PortSecurity,
		"dns_name": p.DNSName, "dns_assignment": names, "binding:vnic_type": p.VNICType, "tags": list(p.Tags),
		"revision_number": p.Revision, "created_at": rest.Seconds(p.CreatedAt), "updated_at": rest.Seconds(p.UpdatedAt),
	}
	if a.svc.As(r.Principal).May("network:port:get_binding", p.ProjectID) {
		o["binding:host_id"], o["binding:vif_type"], o["binding:vif_details"], o["binding:profile"] = p.Host, "unbound", object{}, object{}
		if p.Binding != nil {
			o["binding:vif_type"], o["binding:vif_details"] = p.Binding.VIF.VIFType(), vifDetails(p.Binding)
		}
		if len(p.Profile) > 0 {
			o["binding:profile"] = p.Profile
		}
	}
	return o
}

func vifDetails(b *network.Binding) object {
	o := object{"port_filter": false}
	switch {
	case b.VIF.OVS != nil:
		o["bridge_name"], o["datapath_type"] = b.VIF.OVS.Bridge, "system"
	case b.VIF.Tap != nil && b.VIF.Tap.Bridge != "":
		o["bridge_name"] = b.VIF.Tap.Bridge
	}
	return o
}
