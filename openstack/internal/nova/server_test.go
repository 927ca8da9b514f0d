package nova_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/attachinterfaces"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/keypairs"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/secgroups"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/tags"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/volumeattach"
	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/cloudtest"
	"github.com/nubecula/cloud/identity"
)

// site is a cloud and its clients.
type site struct {
	t   *testing.T
	env *cloudtest.Env
}

func newSite(t *testing.T) *site {
	t.Parallel()
	return &site{t, cloudtest.New(t)}
}

func (s *site) token(user string) string {
	s.t.Helper()
	password := map[string]string{"admin": cloudtest.AdminPassword, "demo": cloudtest.DemoPassword, "reader": "reader"}[user]
	project := map[string]string{"admin": "admin", "demo": "demo", "reader": "demo"}[user]
	token, _, err := s.env.Cloud.As(nil).Identity.Authenticate(context.Background(), identity.AuthRequest{
		Password: &identity.PasswordAuth{UserName: user, DomainID: identity.DefaultDomainID, Password: password},
		Scope:    &identity.ScopeRequest{ProjectName: project, DomainID: identity.DefaultDomainID},
	})
	require.NoError(s.t, err)
	return token
}

// addReader makes the user reader, who may only look in the project demo.
func (s *site) addReader() {
	s.t.Helper()
	ctx, svc := context.Background(), s.env.Admin().Identity
	u, err := svc.CreateUser(ctx, identity.CreateUser{Name: "reader", DomainID: identity.DefaultDomainID, Password: "reader"})
	require.NoError(s.t, err)
	roles, err := svc.ListRoles(ctx, identity.ListRoles{ListOptions: identity.ListOptions{Name: identity.RoleReader}})
	require.NoError(s.t, err)
	require.NoError(s.t, svc.Grant(ctx, identity.Assignment{RoleID: roles[0].ID, UserID: u.ID, ProjectID: s.env.Seeded.ProjectID}))
}

// client is gophercloud as a user, with a microversion; "" means none.
func (s *site) client(user, version string) *gophercloud.ServiceClient {
	return &gophercloud.ServiceClient{
		ProviderClient: &gophercloud.ProviderClient{TokenID: s.token(user)},
		Endpoint:       s.env.URL() + "/compute/v2.1/", Type: "compute", Microversion: version,
	}
}

func (s *site) small(name string) servers.CreateOpts {
	return servers.CreateOpts{Name: name, FlavorRef: "42", ImageRef: s.env.Seeded.ImageID, Networks: []servers.Network{{UUID: s.env.Seeded.NetworkID}}}
}

// boot makes a server and waits for it.
func (s *site) boot(c *gophercloud.ServiceClient, opts servers.CreateOptsBuilder) *servers.Server {
	s.t.Helper()
	made, err := servers.Create(context.Background(), c, opts, nil).Extract()
	require.NoError(s.t, err)
	s.env.Settle()
	got, err := servers.Get(context.Background(), c, made.ID).Extract()
	require.NoError(s.t, err)
	return got
}

func all[T any](t *testing.T, pages interface {
	AllPages(context.Context) (T, error)
}) T {
	t.Helper()
	p, err := pages.AllPages(context.Background())
	require.NoError(t, err)
	return p
}

func listed(t *testing.T, c *gophercloud.ServiceClient, opts servers.ListOpts) []string {
	t.Helper()
	list, err := servers.ExtractServers(all(t, servers.List(c, opts)))
	require.NoError(t, err)
	names := []string{}
	for _, s := range list {
		names = append(names, s.Name)
	}
	return names
}

