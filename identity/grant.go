package identity

import (
	"slices"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

func (a *Assignment) scope() Scope {
	return Scope{ProjectID: a.ProjectID, DomainID: a.DomainID, System: a.System}
}

// place is where an assignment that counts for a scope may be: on the scope itself, or inherited from above.
type place struct {
	target    store.Tuple
	inherited bool
}

func (c *core) placesOf(tx *store.Tx, sc Scope) ([]place, error) {
	places := []place{{(&Assignment{ProjectID: sc.ProjectID, DomainID: sc.DomainID, System: sc.System}).target(), false}}
	if sc.ProjectID == "" {
		return places, nil
	}
	v, err := projects.Get(tx, sc.ProjectID)
	for err == nil && v.ParentID != "" {
		if v.ParentID == v.DomainID {
			places = append(places, place{store.Tuple{"domain", v.DomainID}, true})
			break
		}
		places = append(places, place{store.Tuple{"project", v.ParentID}, true})
		v, err = projects.Get(tx, v.ParentID)
	}
	return places, err
}

// actorsOf returns the user and his groups, as they begin the tuples of the index "actor".
func (c *core) actorsOf(tx *store.Tx, userID string) ([]store.Tuple, error) {
	actors := []store.Tuple{{"user", userID}}
	in, err := memberships.List(tx, store.Query[membership]{Index: "user", Prefix: store.Tuple{userID}})
	for _, m := range in {
		actors = append(actors, store.Tuple{"group", m.GroupID})
	}
	return actors, err
}

// effectiveRoles returns the roles that a user has in a scope, by himself, through groups, inherited
// and implied, by name. Domain-specific roles count only for what they imply.
func (c *core) effectiveRoles(tx *store.Tx, userID string, sc Scope) ([]*Role, error) {
	places, err := c.placesOf(tx, sc)
	if err != nil {
		return nil, err
	}
	actors, err := c.actorsOf(tx, userID)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, actor := range actors {
		for _, at := range places {
			prefix := append(append(slices.Clone(actor), at.target...), at.inherited)
			found, err := assignments.List(tx, store.Query[Assignment]{Index: "actor", Prefix: prefix})
			if err != nil {
				return nil, err
			}
			for _, a := range found {
				ids = append(ids, a.RoleID)
			}
		}
	}
	all, err := c.withImplied(tx, ids)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(r *Role) bool { return r.DomainID != "" })
	slices.SortFunc(all, func(a, b *Role) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// withImplied returns the roles of ids and all that they imply, each once. Ids of no role are skipped.
func (c *core) withImplied(tx *store.Tx, ids []string) ([]*Role, error) {
	var out []*Role
	seen := map[string]bool{}
	for len(ids) > 0 {
		id := ids[0]
		ids = ids[1:]
		if seen[id] {
			continue
		}
		seen[id] = true
		r, err := roles.Get(tx, id)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, r)
		ids = append(ids[:len(ids):len(ids)], r.Implies...)
	}
	return out, nil
}

// projectsBelow returns the projects under a project or domain, at any depth, ids only.
func (c *core) projectsBelow(tx *store.Tx, id string) ([]string, error) {
	var out []string
	for queue := []string{id}; len(queue) > 0; queue = queue[1:] {
		children, err := projects.List(tx, store.Query[Project]{Index: "parent", Prefix: store.Tuple{queue[0]}})
		if err != nil {
			return nil, err
		}
		for _, p := range children {
			out = append(out, p.ID)
			queue = append(queue, p.ID)
		}
	}
	return out, nil
}
