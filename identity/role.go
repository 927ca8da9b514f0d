package identity

import (
	"context"
	"slices"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

// roleTarget: roles belong to nobody; those of a domain are its own.
func roleTarget(v *Role) Target { return Target{Kind: "role", ID: v.ID, DomainID: v.DomainID} }

// CreateRole is a request for a new role.
type CreateRole struct {
	Name        string
	DomainID    string // "" means a role for everywhere
	Description string
	Options     Extra
	Extra       Extra
}

// CreateRole makes a role. Exists: there is one of that name.
func (s *Service) CreateRole(ctx context.Context, req CreateRole) (*Role, error) {
	v := &Role{Name: req.Name, DomainID: req.DomainID, Description: req.Description,
		Options: Extra(nil).merge(req.Options), Extra: Extra(nil).merge(req.Extra)}
	if err := v.check(); err != nil {
		return nil, err
	}
	err := s.update(ctx, func(tx *store.Tx) error {
		if err := s.allow(tx, "identity:role:create", Target{Kind: "role", DomainID: v.DomainID}); err != nil {
			return err
		}
		if v.DomainID != "" {
			if _, err := s.domain(tx, v.DomainID); err != nil {
				return err
			}
		}
		v.ID = dashless(tx.NewID())
		s.emit(tx, "role", "created", v.ID)
		return roles.Insert(tx, v)
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

func (v *Role) check() error {
	if err := checkName("name", v.Name, 255); err != nil {
		return err
	}
	return checkOptions(lockOptions, v.Options)
}

// GetRole returns a role.
func (s *Service) GetRole(ctx context.Context, id string) (*Role, error) {
	return show(ctx, s, roles, id, "identity:role:get", roleTarget)
}

// ListRoles selects roles.
type ListRoles struct {
	ListOptions
	DomainID string // "" means the roles for everywhere
}

// ListRoles returns roles by name.
func (s *Service) ListRoles(ctx context.Context, o ListRoles) ([]*Role, error) {
	return list(ctx, s, roles, o.ListOptions, "identity:role:list", store.Query[Role]{Index: "name", Prefix: store.Tuple{o.DomainID},
		Filter: func(v *Role) bool { return o.Match(v.Name) }})
}

// UpdateRole is a change of a role; nil and absent fields stay as they are.
type UpdateRole struct {
	Name        *string
	Description *string
	DomainID    *string // must be what it is
	Options     Extra   // null takes one away
	Extra       Extra   // null takes one away
}

// UpdateRole changes a role. Denied: it is immutable.
func (s *Service) UpdateRole(ctx context.Context, id string, req UpdateRole) (*Role, error) {
	return modify(ctx, s, roles, id, "identity:role:update", roleTarget, func(tx *store.Tx, v *Role) error {
		if err := checkMutable("role", id, v.Options, req.Options, req.Name == nil && req.Description == nil && len(req.Extra) == 0); err != nil {
			return err
		}
		if req.DomainID != nil && *req.DomainID != v.DomainID {
			return fault.InvalidField("domain_id", *req.DomainID, "a role cannot move to another domain")
		}
		set(&v.Name, req.Name)
		set(&v.Description, req.Description)
		v.Options, v.Extra = v.Options.merge(req.Options), v.Extra.merge(req.Extra)
		return v.check()
	})
}

// DeleteRole deletes a role and its assignments. Denied: it is immutable.
func (s *Service) DeleteRole(ctx context.Context, id string) error {
	return remove(ctx, s, roles, id, "identity:role:delete", roleTarget, s.emptyRole)
}

func (s *Service) emptyRole(tx *store.Tx, v *Role) error {
	if err := checkMutable("role", v.ID, v.Options, nil, false); err != nil {
		return err
	}
	prior, err := roles.List(tx, store.Query[Role]{Filter: func(r *Role) bool { return slices.Contains(r.Implies, v.ID) }})
	for _, r := range prior {
		if err == nil {
			r.Implies = slices.DeleteFunc(r.Implies, func(id string) bool { return id == v.ID })
			err = roles.Put(tx, r)
		}
	}
	if err != nil {
		return err
	}
	return s.dropAssignments(tx, "role", store.Tuple{v.ID})
}

// Imply lets everybody with the role prior have the role implied too. Invalid: implied implies prior, or is the role admin.
func (s *Service) Imply(ctx context.Context, prior, implied string) error {
	_, err := modify(ctx, s, roles, prior, "identity:implied_role:create", roleTarget, func(tx *store.Tx, v *Role) error {
		r, err := roles.Get(tx, implied)
		if err != nil {
			return err
		}
		if r.Name == RoleAdmin && r.DomainID == "" {
			return &fault.Error{Code: fault.Denied, Kind: "role", ID: implied, Msg: "the role admin cannot be implied"}
		}
		back, err := s.withImplied(tx, []string{implied})
		if err != nil {
			return err
		}
		if slices.ContainsFunc(back, func(r *Role) bool { return r.ID == prior }) {
			return fault.InvalidField("implied_role_id", implied, "it implies the other already")
		}
		if !slices.Contains(v.Implies, implied) {
			v.Implies = slices.Sorted(slices.Values(append(v.Implies, implied)))
		}
		return nil
	})
	return err
}

// Unimply ends Imply; NotFound when there is none.
func (s *Service) Unimply(ctx context.Context, prior, implied string) error {
	_, err := modify(ctx, s, roles, prior, "identity:implied_role:delete", roleTarget, func(tx *store.Tx, v *Role) error {
		i := slices.Index(v.Implies, implied)
		if i < 0 {
			return fault.Missing("implied role", implied)
		}
		v.Implies = slices.Delete(v.Implies, i, i+1)
		if err := roles.Put(tx, v); err != nil {
			return err
		}
		// A domain's own role counts only for what it implies, so this may have been somebody's last.
		given, err := assignments.List(tx, store.Query[Assignment]{Index: "role", Prefix: store.Tuple{prior}})
		for _, a := range given {
			if err == nil {
				err = s.grantLost(tx, a)
			}
		}
		return err
	})
	return err
}

// Inference is a role with those that it implies directly.
type Inference struct {
	Prior   *Role
	Implied []*Role
}

// Inferences returns every role that implies others; or, when prior is not "", that role alone.
func (s *Service) Inferences(ctx context.Context, prior string) ([]*Inference, error) {
	var out []*Inference
	err := s.view(ctx, func(tx *store.Tx) error {
		if err := s.allow(tx, "identity:implied_role:list", Target{}); err != nil {
			return err
		}
		if prior != "" {
			if _, err := roles.Get(tx, prior); err != nil {
				return err
			}
		}
		found, err := roles.List(tx, store.Query[Role]{Index: "name", Filter: func(r *Role) bool {
			return prior == r.ID || prior == "" && len(r.Implies) > 0
		}})
		for _, r := range found {
			in := &Inference{Prior: r}
			for _, id := range r.Implies {
				implied, err := roles.Get(tx, id)
				if err != nil {
					return err
				}
				in.Implied = append(in.Implied, implied)
			}
			out = append(out, in)
		}
		return err
	})
	return out, err
}
