package keystone

import (
	"context"

	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

func groupID(v *identity.Group) string { return v.ID }

func showGroup(r *rest.Request, v *identity.Group) object {
	return show(r, "/groups/"+v.ID, v.Extra, object{"id": v.ID, "name": v.Name, "domain_id": v.DomainID, "description": v.Description})
}

func (a *api) groupRoutes() []rest.Route {
	one := func(r *rest.Request, v *identity.Group, err error) (object, error) {
		if err != nil {
			return nil, err
		}
		return object{"group": showGroup(r, v)}, nil
	}
	return []rest.Route{
		a.route("POST", "/groups", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			f, err := read(r, "group")
			if err != nil {
				return nil, err
			}
			req := identity.CreateGroup{Name: f.word("name"), DomainID: f.word("domain_id"), Description: f.word("description")}
			if req.Extra, err = f.rest(); err != nil {
				return nil, err
			}
			v, err := s.CreateGroup(ctx, req)
			body, err := one(r, v, err)
			return rest.Created(body), err
		}),
		a.route("GET", "/groups", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			o, err := listOptions(r)
			if err != nil {
				return nil, err
			}
			found, err := s.ListGroups(ctx, identity.ListGroups{ListOptions: o, DomainID: r.Query.Get("domain_id")})
			if err != nil {
				return nil, err
			}
			return list(r, "groups", found, o, groupID, showGroup)
		}),
		a.route("GET", "/groups/{id}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			v, err := s.GetGroup(ctx, r.Value("id"))
			body, err := one(r, v, err)
			return rest.OK(body), err
		}),
		a.route("PATCH", "/groups/{id}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			f, err := read(r, "group")
			if err != nil {
				return nil, err
			}
			req := identity.UpdateGroup{Name: f.text("name"), Description: f.text("description"), DomainID: f.text("domain_id")}
			if req.Extra, err = f.rest(); err != nil {
				return nil, err
			}
			v, err := s.UpdateGroup(ctx, r.Value("id"), req)
			body, err := one(r, v, err)
			return rest.OK(body), err
		}),
		a.route("DELETE", "/groups/{id}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			return done(s.DeleteGroup(ctx, r.Value("id")))
		}),
		a.route("GET", "/groups/{id}/users", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			o, err := listOptions(r)
			if err != nil {
				return nil, err
			}
			found, err := s.Members(ctx, r.Value("id"), o)
			if err != nil {
				return nil, err
			}
			return list(r, "users", found, identity.ListOptions{}, userID, showUser)
		}),
		a.route("PUT", "/groups/{id}/users/{user}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			return done(s.AddToGroup(ctx, r.Value("id"), r.Value("user")))
		}),
		a.route("GET", "/groups/{id}/users/{user}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			return done(s.InGroup(ctx, r.Value("id"), r.Value("user")))
		}),
		a.route("DELETE", "/groups/{id}/users/{user}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			return done(s.RemoveFromGroup(ctx, r.Value("id"), r.Value("user")))
		}),
	}
}
