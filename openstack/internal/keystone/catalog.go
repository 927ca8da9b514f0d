package keystone

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// names are those of the services in OpenStack.
var names = map[rest.Service]string{rest.Identity: "keystone", rest.Compute: "nova", rest.Image: "glance", rest.Network: "neutron"}

// builtin returns the catalog entries of the APIs that this server answers, in a fixed order with fixed ids.
func (a *api) builtin(r *rest.Request) []identity.CatalogEntry {
	var out []identity.CatalogEntry
	for _, s := range a.opt.Services {
		kind := string(s)
		e := identity.CatalogEntry{CatalogService: identity.CatalogService{ID: fixedID(kind), Type: kind, Name: names[s], Enabled: true}}
		for _, side := range []string{"public", "internal", "admin"} {
			e.Endpoints = append(e.Endpoints, identity.Endpoint{ID: fixedID(kind, side), ServiceID: e.ID, RegionID: a.opt.Region,
				Interface: side, URL: r.Base() + rest.CatalogPath(s), Enabled: true})
		}
		out = append(out, e)
	}
	return out
}

func fixedID(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p + "\x00"))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func (a *api) catalog(ctx context.Context, s *identity.Service, r *rest.Request) ([]object, error) {
	entries, err := s.Catalog(ctx, a.builtin(r))
	out := []object{}
	for _, e := range entries {
		var ends []object
		for _, p := range e.Endpoints {
			ends = append(ends, object{"id": p.ID, "interface": p.Interface, "region": orNull(p.RegionID), "region_id": orNull(p.RegionID), "url": p.URL})
		}
		out = append(out, object{"id": e.ID, "type": e.Type, "name": e.Name, "endpoints": ends})
	}
	return out, err
}

func (a *api) catalogRoutes() []rest.Route {
	return slices.Concat(a.regionRoutes(), a.serviceRoutes(), a.endpointRoutes())
}

// errBuiltin refuses to change what follows from the server's own address.
func errBuiltin(kind, id string) error {
	return &fault.Error{Code: fault.Denied, Kind: kind, ID: id, Msg: "is built in and follows the server's address; it cannot be changed"}
}

func serviceID(v *identity.CatalogService) string { return v.ID }

func showService(r *rest.Request, v *identity.CatalogService) object {
	return show(r, "/services/"+v.ID, v.Extra, object{"id": v.ID, "type": v.Type, "name": v.Name, "description": v.Description, "enabled": v.Enabled})
}

func (a *api) builtinService(r *rest.Request) *identity.CatalogService {
	for _, e := range a.builtin(r) {
		if e.ID == r.Value("id") {
			return &e.CatalogService
		}
	}
	return nil
}

func (a *api) serviceRoutes() []rest.Route {
	return []rest.Route{
		a.route("POST", "/services", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			f, err := read(r, "service")
			if err != nil {
				return nil, err
			}
			on := f.flag("enabled")
			v := identity.CatalogService{Type: f.word("type"), Name: f.word("name"), Description: f.word("description"), Enabled: on == nil || *on}
			if v.Extra, err = f.rest(); err != nil {
				return nil, err
			}
			made, err := s.CreateService(ctx, v)
			if err != nil {
				return nil, err
			}
			return rest.Created(object{"service": showService(r, made)}), nil
		}),
		a.route("GET", "/services", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			o, err := listOptions(r)
			if err != nil {
				return nil, err
			}
			kind := r.Query.Get("type")
			page := o
			page.Marker, page.Limit = "", 0
			found, err := s.ListServices(ctx, page, kind)
			if err != nil {
				return nil, err
			}
			var all []*identity.CatalogService
			for _, e := range a.builtin(r) {
				if o.Match(e.Name) && (kind == "" || e.Type == kind) {
					all = append(all, &e.CatalogService)
				}
			}
			return cut(r, "services", append(all, found...), o, serviceID, showService)
		}),
		a.route("GET", "/services/{id}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			v := a.builtinService(r)
			var err error
			if v == nil {
				v, err = s.GetService(ctx, r.Value("id"))
			} else {
				err = s.Allow(ctx, "identity:service:get", identity.Target{Kind: "service"})
			}
			if err != nil {
				return nil, err
			}
			return rest.OK(object{"service": showService(r, v)}), nil
		}),
		a.route("PATCH", "/services/{id}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			f, err := read(r, "service")
			if err != nil {
				return nil, err
			}
			req := identity.UpdateService{Type: f.text("type"), Name: f.text("name"), Description: f.text("description"), Enabled: f.flag("enabled")}
			if req.Extra, err = f.rest(); err != nil {
				return nil, err
			}
			if a.builtinService(r) != nil {
				return nil, errBuiltin("service", r.Value("id"))
			}
			v, err := s.UpdateService(ctx, r.Value("id"), req)
			if err != nil {
				return nil, err
			}
			return rest.OK(object{"service": showService(r, v)}), nil
		}),
		a.route("DELETE", "/services/{id}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			if a.builtinService(r) != nil {
				return nil, errBuiltin("service", r.Value("id"))
			}
			return done(s.DeleteService(ctx, r.Value("id")))
		}),
	}
}

// cut answers with a page of a list that is here in full.
func cut[T any](r *rest.Request, key string, all []*T, o identity.ListOptions, id func(*T) string, view func(*rest.Request, *T) object) (*rest.Response, error) {
	p := rest.Page{Limit: len(all), Marker: o.Marker}
	if o.Limit > 0 {
		p.Limit = o.Limit // one more than asked for
	}
	part, _, err := rest.Cut(all, p, id)
	if err != nil {
		return nil, err
	}
	return list(r, key, part, o, id, view)
}
