package identity

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

// CatalogEntry is a service with its endpoints, as a token shows it.
type CatalogEntry struct {
	CatalogService
	Endpoints []Endpoint
}

// Catalog returns the given entries, then the enabled services of the store that have an endpoint,
// with URLs for the principal of the Service. Endpoints whose URL needs a project are left out when
// there is none. Of a type that is given, only the endpoints of other regions are added.
func (s *Service) Catalog(ctx context.Context, builtin []CatalogEntry) ([]CatalogEntry, error) {
	var out []CatalogEntry
	err := s.view(ctx, func(tx *store.Tx) error {
		out = nil
		if err := s.allow(tx, "identity:catalog:get", Target{}); err != nil {
			return err
		}
		all := slices.Clone(builtin)
		stored, err := services.List(tx, store.Query[CatalogService]{Filter: func(v *CatalogService) bool { return v.Enabled }})
		if err != nil {
			return err
		}
		for _, v := range stored {
			e := CatalogEntry{CatalogService: *v}
			for p, err := range endpoints.Each(tx, store.Query[Endpoint]{Index: "service", Prefix: store.Tuple{v.ID}}) {
				if err != nil {
					return err
				}
				if p.Enabled {
					e.Endpoints = append(e.Endpoints, *p)
				}
			}
			all = append(all, e)
		}
		for _, e := range all {
			given := e.Endpoints
			e.Endpoints = nil
			for _, p := range given {
				var ok bool
				if p.URL, ok = s.who.expandURL(p.URL); ok {
					e.Endpoints = append(e.Endpoints, p)
				}
			}
			if len(e.Endpoints) > 0 {
				out = append(out, e)
			}
		}
		return nil
	})
	return out, err
}

// expandURL fills in the principal's ids; false when it has none that the template needs.
func (p *Principal) expandURL(template string) (string, bool) {
	out := template
	for name, value := range map[string]string{"project_id": p.ProjectID, "tenant_id": p.ProjectID, "user_id": p.UserID} {
		for _, form := range []string{"$(" + name + ")s", "%(" + name + ")s"} {
			if !strings.Contains(out, form) {
				continue
			}
			if value == "" {
				return "", false
			}
			out = strings.ReplaceAll(out, form, value)
		}
	}
	return out, true
}

// CreateRegion makes a region; an empty ID means a new one. Exists: the id is taken.
func (s *Service) CreateRegion(ctx context.Context, v Region) (*Region, error) {
	given := v.ID
	if len(given) > 255 {
		return nil, fault.InvalidField("id", given, "give at most 255 characters")
	}
	err := s.update(ctx, func(tx *store.Tx) error {
		if err := s.allow(tx, "identity:region:create", Target{Kind: "region"}); err != nil {
			return err
		}
		if v.ParentID != "" {
			if _, err := must(tx, regions, "parent_region_id", v.ParentID); err != nil {
				return err
			}
		}
		if v.ID = given; given == "" {
			v.ID = dashless(tx.NewID())
		}
		s.emit(tx, "region", "created", v.ID)
		return regions.Insert(tx, &v)
	})
	if err != nil {
		return nil, err
	}
	return &v, nil
}

func global[T any](kind string) func(*T) Target { return func(*T) Target { return Target{Kind: kind} } }

// GetRegion returns a region.
func (s *Service) GetRegion(ctx context.Context, id string) (*Region, error) {
	return show(ctx, s, regions, id, "identity:region:get", global[Region]("region"))
}

// ListRegions returns regions by id; parent "" means all, else those below it.
func (s *Service) ListRegions(ctx context.Context, o ListOptions, parent string) ([]*Region, error) {
	return list(ctx, s, regions, o, "identity:region:list", store.Query[Region]{Filter: func(v *Region) bool { return parent == "" || v.ParentID == parent }})
}

// UpdateRegion is a change of a region; nil and absent fields stay as they are.
type UpdateRegion struct {
	ParentID    *string // "" means none
	Description *string
	Extra       Extra
}

