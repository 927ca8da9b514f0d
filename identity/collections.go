package identity

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/nubecula/cloud/store"
)

// Extra holds attributes that identity keeps for its clients without knowing what they mean.
type Extra map[string]json.RawMessage

// Domain is a name space of projects, users and groups.
type Domain struct {
	ID          string
	Name        string
	Description string
	Enabled     bool
	Tags        []string
	Options     Extra
	Extra       Extra
}

// Project owns resources. A domain is stored as a project too, with IsDomain set and no DomainID.
type Project struct {
	ID          string   `json:"id"`
	DomainID    string   `json:"domain_id,omitempty"`
	ParentID    string   `json:"parent_id,omitempty"` // another project, or the domain; "" for a domain
	IsDomain    bool     `json:"is_domain,omitempty"`
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Enabled     bool     `json:"enabled"`
	Tags        []string `json:"tags,omitempty"`    // sorted
	Options     Extra    `json:"options,omitempty"` // "immutable"
	Extra       Extra    `json:"extra,omitempty"`
	// Epoch of the last change that made every token for it invalid; 0: none.
	Epoch int64 `json:"epoch,omitempty"`
}

// User is somebody who can authenticate. The password is kept elsewhere.
type User struct {
	ID               string    `json:"id"`
	DomainID         string    `json:"domain_id"`
	Name             string    `json:"name"`
	Description      string    `json:"description,omitempty"`
	Enabled          bool      `json:"enabled"`
	DefaultProjectID string    `json:"default_project_id,omitempty"`
	Options          Extra     `json:"options,omitempty"` // Keystone's resource options for users
	Extra            Extra     `json:"extra,omitempty"`   // "email" and whatever else
	CreatedAt        time.Time `json:"created_at"`
	// Epoch of the last change that made every token of the user invalid; 0: none.
	Epoch int64 `json:"epoch,omitempty"`
}

