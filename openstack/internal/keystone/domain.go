package keystone

import (
	"context"

	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

func domainID(v *identity.Domain) string { return v.ID }

func showDomain(r *rest.Request, v *identity.Domain) object {
	return show(r, "/domains/"+v.ID, v.Extra, object{"id": v.ID, "name": v.Name, "description": v.Description, "enabled": v.Enabled,
		"tags": orEmpty(v.Tags), "options": options(v.Options)})
}

func (a *api) domainRoutes() []rest.Route {
	one := func(r *rest.Request, v *identity.Domain, err error) (object, error) {
		if err != nil {
			return nil, err
		}
		return object{"domain": showDomain(r, v)}, nil
	}
	return []rest.Route{
		a.route("POST", "/domains", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			f, err := read(r, "domain")
			if err != nil {
				return nil, err
			}
			req := identity.CreateDomain{ID: f.word("explicit_domain_id"), Name: f.word("name"), Description: f.word("description"),
				Enabled: f.flag("enabled"), Tags: value(f.texts("tags")), Options: f.options()}
			if req.Extra, err = f.rest(); err != nil {
				return nil, err
			}
			v, err := s.CreateDomain(ctx, req)
			body, err := one(r, v, err)
			return rest.Created(body), err
		}),
		a.route("GET", "/domains", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			o, err := listOptions(r)
			if err != nil {
				return nil, err
			}
			on, err := enabled(r)
			if err != nil {
				return nil, err
			}
			found, err := s.ListDomains(ctx, identity.ListDomains{ListOptions: o, Enabled: on})
			if err != nil {
				return nil, err
			}
			return list(r, "domains", found, o, domainID, showDomain)
		}),
		a.route("GET", "/domains/{id}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			v, err := s.GetDomain(ctx, r.Value("id"))
			body, err := one(r, v, err)
			return rest.OK(body), err
		}),
		a.route("PATCH", "/domains/{id}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			req, err := projectChange(r, "domain")
			if err != nil {
				return nil, err
			}
			v, err := s.UpdateDomain(ctx, r.Value("id"), req)
			body, err := one(r, v, err)
			return rest.OK(body), err
		}),
		a.route("DELETE", "/domains/{id}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			return done(s.DeleteDomain(ctx, r.Value("id")))
		}),
	}
}
