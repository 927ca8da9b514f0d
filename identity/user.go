package identity

import (
	"context"
	"slices"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

func userTarget(v *User) Target {
	return Target{Kind: "user", ID: v.ID, UserID: v.ID, DomainID: v.DomainID}
}

// CreateUser is a request for a new user.
type CreateUser struct {
	Name             string
	DomainID         string  // "" means that of the caller's scope
	Password         string  // "" means that he cannot log in with one
	Hashed           *Hashed // instead of Password, inside a transaction
	DefaultProjectID string
	Description      string
	Enabled          *bool // nil means true
	Options          Extra
	Extra            Extra
}

// CreateUser makes a user. Exists: the domain has one of that name; Invalid: a field or reference is wrong.
func (s *Service) CreateUser(ctx context.Context, req CreateUser) (*User, error) {
	v := &User{Name: req.Name, DomainID: s.homeDomain(req.DomainID), Description: req.Description, Enabled: orTrue(req.Enabled),
		DefaultProjectID: req.DefaultProjectID, Options: Extra(nil).merge(req.Options), Extra: Extra(nil).merge(req.Extra)}
	if err := v.check(); err != nil {
		return nil, err
	}
	hash, err := s.given(ctx, req.Hashed, req.Password)
	if err != nil {
		return nil, err
	}
	err = s.update(ctx, func(tx *store.Tx) error {
		if err := s.allow(tx, "identity:user:create", Target{Kind: "user", DomainID: v.DomainID}); err != nil {
			return err
		}
		if err := s.checkReferences(tx, v); err != nil {
			return err
		}
		v.ID, v.CreatedAt = dashless(tx.NewID()), tx.Now()
		s.emit(tx, "user", "created", v.ID)
		if err := s.setPassword(tx, v.ID, hash); err != nil {
			return err
		}
		return users.Insert(tx, v)
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

func (v *User) check() error {
	if err := checkName("name", v.Name, 255); err != nil {
		return err
	}
	return checkOptions(userOptions, v.Options)
}

func (s *Service) checkReferences(tx *store.Tx, v *User) error {
	if _, err := s.domain(tx, v.DomainID); err != nil {
		return err
	}
	if v.DefaultProjectID == "" {
		return nil
	}
	p, err := must(tx, projects, "default_project_id", v.DefaultProjectID)
	if err == nil && p.IsDomain {
		err = fault.InvalidField("default_project_id", v.DefaultProjectID, "it is a domain, not a project")
	}
	return err
}

// GetUser returns a user.
func (s *Service) GetUser(ctx context.Context, id string) (*User, error) {
	return show(ctx, s, users, id, "identity:user:get", userTarget)
}

// ListUsers selects users.
type ListUsers struct {
	ListOptions
	DomainID string // "" means any
	Enabled  *bool  // nil means both
}

// ListUsers returns users by domain and name.
func (s *Service) ListUsers(ctx context.Context, o ListUsers) ([]*User, error) {
	q := store.Query[User]{Index: "name", Filter: func(v *User) bool {
		return o.Match(v.Name) && (o.Enabled == nil || v.Enabled == *o.Enabled)
	}}
	if o.DomainID != "" {
		q.Prefix = store.Tuple{o.DomainID}
	}
	return list(ctx, s, users, o.ListOptions, "identity:user:list", q)
}

// UpdateUser is a change of a user; nil and absent fields stay as they are.
type UpdateUser struct {
	Name             *string
	Password         *string // "" takes it away
	Hashed           *Hashed // instead of Password, inside a transaction
	DefaultProjectID *string // "" takes it away
	Description      *string
	Enabled          *bool
	DomainID         *string // must be what it is
	Options          Extra   // null takes one away
	Extra            Extra   // null takes one away
}

// UpdateUser changes a user. A new password or disabling ends all his tokens.
func (s *Service) UpdateUser(ctx context.Context, id string, req UpdateUser) (*User, error) {
	var hash string
	newPassword := req.Password != nil || req.Hashed != nil
	if req.Hashed != nil {
		hash = req.Hashed.hash
	} else if req.Password != nil {
		// Asked before the costly part, and again in the transaction that writes.
		if err := s.view(ctx, func(tx *store.Tx) error {
			return s.allow(tx, "identity:user:update", Target{Kind: "user", ID: id, UserID: id})
		}); err != nil {
			return nil, err
		}
		var err error
		if hash, err = s.hashPassword(ctx, *req.Password); err != nil {
			return nil, err
		}
	}
	return modify(ctx, s, users, id, "identity:user:update", userTarget, func(tx *store.Tx, v *User) (err error) {
		if req.DomainID != nil && *req.DomainID != v.DomainID {
			return fault.InvalidField("domain_id", *req.DomainID, "a user cannot move to another domain")
		}
		was := v.Enabled
		set(&v.Name, req.Name)
		set(&v.DefaultProjectID, req.DefaultProjectID)
		set(&v.Description, req.Description)
		set(&v.Enabled, req.Enabled)
		v.Options, v.Extra = v.Options.merge(req.Options), v.Extra.merge(req.Extra)
		if err := v.check(); err != nil {
			return err
		}
		if req.DefaultProjectID != nil {
			if err := s.checkReferences(tx, v); err != nil {
				return err
			}
		}
		if newPassword {
			if err := s.setPassword(tx, id, hash); err != nil {
				return err
			}
		}
		if newPassword || was && !v.Enabled {
			v.Epoch, err = s.nextEpoch(tx)
		}
		return err
	})
}

// DeleteUser deletes a user with his password, memberships and role assignments.
func (s *Service) DeleteUser(ctx context.Context, id string) error {
	return remove(ctx, s, users, id, "identity:user:delete", userTarget, func(tx *store.Tx, v *User) error {
		return s.emptyUser(tx, id)
	})
}

// emptyUser removes what belongs to a user.
func (s *Service) emptyUser(tx *store.Tx, id string) error {
	if err := s.setPassword(tx, id, ""); err != nil {
		return err
	}
	in, err := memberships.List(tx, store.Query[membership]{Index: "user", Prefix: store.Tuple{id}})
	for _, m := range in {
		if err == nil {
			err = memberships.Delete(tx, m.GroupID+"/"+id)
		}
	}
	if err != nil {
		return err
	}
	return s.dropAssignments(tx, "actor", store.Tuple{"user", id})
}

// ProjectsOf returns the enabled projects that a user has a role in, by name.
func (s *Service) ProjectsOf(ctx context.Context, userID string) ([]*Project, error) {
	var out []*Project
	err := s.view(ctx, func(tx *store.Tx) error {
		if err := s.allowUser(tx, "identity:user:list_projects", userID); err != nil {
			return err
		}
		var err error
		out, err = s.projectsOf(tx, userID)
		return err
	})
	return out, err
}

// allowUser is allow about a user who must exist.
func (s *Service) allowUser(tx *store.Tx, action, userID string) error {
	u, err := users.Get(tx, userID)
	if err != nil {
		return err
	}
	return s.allow(tx, action, userTarget(u))
}

// projectsOf collects the projects on which the user, or a group of his, has an assignment.
func (c *core) projectsOf(tx *store.Tx, userID string) ([]*Project, error) {
	given, err := c.assignmentsOf(tx, userID)
	if err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	for _, a := range given {
		if a.ProjectID != "" && !a.Inherited {
			ids[a.ProjectID] = true
		}
		if a.Inherited {
			below, err := c.projectsBelow(tx, a.ProjectID+a.DomainID)
			if err != nil {
				return nil, err
			}
			for _, id := range below {
				ids[id] = true
			}
		}
	}
	var out []*Project
	for id := range ids {
		v, err := projects.Get(tx, id)
		if err != nil {
			return nil, err
		}
		d, err := projects.Get(tx, v.DomainID)
		if err != nil {
			return nil, err
		}
		if v.Enabled && d.Enabled {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b *Project) int { return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID) })
	return out, nil
}

// assignmentsOf returns what a user is given, himself or through a group.
func (c *core) assignmentsOf(tx *store.Tx, userID string) ([]*Assignment, error) {
	actors, err := c.actorsOf(tx, userID)
	if err != nil {
		return nil, err
	}
	var out []*Assignment
	for _, actor := range actors {
		given, err := assignments.List(tx, store.Query[Assignment]{Index: "actor", Prefix: actor})
		if err != nil {
			return nil, err
		}
		out = append(out, given...)
	}
	return out, nil
}

// Scopes is what a principal can get a token for.
type Scopes struct {
	Projects []*Project
	Domains  []*Domain
	System   bool
}

// Scopes returns what the principal of the Service can get a token for.
func (s *Service) Scopes(ctx context.Context) (*Scopes, error) {
	out := &Scopes{}
	err := s.view(ctx, func(tx *store.Tx) error {
		if err := s.allow(tx, "identity:scope:list", Target{}); err != nil {
			return err
		}
		given, err := s.assignmentsOf(tx, s.who.UserID)
		if err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, a := range given {
			out.System = out.System || a.System
			if a.DomainID == "" || a.Inherited || seen[a.DomainID] {
				continue
			}
			seen[a.DomainID] = true
			d, err := projects.Get(tx, a.DomainID)
			if err != nil {
				return err
			}
			if d.Enabled {
				out.Domains = append(out.Domains, d.asDomain())
			}
		}
		out.Projects, err = s.projectsOf(tx, s.who.UserID)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
