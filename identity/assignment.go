package identity

import (
	"context"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

// checkShape refuses an assignment that does not name exactly one actor and one target.
func (a *Assignment) checkShape() error {
	actors, targets := 0, 0
	for _, id := range []string{a.UserID, a.GroupID} {
		if id != "" {
			actors++
		}
	}
	for _, set := range []bool{a.ProjectID != "", a.DomainID != "", a.System} {
		if set {
			targets++
		}
	}
	if actors != 1 || targets != 1 || a.System && a.Inherited {
		return fault.New(fault.Invalid, "a role assignment needs one user or group, and one project, domain or the system; that of the system is not inherited")
	}
	return nil
}

// checkParts returns NotFound when the role, actor or target of an assignment does not exist.
func (a *Assignment) checkParts(tx *store.Tx) error {
	_, err := roles.Get(tx, a.RoleID)
	if err == nil && a.UserID != "" {
		_, err = users.Get(tx, a.UserID)
	}
	if err == nil && a.GroupID != "" {
		_, err = groups.Get(tx, a.GroupID)
	}
	if err != nil || a.System {
		return err
	}
	v, err := projects.Get(tx, a.ProjectID+a.DomainID)
	if fault.Is(err, fault.NotFound) || err == nil && v.IsDomain != (a.DomainID != "") {
		return fault.Missing(a.target()[0].(string), a.ProjectID+a.DomainID)
	}
	return err
}

func (a *Assignment) asTarget() Target {
	return Target{Kind: "role_assignment", ProjectID: a.ProjectID, DomainID: a.DomainID, UserID: a.UserID}
}

// Grant gives a role, which may be given already. NotFound: role, actor or target does not exist.
func (s *Service) Grant(ctx context.Context, a Assignment) error {
	if err := a.checkShape(); err != nil {
		return err
	}
	return s.update(ctx, func(tx *store.Tx) error {
		if err := s.allow(tx, "identity:role_assignment:create", a.asTarget()); err != nil {
			return err
		}
		if err := a.checkParts(tx); err != nil {
			return err
		}
		r, err := roles.Get(tx, a.RoleID)
		if err != nil {
			return err
		}
		if r.DomainID != "" && a.System {
			return &fault.Error{Code: fault.Denied, Kind: "role", ID: r.ID, Msg: "belongs to a domain; it cannot be given on the system"}
		}
		if there, err := assignments.Has(tx, a.key()); err != nil || there {
			return err
		}
		s.emit(tx, "role_assignment", "created", a.key())
		return assignments.Insert(tx, &a)
	})
}

// Ungrant takes a role away at once; a user left without any in that scope loses his tokens for it.
// NotFound: it was not given.
func (s *Service) Ungrant(ctx context.Context, a Assignment) error {
	if err := a.checkShape(); err != nil {
		return err
	}
	return s.update(ctx, func(tx *store.Tx) error {
		if err := s.allow(tx, "identity:role_assignment:delete", a.asTarget()); err != nil {
			return err
		}
		if there, err := assignments.Has(tx, a.key()); err != nil || !there {
			return orMissing(err, "role_assignment", a.key())
		}
		return s.dropAssignment(tx, &a)
	})
}

// Granted returns nil when exactly this assignment was made, else NotFound.
func (s *Service) Granted(ctx context.Context, a Assignment) error {
	if err := a.checkShape(); err != nil {
		return err
	}
	return s.view(ctx, func(tx *store.Tx) error {
		if err := s.allow(tx, "identity:role_assignment:check", a.asTarget()); err != nil {
			return err
		}
		if err := a.checkParts(tx); err != nil {
			return err
		}
		if there, err := assignments.Has(tx, a.key()); err != nil || !there {
			return orMissing(err, "role_assignment", a.key())
		}
		return nil
	})
}

func (s *Service) dropAssignment(tx *store.Tx, a *Assignment) error {
	if err := assignments.Delete(tx, a.key()); err != nil {
		return err
	}
	s.emit(tx, "role_assignment", "deleted", a.key())
	return s.grantLost(tx, a)
}

// dropAssignments takes away all under a prefix of an index.
func (s *Service) dropAssignments(tx *store.Tx, index string, prefix store.Tuple) error {
	found, err := assignments.List(tx, store.Query[Assignment]{Index: index, Prefix: prefix})
	for _, a := range found {
		if err == nil {
			err = s.dropAssignment(tx, a)
		}
	}
	return err
}

// ListAssignments selects assignments; empty fields select any.
type ListAssignments struct {
	RoleID    string
	UserID    string
	GroupID   string
	ProjectID string
	DomainID  string
	System    bool
	Inherited *bool
	// Effective lists what users have in the end: groups, inheritance and implied roles resolved.
	Effective bool
	// Subtree takes in the projects below ProjectID.
	Subtree bool
}

// Given is an assignment with the names of its parts; in an effective list also why it holds.
type Given struct {
	Assignment
	Role    *Role
	User    *User
	Group   *Group
	Project *Project // also the domain of an assignment on one
	// Domains holds the domains of the parts above, by id.
	Domains map[string]*Project
	// Origin is the assignment that was made; nil when it is this one.
	Origin *Assignment
}

// ListAssignments returns role assignments. Invalid: Effective together with GroupID.
func (s *Service) ListAssignments(ctx context.Context, o ListAssignments) ([]*Given, error) {
	if o.Effective && o.GroupID != "" {
		return nil, fault.InvalidField("group.id", o.GroupID, "an effective list has no groups; leave out one of effective and group.id")
	}
	var out []*Given
	err := s.view(ctx, func(tx *store.Tx) error {
		out = nil
		t := (&Assignment{ProjectID: o.ProjectID, DomainID: o.DomainID, UserID: o.UserID}).asTarget()
		if err := s.allow(tx, "identity:role_assignment:list", t); err != nil {
			return err
		}
		inside := map[string]bool{o.ProjectID: true}
		if o.Subtree && o.ProjectID != "" {
			below, err := s.projectsBelow(tx, o.ProjectID)
			if err != nil {
				return err
			}
			for _, id := range below {
				inside[id] = true
			}
		}
		keep := func(a *Assignment) bool {
			return (o.RoleID == "" || a.RoleID == o.RoleID) && (o.UserID == "" || a.UserID == o.UserID) &&
				(o.GroupID == "" || a.GroupID == o.GroupID) && (o.ProjectID == "" || inside[a.ProjectID]) &&
				(o.DomainID == "" || a.DomainID == o.DomainID) && (!o.System || a.System)
		}
		made, err := s.madeFor(tx, o)
		if err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, a := range made {
			if o.Inherited != nil && a.Inherited != *o.Inherited {
				continue
			}
			in := []*Assignment{a}
			if o.Effective {
				if in, err = s.expand(tx, a); err != nil {
					return err
				}
			}
			for _, e := range in {
				if !keep(e) || seen[e.key()] {
					continue
				}
				seen[e.key()] = true
				g := &Given{Assignment: *e}
				if o.Effective && *e != *a {
					g.Origin = a
				}
				if err := g.name(tx); err != nil {
					return err
				}
				out = append(out, g)
			}
		}
		return nil
	})
	return out, err
}

// madeFor narrows the assignments down by what an index can, in a fixed order.
func (s *Service) madeFor(tx *store.Tx, o ListAssignments) ([]*Assignment, error) {
	switch {
	case o.UserID != "" && o.Effective:
		return s.assignmentsOf(tx, o.UserID)
	case o.UserID != "" || o.GroupID != "":
		actor := (&Assignment{UserID: o.UserID, GroupID: o.GroupID}).actor()
		return assignments.List(tx, store.Query[Assignment]{Index: "actor", Prefix: actor})
	}
	return assignments.List(tx, store.Query[Assignment]{})
}

// expand resolves what an assignment amounts to: to each user, on each project, with each implied role.
func (s *Service) expand(tx *store.Tx, a *Assignment) ([]*Assignment, error) {
	who := []string{a.UserID}
	if a.GroupID != "" {
		who = nil
		members, err := memberships.List(tx, store.Query[membership]{Index: "group", Prefix: store.Tuple{a.GroupID}})
		if err != nil {
			return nil, err
		}
		for _, m := range members {
			who = append(who, m.UserID)
		}
	}
	scopes := []Scope{a.scope()}
	if a.Inherited {
		scopes = nil
		below, err := s.projectsBelow(tx, a.ProjectID+a.DomainID)
		if err != nil {
			return nil, err
		}
		for _, id := range below {
			scopes = append(scopes, Scope{ProjectID: id})
		}
	}
	all, err := s.withImplied(tx, []string{a.RoleID})
	if err != nil {
		return nil, err
	}
	var out []*Assignment
	for _, userID := range who {
		for _, sc := range scopes {
			for _, r := range all {
				if r.DomainID == "" {
					out = append(out, &Assignment{RoleID: r.ID, UserID: userID, ProjectID: sc.ProjectID, DomainID: sc.DomainID, System: sc.System})
				}
			}
		}
	}
	return out, nil
}

// name reads the parts.
func (g *Given) name(tx *store.Tx) (err error) {
	g.Domains = map[string]*Project{}
	domain := func(id string) {
		if err == nil && id != "" && g.Domains[id] == nil {
			g.Domains[id], err = projects.Get(tx, id)
		}
	}
	if g.Role, err = roles.Get(tx, g.RoleID); err != nil {
		return err
	}
	domain(g.Role.DomainID)
	if err == nil && g.UserID != "" {
		if g.User, err = users.Get(tx, g.UserID); err == nil {
			domain(g.User.DomainID)
		}
	}
	if err == nil && g.GroupID != "" {
		if g.Group, err = groups.Get(tx, g.GroupID); err == nil {
			domain(g.Group.DomainID)
		}
	}
	if err == nil && !g.System {
		if g.Project, err = projects.Get(tx, g.ProjectID+g.DomainID); err == nil {
			domain(g.Project.DomainID)
		}
	}
	return err
}