// UpdateRegion changes a region.
func (s *Service) UpdateRegion(ctx context.Context, id string, req UpdateRegion) (*Region, error) {
	return modify(ctx, s, regions, id, "identity:region:update", global[Region]("region"), func(tx *store.Tx, v *Region) error {
		set(&v.ParentID, req.ParentID)
		set(&v.Description, req.Description)
		v.Extra = v.Extra.merge(req.Extra)
		for up := v.ParentID; up != ""; {
			if up == id {
				return fault.InvalidField("parent_region_id", v.ParentID, "a region cannot be below itself")
			}
			p, err := must(tx, regions, "parent_region_id", up)
			if err != nil {
				return err
			}
			up = p.ParentID
		}
		return nil
	})
}

// DeleteRegion deletes a region. Denied: other regions or endpoints are in it.
func (s *Service) DeleteRegion(ctx context.Context, id string) error {
	return remove(ctx, s, regions, id, "identity:region:delete", global[Region]("region"), func(tx *store.Tx, v *Region) error {
		below, err := regions.List(tx, store.Query[Region]{Index: "parent", Prefix: store.Tuple{id}, Limit: 1})
		if err != nil {
			return err
		}
		used, err := endpoints.List(tx, store.Query[Endpoint]{Index: "region", Prefix: store.Tuple{id}, Limit: 1})
		if err != nil {
			return err
		}
		if len(below)+len(used) > 0 {
			return &fault.Error{Code: fault.Denied, Kind: "region", ID: id, Msg: "has regions or endpoints in it; delete those first"}
		}
		return nil
	})
}

// CreateService makes a catalog service; its ID is chosen.
func (s *Service) CreateService(ctx context.Context, v CatalogService) (*CatalogService, error) {
	if err := checkName("type", v.Type, 255); err != nil {
		return nil, err
	}
	err := s.update(ctx, func(tx *store.Tx) error {
		if err := s.allow(tx, "identity:service:create", Target{Kind: "service"}); err != nil {
			return err
		}
		v.ID = dashless(tx.NewID())
		s.emit(tx, "service", "created", v.ID)
		return services.Insert(tx, &v)
	})
	if err != nil {
		return nil, err
	}
	return &v, nil
}

// GetService returns a catalog service.
func (s *Service) GetService(ctx context.Context, id string) (*CatalogService, error) {
	return show(ctx, s, services, id, "identity:service:get", global[CatalogService]("service"))
}

// ListServices returns catalog services by id; kind "" means every type.
func (s *Service) ListServices(ctx context.Context, o ListOptions, kind string) ([]*CatalogService, error) {
	return list(ctx, s, services, o, "identity:service:list", store.Query[CatalogService]{Filter: func(v *CatalogService) bool {
		return o.Match(v.Name) && (kind == "" || v.Type == kind)
	}})
}

// UpdateService is a change of a catalog service; nil and absent fields stay as they are.
type UpdateService struct {
	Type, Name, Description *string
	Enabled                 *bool
	Extra                   Extra
}

// UpdateService changes a catalog service.
func (s *Service) UpdateService(ctx context.Context, id string, req UpdateService) (*CatalogService, error) {
	return modify(ctx, s, services, id, "identity:service:update", global[CatalogService]("service"), func(tx *store.Tx, v *CatalogService) error {
		set(&v.Type, req.Type)
		set(&v.Name, req.Name)
		set(&v.Description, req.Description)
		set(&v.Enabled, req.Enabled)
		v.Extra = v.Extra.merge(req.Extra)
		return checkName("type", v.Type, 255)
	})
}

// DeleteService deletes a catalog service with its endpoints.
func (s *Service) DeleteService(ctx context.Context, id string) error {
	return remove(ctx, s, services, id, "identity:service:delete", global[CatalogService]("service"), func(tx *store.Tx, v *CatalogService) error {
		found, err := endpoints.List(tx, store.Query[Endpoint]{Index: "service", Prefix: store.Tuple{id}})
		for _, p := range found {
			if err == nil {
				s.emit(tx, "endpoint", "deleted", p.ID)
				err = endpoints.Delete(tx, p.ID)
			}
		}
		return err
	})
}

