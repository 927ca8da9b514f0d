package identity

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/id"
	"github.com/nubecula/cloud/store"
)

// PasswordAuth proves who somebody is by a password. Give UserID, or UserName with one of DomainID and DomainName.
type PasswordAuth struct {
	UserID     string
	UserName   string
	DomainID   string
	DomainName string
	Password   string
}

// ScopeRequest names the scope that a token shall have: one of a project (by id, or by name with one
// of DomainID and DomainName), a domain (DomainID or DomainName without a project), System, or Unscoped.
type ScopeRequest struct {
	ProjectID   string
	ProjectName string
	DomainID    string
	DomainName  string
	System      bool
	Unscoped    bool
}

// AuthRequest asks for a token. Password or Token must be set; both must be the same user's.
type AuthRequest struct {
	Password *PasswordAuth
	Token    string        // of the same user, for another scope; the new one expires no later
	Scope    *ScopeRequest // nil: the user's default project if he has a role in it, else none
}

// Authenticate returns a new token and whom it stands for. It must not be called in a transaction.
// Unauthenticated: a proof is wrong, or the user has no role in the scope.
func (s *Service) Authenticate(ctx context.Context, req AuthRequest) (string, *Principal, error) {
	if req.Password == nil && req.Token == "" {
		return "", nil, &fault.Error{Code: fault.Invalid, Field: "auth.identity.methods", Msg: "give a password or a token"}
	}
	claims := Claims{AuditID: dashless(id.Random())}
	var proof *proven
	var from *Principal
	var err error
	if req.Token != "" {
		if from, err = s.Validate(ctx, req.Token); err != nil {
			return "", nil, err
		}
		claims.UserID, claims.ExpiresAt, claims.Methods = from.UserID, from.ExpiresAt, slices.Clone(from.Methods)
		claims.ParentAuditID = from.AuditIDs[len(from.AuditIDs)-1]
		claims.addMethod("token")
	}
	if req.Password != nil {
		if proof, err = s.checkPassword(ctx, req.Password); err != nil {
			return "", nil, err
		}
		if req.Token != "" && proof.userID != claims.UserID {
			return "", nil, errLogin()
		}
		claims.UserID = proof.userID
		claims.addMethod("password")
	}
	ring, err := s.signer(ctx)
	if err != nil {
		return "", nil, err
	}
	generation := s.generation.Load()
	var who *Principal
	err = s.store.View(committed{ctx}, func(tx *store.Tx) error {
		claims.KeyNumber = ring.newest.Number
		claims.IssuedAt = tx.Now().Truncate(time.Microsecond)
		if req.Token == "" {
			claims.ExpiresAt = claims.IssuedAt.Add(s.opt.TokenLifetime)
		}
		// Both proofs again, in the snapshot that also tells the epoch: a revocation in between must count.
		if from != nil {
			if _, err := s.resolve(tx, from.claims); err != nil {
				return err
			}
		}
		if proof != nil {
			if _, err := s.unchanged(tx, proof); err != nil {
				return err
			}
		}
		who, err = s.admit(tx, &claims, req.Scope)
		return err
	})
	if err != nil {
		return "", nil, err
	}
	who.generation = generation
	return signToken(&claims, ring.private), who, nil
}

// admit fills in scope and epoch of claims and resolves them.
func (s *Service) admit(tx *store.Tx, claims *Claims, want *ScopeRequest) (*Principal, error) {
	u, err := users.Get(tx, claims.UserID)
	if err != nil {
		return nil, orLogin(err)
	}
	if !u.methodsSuffice(claims.Methods) {
		return nil, fault.New(fault.Unauthenticated, "user %s must authenticate with more methods than %v", u.ID, claims.Methods)
	}
	if claims.Epoch, err = s.currentEpoch(tx); err != nil {
		return nil, err
	}
	if want == nil && u.DefaultProjectID != "" {
		claims.Scope = Scope{ProjectID: u.DefaultProjectID}
		if who, err := s.resolve(tx, claims); !fault.Is(err, fault.Unauthenticated) {
			return who, err
		}
		claims.Scope = Scope{}
	}
	if want == nil {
		return s.resolve(tx, claims)
	}
	var who *Principal
	if claims.Scope, err = s.findScope(tx, want); err == nil {
		who, err = s.resolve(tx, claims)
	}
	// The user is known to be a valid one here, so it is the scope that is refused.
	if !want.Unscoped && (fault.Is(err, fault.Unauthenticated) || fault.Is(err, fault.NotFound)) {
		return nil, fault.New(fault.Unauthenticated, "user %s has no role in %s, or there is no such scope; authenticate for another", u.ID, want.words())
	}
	return who, err
}

