package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	stack "github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/image/fakeimage"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/network/fakenetwork"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/chaos"
	"github.com/nubecula/cloud/store/memory"
)

// start runs the lab until stop, which returns run's error. The URL is the one of openrc.
func start(t *testing.T, dir string) (env map[string]string, stop func() error) {
	cfg, err := parse([]string{"-listen", "127.0.0.1:0", "-data", dir, "-hosts", "2", "-log", "error"})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	os.Remove(filepath.Join(dir, "openrc"))
	go func() { done <- run(ctx, cfg, io.Discard) }()
	c := clock.System()
	for end := c.Mono() + time.Minute; ; {
		env = openrc(filepath.Join(dir, "openrc"))
		if url := env["OS_AUTH_URL"]; url != "" {
			if resp, err := http.Get(url); err == nil {
				resp.Body.Close()
				break
			}
		}
		select {
		case err := <-done:
			t.Fatal("the lab ended:", err)
		default:
		}
		require.Less(t, c.Mono(), end, "the lab does not answer")
		_ = c.Sleep(ctx, 5*time.Millisecond) // it is in another goroutine, behind a real port
	}
	return env, func() error { cancel(); return <-done }
}

func openrc(path string) map[string]string {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	env := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^export (OS_\w+)=(.*)$`).FindAllStringSubmatch(string(text), -1) {
		env[m[1]] = m[2]
	}
	return env
}

func login(t *testing.T, env map[string]string) *gophercloud.ServiceClient {
	p, err := stack.AuthenticatedClient(t.Context(), gophercloud.AuthOptions{IdentityEndpoint: env["OS_AUTH_URL"], Username: env["OS_USERNAME"],
		Password: env["OS_PASSWORD"], TenantName: env["OS_PROJECT_NAME"], DomainName: env["OS_USER_DOMAIN_NAME"]})
	require.NoError(t, err)
	c, err := stack.NewComputeV2(p, gophercloud.EndpointOpts{Region: env["OS_REGION_NAME"]})
	require.NoError(t, err)
	return c
}

// TestTwoStarts boots a server, ends the lab, and finds everything as it was after the next start.
func TestTwoStarts(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "dir")
	env, stop := start(t, dir)
	require.Equal(t, map[string]string{"OS_AUTH_URL": env["OS_AUTH_URL"], "OS_USERNAME": "admin", "OS_PASSWORD": env["OS_PASSWORD"], "OS_PROJECT_NAME": "admin",
		"OS_USER_DOMAIN_NAME": "Default", "OS_PROJECT_DOMAIN_NAME": "Default", "OS_REGION_NAME": "RegionOne", "OS_IDENTITY_API_VERSION": "3"}, env)
	require.GreaterOrEqual(t, len(env["OS_PASSWORD"]), 20)
	for _, name := range []string{"openrc", "clouds.yaml", "passwords.json", "key"} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode(), name)
	}
	text, err := os.ReadFile(filepath.Join(dir, "clouds.yaml"))
	require.NoError(t, err)
	for _, line := range []string{"  lab:", "  lab-admin:", "      username: demo", "      auth_url: " + env["OS_AUTH_URL"], "      password: " + env["OS_PASSWORD"]} {
		require.Contains(t, strings.Split(string(text), "\n"), line)
	}

	c := login(t, env)
	image, err := stack.NewImageV2(c.ProviderClient, gophercloud.EndpointOpts{})
	require.NoError(t, err)
	page, err := images.List(image, nil).AllPages(t.Context())
	require.NoError(t, err)
	list, err := images.ExtractImages(page)
	require.NoError(t, err)
	require.Len(t, list, 1)
	network, err := stack.NewNetworkV2(c.ProviderClient, gophercloud.EndpointOpts{})
	require.NoError(t, err)
	page, err = networks.List(network, networks.ListOpts{Name: "private"}).AllPages(t.Context())
	require.NoError(t, err)
	nets, err := networks.ExtractNetworks(page)
	require.NoError(t, err)
	require.Len(t, nets, 1)
	s, err := servers.Create(t.Context(), c, servers.CreateOpts{Name: "web", FlavorRef: "42", ImageRef: list[0].ID, Networks: []servers.Network{{UUID: nets[0].ID}}}, nil).Extract()
	require.NoError(t, err)
	require.NoError(t, servers.WaitForStatus(t.Context(), c, s.ID, "ACTIVE"))
	require.NoError(t, stop())

	again, stop := start(t, dir)
	require.Equal(t, env["OS_PASSWORD"], again["OS_PASSWORD"])
	got := login(t, again)
	got.SetToken(c.Token()) // the one of the first start
	found, err := servers.Get(t.Context(), got, s.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, "ACTIVE", found.Status)
	leftovers, err := filepath.Glob(filepath.Join(dir, ".new-*"))
	require.NoError(t, err)
	require.Empty(t, leftovers)

	// A second lab on the same directory says why it cannot start, and leaves the first and its files alone.
	before, err := os.ReadFile(filepath.Join(dir, "openrc"))
	require.NoError(t, err)
	cfg, err := parse([]string{"-listen", "127.0.0.1:0", "-data", dir})
	require.NoError(t, err)
	require.ErrorContains(t, run(context.Background(), cfg, io.Discard), "nubecula.db")
	after, err := os.ReadFile(filepath.Join(dir, "openrc"))
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.NoError(t, stop())
}

func TestCredentialsReplaceFilesWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := filepath.Join(dir, "openrc")
	require.NoError(t, os.WriteFile(old, []byte("old"), 0o644))
	held, err := os.Open(old)
	require.NoError(t, err)
	defer held.Close()
	require.NoError(t, writeCredentials(dir, "http://127.0.0.1:1", secrets{Admin: "a", Demo: "d"}))
	text := make([]byte, 10)
	n, _ := held.Read(text)
	require.Equal(t, "old", string(text[:n]), "who has the old file open still reads it whole: it was renamed over, not written to")
	info, err := os.Stat(old)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
}

func TestSecretsAreMadeOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	one, err := loadSecrets(dir)
	require.NoError(t, err)
	two, err := loadSecrets(dir)
	require.NoError(t, err)
	require.Equal(t, one, two)
	require.NotEqual(t, one.Admin, one.Demo)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "passwords.json"), []byte(`{"admin":"x"}`), 0o600))
	_, err = loadSecrets(dir)
	require.ErrorContains(t, err, "damaged")
}

// TestMissingFiles: what nobody can make again is not made anew beside a database that needs the old one.
func TestMissingFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, complete(dir), "a first start")
	for _, name := range []string{"key", "passwords.json", "nubecula.db"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	require.NoError(t, complete(dir))
	for _, name := range []string{"key", "passwords.json"} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.Rename(path, path+".away"))
		require.ErrorContains(t, complete(dir), path+" is missing")
		_, _, _, err := open(t.Context(), config{data: dir, hosts: 1}, slog.New(slog.DiscardHandler))
		require.ErrorContains(t, err, path+" is missing")
		require.NoFileExists(t, path)
		require.NoError(t, os.Rename(path+".away", path))
	}
}

// TestAddressInUse: nothing is made for a lab that cannot be reached.
func TestAddressInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	dir := filepath.Join(t.TempDir(), "new")
	err = run(t.Context(), config{data: dir, hosts: 1, hypervisor: "fake", listen: l.Addr().String()}, io.Discard)
	require.ErrorContains(t, err, "-listen")
	require.NoDirExists(t, dir)
}

func TestParse(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", "/var/lib/state")
	c, err := parse(nil)
	require.NoError(t, err)
	require.Equal(t, config{listen: "127.0.0.1:8774", data: "/var/lib/state/nubecula", hypervisor: "fake", hosts: 3,
		uris: []string{"qemu:///system"}, virtType: "kvm", level: slog.LevelWarn}, c)
	t.Setenv("XDG_STATE_HOME", "not/absolute")
	t.Setenv("HOME", "/home/me")
	c, err = parse([]string{"-uri", "qemu:///a", "-uri", "qemu:///b"})
	require.NoError(t, err)
	require.Equal(t, "/home/me/.local/state/nubecula", c.data)
	require.Equal(t, []string{"qemu:///a", "qemu:///b"}, c.uris)
	_, err = parse([]string{"-hypervisor", "sim"})
	require.ErrorContains(t, err, "-uri")
	_, err = parse([]string{"-hypervisor", "sim", "-uri", "/run/sim"})
	require.NoError(t, err)
	_, err = parse([]string{"-hypervisor", "xen", "-hosts", "0", "-listen", "nowhere", "-log", "loud", "-metrics", "here", "extra"})
	for _, word := range []string{"xen", "-hosts 0", "nowhere", "loud", "here", "extra"} {
		require.ErrorContains(t, err, word)
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	for listen, url := range map[string]string{"127.0.0.1:8774": "http://127.0.0.1:8774", "0.0.0.0:80": "http://127.0.0.1:80", ":80": "http://127.0.0.1:80", "[::1]:80": "http://[::1]:80"} {
		got, l, err := address(listen)
		require.NoError(t, err)
		require.Nil(t, l)
		require.Equal(t, url, got)
	}
	got, l, err := address("127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	require.Equal(t, "http://"+l.Addr().String(), got)
}

// TestStoreBreaks: a lab whose store has failed ends with a reason, for its supervisor to start it again.
func TestStoreBreaks(t *testing.T) {
	t.Parallel()
	db := chaos.New(memory.New(nil), nil)
	s, err := store.New(db, store.Options{Key: store.NewKey()})
	require.NoError(t, err)
	network, err := fakenetwork.New(fakenetwork.Options{})
	require.NoError(t, err)
	images, err := fakeimage.New(fakeimage.Options{})
	require.NoError(t, err)
	c, err := cloud.New(t.Context(), cloud.Options{Store: s, Network: network, Images: images})
	require.NoError(t, err)
	defer c.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- serve(t.Context(), c, l) }()
	db.Crash()
	require.Error(t, s.View(t.Context(), func(*store.Tx) error { return nil }))
	err = <-done
	require.ErrorIs(t, err, store.ErrBroken)
	require.ErrorContains(t, err, "start the lab again")
	_, err = net.Dial("tcp", l.Addr().String())
	require.Error(t, err, "nobody is let in any more")
}