func (v *Endpoint) check(tx *store.Tx) error {
	if !slices.Contains([]string{"public", "internal", "admin"}, v.Interface) {
		return fault.InvalidField("interface", v.Interface, "give public, internal or admin")
	}
	u, err := url.Parse(strings.NewReplacer("%(", "$(").Replace(v.URL))
	if err != nil || u.Scheme == "" || u.Host == "" {
		return fault.InvalidField("url", v.URL, "give an absolute URL")
	}
	if _, err := must(tx, services, "service_id", v.ServiceID); err != nil || v.RegionID == "" {
		return err
	}
	_, err = must(tx, regions, "region_id", v.RegionID)
	return err
}

// CreateEndpoint makes an endpoint; its ID is chosen. Invalid: service or region does not exist.
func (s *Service) CreateEndpoint(ctx context.Context, v Endpoint) (*Endpoint, error) {
	err := s.update(ctx, func(tx *store.Tx) error {
		if err := s.allow(tx, "identity:endpoint:create", Target{Kind: "endpoint"}); err != nil {
			return err
		}
		if err := v.check(tx); err != nil {
			return err
		}
		v.ID = dashless(tx.NewID())
		s.emit(tx, "endpoint", "created", v.ID)
		return endpoints.Insert(tx, &v)
	})
	if err != nil {
		return nil, err
	}
	return &v, nil
}

// GetEndpoint returns an endpoint.
func (s *Service) GetEndpoint(ctx context.Context, id string) (*Endpoint, error) {
	return show(ctx, s, endpoints, id, "identity:endpoint:get", global[Endpoint]("endpoint"))
}

// ListEndpoints selects endpoints; empty fields select any.
type ListEndpoints struct {
	ListOptions
	ServiceID, RegionID, Interface string
}

// ListEndpoints returns endpoints by id.
func (s *Service) ListEndpoints(ctx context.Context, o ListEndpoints) ([]*Endpoint, error) {
	return list(ctx, s, endpoints, o.ListOptions, "identity:endpoint:list", store.Query[Endpoint]{Filter: o.Match})
}

// Match reports whether an endpoint is selected.
func (o ListEndpoints) Match(v *Endpoint) bool {
	return o.ListOptions.Match(v.Name) && (o.ServiceID == "" || v.ServiceID == o.ServiceID) && (o.RegionID == "" || v.RegionID == o.RegionID) &&
		(o.Interface == "" || v.Interface == o.Interface)
}

// UpdateEndpoint is a change of an endpoint; nil and absent fields stay as they are.
type UpdateEndpoint struct {
	ServiceID, RegionID, Interface, URL, Name *string
	Enabled                                   *bool
	Extra                                     Extra
}

// UpdateEndpoint changes an endpoint.
func (s *Service) UpdateEndpoint(ctx context.Context, id string, req UpdateEndpoint) (*Endpoint, error) {
	return modify(ctx, s, endpoints, id, "identity:endpoint:update", global[Endpoint]("endpoint"), func(tx *store.Tx, v *Endpoint) error {
		set(&v.ServiceID, req.ServiceID)
		set(&v.RegionID, req.RegionID)
		set(&v.Interface, req.Interface)
		set(&v.URL, req.URL)
		set(&v.Name, req.Name)
		set(&v.Enabled, req.Enabled)
		v.Extra = v.Extra.merge(req.Extra)
		return v.check(tx)
	})
}

// DeleteEndpoint deletes an endpoint.
func (s *Service) DeleteEndpoint(ctx context.Context, id string) error {
	return remove(ctx, s, endpoints, id, "identity:endpoint:delete", global[Endpoint]("endpoint"), func(*store.Tx, *Endpoint) error { return nil })
}
