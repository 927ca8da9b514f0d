package identity

import (
	"fmt"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/finding"
	"github.com/nubecula/cloud/store"
)

// dangling is a record that refers to something that is not there.
var dangling = finding.Rule{Name: "identity-reference",
	Means: "a user, a role or a catalog entry depends on something that was deleted; logins or rights that go through it fail, none is granted by it",
	Do:    "delete what refers to it, or make it anew under another name; tell it with the log of the time"}

// Check returns what refers to something that does not exist, nothing when all is well.
func (s *Service) Check(tx *store.Tx) ([]finding.Finding, error) {
	l := finding.List{Service: "identity"}
	var failed error
	refers := func(kind, id, what string, has bool, err error) {
		if err != nil {
			failed = err
		} else if !has {
			l.Add(dangling, kind, id, "%s", what)
		}
	}
	inDomain := func(kind, id, domainID string) {
		has, err := projects.Has(tx, domainID)
		refers(kind, id, fmt.Sprintf("%s %s is in domain %s, which does not exist", kind, id, domainID), has, err)
	}
	visit(tx, &failed, projects, func(v *Project) {
		if !v.IsDomain {
			inDomain("project", v.ID, v.DomainID)
			has, err := projects.Has(tx, v.ParentID)
			refers("project", v.ID, fmt.Sprintf("project %s is below %s, which does not exist", v.ID, v.ParentID), has, err)
		}
	})
	visit(tx, &failed, users, func(v *User) {
		inDomain("user", v.ID, v.DomainID)
		if v.DefaultProjectID != "" {
			has, err := projects.Has(tx, v.DefaultProjectID)
			refers("user", v.ID, fmt.Sprintf("user %s has the default project %s, which does not exist", v.ID, v.DefaultProjectID), has, err)
		}
	})
	visit(tx, &failed, groups, func(v *Group) { inDomain("group", v.ID, v.DomainID) })
	visit(tx, &failed, roles, func(v *Role) {
		if v.DomainID != "" {
			inDomain("role", v.ID, v.DomainID)
		}
		for _, id := range v.Implies {
			has, err := roles.Has(tx, id)
			refers("role", v.ID, fmt.Sprintf("role %s implies %s, which does not exist", v.ID, id), has, err)
		}
	})
	visit(tx, &failed, assignments, func(v *Assignment) {
		err := v.checkParts(tx)
		missing := fault.Is(err, fault.NotFound)
		if missing {
			err = nil
		}
		refers("assignment", v.key(), fmt.Sprintf("assignment %s has a part that does not exist", v.key()), !missing, err)
	})
	visit(tx, &failed, memberships, func(v *membership) {
		has, err := groups.Has(tx, v.GroupID)
		refers("user", v.UserID, fmt.Sprintf("user %s is in group %s, which does not exist", v.UserID, v.GroupID), has, err)
		has, err = users.Has(tx, v.UserID)
		refers("group", v.GroupID, fmt.Sprintf("group %s has user %s, who does not exist", v.GroupID, v.UserID), has, err)
	})
	visit(tx, &failed, passwords, func(v *password) {
		has, err := users.Has(tx, v.UserID)
		refers("password", v.UserID, fmt.Sprintf("there is a password of user %s, who does not exist", v.UserID), has, err)
	})
	visit(tx, &failed, endpoints, func(v *Endpoint) {
		has, err := services.Has(tx, v.ServiceID)
		refers("endpoint", v.ID, fmt.Sprintf("endpoint %s is of service %s, which does not exist", v.ID, v.ServiceID), has, err)
		if v.RegionID != "" {
			has, err = regions.Has(tx, v.RegionID)
			refers("endpoint", v.ID, fmt.Sprintf("endpoint %s is in region %s, which does not exist", v.ID, v.RegionID), has, err)
		}
	})
	return l.Found, failed
}

func visit[T any](tx *store.Tx, failed *error, c *store.Collection[T], see func(*T)) {
	for v, err := range c.Each(tx, store.Query[T]{}) {
		if *failed != nil {
			return
		}
		if err != nil {
			*failed = err
			return
		}
		see(v)
	}
}