// words names the scope in the words of the request, which tells nothing that who asks did not know.
func (r *ScopeRequest) words() string {
	domain := "domain " + r.DomainID
	if r.DomainID == "" {
		domain = "domain " + strconv.Quote(r.DomainName)
	}
	switch {
	case r.System:
		return "the system"
	case r.ProjectID != "":
		return "project " + r.ProjectID
	case r.ProjectName != "":
		return "project " + strconv.Quote(r.ProjectName) + " of " + domain
	}
	return domain
}

// findScope turns names into ids. NotFound: there is no such scope.
func (s *Service) findScope(tx *store.Tx, want *ScopeRequest) (Scope, error) {
	byProject := want.ProjectID != "" || want.ProjectName != ""
	byDomain := !byProject && (want.DomainID != "" || want.DomainName != "")
	n := 0
	for _, b := range []bool{byProject, byDomain, want.System, want.Unscoped} {
		if b {
			n++
		}
	}
	if n != 1 {
		return Scope{}, &fault.Error{Code: fault.Invalid, Field: "auth.scope", Msg: "name exactly one of project, domain, system and unscoped"}
	}
	switch {
	case want.System:
		return Scope{System: true}, nil
	case want.Unscoped:
		return Scope{}, nil
	case want.ProjectID != "":
		return Scope{ProjectID: want.ProjectID}, nil
	}
	domainID, err := s.domainID(tx, want.DomainID, want.DomainName)
	if err != nil {
		return Scope{}, err
	}
	if byDomain {
		return Scope{DomainID: domainID}, nil
	}
	v, err := projects.Find(tx, "name", false, domainID, want.ProjectName)
	if err != nil {
		return Scope{}, err
	}
	return Scope{ProjectID: v.ID}, nil
}

// domainID returns a domain's id, given that or its name.
func (c *core) domainID(tx *store.Tx, id, name string) (string, error) {
	if id != "" {
		return id, nil
	}
	d, err := projects.Find(tx, "name", true, "", name)
	if err != nil {
		return "", err
	}
	return d.ID, nil
}

// proven is a password that was right for the state in which it was checked.
type proven struct{ userID, hash string }

func (s *Service) checkPassword(ctx context.Context, pw *PasswordAuth) (*proven, error) {
	if pw.UserID == "" && (pw.UserName == "" || pw.DomainID == "" && pw.DomainName == "") {
		return nil, &fault.Error{Code: fault.Invalid, Field: "auth.identity.password.user", Msg: "give the user's id, or name and domain"}
	}
	var found proven
	err := s.store.View(committed{ctx}, func(tx *store.Tx) error {
		u, err := s.findUser(tx, pw)
		if err != nil {
			return err
		}
		found.userID = u.ID
		found.hash, err = s.passwordHash(tx, u.ID)
		return err
	})
	if err != nil && !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	ok, err := s.matches(ctx, found.hash, pw.Password)
	if err != nil {
		return nil, err
	}
	if !ok {
		s.log.WarnContext(ctx, "a password was refused; the login fails, and many of these are somebody who guesses: look for them by user", "user_id", found.userID)
		return nil, errLogin()
	}
	return &found, nil
}

func (s *Service) findUser(tx *store.Tx, pw *PasswordAuth) (*User, error) {
	if pw.UserID != "" {
		return users.Get(tx, pw.UserID)
	}
	domainID, err := s.domainID(tx, pw.DomainID, pw.DomainName)
	if err != nil {
		return nil, err
	}
	return users.Find(tx, "name", domainID, pw.UserName)
}

// unchanged returns the user of a proof if he is enabled and has the same password still.
func (s *Service) unchanged(tx *store.Tx, proof *proven) (*User, error) {
	u, err := users.Get(tx, proof.userID)
	if err != nil {
		return nil, orLogin(err)
	}
	hash, err := s.passwordHash(tx, u.ID)
	if err != nil {
		return nil, err
	}
	if hash != proof.hash || !u.Enabled {
		return nil, errLogin()
	}
	d, err := projects.Get(tx, u.DomainID)
	if err != nil || !d.Enabled {
		return nil, orLogin(err)
	}
	return u, nil
}

// errLogin tells nothing about what was wrong.
func errLogin() error {
	return fault.New(fault.Unauthenticated, "user or password is not valid")
}

func orLogin(err error) error {
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	return errLogin()
}

func (c *Claims) addMethod(name string) {
	if !slices.Contains(c.Methods, name) {
		c.Methods = append(c.Methods, name)
	}
}

// option reports whether a boolean option is true.
func (u *User) option(name string) bool { return string(u.Options[name]) == "true" }

// methodsSuffice applies the user's multi-factor rules: one of the sets must have been used in full.
func (u *User) methodsSuffice(used []string) bool {
	var rules [][]string
	if !u.option("multi_factor_auth_enabled") || json.Unmarshal(u.Options["multi_factor_auth_rules"], &rules) != nil || len(rules) == 0 {
		return true
	}
	return slices.ContainsFunc(rules, func(rule []string) bool {
		return !slices.ContainsFunc(rule, func(m string) bool { return !slices.Contains(used, m) })
	})
}
