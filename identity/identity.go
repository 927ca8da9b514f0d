// Package identity knows who may do what: domains, projects, users, groups,
// roles and their assignments; passwords and signed tokens; the catalog; and
// the Principal and Policy that every other service asks.
//
// A token is signed, not stored: it names a user, a scope and the revocation
// epoch at which it was issued, never roles. Validate reads user, scope and
// roles anew - from the store, or from what it read since the last change of
// any identity data - so that a removed role, a changed password or a disabled
// project works at once, in this process. A store that other processes write
// to as well (not Exclusive) is read again after Options.Staleness.
package identity

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/request"
	"github.com/nubecula/cloud/store"
)

// Options configure a Service.
type Options struct {
	// Store holds the data. Required.
	Store *store.Store
	// Clock tells whether a token has expired. nil means the machine's.
	Clock clock.Clock
	// Policy decides who may do what. nil means DefaultPolicy.
	Policy Policy
	// Log receives failed logins and key rotations; never a secret. nil means nowhere.
	Log *slog.Logger
	// TokenLifetime is how long a token is valid. 0 means 24 hours; revocation does not wait for it.
	TokenLifetime time.Duration
	// KeyRotation is how long a key signs new tokens. 0 means 7 days. A key that no longer signs is
	// kept until the last token it signed has expired.
	KeyRotation time.Duration
	// PasswordCost is bcrypt's cost for new passwords. 0 means 10, about 50 ms; tests use 4.
	PasswordCost int
	// HashConcurrency is how many passwords are hashed at once, each of which keeps a processor busy for some 50 ms.
	// 0 means three quarters of the processors, so that a flood of logins leaves some to everything else.
	HashConcurrency int
	// Staleness is how old cached data may be when other processes write to the store. 0 means one second.
	Staleness time.Duration
	// CachedTokens is how many validated tokens are remembered. 0 means 16384.
	CachedTokens int
}

// Service is identity on behalf of one principal. It is safe for concurrent use.
//
// Methods are part of the transaction that their ctx carries, if it does (store.Tx.Context). Besides
// the codes they name, they return what Policy.Check returns.
type Service struct {
	*core
	who *Principal
}

// core is what the Services of all principals share.
type core struct {
	opt        Options
	store      *store.Store
	clock      clock.Clock
	policy     Policy
	log        *slog.Logger
	generation atomic.Uint64 // grows with every change of identity data
	hashing    chan struct{}
	decoy      func() string // a hash that no password has
	verified   *cache
	keys       atomic.Pointer[keyring]
}

// New returns a Service that acts for nobody; take one for somebody with As.
func New(opt Options) (*Service, error) {
	if opt.Clock == nil {
		opt.Clock = clock.System()
	}
	if opt.Policy == nil {
		opt.Policy = DefaultPolicy()
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	setDefault(&opt.TokenLifetime, 24*time.Hour)
	setDefault(&opt.KeyRotation, 7*24*time.Hour)
	setDefault(&opt.Staleness, time.Second)
	setDefault(&opt.PasswordCost, bcrypt.DefaultCost)
	setDefault(&opt.HashConcurrency, max(1, runtime.GOMAXPROCS(0)*3/4))
	setDefault(&opt.CachedTokens, 16384)
	var errs []error
	if opt.Store == nil {
		errs = append(errs, fault.InvalidField("Store", nil, "identity needs a store"))
	}
	if opt.TokenLifetime < time.Second {
		errs = append(errs, fault.InvalidField("TokenLifetime", opt.TokenLifetime.String(), "it must be at least a second"))
	}
	if opt.KeyRotation < time.Second {
		errs = append(errs, fault.InvalidField("KeyRotation", opt.KeyRotation.String(), "it must be at least a second"))
	}
	if opt.PasswordCost < bcrypt.MinCost || opt.PasswordCost > 20 {
		errs = append(errs, fault.InvalidField("PasswordCost", opt.PasswordCost, "it must be between 4 and 20"))
	}
	if opt.HashConcurrency < 0 || opt.CachedTokens < 0 || opt.Staleness < 0 {
		errs = append(errs, fault.New(fault.Invalid, "HashConcurrency, CachedTokens and Staleness cannot be negative"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	c := &core{opt: opt, store: opt.Store, clock: opt.Clock, policy: opt.Policy, log: opt.Log,
		hashing: make(chan struct{}, opt.HashConcurrency), verified: newCache(opt.CachedTokens)}
	c.decoy = newDecoy(opt.PasswordCost)
	return &Service{core: c}, nil
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// As returns the Service on behalf of p; nil may do nothing but authenticate.
func (s *Service) As(p *Principal) *Service { return &Service{s.core, p} }

// Principal returns on whose behalf the Service acts; nil means nobody.
func (s *Service) Principal() *Principal { return s.who }

// Authorize asks the Policy, inside the transaction that does the action. A principal of a token is
// read again first if identity data has changed since it was validated, so that a role removed in
// between counts. Codes: those of Policy.Check, and Unauthenticated when the token is no longer valid.
func (s *Service) Authorize(tx *store.Tx, p *Principal, action string, t Target) error {
	p, err := s.Confirm(tx, p)
	if err != nil {
		return err
	}
	return s.policy.Check(p, action, t)
}

// Confirm returns p as it is in this transaction: p itself, or, when identity data has changed since
// it was validated, what its token stands for now. Unauthenticated: the token is no longer valid.
func (s *Service) Confirm(tx *store.Tx, p *Principal) (*Principal, error) {
	if p == nil || p.claims == nil || p.owner != s.core {
		return p, nil
	}
	if p.generation == s.generation.Load() && s.store.Exclusive() {
		return p, nil
	}
	return s.resolve(tx, p.claims)
}

// allow is Authorize for the principal of the Service.
func (s *Service) allow(tx *store.Tx, action string, t Target) error {
	return s.Authorize(tx, s.who, action, t)
}

// changed marks everything read before as possibly stale: now, for closures that share this commit,
// and once more when it is durable, for readers that were ahead of it.
func (s *Service) changed(tx *store.Tx) {
	s.generation.Add(1)
	tx.OnCommit(func() { s.generation.Add(1) })
}

// emit records a change with its event: "identity.user.created".
func (s *Service) emit(tx *store.Tx, kind, verb, id string) {
	s.changed(tx)
	e := event.Event{Type: "identity." + kind + "." + verb, Kind: kind, ID: id, RequestID: request.ID(tx.Context())}
	if s.who != nil {
		e.UserID, e.ProjectID = s.who.UserID, s.who.ProjectID
	}
	tx.Emit(e)
}

// view and update run fn in a transaction, the one that ctx carries if it does.
func (s *Service) view(ctx context.Context, fn func(tx *store.Tx) error) error {
	return s.store.View(ctx, fn)
}

func (s *Service) update(ctx context.Context, fn func(tx *store.Tx) error) error {
	return s.store.Update(ctx, fn)
}

// Allow asks the Policy on behalf of the Service's principal about what no other method does.
func (s *Service) Allow(ctx context.Context, action string, t Target) error {
	return s.view(ctx, func(tx *store.Tx) error { return s.allow(tx, action, t) })
}
