package identity

import (
	"context"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

func revokedToken(auditID string) string { return "token/" + auditID }

func revokedGrant(userID string, sc Scope) string {
	switch {
	case sc.ProjectID != "":
		return "grant/" + userID + "/project/" + sc.ProjectID
	case sc.DomainID != "":
		return "grant/" + userID + "/domain/" + sc.DomainID
	}
	return "grant/" + userID + "/system"
}

// Revoke makes a token invalid; others of its chain stay valid. Revoking it again is Unauthenticated,
// as is every use of it.
func (s *Service) Revoke(ctx context.Context, token string) error {
	subject, err := s.Validate(ctx, token)
	if err != nil {
		return err
	}
	return s.update(ctx, func(tx *store.Tx) error {
		if err := s.allow(tx, "identity:token:revoke", Target{Kind: "token", UserID: subject.UserID}); err != nil {
			return err
		}
		s.emit(tx, "token", "revoked", subject.AuditIDs[0])
		return s.putRevocation(tx, &revocation{ID: revokedToken(subject.AuditIDs[0]), ExpiresAt: subject.ExpiresAt})
	})
}

// putRevocation also drops some that are no longer needed.
func (c *core) putRevocation(tx *store.Tx, r *revocation) error {
	old, err := revocations.List(tx, store.Query[revocation]{Index: "expires_at", To: store.Tuple{tx.Now()}, Limit: 8})
	if err != nil {
		return err
	}
	for _, o := range old {
		if err := revocations.Delete(tx, o.ID); err != nil {
			return err
		}
	}
	return revocations.Put(tx, r)
}

// nextEpoch counts a revocation; tokens issued from now on carry at least this number.
func (c *core) nextEpoch(tx *store.Tx) (int64, error) {
	n, err := c.currentEpoch(tx)
	if err != nil {
		return 0, err
	}
	return n + 1, epochs.Put(tx, &epoch{n + 1})
}

func (c *core) currentEpoch(tx *store.Tx) (int64, error) {
	e, err := epochs.Get(tx, epochID)
	switch {
	case fault.Is(err, fault.NotFound):
		return 0, nil
	case err != nil:
		return 0, err
	}
	return e.Count, nil
}

// endUser makes every token of a user invalid.
func (s *Service) endUser(tx *store.Tx, userID string) error {
	v, err := users.Get(tx, userID)
	if err != nil {
		return err
	}
	if v.Epoch, err = s.nextEpoch(tx); err != nil {
		return err
	}
	s.changed(tx)
	return users.Put(tx, v)
}

// grantLost is called after an assignment was removed: whoever has no role left in its scope must
// not have his tokens come alive again when he gets one later.
func (s *Service) grantLost(tx *store.Tx, a *Assignment) error {
	who := []string{a.UserID}
	if a.GroupID != "" {
		members, err := memberships.List(tx, store.Query[membership]{Index: "group", Prefix: store.Tuple{a.GroupID}})
		if err != nil {
			return err
		}
		who = who[:0]
		for _, m := range members {
			who = append(who, m.UserID)
		}
	}
	for _, userID := range who {
		if a.Inherited {
			// It may have been the last role in any number of projects.
			if err := s.endUser(tx, userID); err != nil {
				return err
			}
			continue
		}
		sc := a.scope()
		left, err := s.effectiveRoles(tx, userID, sc)
		if err != nil {
			return err
		}
		if len(left) > 0 {
			continue
		}
		n, err := s.nextEpoch(tx)
		if err != nil {
			return err
		}
		r := &revocation{ID: revokedGrant(userID, sc), Epoch: n, ExpiresAt: tx.Now().Add(2 * s.opt.TokenLifetime)}
		if err := s.putRevocation(tx, r); err != nil {
			return err
		}
	}
	return nil
}
