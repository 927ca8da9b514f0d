package identity

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"sync"

	"golang.org/x/crypto/bcrypt"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/id"
	"github.com/nubecula/cloud/store"
)

// maxPassword is the longest password in bytes.
const maxPassword = 4096

// digest makes a password short enough for bcrypt, which looks at 72 bytes only.
func digest(password string) []byte {
	sum := sha256.Sum256([]byte(password))
	return []byte(base64.RawStdEncoding.EncodeToString(sum[:]))
}

// Hashed is a password in the form in which it is kept. The zero value is no password.
type Hashed struct{ hash string }

// Hash prepares a password for CreateUser or UpdateUser inside a transaction, where it must not be
// done: it takes long, and differs each time.
func (s *Service) Hash(ctx context.Context, password string) (*Hashed, error) {
	hash, err := s.hashPassword(ctx, password)
	if err != nil {
		return nil, err
	}
	return &Hashed{hash}, nil
}

// given returns the hash of a request's password, in one form or the other.
func (c *core) given(ctx context.Context, hashed *Hashed, password string) (string, error) {
	if hashed != nil {
		return hashed.hash, nil
	}
	return c.hashPassword(ctx, password)
}

// hashPassword is slow by intent, so it is never called in a transaction. An empty password gives "".
func (c *core) hashPassword(ctx context.Context, password string) (string, error) {
	if password == "" {
		return "", nil
	}
	if len(password) > maxPassword {
		return "", &fault.Error{Code: fault.Invalid, Field: "password", Msg: "it is longer than 4096 bytes"}
	}
	var hash []byte
	err := c.limited(ctx, func() (err error) {
		hash, err = bcrypt.GenerateFromPassword(digest(password), c.opt.PasswordCost)
		return err
	})
	return string(hash), err
}

// limited runs work while no more than Options.HashConcurrency others do.
func (c *core) limited(ctx context.Context, work func() error) error {
	select {
	case c.hashing <- struct{}{}:
		defer func() { <-c.hashing }()
		return work()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// newDecoy returns a hash to compare with when there is no user, so that the answer takes as long.
func newDecoy(cost int) func() string {
	return sync.OnceValue(func() string {
		hash, err := bcrypt.GenerateFromPassword(digest(id.Random()), cost)
		if err != nil {
			return ""
		}
		return string(hash)
	})
}

// matches compares a password with a hash; "" means that there is none to match.
func (c *core) matches(ctx context.Context, hash, password string) (bool, error) {
	known := hash != "" && len(password) <= maxPassword
	if !known {
		hash = c.decoy()
	}
	err := c.limited(ctx, func() error { return bcrypt.CompareHashAndPassword([]byte(hash), digest(password)) })
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	return err == nil && known, nil
}

// setPassword stores a hash; "" takes the password away.
func (c *core) setPassword(tx *store.Tx, userID, hash string) error {
	if hash != "" {
		return passwords.Put(tx, &password{UserID: userID, Hash: tx.Seal([]byte(hash)), CreatedAt: tx.Now()})
	}
	err := passwords.Delete(tx, userID)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// passwordHash returns the hash of a user's password, "" when he has none.
func (c *core) passwordHash(tx *store.Tx, userID string) (string, error) {
	pw, err := passwords.Get(tx, userID)
	if fault.Is(err, fault.NotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	hash, err := tx.Unseal(pw.Hash)
	return string(hash), err
}

// ChangePassword replaces a user's own password and ends all his tokens. It needs no principal: the
// old password is the proof. Unauthenticated: that is wrong; Denied: the user's options lock it.
func (s *Service) ChangePassword(ctx context.Context, userID, old, replacement string) error {
	if replacement == "" {
		return fault.InvalidField("password", "", "give a new password")
	}
	hash, err := s.hashPassword(ctx, replacement)
	if err != nil {
		return err
	}
	proof, err := s.checkPassword(ctx, &PasswordAuth{UserID: userID, Password: old})
	if err != nil {
		return err
	}
	return s.update(ctx, func(tx *store.Tx) error {
		u, err := s.unchanged(tx, proof)
		if err != nil {
			return err
		}
		if u.option("lock_password") {
			return &fault.Error{Code: fault.Denied, Op: "identity:user:change_password", Kind: "user", ID: u.ID, Msg: "its password is locked; an administrator can set another"}
		}
		if err := s.setPassword(tx, u.ID, hash); err != nil {
			return err
		}
		s.emit(tx, "user", "updated", u.ID)
		return s.endUser(tx, u.ID)
	})
}