func TestServerLife(t *testing.T) {
	s := newSite(t)
	ctx := context.Background()
	c := s.client("demo", "2.90")
	pair, err := keypairs.Create(ctx, c, keypairs.CreateOpts{Name: "key"}).Extract()
	require.NoError(t, err)
	require.Contains(t, pair.PrivateKey, "PRIVATE KEY")

	opts := s.small("web")
	opts.Metadata, opts.UserData, opts.Tags = map[string]string{"a": "1"}, []byte("#!/bin/sh\n"), []string{"blue"}
	opts.SecurityGroups = []string{"default"}
	made, err := servers.Create(ctx, c, keypairs.CreateOptsExt{CreateOptsBuilder: opts, KeyName: "key"}, nil).Extract()
	require.NoError(t, err)
	require.NotEmpty(t, made.AdminPass)
	building, err := servers.Get(ctx, c, made.ID).Extract()
	require.NoError(t, err)
	require.Contains(t, []string{"BUILD", "ACTIVE"}, building.Status)

	s.env.Settle()
	v, err := servers.Get(ctx, c, made.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, "ACTIVE", v.Status)
	require.Equal(t, "key", v.KeyName)
	require.Equal(t, map[string]string{"a": "1"}, v.Metadata)
	require.Equal(t, []string{"blue"}, *v.Tags)
	require.Equal(t, "web", *v.Hostname)
	require.Equal(t, "m1.nano", v.Flavor["original_name"])
	require.Equal(t, []map[string]any{{"name": "default"}}, v.SecurityGroups)
	require.NotEmpty(t, v.HostID)
	require.Empty(t, v.Host, "a user does not see the host")
	require.Len(t, v.Addresses["private"], 1)

	addresses, err := servers.ExtractAddresses(all(t, servers.ListAddresses(c, v.ID)))
	require.NoError(t, err)
	require.Len(t, addresses["private"], 1)
	byNetwork, err := servers.ExtractNetworkAddresses(all(t, servers.ListAddressesByNetwork(c, v.ID, "private")))
	require.NoError(t, err)
	require.Equal(t, addresses["private"], byNetwork)

	require.NoError(t, servers.Stop(ctx, c, v.ID).ExtractErr())
	s.env.Settle()
	v, err = servers.Get(ctx, c, v.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, "SHUTOFF", v.Status)
	err = servers.Stop(ctx, c, v.ID).ExtractErr()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusConflict), err)
	require.ErrorContains(t, err, "vm_state stopped")
	require.NoError(t, servers.Start(ctx, c, v.ID).ExtractErr())
	s.env.Settle()
	for _, how := range []servers.RebootMethod{servers.SoftReboot, servers.HardReboot} {
		require.NoError(t, servers.Reboot(ctx, c, v.ID, servers.RebootOpts{Type: how}).ExtractErr())
		s.env.Settle()
	}
	out, err := servers.ShowConsoleOutput(ctx, c, v.ID, servers.ShowConsoleOutputOpts{Length: 5}).Extract()
	require.NoError(t, err)
	require.NotEmpty(t, out)

	new, about := "db", "the database"
	_, err = servers.Update(ctx, c, v.ID, servers.UpdateOpts{Name: new, AccessIPv4: "192.0.2.7", Hostname: &about}).Extract()
	require.Error(t, err, "a host name has no spaces")
	hostname := "db-1"
	v, err = servers.Update(ctx, c, made.ID, servers.UpdateOpts{Name: new, AccessIPv4: "192.0.2.7", Hostname: &hostname}).Extract()
	require.NoError(t, err)
	require.Equal(t, "db", v.Name)
	require.Equal(t, "192.0.2.7", v.AccessIPv4)
	require.Equal(t, "db-1", *v.Hostname)

	require.NoError(t, servers.Lock(ctx, c, v.ID).ExtractErr())
	require.NoError(t, servers.Unlock(ctx, c, v.ID).ExtractErr())
	err = servers.ResetState(ctx, c, v.ID, servers.StateError).ExtractErr()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusForbidden), err)
	require.NoError(t, servers.ResetState(ctx, s.client("admin", ""), v.ID, servers.StateError).ExtractErr())

	require.NoError(t, servers.Delete(ctx, c, v.ID).ExtractErr())
	s.env.Settle()
	_, err = servers.Get(ctx, c, v.ID).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusNotFound), err)
	require.Equal(t, []string{"db"}, listed(t, s.client("admin", ""), servers.ListOpts{AllTenants: true, Status: "DELETED"}))
	gone := must(servers.ExtractServers(all(t, servers.List(s.client("admin", ""), servers.ListOpts{AllTenants: true, Status: "DELETED"}))))[0]
	require.Equal(t, "DELETED", gone.Status)
	require.Equal(t, "deleted", gone.VmState)
	require.False(t, gone.TerminatedAt.IsZero())
	s.env.NoLeaks()
}

