package nova

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

func (a *api) interfaceRoutes() []rest.Route {
	return []rest.Route{
		get("/servers/{id}/os-interface", a.listInterfaces),
		post("/servers/{id}/os-interface", a.attachInterface),
		get("/servers/{id}/os-interface/{port}", a.getInterface),
		del("/servers/{id}/os-interface/{port}", a.detachInterface),
	}
}

func interfaceFields() []field[*compute.Interface] {
	return []field[*compute.Interface]{
		{name: "port_id", value: func(v *compute.Interface) any { return v.PortID }},
		{name: "net_id", value: func(v *compute.Interface) any { return v.NetworkID }},
		{name: "mac_addr", value: func(v *compute.Interface) any { return v.MAC }},
		{name: "port_state", value: func(v *compute.Interface) any { return v.PortState }},
		{name: "fixed_ips", value: func(v *compute.Interface) any {
			list := []object{}
			for _, ip := range v.FixedIPs {
				list = append(list, object{"subnet_id": ip.SubnetID, "ip_address": ip.Addr.String()})
			}
			return list
		}},
		{name: "tag", since: 70, value: func(v *compute.Interface) any { return orNull(v.Tag) }},
	}
}

func (a *api) listInterfaces(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	all, err := a.as(r).ListInterfaces(ctx, r.Value("id"))
	if err != nil {
		return nil, err
	}
	list := []object{}
	for _, v := range all {
		list = append(list, show(object{}, interfaceFields(), v, minor(r)))
	}
	return rest.OK(object{"interfaceAttachments": list}), nil
}

func (a *api) getInterface(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	v, err := a.as(r).GetInterface(ctx, r.Value("id"), r.Value("port"))
	if err != nil {
		return nil, err
	}
	return rest.OK(object{"interfaceAttachment": show(object{}, interfaceFields(), v, minor(r))}), nil
}

func attachShape() rule {
	return props{{name: "interfaceAttachment", rule: props{
		{name: "net_id", rule: uuid},
		{name: "port_id", rule: uuid},
		{name: "fixed_ips", rule: list(1, 1, props{{name: "ip_address", rule: address, must: 1}}.check)},
		{name: "tag", since: 49, rule: tag},
	}.check}}.check
}

func (a *api) attachInterface(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	body, err := read[struct {
		Attach struct {
			Network  string `json:"net_id"`
			Port     string `json:"port_id"`
			FixedIPs []struct {
				Addr string `json:"ip_address"`
			} `json:"fixed_ips"`
			Tag string `json:"tag"`
		} `json:"interfaceAttachment"`
	}](r, attachShape())
	if err != nil {
		return nil, err
	}
	b := &body.Attach
	switch {
	case b.Network != "" && b.Port != "":
		return nil, fault.InvalidField("interfaceAttachment.port_id", b.Port, "give either net_id or port_id, not both")
	case len(b.FixedIPs) > 0 && b.Network == "":
		return nil, fault.InvalidField("interfaceAttachment.fixed_ips", b.FixedIPs[0].Addr, "an address needs a net_id")
	}
	req := compute.AttachInterface{Network: compute.Network{NetworkID: b.Network, PortID: b.Port, Tag: b.Tag}}
	for i, ip := range b.FixedIPs {
		addr, err := netip.ParseAddr(ip.Addr)
		if err != nil {
			return nil, fault.InvalidField(fmt.Sprintf("interfaceAttachment.fixed_ips[%d]", i), ip.Addr, "it must be an IP address")
		}
		req.FixedIPs = append(req.FixedIPs, addr)
	}
	svc := a.as(r)
	if _, err := svc.GetServer(ctx, r.Value("id")); err != nil {
		return nil, err
	}
	v, err := svc.AttachInterface(ctx, r.Value("id"), req)
	if err != nil {
		return nil, badRequest(err)
	}
	return rest.OK(object{"interfaceAttachment": show(object{}, interfaceFields(), v, minor(r))}), nil
}

func (a *api) detachInterface(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	return rest.Accepted(nil), a.as(r).DetachInterface(ctx, r.Value("id"), r.Value("port"))
}
