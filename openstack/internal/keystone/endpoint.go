package keystone

import (
	"context"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

func endpointID(v *identity.Endpoint) string { return v.ID }

func showEndpoint(r *rest.Request, v *identity.Endpoint) object {
	own := object{"id": v.ID, "service_id": v.ServiceID, "region": orNull(v.RegionID), "region_id": orNull(v.RegionID),
		"interface": v.Interface, "url": v.URL, "enabled": v.Enabled}
	if v.Name != "" {
		own["name"] = v.Name
	}
	return show(r, "/endpoints/"+v.ID, v.Extra, own)
}

func (a *api) builtinEndpoint(r *rest.Request) *identity.Endpoint {
	for _, e := range a.builtin(r) {
		for _, p := range e.Endpoints {
			if p.ID == r.Value("id") {
				return &p
			}
		}
	}
	return nil
}

func (a *api) endpointRoutes() []rest.Route {
	return []rest.Route{
		a.route("POST", "/endpoints", a.createEndpoint),
		a.route("GET", "/endpoints", a.listEndpoints),
		a.route("GET", "/endpoints/{id}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			v := a.builtinEndpoint(r)
			var err error
			if v == nil {
				v, err = s.GetEndpoint(ctx, r.Value("id"))
			} else {
				err = s.Allow(ctx, "identity:endpoint:get", identity.Target{Kind: "endpoint"})
			}
			if err != nil {
				return nil, err
			}
			return rest.OK(object{"endpoint": showEndpoint(r, v)}), nil
		}),
		a.route("PATCH", "/endpoints/{id}", a.updateEndpoint),
		a.route("DELETE", "/endpoints/{id}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			if a.builtinEndpoint(r) != nil {
				return nil, errBuiltin("endpoint", r.Value("id"))
			}
			return done(s.DeleteEndpoint(ctx, r.Value("id")))
		}),
	}
}

// region reads region_id, or the older region, which is made when there is none of that name.
func region(ctx context.Context, s *identity.Service, f *fields) (*string, error) {
	old, id := f.text("region"), f.text("region_id")
	if id != nil || old == nil || *old == "" || f.err != nil {
		return id, f.err
	}
	_, err := s.GetRegion(ctx, *old)
	if fault.Is(err, fault.NotFound) {
		_, err = s.CreateRegion(ctx, identity.Region{ID: *old})
	}
	return old, err
}

func (a *api) createEndpoint(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
	f, err := read(r, "endpoint")
	if err != nil {
		return nil, err
	}
	on := f.flag("enabled")
	v := identity.Endpoint{ServiceID: f.word("service_id"), Interface: f.word("interface"), URL: f.word("url"), Name: f.word("name"), Enabled: on == nil || *on}
	where, err := region(ctx, s, f)
	if err != nil {
		return nil, err
	}
	v.RegionID = value(where)
	if v.Extra, err = f.rest(); err != nil {
		return nil, err
	}
	made, err := s.CreateEndpoint(ctx, v)
	if err != nil {
		return nil, err
	}
	return rest.Created(object{"endpoint": showEndpoint(r, made)}), nil
}

func (a *api) updateEndpoint(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
	if a.builtinEndpoint(r) != nil {
		return nil, errBuiltin("endpoint", r.Value("id"))
	}
	f, err := read(r, "endpoint")
	if err != nil {
		return nil, err
	}
	req := identity.UpdateEndpoint{ServiceID: f.text("service_id"), Interface: f.text("interface"), URL: f.text("url"), Name: f.text("name"), Enabled: f.flag("enabled")}
	if req.RegionID, err = region(ctx, s, f); err != nil {
		return nil, err
	}
	if req.Extra, err = f.rest(); err != nil {
		return nil, err
	}
	v, err := s.UpdateEndpoint(ctx, r.Value("id"), req)
	if err != nil {
		return nil, err
	}
	return rest.OK(object{"endpoint": showEndpoint(r, v)}), nil
}

func (a *api) listEndpoints(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
	o, err := listOptions(r)
	if err != nil {
		return nil, err
	}
	q := identity.ListEndpoints{ListOptions: o, ServiceID: r.Query.Get("service_id"), RegionID: r.Query.Get("region_id"), Interface: r.Query.Get("interface")}
	if q.RegionID == "" {
		q.RegionID = r.Query.Get("region")
	}
	q.Marker, q.Limit = "", 0
	found, err := s.ListEndpoints(ctx, q)
	if err != nil {
		return nil, err
	}
	var all []*identity.Endpoint
	for _, e := range a.builtin(r) {
		for _, p := range e.Endpoints {
			if q.Match(&p) {
				all = append(all, &p)
			}
		}
	}
	return cut(r, "endpoints", append(all, found...), o, endpointID, showEndpoint)
}