func TestPartsOfAServer(t *testing.T) {
	s := newSite(t)
	ctx := context.Background()
	c := s.client("demo", "2.79")
	v := s.boot(c, s.small("web"))

	meta, err := servers.UpdateMetadata(ctx, c, v.ID, servers.MetadataOpts{"a": "1", "b": "2"}).Extract()
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "1", "b": "2"}, meta)
	_, err = servers.CreateMetadatum(ctx, c, v.ID, servers.MetadatumOpts{"c": "3"}).Extract()
	require.NoError(t, err)
	require.NoError(t, servers.DeleteMetadatum(ctx, c, v.ID, "a").ExtractErr())
	one, err := servers.Metadatum(ctx, c, v.ID, "c").Extract()
	require.NoError(t, err)
	require.Equal(t, map[string]string{"c": "3"}, one)
	_, err = servers.ResetMetadata(ctx, c, v.ID, servers.MetadataOpts{"z": "9"}).Extract()
	require.NoError(t, err)
	meta, err = servers.Metadata(ctx, c, v.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, map[string]string{"z": "9"}, meta)
	_, err = servers.Metadatum(ctx, c, v.ID, "c").Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusNotFound), err)

	require.NoError(t, tags.Add(ctx, c, v.ID, "red").ExtractErr())
	require.NoError(t, tags.Add(ctx, c, v.ID, "red").ExtractErr(), "again is fine")
	has, err := tags.Check(ctx, c, v.ID, "red").Extract()
	require.NoError(t, err)
	require.True(t, has)
	set, err := tags.ReplaceAll(ctx, c, v.ID, tags.ReplaceAllOpts{Tags: []string{"x", "y"}}).Extract()
	require.NoError(t, err)
	require.Equal(t, []string{"x", "y"}, set)
	require.NoError(t, tags.Delete(ctx, c, v.ID, "x").ExtractErr())
	set, err = tags.List(ctx, c, v.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, []string{"y"}, set)
	require.NoError(t, tags.DeleteAll(ctx, c, v.ID).ExtractErr())

	nics, err := attachinterfaces.ExtractInterfaces(all(t, attachinterfaces.List(c, v.ID)))
	require.NoError(t, err)
	require.Len(t, nics, 1)
	require.Equal(t, s.env.Seeded.NetworkID, nics[0].NetID)
	require.Equal(t, "ACTIVE", nics[0].PortState)
	nic, err := attachinterfaces.Get(ctx, c, v.ID, nics[0].PortID).Extract()
	require.NoError(t, err)
	require.Equal(t, nics[0], *nic)
	_, err = attachinterfaces.Create(ctx, c, v.ID, attachinterfaces.CreateOpts{NetworkID: s.env.Seeded.NetworkID}).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusNotImplemented), err)
	err = attachinterfaces.Delete(ctx, c, v.ID, nics[0].PortID).ExtractErr()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusNotImplemented), err)

	groups, err := secgroups.ExtractSecurityGroups(all(t, secgroups.ListByServer(c, v.ID)))
	require.NoError(t, err)
	require.Len(t, groups, 1)
	require.Equal(t, "default", groups[0].Name)
	require.NoError(t, secgroups.RemoveServer(ctx, c, v.ID, "default").ExtractErr())
	err = secgroups.RemoveServer(ctx, c, v.ID, "default").ExtractErr()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusNotFound), err)
	v, err = servers.Get(ctx, c, v.ID).Extract()
	require.NoError(t, err)
	require.Empty(t, v.SecurityGroups)
	require.NoError(t, secgroups.AddServer(ctx, c, v.ID, groups[0].ID).ExtractErr())
	proxied, err := secgroups.ExtractSecurityGroups(all(t, secgroups.List(s.client("demo", "2.35"))))
	require.NoError(t, err)
	require.Equal(t, groups[0].ID, proxied[0].ID, "the openstack command looks groups up by this")
	_, err = secgroups.Get(ctx, c, groups[0].ID).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusNotFound), "gone since 2.36: %v", err)

	volumes, err := volumeattach.ExtractVolumeAttachments(all(t, volumeattach.List(c, v.ID)))
	require.NoError(t, err)
	require.Empty(t, volumes)
	password, err := servers.GetPassword(ctx, c, v.ID).ExtractPassword(nil)
	require.NoError(t, err)
	require.Empty(t, password)
}

