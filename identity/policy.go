package identity

import (
	"fmt"
	"maps"
	"strings"

	"github.com/nubecula/cloud/fault"
)

// Target is the thing an action is about. For a thing still to be made, and for a list, ID is empty
// and the owner is the one it would have or the list asks for.
type Target struct {
	Kind      string // "server"
	ID        string // "" when there is no such thing yet
	ProjectID string // that owns it; "" when no project does
	DomainID  string // that owns it; "" when no domain does
	UserID    string // that owns it, or is it; "" when no user does
	Shared    bool   // everybody, or at least the caller's project, may see it
}

// Policy decides who may do what. Check is called inside transactions, also more than once: it is
// quick, does no input or output, and changes nothing.
//
// It returns nil; or NotFound when p may not even see an existing target; or Denied, naming the
// action; or Unauthenticated when p is nil.
type Policy interface {
	Check(p *Principal, action string, t Target) error
}

// Rule says who besides administrators may do an action: everyone whom one of its bits admits.
type Rule uint8

const (
	// Admin alone.
	Admin Rule = 0
	// Member: the role member or manager in the project that owns the target.
	Member Rule = 1 << (iota - 1)
	// Reader: as Member, or the role reader there; and everyone if the target is Shared.
	Reader
	// Self: the user who owns the target, or is it.
	Self
	// Own: any role in the project, or the domain, that owns the target.
	Own
	// Services: the role service, which the programs of other services have.
	Services
	// Anyone who is authenticated.
	Anyone
)

// Table is a Policy that looks an action up; an action that it does not know is for administrators alone.
type Table map[string]Rule

// DefaultPolicy returns a new copy of the default rules for every service; change what should differ before it is used.
// Actions are named service:resource:verb, such as "compute:server:delete".
func DefaultPolicy() Table { return maps.Clone(defaultRules) }

// Check implements Policy.
func (t Table) Check(p *Principal, action string, target Target) error {
	if p == nil {
		return fault.New(fault.Unauthenticated, "%s needs an authenticated caller", action)
	}
	rule, known := t[action]
	if p.IsAdmin() || known && rule.admits(p, target) {
		return nil
	}
	if target.ID != "" && !visible(p, target) {
		return fault.Missing(target.Kind, target.ID)
	}
	return &fault.Error{Code: fault.Denied, Op: action, Kind: target.Kind, ID: target.ID,
		Msg: fmt.Sprintf("user %s in %s is not allowed to do this: it needs %s", p.UserID, p.scope(), rule)}
}

func (r Rule) admits(p *Principal, t Target) bool {
	inProject := p.ProjectID != "" && p.ProjectID == t.ProjectID
	inDomain := p.DomainID != "" && p.DomainID == t.DomainID
	switch {
	case r&Anyone != 0:
		return true
	case r&Self != 0 && p.UserID != "" && p.UserID == t.UserID:
		return true
	case r&Services != 0 && p.HasRole(RoleService):
		return true
	case r&Own != 0 && (inProject || inDomain):
		return true
	case r&(Member|Reader) != 0 && inProject && p.HasRole(RoleMember, RoleManager):
		return true
	case r&Reader != 0 && (t.Shared || inProject && p.HasRole(RoleReader)):
		return true
	}
	return false
}

// visible reports whether p may know that the target exists: it owns it in some way, or nobody does.
func visible(p *Principal, t Target) bool {
	return t.Shared || t.ProjectID == "" && t.DomainID == "" && t.UserID == "" ||
		t.ProjectID != "" && t.ProjectID == p.ProjectID || t.DomainID != "" && t.DomainID == p.DomainID ||
		t.UserID != "" && t.UserID == p.UserID
}

// String names who is admitted, for messages.
func (r Rule) String() string {
	who := []string{"the role admin"}
	for _, b := range []struct {
		bit  Rule
		name string
	}{
		{Member, "the role member in its project"}, {Reader, "the role reader in its project"},
		{Self, "to be its user"}, {Own, "a role in its project or domain"}, {Services, "the role service"}, {Anyone, "any user"},
	} {
		if r&b.bit != 0 {
			who = append(who, b.name)
		}
	}
	return strings.Join(who, " or ")
}
