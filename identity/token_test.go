package identity_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
)

func adminLogin() identity.AuthRequest {
	return identity.AuthRequest{
		Password: &identity.PasswordAuth{UserName: "admin", DomainName: "Default", Password: adminPassword},
		Scope:    &identity.ScopeRequest{ProjectName: "admin", DomainID: "default"},
	}
}

func TestTokenOfTheBootstrapAdmin(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	who := e.valid(e.login(adminLogin()))
	require.Equal(t, []string{"admin", "manager", "member", "reader"}, who.Roles)
	require.Len(t, who.RoleIDs, 4)
	require.Equal(t, []string{"admin", "default", "Default", "admin", "default", "Default"},
		[]string{who.UserName, who.UserDomainID, who.UserDomainName, who.ProjectName, who.ProjectDomainID, who.ProjectDomainName})
	require.Equal(t, 24*time.Hour, who.ExpiresAt.Sub(who.IssuedAt))
	require.True(t, who.IsAdmin())

	req := adminLogin()
	req.Scope = &identity.ScopeRequest{System: true}
	require.True(t, e.valid(e.login(req)).System)
	req.Scope = &identity.ScopeRequest{DomainID: "default"}
	_, _, err := e.svc.Authenticate(e.ctx, req)
	code(t, fault.Unauthenticated, err)

	// Bootstrap again changes nothing, not even the password.
	require.NoError(t, e.svc.Bootstrap(e.ctx, identity.BootstrapOptions{AdminPassword: "other"}))
	e.login(adminLogin())
	require.NoError(t, e.svc.Bootstrap(e.ctx, identity.BootstrapOptions{}))
}

func TestTokenExpires(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(o *identity.Options) { o.TokenLifetime = time.Hour })
	token := e.login(adminLogin())
	e.clock.Advance(time.Hour - time.Second)
	second := e.login(identity.AuthRequest{Token: token})
	e.clock.Advance(time.Second)
	e.invalid(token)
	e.invalid(second)
}

func TestKeyRotation(t *testing.T) {
	t.Parallel()
	e := newEnv(t, func(o *identity.Options) { o.TokenLifetime, o.KeyRotation = time.Hour, 90*time.Minute })
	keys := func() []identity.PublicKey { return must(e.svc.PublicKeys(e.ctx))(t) }
	last := e.login(adminLogin())
	require.Len(t, keys(), 1)
	for range 40 {
		e.clock.Advance(30 * time.Minute)
		token := e.login(adminLogin())
		e.valid(last)
		claims, err := identity.ParseToken(token, keys(), e.clock.Now())
		require.NoError(t, err)
		require.Equal(t, e.valid(token).UserID, claims.UserID)
		last = token
	}
	require.GreaterOrEqual(t, keys()[0].Number, int64(8), "old keys are dropped")
	require.LessOrEqual(t, len(keys()), 4)

	claims, err := identity.ParseToken(last, keys(), e.clock.Now())
	require.NoError(t, err)
	require.NoError(t, e.sys.RotateKeys(e.ctx))
	e.valid(last)
	next, err := identity.ParseToken(e.login(adminLogin()), keys(), e.clock.Now())
	require.NoError(t, err)
	require.Equal(t, claims.KeyNumber+1, next.KeyNumber)
	code(t, fault.Unauthenticated, e.svc.RotateKeys(e.ctx))
}

func TestTokensSurviveARestartAndAnotherReplica(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	token := e.login(adminLogin())
	other := must(identity.New(e.opt))(t)
	who, err := other.Validate(e.ctx, token)
	require.NoError(t, err)
	require.True(t, who.IsAdmin())
	// A key that the other one makes is found here.
	require.NoError(t, other.As(identity.System()).RotateKeys(e.ctx))
	fresh, _, err := other.Authenticate(e.ctx, adminLogin())
	require.NoError(t, err)
	e.valid(fresh)
}

func TestReplicaSeesARevocationWithinTheStatedTime(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	db, key := memory.New(&memory.Options{Clock: e.clock, Shared: true}), store.NewKey()
	var replicas []*identity.Service
	for range 2 {
		s := must(store.New(db, store.Options{Key: key, Clock: e.clock, Rerun: 1}))(t)
		opt := e.opt
		opt.Store = s
		replicas = append(replicas, must(identity.New(opt))(t))
	}
	a, b := replicas[0], replicas[1]
	require.NoError(t, a.Bootstrap(e.ctx, identity.BootstrapOptions{AdminPassword: adminPassword}))
	token, who, err := a.Authenticate(e.ctx, adminLogin())
	require.NoError(t, err)
	atB, err := b.Validate(e.ctx, token)
	require.NoError(t, err)
	require.NoError(t, a.As(who).Revoke(e.ctx, token))
	_, err = a.Validate(e.ctx, token)
	require.Error(t, err)
	// b may answer from its memory for a second, but what it does is checked in the transaction.
	_, err = b.As(atB).CreateProject(e.ctx, identity.CreateProject{Name: "x"})
	code(t, fault.Unauthenticated, err)
	e.clock.Advance(time.Second)
	_, err = b.Validate(e.ctx, token)
	require.Error(t, err)
}

