package identity

import (
	"cmp"
	"context"
	"slices"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

// DefaultDomainID is the id of the domain that Bootstrap makes, named Default.
const DefaultDomainID = "default"

// domainTarget lets those see a domain who are from it, or whose project is in it.
func (s *Service) domainTarget(v *Project) Target {
	t := Target{Kind: "domain", ID: v.ID, DomainID: v.ID}
	t.Shared = s.who != nil && (s.who.UserDomainID == v.ID || s.who.ProjectDomainID == v.ID)
	return t
}

func (v *Project) asDomain() *Domain {
	return &Domain{ID: v.ID, Name: v.Name, Description: v.Description, Enabled: v.Enabled, Tags: v.Tags, Options: v.Options, Extra: v.Extra}
}

// CreateDomain is a request for a new domain.
type CreateDomain struct {
	ID          string // "" means a new one; else at most 64 letters, digits and dashes
	Name        string
	Description string
	Enabled     *bool // nil means true
	Tags        []string
	Options     Extra
	Extra       Extra
}

// CreateDomain makes a domain. Exists: the name or id is taken.
func (s *Service) CreateDomain(ctx context.Context, req CreateDomain) (*Domain, error) {
	v, err := s.createDomain(ctx, req.ID, CreateProject{Name: req.Name, Description: req.Description, Enabled: req.Enabled,
		Tags: req.Tags, Options: req.Options, Extra: req.Extra})
	if err != nil {
		return nil, err
	}
	return v.asDomain(), nil
}

func (s *Service) createDomain(ctx context.Context, id string, req CreateProject) (*Project, error) {
	v := &Project{IsDomain: true, Name: req.Name, Description: req.Description, Enabled: orTrue(req.Enabled),
		Tags: sortedTags(req.Tags), Options: Extra(nil).merge(req.Options), Extra: Extra(nil).merge(req.Extra)}
	if err := v.check(); err != nil {
		return nil, err
	}
	if req.DomainID != "" || req.ParentID != "" {
		return nil, fault.InvalidField("domain_id", cmp.Or(req.DomainID, req.ParentID), "a domain is in no other")
	}
	if !validID(id) {
		return nil, fault.InvalidField("explicit_domain_id", id, "give at most 64 letters, digits and dashes")
	}
	err := s.update(ctx, func(tx *store.Tx) (err error) {
		if err := s.allow(tx, "identity:domain:create", Target{Kind: "domain"}); err != nil {
			return err
		}
		v.ID, v.Epoch = id, 0
		if id == "" {
			v.ID = dashless(tx.NewID())
		} else if v.Epoch, err = s.nextEpoch(tx); err != nil { // an earlier domain may have had this id
			return err
		}
		s.emit(tx, "domain", "created", v.ID)
		return about("domain", projects.Insert(tx, v))
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

func validID(id string) bool {
	return len(id) <= maxIDBytes && !slices.ContainsFunc([]byte(id), func(b byte) bool {
		return !(b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '-')
	})
}

// GetDomain returns a domain.
func (s *Service) GetDomain(ctx context.Context, id string) (*Domain, error) {
	var v *Project
	err := s.view(ctx, func(tx *store.Tx) (err error) {
		if v, err = s.someDomain(tx, id); err != nil {
			return err
		}
		return s.allow(tx, "identity:domain:get", s.domainTarget(v))
	})
	if err != nil {
		return nil, err
	}
	return v.asDomain(), nil
}

// someDomain returns the domain that an operation is about.
func (s *Service) someDomain(tx *store.Tx, id string) (*Project, error) {
	v, err := projects.Get(tx, id)
	if err == nil && !v.IsDomain || fault.Is(err, fault.NotFound) {
		return nil, fault.Missing("domain", id)
	}
	return v, err
}

// ListDomains selects domains.
type ListDomains struct {
	ListOptions
	Enabled *bool // nil means both
}

// ListDomains returns domains by name.
func (s *Service) ListDomains(ctx context.Context, o ListDomains) ([]*Domain, error) {
	found, err := listOf(ctx, s, projects, o.ListOptions, "identity:domain:list", Target{Kind: "domain"}, store.Query[Project]{Index: "name", Prefix: store.Tuple{true},
		Filter: func(v *Project) bool { return o.Match(v.Name) && (o.Enabled == nil || v.Enabled == *o.Enabled) }})
	var out []*Domain
	for _, v := range found {
		out = append(out, v.asDomain())
	}
	return out, err
}

// UpdateDomain changes a domain. Disabling it ends all tokens of its users and for its projects.
func (s *Service) UpdateDomain(ctx context.Context, id string, req UpdateProject) (*Domain, error) {
	var v *Project
	err := s.update(ctx, func(tx *store.Tx) (err error) {
		if v, err = s.someDomain(tx, id); err != nil {
			return err
		}
		if err := s.allow(tx, "identity:domain:update", s.domainTarget(v)); err != nil {
			return err
		}
		if err := s.changeProject(tx, v, req); err != nil {
			return err
		}
		s.emit(tx, "domain", "updated", id)
		return about("domain", projects.Put(tx, v))
	})
	if err != nil {
		return nil, err
	}
	return v.asDomain(), nil
}

// DeleteDomain deletes a domain with its projects, users, groups and roles. Denied: it is enabled,
// immutable, or the default domain.
func (s *Service) DeleteDomain(ctx context.Context, id string) error {
	return s.update(ctx, func(tx *store.Tx) error {
		v, err := s.someDomain(tx, id)
		if err != nil {
			return err
		}
		if err := s.allow(tx, "identity:domain:delete", s.domainTarget(v)); err != nil {
			return err
		}
		if err := s.emptyDomain(tx, v); err != nil {
			return err
		}
		s.emit(tx, "domain", "deleted", id)
		return projects.Delete(tx, id)
	})
}

func (s *Service) emptyDomain(tx *store.Tx, v *Project) error {
	if err := checkMutable("domain", v.ID, v.Options, nil, false); err != nil {
		return err
	}
	if v.ID == DefaultDomainID {
		return &fault.Error{Code: fault.Denied, Kind: "domain", ID: v.ID, Msg: "is the default domain, which cannot be deleted"}
	}
	if v.Enabled {
		return &fault.Error{Code: fault.Denied, Kind: "domain", ID: v.ID, Msg: "is enabled; disable it first"}
	}
	in := store.Tuple{v.ID}
	err := each(tx, users, in, func(u *User) error {
		s.emit(tx, "user", "deleted", u.ID)
		if err := s.emptyUser(tx, u.ID); err != nil {
			return err
		}
		return users.Delete(tx, u.ID)
	})
	if err == nil {
		err = each(tx, groups, in, func(g *Group) error {
			s.emit(tx, "group", "deleted", g.ID)
			if err := s.emptyGroup(tx, g.ID); err != nil {
				return err
			}
			return groups.Delete(tx, g.ID)
		})
	}
	if err == nil {
		err = each(tx, roles, in, func(r *Role) error {
			s.emit(tx, "role", "deleted", r.ID)
			if err := s.emptyRole(tx, r); err != nil {
				return err
			}
			return roles.Delete(tx, r.ID)
		})
	}
	inside := store.Tuple{false, v.ID}
	if err == nil {
		// All are emptied before the first is deleted: what is inherited is looked for in their parents.
		err = each(tx, projects, inside, func(p *Project) error { return s.emptyProject(tx, p) })
	}
	if err == nil {
		err = each(tx, projects, inside, func(p *Project) error {
			s.emit(tx, "project", "deleted", p.ID)
			return projects.Delete(tx, p.ID)
		})
	}
	if err != nil {
		return err
	}
	return s.dropAssignments(tx, "target", store.Tuple{"domain", v.ID})
}

// each calls do with every document under a prefix of the index "name".
func each[T any](tx *store.Tx, c *store.Collection[T], prefix store.Tuple, do func(*T) error) error {
	found, err := c.List(tx, store.Query[T]{Index: "name", Prefix: prefix})
	for _, v := range found {
		if err == nil {
			err = do(v)
		}
	}
	return err
}
