package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	stack "github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/keypairs"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/store"
)

// lab runs a subcommand on a directory.
func lab(dir string, args ...string) (string, error) {
	var out bytes.Buffer
	err := command(context.Background(), append([]string{args[0], "-data", dir}, args[1:]...), &out)
	return out.String(), err
}

// TestSubcommands: backup and check of a lab that runs and of one that does not, and the way back to a backup.
func TestSubcommands(t *testing.T) {
	t.Parallel()
	dir, away := t.TempDir(), t.TempDir()
	for _, name := range []string{"health", "log-level"} {
		_, err := lab(dir, name)
		require.ErrorIs(t, err, errNotRunning, name)
	}
	for _, args := range [][]string{{"check"}, {"backup", filepath.Join(away, "x")}} {
		_, err := lab(dir, args...)
		require.ErrorContains(t, err, "no lab has run on "+dir)
	}
	_, err := lab(dir, "backup")
	require.ErrorContains(t, err, "usage: lab backup [-data DIR] FILE")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left, "who only looks makes nothing")

	env, stop := start(t, dir)
	st, err := os.Stat(filepath.Join(dir, "control.sock"))
	require.NoError(t, err)
	require.Equal(t, os.ModeSocket|0o600, st.Mode())
	out, err := lab(dir, "health")
	require.NoError(t, err, out)
	require.Contains(t, out, "2 of 2 hosts take new servers")
	out, err = lab(dir, "check")
	require.NoError(t, err)
	require.Equal(t, "nothing is wrong\n", out)
	for _, want := range []string{"info", "debug", "error"} {
		out, err = lab(dir, "log-level", want)
		require.NoError(t, err)
		require.Equal(t, want+"\n", out)
	}
	out, err = lab(dir, "log-level")
	require.NoError(t, err)
	require.Equal(t, "error\n", out)
	_, err = lab(dir, "log-level", "loud")
	require.ErrorContains(t, err, "use debug, info, warn or error")

	way, err := dial(t.Context(), dir)
	require.NoError(t, err)
	resp, err := way.client.Get("http://lab/metrics")
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Contains(t, string(text), `nubecula_hosts{state="up"} 2`)

	file := filepath.Join(away, "monday")
	out, err = lab(dir, "backup", file)
	require.NoError(t, err)
	require.Contains(t, out, filepath.Join(dir, "key"))
	_, err = lab(dir, "backup", file)
	require.ErrorContains(t, err, "replaces no file")
	c := login(t, env)
	name := "later"
	_, err = keypairs.Create(t.Context(), c, keypairs.CreateOpts{Name: name}).Extract()
	require.NoError(t, err)
	glance, err := stack.NewImageV2(c.ProviderClient, gophercloud.EndpointOpts{})
	require.NoError(t, err)
	page, err := images.List(glance, nil).AllPages(t.Context())
	require.NoError(t, err)
	list, err := images.ExtractImages(page)
	require.NoError(t, err)
	c.Microversion = "2.37"
	later, err := servers.Create(t.Context(), c, servers.CreateOpts{Name: name, FlavorRef: "42", ImageRef: list[0].ID, Networks: "none"}, nil).Extract()
	require.NoError(t, err)
	require.NoError(t, servers.WaitForStatus(t.Context(), c, later.ID, "ACTIVE"))
	_, err = lab(dir, "restore", file)
	require.ErrorContains(t, err, "end it first")
	require.NoError(t, stop())
	require.NoFileExists(t, filepath.Join(dir, "control.sock"))

	out, err = lab(dir, "check")
	require.NoError(t, err, out)
	_, err = lab(dir, "backup", filepath.Join(away, "rest"))
	require.NoError(t, err)
	key, err := os.ReadFile(filepath.Join(dir, "key"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "key"), store.NewKey(), 0o600))
	_, err = lab(dir, "restore", file)
	require.ErrorContains(t, err, "must be the key of the lab that was backed up")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "key"), key, 0o600))
	out, err = lab(dir, "restore", file)
	require.NoError(t, err)
	kept, err := filepath.Glob(filepath.Join(dir, "nubecula.db.replaced-*"))
	require.NoError(t, err)
	require.Len(t, kept, 1)
	require.Contains(t, out, kept[0])

	env, stop = start(t, dir)
	require.Error(t, keypairs.Get(t.Context(), login(t, env), name, nil).Err, "made after the backup")
	out, err = lab(dir, "check")
	require.ErrorContains(t, err, "findings", out)
	require.Contains(t, out, "restored from an older backup")
	require.Contains(t, out, later.ID, "a host has a guest that this store does not know")
	require.Contains(t, out, "cloud, store-held", "although no round passed between the backup and the server")

	// The way on: every word of an operator's, first as a question.
	_, err = lab(dir, "accept-removal", later.ID)
	require.ErrorContains(t, err, "accept")
	out, err = lab(dir, "accept-store", "-dry-run")
	require.NoError(t, err)
	require.Contains(t, out, "nothing was done")
	_, err = lab(dir, "accept-removal", "-dry-run", later.ID)
	require.ErrorContains(t, err, "while the store is held")
	out, err = lab(dir, "accept-store")
	require.NoError(t, err)
	require.Contains(t, out, "go on within half a minute")
	_, err = lab(dir, "accept-store")
	require.ErrorContains(t, err, "there is nothing to accept")
	_, err = lab(dir, "accept-removal")
	require.ErrorContains(t, err, "usage: lab accept-removal [-data DIR] [-dry-run] ID...")
	_, err = lab(dir, "accept-removal", "nothing")
	require.ErrorContains(t, err, "nothing as removable that has the id nothing")
	out, err = lab(dir, "accept-removal", "-dry-run", later.ID)
	require.NoError(t, err)
	require.Contains(t, out, later.ID)
	out, err = lab(dir, "accept-removal", later.ID)
	require.NoError(t, err)
	require.Contains(t, out, later.ID+" was removed")
	_, err = lab(dir, "accept-loss", "host-9")
	require.ErrorContains(t, err, "host host-9")
	out, err = lab(dir, "accept-loss", "-dry-run", "host-1")
	require.NoError(t, err)
	require.Contains(t, out, "has every guest that it should have")
	out, err = lab(dir, "accept-loss", "host-1")
	require.NoError(t, err)
	require.Contains(t, out, "no server of the host went to ERROR")
	for _, dry := range []string{"-dry-run", "-dry-run=false"} {
		_, err = lab(dir, "host-gone", dry, "host-1")
		require.ErrorContains(t, err, "host-1 cannot be declared gone: its last heartbeat was at 2")
	}
	out, err = lab(dir, "check")
	require.NoError(t, err, out)
	require.NoError(t, stop())
	for _, name := range []string{"accept-store", "accept-removal", "accept-loss"} {
		_, err = lab(dir, append([]string{name}, map[string][]string{"accept-removal": {"x"}, "accept-loss": {"x"}}[name]...)...)
		require.ErrorIs(t, err, errNotRunning)
		require.ErrorContains(t, err, "start it first")
	}

	// A backup that was made at rest is older than the drivers from the next start on.
	_, err = lab(dir, "restore", filepath.Join(away, "rest"))
	require.NoError(t, err)
	_, stop = start(t, dir)
	out, err = lab(dir, "accept-store", "-dry-run")
	require.NoError(t, err)
	require.Contains(t, out, "the store is held since")
	require.NoError(t, stop())
}