func TestWrongPasswords(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	id := e.user("alice")
	none := must(e.sys.CreateUser(e.ctx, identity.CreateUser{Name: "none"}))(t).ID
	off := must(e.sys.CreateUser(e.ctx, identity.CreateUser{Name: "off", Password: "secret-off", Enabled: ptr(false)}))(t).ID
	for _, pw := range []identity.PasswordAuth{
		{UserID: id, Password: "wrong-password"}, {UserID: id}, {UserID: none}, {UserID: none, Password: "x"}, {UserID: "nobody", Password: "x"},
		{UserName: "alice", DomainID: "nowhere", Password: "alice"}, {UserName: "alice", DomainName: "nowhere", Password: "alice"},
		{UserID: off, Password: "secret-off"},
	} {
		_, _, err := e.svc.Authenticate(e.ctx, identity.AuthRequest{Password: &pw})
		code(t, fault.Unauthenticated, err)
		require.Equal(t, "user or password is not valid", err.Error())
	}
	_, _, err := e.svc.Authenticate(e.ctx, identity.AuthRequest{Password: &identity.PasswordAuth{UserName: "alice", Password: "alice"}})
	code(t, fault.Invalid, err)
	_, _, err = e.svc.Authenticate(e.ctx, identity.AuthRequest{})
	code(t, fault.Invalid, err)
	require.NotContains(t, e.log.String(), "wrong-password")
	require.Contains(t, e.log.String(), id)
	// Another user's password cannot ride on a token.
	token := e.login(login(id, "alice", nil))
	bob := e.user("bob")
	_, _, err = e.svc.Authenticate(e.ctx, identity.AuthRequest{Token: token, Password: &identity.PasswordAuth{UserID: bob, Password: "bob"}})
	code(t, fault.Unauthenticated, err)
}

func TestLongPasswordsAreTakenWhole(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	long := ""
	for i := range 40 {
		long += fmt.Sprint("part", i)
	}
	u := must(e.sys.CreateUser(e.ctx, identity.CreateUser{Name: "long", Password: long}))(t)
	e.login(login(u.ID, long, nil))
	_, _, err := e.svc.Authenticate(e.ctx, login(u.ID, long[:len(long)-1], nil))
	code(t, fault.Unauthenticated, err)
}

func TestDefaultProjectAndUnscoped(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	p, q := e.project("p"), e.project("q")
	u := must(e.sys.CreateUser(e.ctx, identity.CreateUser{Name: "u", Password: "u", DefaultProjectID: p}))(t).ID
	require.Empty(t, e.valid(e.login(login(u, "u", nil))).ProjectID, "he has no role there yet")
	e.grant(identity.Assignment{RoleID: e.role("reader"), UserID: u, ProjectID: p})
	require.Equal(t, p, e.valid(e.login(login(u, "u", nil))).ProjectID)
	require.Empty(t, e.valid(e.login(login(u, "u", &identity.ScopeRequest{Unscoped: true}))).ProjectID)
	for _, scope := range []*identity.ScopeRequest{inProject(q), inProject("nowhere"), {ProjectName: "q", DomainName: "Default"}, {ProjectName: "x", DomainID: "default"}, {System: true}} {
		_, _, err := e.svc.Authenticate(e.ctx, login(u, "u", scope))
		code(t, fault.Unauthenticated, err)
	}
	_, _, err := e.svc.Authenticate(e.ctx, login(u, "u", &identity.ScopeRequest{System: true, DomainID: "default"}))
	code(t, fault.Invalid, err)
	require.NoError(t, e.sys.DeleteProject(e.ctx, p))
	require.Empty(t, must(e.sys.GetUser(e.ctx, u))(t).DefaultProjectID)
}

