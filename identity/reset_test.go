package identity_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
)

// TestReset: whatever was done to admin, a reset lets him in again, with the new password and nothing else.
func TestReset(t *testing.T) {
	t.Parallel()
	no := false
	for name, lock := range map[string]func(t *testing.T, e *env, admin, project string){
		"nothing": func(*testing.T, *env, string, string) {},
		"deleted": func(t *testing.T, e *env, admin, _ string) { require.NoError(t, e.sys.DeleteUser(e.ctx, admin)) },
		"disabled": func(t *testing.T, e *env, admin, _ string) {
			must(e.sys.UpdateUser(e.ctx, admin, identity.UpdateUser{Enabled: &no}))(t)
		},
		"project deleted": func(t *testing.T, e *env, _, project string) { require.NoError(t, e.sys.DeleteProject(e.ctx, project)) },
		"project disabled": func(t *testing.T, e *env, _, project string) {
			must(e.sys.UpdateProject(e.ctx, project, identity.UpdateProject{Enabled: &no}))(t)
		},
		"domain disabled": func(t *testing.T, e *env, _, _ string) {
			must(e.sys.UpdateDomain(e.ctx, identity.DefaultDomainID, identity.UpdateProject{Enabled: &no}))(t)
		},
		"without a role": func(t *testing.T, e *env, admin, project string) {
			role := e.role("admin")
			require.NoError(t, e.sys.Ungrant(e.ctx, identity.Assignment{UserID: admin, ProjectID: project, RoleID: role}))
			require.NoError(t, e.sys.Ungrant(e.ctx, identity.Assignment{UserID: admin, System: true, RoleID: role}))
		},
		"asked for more": func(t *testing.T, e *env, admin, _ string) {
			must(e.sys.UpdateUser(e.ctx, admin, identity.UpdateUser{Options: identity.Extra{
				"multi_factor_auth_enabled": []byte("true"), "multi_factor_auth_rules": []byte(`[["password", "totp"]]`)}}))(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, nil)
			token := e.login(adminLogin())
			who := e.valid(token)
			lock(t, e, who.UserID, who.ProjectID)
			if name != "nothing" {
				_, _, err := e.svc.Authenticate(e.ctx, adminLogin())
				require.Error(t, err)
			}
			code(t, fault.Invalid, e.svc.Bootstrap(e.ctx, identity.BootstrapOptions{Reset: true}))
			for _, password := range []string{"first word", "second word"} { // it can be said again
				require.NoError(t, e.svc.Bootstrap(e.ctx, identity.BootstrapOptions{AdminPassword: password, Reset: true}))
				e.invalid(token)
				_, _, err := e.svc.Authenticate(e.ctx, adminLogin())
				code(t, fault.Unauthenticated, err)
				req := adminLogin()
				req.Password.Password = password
				token = e.login(req)
				require.True(t, e.valid(token).IsAdmin())
				req.Scope = &identity.ScopeRequest{System: true}
				require.True(t, e.valid(e.login(req)).System)
			}
			require.NotContains(t, e.log.String(), "word\"")
		})
	}
}
