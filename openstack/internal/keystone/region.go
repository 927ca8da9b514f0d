package keystone

import (
	"context"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

func regionID(v *identity.Region) string { return v.ID }

func showRegion(r *rest.Request, v *identity.Region) object {
	return show(r, "/regions/"+v.ID, v.Extra, object{"id": v.ID, "parent_region_id": orNull(v.ParentID), "description": v.Description})
}

func (a *api) regionRoutes() []rest.Route {
	return []rest.Route{
		a.route("POST", "/regions", createRegion),
		a.route("PUT", "/regions/{id}", createRegion),
		a.route("GET", "/regions", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			o, err := listOptions(r)
			if err != nil {
				return nil, err
			}
			found, err := s.ListRegions(ctx, o, r.Query.Get("parent_region_id"))
			if err != nil {
				return nil, err
			}
			return list(r, "regions", found, o, regionID, showRegion)
		}),
		a.route("GET", "/regions/{id}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			v, err := s.GetRegion(ctx, r.Value("id"))
			if err != nil {
				return nil, err
			}
			return rest.OK(object{"region": showRegion(r, v)}), nil
		}),
		a.route("PATCH", "/regions/{id}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			f, err := read(r, "region")
			if err != nil {
				return nil, err
			}
			req := identity.UpdateRegion{ParentID: f.text("parent_region_id"), Description: f.text("description")}
			if req.Extra, err = f.rest(); err != nil {
				return nil, err
			}
			v, err := s.UpdateRegion(ctx, r.Value("id"), req)
			if err != nil {
				return nil, err
			}
			return rest.OK(object{"region": showRegion(r, v)}), nil
		}),
		a.route("DELETE", "/regions/{id}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			if r.Value("id") == a.opt.Region {
				return nil, errBuiltin("region", r.Value("id"))
			}
			return done(s.DeleteRegion(ctx, r.Value("id")))
		}),
	}
}

func createRegion(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
	f, err := read(r, "region")
	if err != nil {
		return nil, err
	}
	v := identity.Region{ID: f.word("id"), ParentID: f.word("parent_region_id"), Description: f.word("description")}
	if id := r.Value("id"); id != "" {
		if v.ID != "" && v.ID != id {
			return nil, fault.InvalidField("region.id", v.ID, "the path says "+id)
		}
		v.ID = id
	}
	if v.Extra, err = f.rest(); err != nil {
		return nil, err
	}
	made, err := s.CreateRegion(ctx, v)
	if err != nil {
		return nil, err
	}
	return rest.Created(object{"region": showRegion(r, made)}), nil
}