// Group holds users of its domain or others; its roles are theirs.
type Group struct {
	ID          string `json:"id"`
	DomainID    string `json:"domain_id"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Extra       Extra  `json:"extra,omitempty"`
}

// Role is a name that policies know. Roles with a DomainID are kept for clients but grant nothing by themselves.
type Role struct {
	ID          string   `json:"id"`
	DomainID    string   `json:"domain_id,omitempty"`
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Options     Extra    `json:"options,omitempty"` // "immutable"
	Extra       Extra    `json:"extra,omitempty"`
	Implies     []string `json:"implies,omitempty"` // ids of roles that come with this one, sorted
}

// Assignment gives a role to one user or group on one project, domain or the system.
type Assignment struct {
	RoleID    string `json:"role_id"`
	UserID    string `json:"user_id,omitempty"`
	GroupID   string `json:"group_id,omitempty"`
	ProjectID string `json:"project_id,omitempty"`
	DomainID  string `json:"domain_id,omitempty"`
	System    bool   `json:"system,omitempty"`
	// Inherited: it holds for the projects below ProjectID or DomainID, not for that one itself.
	Inherited bool `json:"inherited,omitempty"`
}

// Region groups endpoints.
type Region struct {
	ID          string `json:"id"`
	ParentID    string `json:"parent_region_id,omitempty"`
	Description string `json:"description,omitempty"`
	Extra       Extra  `json:"extra,omitempty"`
}

// CatalogService is a service that clients find in the catalog.
type CatalogService struct {
	ID          string `json:"id"`
	Type        string `json:"type"` // "compute"
	Name        string `json:"name,omitempty"`
	Description string `json:"description,omitempty"`
	Enabled     bool   `json:"enabled"`
	Extra       Extra  `json:"extra,omitempty"`
}

// Endpoint is where a service answers.
type Endpoint struct {
	ID        string `json:"id"`
	ServiceID string `json:"service_id"`
	RegionID  string `json:"region_id,omitempty"`
	Interface string `json:"interface"` // public, internal or admin
	// URL may contain $(project_id)s, $(tenant_id)s and $(user_id)s, also written with a percent sign.
	URL     string `json:"url"`
	Name    string `json:"name,omitempty"`
	Enabled bool   `json:"enabled"`
	Extra   Extra  `json:"extra,omitempty"`
}

// membership puts a user into a group.
type membership struct {
	GroupID string `json:"group_id"`
	UserID  string `json:"user_id"`
}

// password is a user's sealed password hash.
type password struct {
	UserID    string    `json:"user_id"`
	Hash      string    `json:"hash"` // sealed
	CreatedAt time.Time `json:"created_at"`
}

// signingKey signs tokens.
type signingKey struct {
	Number    int64     `json:"number"`
	Public    []byte    `json:"public"`
	Seed      string    `json:"seed"` // sealed
	CreatedAt time.Time `json:"created_at"`
}

// revocation ends one token ("token/audit id"), or all tokens of a user for a scope that were issued
// before an epoch ("grant/user/scope"). It is dropped once the last such token has expired.
type revocation struct {
	ID        string    `json:"id"`
	Epoch     int64     `json:"epoch,omitempty"`
	ExpiresAt time.Time `json:"expires_at"`
}

// epoch counts revocations. A token carries the count at its issue.
type epoch struct {
	Count int64 `json:"count"`
}

const epochID = "epoch"

var (
	projects = store.Define(store.Spec[Project]{
		Kind: "project", Version: 1, ID: func(v *Project) string { return v.ID },
		Indexes: []store.Index[Project]{
			{Name: "name", Unique: true, Keys: func(v *Project) []store.Tuple { return []store.Tuple{{v.IsDomain, v.DomainID, v.Name}} }},
			{Name: "parent", Keys: func(v *Project) []store.Tuple { return []store.Tuple{{v.ParentID}} }},
		},
	})
	users = store.Define(store.Spec[User]{
		Kind: "user", Version: 1, ID: func(v *User) string { return v.ID },
		Indexes: []store.Index[User]{
			{Name: "name", Unique: true, Keys: func(v *User) []store.Tuple { return []store.Tuple{{v.DomainID, v.Name}} }},
			{Name: "default_project", Keys: func(v *User) []store.Tuple {
				if v.DefaultProjectID == "" {
					return nil
				}
				return []store.Tuple{{v.DefaultProjectID}}
			}},
		},
	})
	groups = store.Define(store.Spec[Group]{
		Kind: "group", Version: 1, ID: func(v *Group) string { return v.ID },
		Indexes: []store.Index[Group]{
			{Name: "name", Unique: true, Keys: func(v *Group) []store.Tuple { return []store.Tuple{{v.DomainID, v.Name}} }},
		},
	})
	roles = store.Define(store.Spec[Role]{
		Kind: "role", Version: 1, ID: func(v *Role) string { return v.ID },
		Indexes: []store.Index[Role]{
			{Name: "name", Unique: true, Keys: func(v *Role) []store.Tuple { return []store.Tuple{{v.DomainID, v.Name}} }},
		},
	})
	assignments = store.Define(store.Spec[Assignment]{
		Kind: "role_assignment", Version: 1, ID: (*Assignment).key,
		Indexes: []store.Index[Assignment]{
			{Name: "actor", Keys: func(v *Assignment) []store.Tuple {
				return []store.Tuple{append(v.actor(), append(v.target(), v.Inherited)...)}
			}},
			{Name: "target", Keys: func(v *Assignment) []store.Tuple { return []store.Tuple{v.target()} }},
			{Name: "role", Keys: func(v *Assignment) []store.Tuple { return []store.Tuple{{v.RoleID}} }},
		},
	})
	memberships = store.Define(store.Spec[membership]{
		Kind: "group_member", Version: 1, ID: func(v *membership) string { return v.GroupID + "/" + v.UserID },
		Indexes: []store.Index[membership]{
			{Name: "group", Keys: func(v *membership) []store.Tuple { return []store.Tuple{{v.GroupID}} }},
			{Name: "user", Keys: func(v *membership) []store.Tuple { return []store.Tuple{{v.UserID}} }},
		},
	})
	regions = store.Define(store.Spec[Region]{
		Kind: "region", Version: 1, ID: func(v *Region) string { return v.ID },
		Indexes: []store.Index[Region]{
			{Name: "parent", Keys: func(v *Region) []store.Tuple { return []store.Tuple{{v.ParentID}} }},
		},
	})
	services = store.Define(store.Spec[CatalogService]{
		Kind: "catalog_service", Label: "service", Version: 1, ID: func(v *CatalogService) string { return v.ID },
	})
	endpoints = store.Define(store.Spec[Endpoint]{
		Kind: "endpoint", Version: 1, ID: func(v *Endpoint) string { return v.ID },
		Indexes: []store.Index[Endpoint]{
			{Name: "service", Keys: func(v *Endpoint) []store.Tuple { return []store.Tuple{{v.ServiceID}} }},
			{Name: "region", Keys: func(v *Endpoint) []store.Tuple { return []store.Tuple{{v.RegionID}} }},
		},
	})
	passwords = store.Define(store.Spec[password]{
		Kind: "user_password", Version: 1, ID: func(v *password) string { return v.UserID },
	})
	signingKeys = store.Define(store.Spec[signingKey]{
		Kind: "token_key", Version: 1, ID: signingKeyID,
		Indexes: []store.Index[signingKey]{
			{Name: "number", Unique: true, Keys: func(v *signingKey) []store.Tuple { return []store.Tuple{{v.Number}} }},
		},
	})
	revocations = store.Define(store.Spec[revocation]{
		Kind: "token_revocation", Version: 1, ID: func(v *revocation) string { return v.ID },
		Indexes: []store.Index[revocation]{
			{Name: "expires_at", Keys: func(v *revocation) []store.Tuple { return []store.Tuple{{v.ExpiresAt}} }},
		},
	})
	epochs = store.Define(store.Spec[epoch]{
		Kind: "token_epoch", Version: 1, ID: func(*epoch) string { return epochID },
	})
)

func signingKeyID(k *signingKey) string { return strconv.FormatInt(k.Number, 10) }

// actor and target begin the tuples of an assignment's indexes.
func (a *Assignment) actor() store.Tuple {
	if a.GroupID != "" {
		return store.Tuple{"group", a.GroupID}
	}
	return store.Tuple{"user", a.UserID}
}

func (a *Assignment) target() store.Tuple {
	switch {
	case a.ProjectID != "":
		return store.Tuple{"project", a.ProjectID}
	case a.DomainID != "":
		return store.Tuple{"domain", a.DomainID}
	}
	return store.Tuple{"system", "all"}
}

func (a *Assignment) key() string {
	key := ""
	for _, part := range append(a.actor(), a.target()...) {
		key += part.(string) + "/"
	}
	key += a.RoleID
	if a.Inherited {
		key += "/inherited"
	}
	return key
}

// Collections lists the kinds of documents that this package keeps.
func Collections() []store.AnyCollection {
	return []store.AnyCollection{projects, users, groups, roles, assignments, memberships, regions, services, endpoints,
		passwords, signingKeys, revocations, epochs}
}
