package identity_test

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
)

const adminPassword = "correct horse"

// env is an identity service after Bootstrap.
type env struct {
	t     testing.TB
	ctx   context.Context
	clock *clock.Manual
	db    *memory.Driver
	store *store.Store
	log   *bytes.Buffer
	opt   identity.Options
	svc   *identity.Service // for nobody
	sys   *identity.Service // for the system
}

func newEnv(t testing.TB, change func(*identity.Options)) *env {
	e := &env{t: t, ctx: context.Background(), clock: clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)), log: &bytes.Buffer{}}
	e.db = memory.New(&memory.Options{Clock: e.clock})
	var err error
	e.store, err = store.New(e.db, store.Options{Key: store.NewKey(), Clock: e.clock, Rerun: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.store.Close()) })
	e.opt = identity.Options{Store: e.store, Clock: e.clock, PasswordCost: 4, Log: slog.New(slog.NewTextHandler(e.log, nil))}
	if change != nil {
		change(&e.opt)
	}
	e.svc, err = identity.New(e.opt)
	require.NoError(t, err)
	e.sys = e.svc.As(identity.System())
	require.NoError(t, e.svc.Bootstrap(e.ctx, identity.BootstrapOptions{AdminPassword: adminPassword}))
	t.Cleanup(func() { e.check() })
	return e
}

func (e *env) check() {
	e.t.Helper()
	require.NoError(e.t, e.store.View(e.ctx, func(tx *store.Tx) error {
		found, err := e.svc.Check(tx)
		require.Empty(e.t, found)
		return err
	}))
}

// must returns the value of a call that has to succeed.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		require.NoError(t, err)
		return v
	}
}

func (e *env) role(name string) string {
	found := must(e.sys.ListRoles(e.ctx, identity.ListRoles{ListOptions: identity.ListOptions{Name: name}}))(e.t)
	require.Len(e.t, found, 1)
	return found[0].ID
}

func (e *env) project(name string) string {
	return must(e.sys.CreateProject(e.ctx, identity.CreateProject{Name: name}))(e.t).ID
}

// user makes a user whose password is his name.
func (e *env) user(name string) string {
	return must(e.sys.CreateUser(e.ctx, identity.CreateUser{Name: name, Password: name}))(e.t).ID
}

func (e *env) grant(a identity.Assignment) {
	e.t.Helper()
	require.NoError(e.t, e.sys.Grant(e.ctx, a))
}

func login(userID, password string, scope *identity.ScopeRequest) identity.AuthRequest {
	return identity.AuthRequest{Password: &identity.PasswordAuth{UserID: userID, Password: password}, Scope: scope}
}

func (e *env) login(req identity.AuthRequest) string {
	e.t.Helper()
	token, who, err := e.svc.Authenticate(e.ctx, req)
	require.NoError(e.t, err)
	again, err := e.svc.Validate(e.ctx, token)
	require.NoError(e.t, err)
	require.Equal(e.t, who.Roles, again.Roles)
	return token
}

func (e *env) valid(token string) *identity.Principal {
	e.t.Helper()
	return must(e.svc.Validate(e.ctx, token))(e.t)
}

func (e *env) invalid(token string) {
	e.t.Helper()
	_, err := e.svc.Validate(e.ctx, token)
	require.Equal(e.t, fault.Unauthenticated, fault.CodeOf(err), "%v", err)
}

func code(t testing.TB, want fault.Code, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, want, fault.CodeOf(err), "%v", err)
}

func inProject(id string) *identity.ScopeRequest { return &identity.ScopeRequest{ProjectID: id} }

func ptr[T any](v T) *T { return &v }
