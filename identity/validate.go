package identity

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"time"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

// Validate returns whom a token stands for, with the roles he has now. It sees what is committed,
// not a transaction that ctx may carry. Unauthenticated: the token is malformed, expired or revoked,
// or its user, scope or roles are gone or disabled.
func (s *Service) Validate(ctx context.Context, token string) (*Principal, error) {
	key := sha256.Sum256([]byte(token))
	e := s.verified.get(key)
	if e == nil {
		claims, err := s.verify(ctx, token)
		if err != nil {
			return nil, err
		}
		e = &cached{claims: claims}
	}
	if !s.clock.Now().Before(e.claims.ExpiresAt) {
		return nil, errToken("it expired at " + e.claims.ExpiresAt.Format(time.RFC3339))
	}
	// The generation is read before the data: a change in between makes the entry stale at once.
	generation, at := s.generation.Load(), s.clock.Mono()
	if e.who != nil && e.who.generation == generation && (s.store.Exclusive() || at-e.at < s.opt.Staleness) {
		return e.who, nil
	}
	var who *Principal
	err := s.store.View(committed{ctx}, func(tx *store.Tx) (err error) {
		who, err = s.resolve(tx, e.claims)
		return err
	})
	if err != nil {
		return nil, err
	}
	who.generation = generation
	s.verified.put(key, &cached{claims: e.claims, who: who, at: at})
	return who, nil
}

func (c *core) verify(ctx context.Context, token string) (*Claims, error) {
	var storeErr error
	claims, err := parseToken(token, func(number int64) (key ed25519.PublicKey) {
		key, storeErr = c.verifier(ctx, number)
		return key
	})
	if storeErr != nil {
		return nil, storeErr
	}
	return claims, err
}

// resolve reads whom claims stand for in a transaction.
func (c *core) resolve(tx *store.Tx, claims *Claims) (*Principal, error) {
	generation := c.generation.Load()
	if gone, err := revocations.Has(tx, revokedToken(claims.AuditID)); err != nil || gone {
		return nil, orRevoked(err, "it was revoked")
	}
	user, err := users.Get(tx, claims.UserID)
	if err != nil {
		return nil, orRevoked(err, "its user is gone")
	}
	if !user.Enabled || user.Epoch > claims.Epoch {
		return nil, errToken("its user was disabled, or changed the password or a group")
	}
	home, err := c.usableDomain(tx, user.DomainID, claims.Epoch)
	if err != nil {
		return nil, err
	}
	p := &Principal{
		UserID: user.ID, UserName: user.Name, UserDomainID: home.ID, UserDomainName: home.Name,
		Methods: claims.Methods, AuditIDs: []string{claims.AuditID}, IssuedAt: claims.IssuedAt, ExpiresAt: claims.ExpiresAt,
		claims: claims, generation: generation, owner: c,
	}
	if claims.ParentAuditID != "" {
		p.AuditIDs = append(p.AuditIDs, claims.ParentAuditID)
	}
	if claims.Scope == (Scope{}) {
		return p, nil
	}
	if err := c.fillScope(tx, p, claims); err != nil {
		return nil, err
	}
	ended, err := revocations.Get(tx, revokedGrant(user.ID, claims.Scope))
	if err != nil && !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	if err == nil && ended.Epoch > claims.Epoch {
		return nil, errToken("its user had lost every role in " + p.scope())
	}
	found, err := c.effectiveRoles(tx, user.ID, claims.Scope)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, errToken("its user has no role in " + p.scope())
	}
	for _, r := range found {
		p.Roles, p.RoleIDs = append(p.Roles, r.Name), append(p.RoleIDs, r.ID)
	}
	return p, nil
}

// fillScope sets p's scope from the claims, which must be enabled.
func (c *core) fillScope(tx *store.Tx, p *Principal, claims *Claims) error {
	switch sc := claims.Scope; {
	case sc.ProjectID != "":
		v, err := projects.Get(tx, sc.ProjectID)
		if err != nil {
			return orRevoked(err, "its project is gone")
		}
		if !v.Enabled || v.IsDomain || v.Epoch > claims.Epoch {
			return errToken("its project was disabled")
		}
		domain, err := c.usableDomain(tx, v.DomainID, claims.Epoch)
		if err != nil {
			return err
		}
		p.ProjectID, p.ProjectName, p.ProjectDomainID, p.ProjectDomainName = v.ID, v.Name, domain.ID, domain.Name
	case sc.DomainID != "":
		domain, err := c.usableDomain(tx, sc.DomainID, claims.Epoch)
		if err != nil {
			return err
		}
		p.DomainID, p.DomainName = domain.ID, domain.Name
	case sc.System:
		p.System = true
	}
	return nil
}

func (c *core) usableDomain(tx *store.Tx, id string, epoch int64) (*Project, error) {
	d, err := projects.Get(tx, id)
	if err != nil {
		return nil, orRevoked(err, "its domain is gone")
	}
	if !d.IsDomain || !d.Enabled || d.Epoch > epoch {
		return nil, errToken("its domain was disabled")
	}
	return d, nil
}

// orRevoked keeps an error of the store and turns NotFound, or no error, into an invalid token.
func orRevoked(err error, why string) error {
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	return errToken(why)
}
