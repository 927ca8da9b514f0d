package keystone

import (
	"context"
	"slices"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

func roleID(v *identity.Role) string { return v.ID }

func showRole(r *rest.Request, v *identity.Role) object {
	return show(r, "/roles/"+v.ID, v.Extra, object{"id": v.ID, "name": v.Name, "domain_id": orNull(v.DomainID), "description": orNull(v.Description),
		"options": options(v.Options)})
}

// roleRef is how role inferences show a role.
func roleRef(r *rest.Request, v *identity.Role) object {
	return object{"id": v.ID, "name": v.Name, "description": orNull(v.Description), "links": object{"self": r.URL("/roles/" + v.ID)}}
}

func (a *api) roleRoutes() []rest.Route {
	one := func(r *rest.Request, v *identity.Role, err error) (object, error) {
		if err != nil {
			return nil, err
		}
		return object{"role": showRole(r, v)}, nil
	}
	return []rest.Route{
		a.route("POST", "/roles", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			f, err := read(r, "role")
			if err != nil {
				return nil, err
			}
			req := identity.CreateRole{Name: f.word("name"), DomainID: f.word("domain_id"), Description: f.word("description"), Options: f.options()}
			if req.Extra, err = f.rest(); err != nil {
				return nil, err
			}
			v, err := s.CreateRole(ctx, req)
			body, err := one(r, v, err)
			return rest.Created(body), err
		}),
		a.route("GET", "/roles", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			o, err := listOptions(r)
			if err != nil {
				return nil, err
			}
			found, err := s.ListRoles(ctx, identity.ListRoles{ListOptions: o, DomainID: r.Query.Get("domain_id")})
			if err != nil {
				return nil, err
			}
			return list(r, "roles", found, o, roleID, showRole)
		}),
		a.route("GET", "/roles/{id}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			v, err := s.GetRole(ctx, r.Value("id"))
			body, err := one(r, v, err)
			return rest.OK(body), err
		}),
		a.route("PATCH", "/roles/{id}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			f, err := read(r, "role")
			if err != nil {
				return nil, err
			}
			req := identity.UpdateRole{Name: f.text("name"), DomainID: f.text("domain_id"), Description: f.text("description"), Options: f.options()}
			if req.Extra, err = f.rest(); err != nil {
				return nil, err
			}
			v, err := s.UpdateRole(ctx, r.Value("id"), req)
			body, err := one(r, v, err)
			return rest.OK(body), err
		}),
		a.route("DELETE", "/roles/{id}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			return done(s.DeleteRole(ctx, r.Value("id")))
		}),
		a.route("GET", "/role_inferences", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			found, err := s.Inferences(ctx, "")
			if err != nil {
				return nil, err
			}
			out := []object{}
			for _, in := range found {
				out = append(out, showInference(r, in))
			}
			return rest.OK(object{"role_inferences": out, "links": listLinks(r, "")}), nil
		}),
		a.route("GET", "/roles/{id}/implies", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			found, err := s.Inferences(ctx, r.Value("id"))
			if err != nil {
				return nil, err
			}
			return rest.OK(object{"role_inference": showInference(r, found[0]), "links": listLinks(r, "")}), nil
		}),
		a.route("PUT", "/roles/{id}/implies/{implied}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			if err := s.Imply(ctx, r.Value("id"), r.Value("implied")); err != nil {
				return nil, err
			}
			body, err := inference(ctx, s, r)
			return rest.Created(body), err
		}),
		a.route("GET", "/roles/{id}/implies/{implied}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			body, err := inference(ctx, s, r)
			return rest.OK(body), err
		}),
		a.route("DELETE", "/roles/{id}/implies/{implied}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			return done(s.Unimply(ctx, r.Value("id"), r.Value("implied")))
		}),
	}
}

func showInference(r *rest.Request, in *identity.Inference) object {
	implied := []object{}
	for _, v := range in.Implied {
		implied = append(implied, roleRef(r, v))
	}
	return object{"prior_role": roleRef(r, in.Prior), "implies": implied}
}

// inference shows the rule that the path names.
func inference(ctx context.Context, s *identity.Service, r *rest.Request) (object, error) {
	found, err := s.Inferences(ctx, r.Value("id"))
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(found[0].Implied, func(v *identity.Role) bool { return v.ID == r.Value("implied") })
	if i < 0 {
		return nil, fault.Missing("implied role", r.Value("implied"))
	}
	return object{"role_inference": object{"prior_role": roleRef(r, found[0].Prior), "implies": roleRef(r, found[0].Implied[i])},
		"links": object{"self": r.URL("/roles/" + r.Value("id") + "/implies/" + r.Value("implied"))}}, nil
}