func TestActionsThatNoHypervisorCanDo(t *testing.T) {
	s := newSite(t)
	ctx := context.Background()
	c := s.client("demo", "2.79")
	v := s.boot(c, s.small("web"))
	for name, err := range map[string]error{
		"pause": servers.Pause(ctx, c, v.ID).ExtractErr(), "suspend": servers.Suspend(ctx, c, v.ID).ExtractErr(),
		"shelve": servers.Shelve(ctx, c, v.ID).ExtractErr(), "resize": servers.Resize(ctx, c, v.ID, servers.ResizeOpts{FlavorRef: "1"}).ExtractErr(),
		"createImage": servers.CreateImage(ctx, c, v.ID, servers.CreateImageOpts{Name: "i"}).Err,
	} {
		require.True(t, gophercloud.ResponseCodeIs(err, http.StatusNotImplemented), "%s: %v", name, err)
		require.ErrorContains(t, err, "notImplemented")
	}
	require.True(t, gophercloud.ResponseCodeIs(servers.ConfirmResize(ctx, c, v.ID).ExtractErr(), http.StatusConflict))
	require.True(t, gophercloud.ResponseCodeIs(servers.ResetNetwork(ctx, c, v.ID).ExtractErr(), http.StatusGone))
	require.True(t, gophercloud.ResponseCodeIs(servers.Pause(ctx, c, "00000000-0000-0000-0000-000000000000").ExtractErr(), http.StatusNotFound))
}

func TestServerLists(t *testing.T) {
	s := newSite(t)
	demo, admin := s.client("demo", "2.79"), s.client("admin", "2.79")
	for i := range 5 {
		opts := s.small(fmt.Sprintf("web-%d", i))
		if i < 2 {
			opts.Tags = []string{"front"}
		}
		s.boot(s.client("demo", "2.79"), opts)
	}
	s.boot(admin, s.small("other"))

	five := []string{"web-4", "web-3", "web-2", "web-1", "web-0"}
	require.ElementsMatch(t, five, listed(t, demo, servers.ListOpts{}))
	require.ElementsMatch(t, five, listed(t, demo, servers.ListOpts{Limit: 2}), "by pages, following servers_links")
	require.Equal(t, []string{"other"}, listed(t, admin, servers.ListOpts{}))
	require.ElementsMatch(t, append(five, "other"), listed(t, admin, servers.ListOpts{AllTenants: true}))
	require.ElementsMatch(t, five, listed(t, admin, servers.ListOpts{AllTenants: true, TenantID: s.env.Seeded.ProjectID}))
	require.Equal(t, []string{"web-3"}, listed(t, demo, servers.ListOpts{Name: "b-3$"}))
	require.ElementsMatch(t, []string{"web-0", "web-1"}, listed(t, demo, servers.ListOpts{Tags: "front"}))
	require.ElementsMatch(t, []string{"web-2", "web-3", "web-4"}, listed(t, demo, servers.ListOpts{NotTags: "front"}))
	require.ElementsMatch(t, five, listed(t, demo, servers.ListOpts{Status: "active", Image: s.env.Seeded.ImageID, Flavor: "42"}))
	require.Empty(t, listed(t, demo, servers.ListOpts{Status: "SHUTOFF"}))
	first, err := servers.Get(context.Background(), demo, must(servers.ExtractServers(all(t, servers.List(demo, servers.ListOpts{Name: "web-0"}))))[0].ID).Extract()
	require.NoError(t, err)
	addr := first.Addresses["private"].([]any)[0].(map[string]any)["addr"].(string)
	require.Equal(t, []string{"web-0"}, listed(t, demo, servers.ListOpts{IP: "^" + strings.ReplaceAll(addr, ".", `\.`) + "$"}))
	host := s.env.Server(first.ID).Host
	require.Contains(t, listed(t, admin, servers.ListOpts{AllTenants: true, Host: host}), "web-0")
	require.ElementsMatch(t, five, listed(t, demo, servers.ListOpts{ChangesSince: "2020-01-01T00:00:00Z"}))

	_, err = servers.List(demo, servers.ListOpts{AllTenants: true}).AllPages(context.Background())
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusForbidden), err)
	_, err = servers.List(demo, servers.ListOpts{Marker: "nowhere"}).AllPages(context.Background())
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusBadRequest), err)
	_, err = servers.List(demo, servers.ListOpts{Host: host}).AllPages(context.Background())
	require.NoError(t, err, "what is for administrators is ignored")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestSeveralServersAtOnce(t *testing.T) {
	s := newSite(t)
	ctx := context.Background()
	c := s.client("demo", "2.37")
	opts := s.small("many")
	opts.Min, opts.Max = 2, 3
	_, err := servers.Create(ctx, c, opts, nil).Extract()
	require.NoError(t, err)
	s.env.Settle()
	require.ElementsMatch(t, []string{"many-1", "many-2", "many-3"}, listed(t, c, servers.ListOpts{}))

	auto := s.small("auto")
	auto.Networks = "auto"
	require.Equal(t, "ACTIVE", s.boot(c, auto).Status)
	none := s.small("none")
	none.Networks = "none"
	require.Empty(t, s.boot(c, none).Addresses)
}
