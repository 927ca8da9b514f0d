package identity

import (
	"context"
	"slices"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

func groupTarget(v *Group) Target { return Target{Kind: "group", ID: v.ID, DomainID: v.DomainID} }

// CreateGroup is a request for a new group.
type CreateGroup struct {
	Name        string
	DomainID    string // "" means that of the caller's scope
	Description string
	Extra       Extra
}

// CreateGroup makes a group. Exists: the domain has one of that name.
func (s *Service) CreateGroup(ctx context.Context, req CreateGroup) (*Group, error) {
	if err := checkName("name", req.Name, 64); err != nil {
		return nil, err
	}
	v := &Group{Name: req.Name, DomainID: s.homeDomain(req.DomainID), Description: req.Description, Extra: Extra(nil).merge(req.Extra)}
	err := s.update(ctx, func(tx *store.Tx) error {
		if err := s.allow(tx, "identity:group:create", Target{Kind: "group", DomainID: v.DomainID}); err != nil {
			return err
		}
		if _, err := s.domain(tx, v.DomainID); err != nil {
			return err
		}
		v.ID = dashless(tx.NewID())
		s.emit(tx, "group", "created", v.ID)
		return groups.Insert(tx, v)
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

// GetGroup returns a group.
func (s *Service) GetGroup(ctx context.Context, id string) (*Group, error) {
	return show(ctx, s, groups, id, "identity:group:get", groupTarget)
}

// ListGroups selects groups.
type ListGroups struct {
	ListOptions
	DomainID string // "" means any
}

// ListGroups returns groups by domain and name.
func (s *Service) ListGroups(ctx context.Context, o ListGroups) ([]*Group, error) {
	q := store.Query[Group]{Index: "name", Filter: func(v *Group) bool { return o.Match(v.Name) }}
	if o.DomainID != "" {
		q.Prefix = store.Tuple{o.DomainID}
	}
	return list(ctx, s, groups, o.ListOptions, "identity:group:list", q)
}

// UpdateGroup is a change of a group; nil and absent fields stay as they are.
type UpdateGroup struct {
	Name        *string
	Description *string
	DomainID    *string // must be what it is
	Extra       Extra   // null takes one away
}

// UpdateGroup changes a group.
func (s *Service) UpdateGroup(ctx context.Context, id string, req UpdateGroup) (*Group, error) {
	return modify(ctx, s, groups, id, "identity:group:update", groupTarget, func(tx *store.Tx, v *Group) error {
		if req.DomainID != nil && *req.DomainID != v.DomainID {
			return fault.InvalidField("domain_id", *req.DomainID, "a group cannot move to another domain")
		}
		set(&v.Name, req.Name)
		set(&v.Description, req.Description)
		v.Extra = v.Extra.merge(req.Extra)
		return checkName("name", v.Name, 64)
	})
}

// DeleteGroup deletes a group with its role assignments, and ends all tokens of its members.
func (s *Service) DeleteGroup(ctx context.Context, id string) error {
	return remove(ctx, s, groups, id, "identity:group:delete", groupTarget, func(tx *store.Tx, v *Group) error {
		return s.emptyGroup(tx, id)
	})
}

func (s *Service) emptyGroup(tx *store.Tx, id string) error {
	members, err := memberships.List(tx, store.Query[membership]{Index: "group", Prefix: store.Tuple{id}})
	if err != nil {
		return err
	}
	for _, m := range members {
		if err := s.leaveGroup(tx, id, m.UserID); err != nil {
			return err
		}
	}
	return s.dropAssignments(tx, "actor", store.Tuple{"group", id})
}

// leaveGroup ends all tokens of the user, who may have lost his last role anywhere.
func (s *Service) leaveGroup(tx *store.Tx, groupID, userID string) error {
	if err := memberships.Delete(tx, groupID+"/"+userID); err != nil {
		if fault.Is(err, fault.NotFound) {
			return fault.Missing("user", userID)
		}
		return err
	}
	return s.endUser(tx, userID)
}

// AddToGroup puts a user into a group, in which he may be already.
func (s *Service) AddToGroup(ctx context.Context, groupID, userID string) error {
	return s.member(ctx, "identity:group:add_user", groupID, userID, func(tx *store.Tx) error {
		s.emit(tx, "group", "updated", groupID)
		return memberships.Put(tx, &membership{groupID, userID})
	})
}

// RemoveFromGroup takes a user out of a group and ends all his tokens. NotFound: he is not in it.
func (s *Service) RemoveFromGroup(ctx context.Context, groupID, userID string) error {
	return s.member(ctx, "identity:group:remove_user", groupID, userID, func(tx *store.Tx) error {
		s.emit(tx, "group", "updated", groupID)
		return s.leaveGroup(tx, groupID, userID)
	})
}

// InGroup returns nil when a user is in a group, else NotFound.
func (s *Service) InGroup(ctx context.Context, groupID, userID string) error {
	return s.view(ctx, func(tx *store.Tx) error {
		g, err := groups.Get(tx, groupID)
		if err != nil {
			return err
		}
		if err := s.allow(tx, "identity:group:check_user", groupTarget(g)); err != nil {
			return err
		}
		if in, err := memberships.Has(tx, groupID+"/"+userID); err != nil || !in {
			return orMissing(err, "user", userID)
		}
		return nil
	})
}

func orMissing(err error, kind, id string) error {
	if err != nil {
		return err
	}
	return fault.Missing(kind, id)
}

func (s *Service) member(ctx context.Context, action, groupID, userID string, do func(tx *store.Tx) error) error {
	return s.update(ctx, func(tx *store.Tx) error {
		g, err := groups.Get(tx, groupID)
		if err != nil {
			return err
		}
		if err := s.allow(tx, action, groupTarget(g)); err != nil {
			return err
		}
		if _, err := users.Get(tx, userID); err != nil {
			return err
		}
		return do(tx)
	})
}

// Members returns the users of a group by name.
func (s *Service) Members(ctx context.Context, groupID string, o ListOptions) ([]*User, error) {
	var out []*User
	err := s.view(ctx, func(tx *store.Tx) error {
		g, err := groups.Get(tx, groupID)
		if err != nil {
			return err
		}
		if err := s.allow(tx, "identity:group:list_users", groupTarget(g)); err != nil {
			return err
		}
		members, err := memberships.List(tx, store.Query[membership]{Index: "group", Prefix: store.Tuple{groupID}})
		for _, m := range members {
			u, err := users.Get(tx, m.UserID)
			if err != nil {
				return err
			}
			if o.Match(u.Name) {
				out = append(out, u)
			}
		}
		return err
	})
	slices.SortFunc(out, func(a, b *User) int { return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID) })
	return out, err
}

// GroupsOf returns the groups of a user by name.
func (s *Service) GroupsOf(ctx context.Context, userID string, o ListOptions) ([]*Group, error) {
	var out []*Group
	err := s.view(ctx, func(tx *store.Tx) error {
		if err := s.allowUser(tx, "identity:user:list_groups", userID); err != nil {
			return err
		}
		in, err := memberships.List(tx, store.Query[membership]{Index: "user", Prefix: store.Tuple{userID}})
		for _, m := range in {
			g, err := groups.Get(tx, m.GroupID)
			if err != nil {
				return err
			}
			if o.Match(g.Name) {
				out = append(out, g)
			}
		}
		return err
	})
	slices.SortFunc(out, func(a, b *Group) int { return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID) })
	return out, err
}
