package identity

import (
	"slices"
	"time"
)

// Names of the roles that Bootstrap makes and the default Policy knows. Each implies the next.
const (
	RoleAdmin   = "admin"
	RoleManager = "manager"
	RoleMember  = "member"
	RoleReader  = "reader"
	RoleService = "service" // implies nothing
)

// Principal is who asks, and in which scope: at most one of ProjectID,
// DomainID and System is set. Nobody writes to a Principal once it is made;
// it is shared between requests.
//
// One that Validate or Authenticate returned is checked again by Authorize;
// one that the embedding program made is trusted as it is.
type Principal struct {
	UserID         string
	UserName       string
	UserDomainID   string
	UserDomainName string

	ProjectID         string // "" when not scoped to a project
	ProjectName       string
	ProjectDomainID   string
	ProjectDomainName string

	DomainID   string // "" when not scoped to a domain
	DomainName string

	System bool // scoped to the whole cloud

	Roles   []string // names of the roles in this scope, implied ones included, sorted
	RoleIDs []string // their ids, in the same order

	Methods   []string  // how the user proved who he is: "password", "token"
	AuditIDs  []string  // of the token, then of the first token of its chain if that is another
	IssuedAt  time.Time // zero without a token
	ExpiresAt time.Time // zero: never

	internal   bool
	claims     *Claims // set when it came from a token
	generation uint64  // of the identity data it was read from
	owner      *core
}

// System returns the principal of the cloud's own work, which may do everything.
func System() *Principal {
	return &Principal{UserName: "nubecula", System: true, Roles: []string{RoleAdmin}, internal: true}
}

// HasRole reports whether p has one of the named roles in its scope. A nil Principal has none.
func (p *Principal) HasRole(names ...string) bool {
	return p != nil && slices.ContainsFunc(names, func(n string) bool { return slices.Contains(p.Roles, n) })
}

// IsAdmin reports whether p may do everything: it has the role admin, in whichever scope, as in OpenStack's services.
func (p *Principal) IsAdmin() bool { return p != nil && (p.internal || p.HasRole(RoleAdmin)) }

// scope describes the scope for messages.
func (p *Principal) scope() string {
	switch {
	case p.ProjectID != "":
		return "project " + p.ProjectID
	case p.DomainID != "":
		return "domain " + p.DomainID
	case p.System:
		return "the system"
	}
	return "no scope"
}
