package nova

import (
	"context"
	"net/netip"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

func (a *api) serverRoutes() []rest.Route {
	return []rest.Route{
		get("/servers", serverQuery().with(a.listServers)),
		get("/servers/detail", serverQuery().with(a.listServersDetail)),
		post("/servers", a.createServer),
		get("/servers/{id}", a.getServer),
		put("/servers/{id}", a.updateServer),
		del("/servers/{id}", a.deleteServer),
	}
}

func (a *api) getServer(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	s, err := a.as(r).GetServer(ctx, r.Value("id"))
	if err != nil {
		return nil, err
	}
	doc, err := a.views(r).show(ctx, s)
	if err != nil {
		return nil, err
	}
	return rest.OK(object{"server": doc}), nil
}

// updateShape is the body of PUT /servers/{id}.
func updateShape() rule {
	return under("server", props{
		{name: "name", rule: name},
		{name: "OS-DCF:diskConfig", rule: oneOf("AUTO", "MANUAL")},
		{name: "accessIPv4", rule: address4},
		{name: "accessIPv6", rule: address6},
		{name: "description", since: 19, rule: description},
		{name: "hostname", since: 90, until: 93, rule: hostname},
		{name: "hostname", since: 94, rule: fqdn},
	}.check)
}

type updateBody struct {
	Server struct {
		Name        *string     `json:"name"`
		Description nullText    `json:"description"`
		Hostname    *string     `json:"hostname"`
		DiskConfig  *string     `json:"OS-DCF:diskConfig"`
		AccessIPv4  *netip.Addr `json:"accessIPv4"`
		AccessIPv6  *netip.Addr `json:"accessIPv6"`
	} `json:"server"`
}

// nullText is a text that null empties.
type nullText struct{ set *string }

// UnmarshalJSON implements json.Unmarshaler.
func (v *nullText) UnmarshalJSON(b []byte) error {
	var s ref
	if string(b) != "null" {
		if err := s.UnmarshalJSON(b); err != nil {
			return err
		}
	}
	text := string(s)
	v.set = &text
	return nil
}

func (a *api) updateServer(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	body, err := read[updateBody](r, updateShape())
	if err != nil {
		return nil, err
	}
	s, err := a.as(r).UpdateServer(ctx, r.Value("id"), compute.UpdateServer{
		Name: body.Server.Name, Description: body.Server.Description.set, Hostname: body.Server.Hostname,
		DiskConfig: body.Server.DiskConfig, AccessIPv4: body.Server.AccessIPv4, AccessIPv6: body.Server.AccessIPv6,
	})
	if err != nil {
		return nil, err
	}
	v, err := a.views(r).of(ctx, s, false)
	if err != nil {
		return nil, err
	}
	doc := show(object{}, serverFields, v, minor(r))
	if r.AtLeast(75) {
		show(doc, moreServerFields, v, minor(r))
	} else {
		doc["addresses"] = v.addresses(false)
	}
	return rest.OK(object{"server": doc}), nil
}

func (a *api) deleteServer(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	if err := a.as(r).DeleteServer(ctx, r.Value("id")); err != nil {
		return nil, err
	}
	return rest.NoContent(), nil
}