// TestRefusedScope: the answer says what was asked for, and the same whether or not there is such a thing.
func TestRefusedScope(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	u := e.user("u")
	refused := func(auth identity.AuthRequest, scope identity.ScopeRequest) string {
		auth.Scope = &scope
		token, who, err := e.svc.Authenticate(e.ctx, auth)
		code(t, fault.Unauthenticated, err)
		require.Empty(t, token)
		require.Nil(t, who)
		return err.Error()
	}
	asked := []struct {
		scope identity.ScopeRequest
		want  string
	}{
		{identity.ScopeRequest{ProjectID: "p-id"}, "project p-id"},
		{identity.ScopeRequest{ProjectName: "p", DomainName: "d"}, `project "p" of domain "d"`},
		{identity.ScopeRequest{ProjectName: "p", DomainID: "d-id"}, `project "p" of domain d-id`},
		{identity.ScopeRequest{DomainName: "d"}, `domain "d"`},
		{identity.ScopeRequest{DomainID: "d-id"}, "domain d-id"},
		{identity.ScopeRequest{System: true}, "the system"},
	}
	check := func(auth identity.AuthRequest) (told []string) {
		for _, a := range asked {
			text := refused(auth, a.scope)
			require.Contains(t, text, "user "+u+" has no role in "+a.want)
			require.NotContains(t, text, "token")
			told = append(told, text)
		}
		return told
	}
	password, token := login(u, "u", nil), identity.AuthRequest{Token: e.login(login(u, "u", nil))}
	before := check(password)
	must(e.sys.CreateDomain(e.ctx, identity.CreateDomain{ID: "d-id", Name: "d"}))(t)
	p := must(e.sys.CreateProject(e.ctx, identity.CreateProject{Name: "p", DomainID: "d-id"}))(t)
	require.Equal(t, before, check(password), "nobody learns by it that there is one")
	require.Equal(t, before, check(token))
	require.NotContains(t, before[1], p.ID)
	require.Contains(t, refused(password, identity.ScopeRequest{ProjectID: p.ID}), "has no role in project "+p.ID)
	_, _, err := e.svc.Authenticate(e.ctx, login(u, "u", &identity.ScopeRequest{Unscoped: true, ProjectID: p.ID}))
	code(t, fault.Invalid, err)
	_, err = e.sys.UpdateProject(e.ctx, p.ID, identity.UpdateProject{Enabled: ptr(false)})
	require.NoError(t, err)
	require.Equal(t, before, check(password), "disabled")
}

func TestMultiFactorRules(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	u := e.user("u")
	rule := func(rules string) {
		_, err := e.sys.UpdateUser(e.ctx, u, identity.UpdateUser{Options: identity.Extra{
			"multi_factor_auth_enabled": []byte("true"), "multi_factor_auth_rules": []byte(rules)}})
		require.NoError(t, err)
	}
	rule(`[["password","totp"]]`)
	_, _, err := e.svc.Authenticate(e.ctx, login(u, "u", nil))
	code(t, fault.Unauthenticated, err)
	rule(`[["password","totp"],["password"]]`)
	e.login(login(u, "u", nil))
}

func TestForgedTokens(t *testing.T) {
	t.Parallel()
	e := newEnv(t, nil)
	token := e.login(adminLogin())
	raw, err := base64.RawURLEncoding.DecodeString(token)
	require.NoError(t, err)
	require.Less(t, len(token), 255, "a token stays small")
	for i := range raw {
		forged := append([]byte(nil), raw...)
		forged[i] ^= 1
		e.invalid(base64.RawURLEncoding.EncodeToString(forged))
	}
	for _, bad := range []string{"", "x", token[:len(token)-1], token + "A", token + "=", " " + token, "gAAAAA" + token} {
		e.invalid(bad)
	}
	// A token of another cloud.
	other := newEnv(t, nil)
	e.invalid(other.login(adminLogin()))
}

func FuzzToken(f *testing.F) {
	e := newEnv(f, nil)
	token, _, err := e.svc.Authenticate(e.ctx, adminLogin())
	require.NoError(f, err)
	keys, err := e.svc.PublicKeys(e.ctx)
	require.NoError(f, err)
	f.Add(token)
	f.Add(token[:20])
	f.Add("AQEB")
	f.Fuzz(func(t *testing.T, text string) {
		claims, err := identity.ParseToken(text, keys, e.clock.Now())
		if (err == nil) != (text == token) {
			t.Fatalf("%q: %+v, %v", text, claims, err)
		}
	})
}

func BenchmarkValidate(b *testing.B) {
	e := newEnv(b, nil)
	token := e.login(adminLogin())
	for b.Loop() {
		if _, err := e.svc.Validate(e.ctx, token); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValidateCold(b *testing.B) {
	e := newEnv(b, func(o *identity.Options) { o.CachedTokens = 1 })
	tokens := make([]string, 64)
	for i := range tokens {
		tokens[i] = e.login(adminLogin())
	}
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		if _, err := e.svc.Validate(context.Background(), tokens[i%len(tokens)]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAuthenticateByToken(b *testing.B) {
	e := newEnv(b, nil)
	token := e.login(adminLogin())
	for b.Loop() {
		if _, _, err := e.svc.Authenticate(e.ctx, identity.AuthRequest{Token: token}); err != nil {
			b.Fatal(err)
		}
	}
}
