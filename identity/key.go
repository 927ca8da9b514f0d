package identity

import (
	"context"
	"crypto/ed25519"
	"time"

	"github.com/nubecula/cloud/store"
)

// keyring is the set of keys as it was read from the store.
type keyring struct {
	public  map[int64]ed25519.PublicKey
	newest  signingKey
	private ed25519.PrivateKey // of the newest; nil when there is no key yet
}

func (r *keyring) due(now time.Time, rotation time.Duration) bool {
	return r == nil || r.private == nil || !now.Before(r.newest.CreatedAt.Add(rotation))
}

func (c *core) readKeys(tx *store.Tx) (*keyring, error) {
	ring := &keyring{public: map[int64]ed25519.PublicKey{}}
	for k, err := range signingKeys.Each(tx, store.Query[signingKey]{}) {
		if err != nil {
			return nil, err
		}
		ring.public[k.Number] = k.Public
		if k.Number > ring.newest.Number {
			ring.newest = *k
		}
	}
	if ring.newest.Number == 0 {
		return ring, nil
	}
	seed, err := tx.Unseal(ring.newest.Seed)
	if err != nil {
		return nil, err
	}
	ring.private = ed25519.NewKeyFromSeed(seed)
	return ring, nil
}

// rotate adds a signing key when the newest is too old, and drops those whose last token has expired.
// Other processes learn of the new key when they see its first token.
func (c *core) rotate(ctx context.Context, force bool) error {
	var number int64
	err := c.store.Update(ctx, func(tx *store.Tx) error {
		number = 0
		ring, err := c.readKeys(tx)
		if err != nil || !force && !ring.due(tx.Now(), c.opt.KeyRotation) {
			return err
		}
		seed := tx.NewBytes(ed25519.SeedSize)
		k := signingKey{Number: ring.newest.Number + 1, CreatedAt: tx.Now(), Seed: tx.Seal(seed),
			Public: ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)}
		number = k.Number
		if err := c.dropOldKeys(tx); err != nil {
			return err
		}
		return signingKeys.Insert(tx, &k)
	})
	if err == nil && number > 0 {
		c.log.InfoContext(ctx, "tokens are signed with a new key", "key_number", number)
	}
	if err == nil {
		_, err = c.loadKeys(ctx)
	}
	return err
}

// dropOldKeys removes every key that stopped signing longer ago than a token lives. A key stops when
// the next is made.
func (c *core) dropOldKeys(tx *store.Tx) error {
	all, err := signingKeys.List(tx, store.Query[signingKey]{})
	if err != nil {
		return err
	}
	made := map[int64]time.Time{}
	for _, k := range all {
		made[k.Number] = k.CreatedAt
	}
	for _, k := range all {
		next, ok := made[k.Number+1]
		// Twice the lifetime: another process may sign with the old key until it reads the new one.
		if ok && tx.Now().After(next.Add(2*c.opt.TokenLifetime)) {
			if err := signingKeys.Delete(tx, signingKeyID(k)); err != nil {
				return err
			}
		}
	}
	return nil
}

// loadKeys reads the committed keys.
func (c *core) loadKeys(ctx context.Context) (*keyring, error) {
	var ring *keyring
	err := c.store.View(committed{ctx}, func(tx *store.Tx) (err error) {
		ring, err = c.readKeys(tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	c.keys.Store(ring)
	return ring, nil
}

// signer returns a keyring whose newest key may sign.
func (c *core) signer(ctx context.Context) (*keyring, error) {
	ring := c.keys.Load()
	if ring.due(c.clock.Now(), c.opt.KeyRotation) {
		if err := c.rotate(committed{ctx}, false); err != nil {
			return nil, err
		}
		ring = c.keys.Load()
	}
	return ring, nil
}

// verifier returns the key of a number, reading the store when another process may have made it.
func (c *core) verifier(ctx context.Context, number int64) (ed25519.PublicKey, error) {
	ring := c.keys.Load()
	if ring == nil || ring.public[number] == nil && number > ring.newest.Number && number < ring.newest.Number+16 {
		var err error
		if ring, err = c.loadKeys(ctx); err != nil {
			return nil, err
		}
	}
	return ring.public[number], nil
}

// RotateKeys has new tokens signed with a new key at once. Tokens signed before stay valid.
func (s *Service) RotateKeys(ctx context.Context) error {
	if err := s.view(ctx, func(tx *store.Tx) error { return s.allow(tx, "identity:token_key:rotate", Target{}) }); err != nil {
		return err
	}
	return s.rotate(committed{ctx}, true)
}

// PublicKeys returns the keys with which ParseToken checks tokens elsewhere, oldest first.
func (s *Service) PublicKeys(ctx context.Context) ([]PublicKey, error) {
	var out []PublicKey
	err := s.view(ctx, func(tx *store.Tx) error {
		all, err := signingKeys.List(tx, store.Query[signingKey]{Index: "number"})
		for _, k := range all {
			out = append(out, PublicKey{k.Number, k.Public, k.CreatedAt})
		}
		return err
	})
	return out, err
}

// committed is a context that hides the transaction it may carry: keys and cached principals must
// come from what is committed.
type committed struct{ context.Context }

// Value hides everything, so that store.View and Update begin a transaction of their own.
func (committed) Value(any) any { return nil }
