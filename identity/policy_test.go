package identity_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
)

func TestDefaultPolicy(t *testing.T) {
	t.Parallel()
	who := func(project string, roles ...string) *identity.Principal {
		return &identity.Principal{UserID: "u", ProjectID: project, Roles: roles}
	}
	mine := identity.Target{Kind: "server", ID: "s", ProjectID: "p"}
	fresh := identity.Target{Kind: "server", ProjectID: "p"}
	shared := identity.Target{Kind: "network", ID: "n", ProjectID: "q", Shared: true}
	key := identity.Target{Kind: "keypair", ID: "k", UserID: "u"}
	for _, c := range []struct {
		who    *identity.Principal
		action string
		target identity.Target
		want   string // code, "" is allowed
	}{
		{who("p", "member"), "compute:server:create", fresh, ""},
		{who("p", "manager"), "compute:server:create", fresh, ""},
		{who("p", "reader"), "compute:server:create", fresh, "denied"},
		{who("q", "member"), "compute:server:create", fresh, "denied"},
		{who("p", "painter"), "compute:server:get", mine, "denied"},
		{who("p", "reader"), "compute:server:get", mine, ""},
		{who("p", "reader"), "compute:server:delete", mine, "denied"},
		{who("q", "member"), "compute:server:delete", mine, "not found"},
		{who("q", "admin"), "compute:server:delete", mine, ""},
		{who("p", "member"), "compute:server:get_host", mine, "denied"},
		{who("p", "member"), "compute:server:unheard_of", mine, "denied"},
		{who("q", "admin"), "compute:server:unheard_of", mine, ""},
		{identity.System(), "compute:server:unheard_of", mine, ""},
		{who("p", "reader"), "network:network:get", shared, ""},
		{who("p", "member"), "network:network:delete", shared, "denied"},
		{who("p"), "compute:keypair:get", key, ""},
		{&identity.Principal{UserID: "v", ProjectID: "p", Roles: []string{"member"}}, "compute:keypair:get", key, "not found"},
		{who("p"), "compute:flavor:list", identity.Target{}, ""},
		{who("", "member"), "compute:server:create", identity.Target{}, "denied"},
		{&identity.Principal{Roles: []string{"member"}}, "compute:keypair:list", identity.Target{}, "denied"},
		{nil, "compute:flavor:list", identity.Target{}, "unauthenticated"},
	} {
		err := identity.DefaultPolicy().Check(c.who, c.action, c.target)
		if c.want == "" {
			require.NoError(t, err, "%+v", c)
			continue
		}
		require.Error(t, err, "%+v", c)
		require.Equal(t, c.want, fault.CodeOf(err).String(), "%v", err)
		if c.want == "denied" {
			require.ErrorContains(t, err, c.action)
		}
	}
	own := identity.DefaultPolicy()
	own["compute:server:unheard_of"] = identity.Member
	require.NoError(t, own.Check(who("p", "member"), "compute:server:unheard_of", mine))
	require.Error(t, identity.DefaultPolicy().Check(who("p", "member"), "compute:server:unheard_of", mine), "a copy was changed")
}

func TestOptionsAreCheckedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := identity.New(identity.Options{PasswordCost: 99, TokenLifetime: 1})
	require.ErrorContains(t, err, "Store")
	require.ErrorContains(t, err, "PasswordCost")
	require.ErrorContains(t, err, "TokenLifetime")
}
