package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	stack "github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/users"
	"github.com/stretchr/testify/require"
)

// TestResetAdmin: a lab whose administrator has deleted himself is his again, with a password that nobody has seen.
func TestResetAdmin(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := lab(dir, "reset-admin")
	require.ErrorContains(t, err, "no lab has run on "+dir)
	env, stop := start(t, dir)
	_, err = lab(dir, "reset-admin")
	require.ErrorContains(t, err, "a lab runs on "+dir+": end it first")
	was, err := loadSecrets(dir)
	require.NoError(t, err)
	c := login(t, env)
	keystone, err := stack.NewIdentityV3(c.ProviderClient, gophercloud.EndpointOpts{})
	require.NoError(t, err)
	page, err := users.List(keystone, users.ListOpts{Name: "admin"}).AllPages(t.Context())
	require.NoError(t, err)
	found, err := users.ExtractUsers(page)
	require.NoError(t, err)
	require.NoError(t, users.Delete(t.Context(), keystone, found[0].ID).ExtractErr())
	require.Error(t, users.List(keystone, nil).EachPage(t.Context(), nil), "he is out")
	require.NoError(t, stop())

	last := was.Admin
	for range 2 { // it can be said again
		require.NoError(t, os.Chmod(filepath.Join(dir, "openrc"), 0o644))
		out, err := lab(dir, "reset-admin")
		require.NoError(t, err)
		now, err := loadSecrets(dir)
		require.NoError(t, err)
		require.Equal(t, was.Demo, now.Demo)
		require.NotEqual(t, last, now.Admin)
		last = now.Admin
		require.NotContains(t, out, now.Admin)
		require.Contains(t, out, filepath.Join(dir, "openrc"))
		after := openrc(filepath.Join(dir, "openrc"))
		require.Equal(t, env["OS_AUTH_URL"], after["OS_AUTH_URL"])
		require.Equal(t, now.Admin, after["OS_PASSWORD"])
		text, err := os.ReadFile(filepath.Join(dir, "clouds.yaml"))
		require.NoError(t, err)
		require.Contains(t, string(text), now.Admin)
		for _, name := range []string{"openrc", "clouds.yaml", "passwords.json"} {
			st, err := os.Stat(filepath.Join(dir, name))
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), st.Mode(), name)
		}
	}
	env, stop = start(t, dir)
	require.Equal(t, last, env["OS_PASSWORD"])
	login(t, env)
	require.NoError(t, stop())

	// Without passwords.json nobody knows demo's either.
	require.NoError(t, os.Remove(filepath.Join(dir, "passwords.json")))
	_, err = lab(dir, "check")
	require.ErrorContains(t, err, "`lab reset-admin` makes it anew")
	out, err := lab(dir, "reset-admin")
	require.NoError(t, err)
	require.Contains(t, out, "the user demo, if there is one, has a new password too")
	now, err := loadSecrets(dir)
	require.NoError(t, err)
	require.NotEqual(t, was.Demo, now.Demo)
	env, stop = start(t, dir)
	login(t, env)
	env["OS_USERNAME"], env["OS_PASSWORD"], env["OS_PROJECT_NAME"] = "demo", now.Demo, "demo"
	login(t, env)
	require.NoError(t, stop())
}
