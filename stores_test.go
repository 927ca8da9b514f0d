package cloud_test

import (
	"bytes"
	"context"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/cloudtest"
	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/compute/fakecompute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/image"
	"github.com/nubecula/cloud/image/fileimage"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/network/fakenetwork"
	"github.com/nubecula/cloud/openstack"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/sqlite"
)

// Directories of state that older versions of this module have left are kept in testdata/stores, one file a version, and never made
// anew: `go test . -run TestMakeStore -keep NAME` adds one, before a change of a stored form.
var keep = flag.String("keep", "", "write testdata/stores/NAME.tar.gz, a directory of state as this version leaves it")

// begun is when the kept stores were made, by their own clock; they are opened a day later.
var begun = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// shifted is the machine's clock, set to another time.
type shifted struct {
	clock.Clock
	ahead time.Duration
}

func clockAt(t time.Time) clock.Clock {
	c := clock.System()
	return shifted{c, t.Sub(c.Now())}
}

func (s shifted) Now() time.Time { return s.Clock.Now().Add(s.ahead) }

// diskCloud is a cloud that keeps everything in a directory: sqlite, images in files, the guests and networks of the fakes.
type diskCloud struct {
	*cloud.Cloud
	t      *testing.T
	faults *inject.Plan
	seeded *cloud.Seeded
}

func openDisk(t *testing.T, dir string, at time.Time) *diskCloud {
	t.Helper()
	d := &diskCloud{t: t, faults: inject.NewPlan(nil, 1)}
	c := clockAt(at)
	db, err := sqlite.Open(filepath.Join(dir, "nubecula.db"), &sqlite.Options{Clock: c})
	require.NoError(t, err)
	s, err := store.New(db, store.Options{Key: make([]byte, store.KeySize)})
	require.NoError(t, err)
	images, err := fileimage.New(filepath.Join(dir, "images"))
	require.NoError(t, err)
	networks, err := fakenetwork.New(fakenetwork.Options{Dir: filepath.Join(dir, "network"), Faults: d.faults})
	require.NoError(t, err)
	opt := cloud.Options{Store: s, Images: images, Network: networks, Clock: c, PasswordCost: 4}
	for _, name := range []string{"host-1", "host-2"} {
		h, err := fakecompute.New(fakecompute.Options{Name: name, Dir: filepath.Join(dir, "hosts", name), Faults: d.faults})
		require.NoError(t, err)
		opt.Hypervisors = append(opt.Hypervisors, compute.Hypervisor{Driver: h})
	}
	d.Cloud, err = cloud.New(t.Context(), opt)
	require.NoError(t, err)
	t.Cleanup(func() { d.Kill(); s.Close() })
	d.seeded, err = d.Seed(t.Context(), cloud.Seed{AdminPassword: cloudtest.AdminPassword, UserPassword: cloudtest.DemoPassword, ImageName: "tiny",
		Image: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(make([]byte, 1<<20))), nil }})
	require.NoError(t, err)
	return d
}

func (d *diskCloud) admin() *cloud.Client {
	return d.As(&identity.Principal{UserID: "admin", UserName: "admin", ProjectID: d.seeded.AdminProjectID, Roles: []string{identity.RoleAdmin}})
}

func (d *diskCloud) demo() *cloud.Client {
	return d.As(&identity.Principal{UserID: d.seeded.UserID, UserName: "demo", UserDomainID: identity.DefaultDomainID, ProjectID: d.seeded.ProjectID, Roles: []string{identity.RoleMember}})
}

// boot asks for a server and returns its id.
func (d *diskCloud) boot(name string, change func(*compute.CreateServer)) string {
	d.t.Helper()
	req := compute.CreateServer{Name: name, FlavorID: "42", ImageID: d.seeded.ImageID, Networks: []compute.Network{{NetworkID: d.seeded.NetworkID}}}
	if change != nil {
		change(&req)
	}
	created, err := d.admin().Compute.CreateServer(d.t.Context(), req)
	require.NoError(d.t, err)
	return created.Servers[0].ID
}

func (d *diskCloud) settled(id string) error {
	return d.Wait(d.t.Context(), operation.Resource{Kind: "server", ID: id})
}

func (d *diskCloud) token(t *testing.T) string {
	t.Helper()
	token, _, err := d.As(nil).Identity.Authenticate(t.Context(), identity.AuthRequest{
		Password: &identity.PasswordAuth{UserName: "demo", DomainID: identity.DefaultDomainID, Password: cloudtest.DemoPassword},
		Scope:    &identity.ScopeRequest{ProjectID: d.seeded.ProjectID}})
	require.NoError(t, err)
	return token
}

// missing names the kinds of documents that a database has none of.
func missing(t *testing.T, d store.Driver) (out []string) {
	t.Helper()
	txn, err := d.Begin(t.Context(), false)
	require.NoError(t, err)
	defer txn.Rollback()
	kinds := []string{"idempotent_reply", "tombstone"}
	for _, c := range cloud.Collections() {
		kinds = append(kinds, c.Kind())
	}
	for _, kind := range kinds {
		found, err := txn.Scan(store.Range{Kind: kind, Limit: 1})
		require.NoError(t, err)
		if len(found) == 0 {
			out = append(out, kind)
		}
	}
	return out
}

// TestMakeStore makes a directory of state in which every kind of document is, with operations that the death of the process broke off.
func TestMakeStore(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), t.Context()
	d := openDisk(t, dir, begun)
	must := func(err error) { t.Helper(); require.NoError(t, err) }
	admin, demo := d.admin(), d.demo()
	makePeople(t, d)
	makeNetworks(t, d)

	other, err := demo.Image.Create(ctx, image.CreateRequest{Name: "shared", DiskFormat: "raw", ContainerFormat: "bare", Tags: []string{"a"}, Properties: map[string]string{"k": "v"}})
	must(err)
	_, err = demo.Image.Upload(ctx, other.ID, image.UploadRequest{Body: strings.NewReader("data")})
	must(err)
	_, err = demo.Image.AddMember(ctx, other.ID, d.seeded.AdminProjectID)
	must(err)
	gone, err := demo.Image.Create(ctx, image.CreateRequest{Name: "gone", DiskFormat: "raw", ContainerFormat: "bare"})
	must(err)
	_, err = demo.Image.Upload(ctx, gone.ID, image.UploadRequest{Body: strings.NewReader("data")})
	must(err)
	must(demo.Image.Delete(ctx, gone.ID))
	must(d.Wait(ctx, operation.Resource{Kind: "image", ID: gone.ID}))

	_, err = admin.Compute.CreateKeypair(ctx, compute.CreateKeypair{Name: "key"})
	must(err)
	_, err = admin.Compute.UpdateExtraSpecs(ctx, "42", map[string]string{"hw:cpu_policy": "shared"})
	must(err)
	_, err = admin.Compute.UpdateQuota(ctx, d.seeded.ProjectID, map[string]int64{"instances": 20}, false)
	must(err)
	port, err := admin.Network.CreatePort(ctx, network.CreatePort{NetworkID: d.seeded.NetworkID, Name: "mine"})
	must(err)
	web := d.boot("web", func(r *compute.CreateServer) {
		r.KeyName, r.UserData, r.Metadata, r.Tags, r.Zone = "key", []byte("#!/bin/sh"), map[string]string{"k": "v"}, []string{"tag"}, "nova:host-1"
		r.Networks = []compute.Network{{PortID: port.ID}, {NetworkID: d.seeded.NetworkID}}
	})
	must(d.settled(web))
	stopped, deleted, stranded := d.boot("stopped", nil), d.boot("deleted", nil), d.boot("stranded", func(r *compute.CreateServer) { r.Zone = "nova:host-2" })
	for _, id := range []string{stopped, deleted, stranded} {
		must(d.settled(id))
	}
	must(admin.Compute.StopServer(ctx, stopped))
	must(d.settled(stopped))
	must(admin.Compute.DeleteServer(ctx, deleted))
	must(d.settled(deleted))
	calm := d.faults.Fail(inject.Rule{Method: "Define", Err: fault.New(fault.Exhausted, "full")})
	require.Error(t, d.settled(d.boot("failed", nil)))
	calm()

	post := httptest.NewRequest("POST", "/compute/v2.1/os-keypairs", strings.NewReader(`{"keypair": {"name": "once"}}`))
	post.Header.Set("X-Auth-Token", d.token(t))
	post.Header.Set("Content-Type", "application/json")
	post.Header.Set("Idempotency-Key", "once")
	answer := httptest.NewRecorder()
	openstack.Handler(d.Cloud, nil).ServeHTTP(answer, post)
	require.Equal(t, http.StatusOK, answer.Code, "%s", answer.Body)

	// A guest of a newer state of the store turns up, and an operator accepts the store all the same.
	backend, err := fakecompute.OpenBackend(filepath.Join(dir, "hosts", "host-1"))
	must(err)
	newer := computedriver.Mark{Cloud: d.ID(), ID: "5c5a3b3e-4d55-4d31-9c1b-0f0c8a3f0a11", Generation: 1}
	must(backend.AddForeign(newer.ID, computedriver.GuestState{Mark: newer, Epoch: 1 << 20, Name: "newer", Power: computedriver.Running}))
	must(backend.Close())
	host1, err := admin.Compute.GetHost(ctx, "host-1")
	must(err)
	_, err = d.AcceptLoss(ctx, host1.ID)
	must(err)
	must(d.AcceptStore(ctx))
	removed, err := d.AcceptRemoval(ctx, newer.ID)
	must(err)
	require.Equal(t, []string{newer.ID}, removed)

	// host-2 is lost: what is on it is owed.
	d.faults.Fail(inject.Rule{Driver: "host-2", Err: fault.New(fault.Unavailable, "no route to host")})
	yes := true
	_, err = admin.Compute.UpdateHost(ctx, "host-2", compute.UpdateHost{ForcedDown: &yes})
	must(err)
	must(admin.Compute.DeleteServer(ctx, stranded))
	must(d.settled(stranded))

	// Two boots hang in Define; one of them is to be deleted.
	hangs := make(chan struct{}, 2)
	d.faults.Fail(inject.Rule{Driver: "host-1", Method: "Define", Hang: true, Do: func() { hangs <- struct{}{} }})
	d.boot("half", nil)
	doomed := d.boot("doomed", nil)
	<-hangs
	<-hangs
	d.faults.Fail(inject.Rule{Driver: "host-1", Method: "Undefine", Hang: true})
	must(admin.Compute.DeleteServer(ctx, doomed))
	// The network provider is away when a port in use is deleted.
	d.faults.Fail(inject.Rule{Driver: "network", Err: fault.New(fault.Unavailable, "connection refused")})
	used, err := admin.Network.PortsOf(ctx, stopped)
	must(err)
	must(admin.Network.DeletePort(ctx, used[0].ID))
	d.Kill()
	must(d.Store().Close())
	db, err := sqlite.Open(filepath.Join(dir, "nubecula.db"), nil)
	must(err)
	require.Empty(t, missing(t, db), "kinds of documents that the kept store does not have: make one of each in this test")
	must(db.Close())
	if *keep != "" {
		path := filepath.Join("testdata", "stores", *keep+".tar.gz")
		require.NoFileExists(t, path, "what an older version left is never made anew")
		must(os.Remove(filepath.Join(dir, "nubecula.db.lock")))
		must(pack(dir, path))
	}
}

func makePeople(t *testing.T, d *diskCloud) {
	t.Helper()
	ctx, admin := t.Context(), d.As(identity.System()).Identity
	must := func(err error) { t.Helper(); require.NoError(t, err) }
	domain, err := admin.CreateDomain(ctx, identity.CreateDomain{Name: "customers"})
	must(err)
	project, err := admin.CreateProject(ctx, identity.CreateProject{Name: "shop", DomainID: domain.ID, Tags: []string{"paid"}})
	must(err)
	user, err := admin.CreateUser(ctx, identity.CreateUser{Name: "ann", DomainID: domain.ID, Password: cloudtest.DemoPassword})
	must(err)
	group, err := admin.CreateGroup(ctx, identity.CreateGroup{Name: "staff", DomainID: domain.ID})
	must(err)
	must(admin.AddToGroup(ctx, group.ID, user.ID))
	role, err := admin.CreateRole(ctx, identity.CreateRole{Name: "cleaner"})
	must(err)
	must(admin.Grant(ctx, identity.Assignment{RoleID: role.ID, GroupID: group.ID, ProjectID: project.ID}))
	service, err := admin.CreateService(ctx, identity.CatalogService{Type: "object-store", Name: "swift", Enabled: true})
	must(err)
	_, err = admin.CreateEndpoint(ctx, identity.Endpoint{ServiceID: service.ID, RegionID: "RegionOne", Interface: "public", URL: "http://127.0.0.1:1/$(project_id)s", Enabled: true})
	must(err)
	must(admin.Revoke(ctx, d.token(t)))
	no := false
	_, err = admin.UpdateUser(ctx, user.ID, identity.UpdateUser{Enabled: &no})
	must(err)
}

func makeNetworks(t *testing.T, d *diskCloud) {
	t.Helper()
	ctx, demo := t.Context(), d.demo().Network
	must := func(err error) { t.Helper(); require.NoError(t, err) }
	n, err := demo.CreateNetwork(ctx, network.CreateNetwork{Name: "back", Tags: []string{"a"}})
	must(err)
	_, err = demo.CreateSubnet(ctx, network.CreateSubnet{NetworkID: n.ID, CIDR: netip.MustParsePrefix("192.0.2.0/28"), DNS: []netip.Addr{netip.MustParseAddr("192.0.2.2")}})
	must(err)
	_, err = demo.CreatePort(ctx, network.CreatePort{NetworkID: n.ID})
	must(err)
	g, err := demo.CreateSecurityGroup(ctx, network.CreateSecurityGroup{Name: "web"})
	must(err)
	low := 80
	_, err = demo.CreateSecurityGroupRule(ctx, network.CreateSecurityGroupRule{GroupID: g.ID, Direction: "ingress", Protocol: "tcp", PortMin: &low, PortMax: &low})
	must(err)
	must(d.Wait(ctx, operation.Resource{Kind: "network", ID: n.ID}))
	_, err = d.admin().Network.SetQuota(ctx, d.seeded.ProjectID, map[string]int64{"port": 400})
	must(err)
}

// TestOldStores: what an older version has left opens, what it had begun is brought to an end, and nothing is wrong afterwards.
func TestOldStores(t *testing.T) {
	t.Parallel()
	kept, err := filepath.Glob("testdata/stores/*.tar.gz")
	require.NoError(t, err)
	require.NotEmpty(t, kept)
	for _, path := range kept {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".tar.gz"), func(t *testing.T) {
			t.Parallel()
			dir, ctx := t.TempDir(), t.Context()
			require.NoError(t, unpack(path, dir))
			d := openDisk(t, dir, begun.Add(24*time.Hour))
			require.NotEmpty(t, d.token(t), "the old password logs in")
			servers := d.byName()
			for _, name := range []string{"web", "stopped", "failed", "half"} {
				require.Contains(t, servers, name)
			}
			for name, want := range map[string]compute.VMState{"web": compute.Active, "stopped": compute.Stopped, "failed": compute.Error} {
				require.Equal(t, want, servers[name].VMState, name)
			}
			require.NoError(t, d.settled(servers["half"].ID), "a boot that was broken off goes on")
			if doomed := servers["doomed"]; doomed != nil { // else it has ended already
				require.NoError(t, d.settled(doomed.ID), "and so does a delete")
			}
			require.NoError(t, d.settled(servers["web"].ID))
			no := false
			_, err := d.admin().Compute.UpdateHost(ctx, "host-2", compute.UpdateHost{ForcedDown: &no})
			require.NoError(t, err)
			fresh := d.boot("fresh", nil)
			require.NoError(t, d.settled(fresh))
			for _, id := range []string{fresh, servers["web"].ID, servers["stopped"].ID, servers["failed"].ID} {
				require.NoError(t, d.admin().Compute.DeleteServer(ctx, id))
				require.NoError(t, d.settled(id))
			}
			require.Len(t, d.byName(), 1, "half alone")
			d.clean()
		})
	}
}

func (d *diskCloud) byName() map[string]*compute.Server {
	d.t.Helper()
	page, err := d.admin().Compute.ListServers(d.t.Context(), compute.ServerQuery{AllProjects: true, Limit: 100})
	require.NoError(d.t, err)
	out := map[string]*compute.Server{}
	for _, s := range page.Servers {
		out[s.Name] = s
	}
	return out
}

func (d *diskCloud) clean() {
	d.t.Helper()
	found, err := d.Check(context.Background())
	require.NoError(d.t, err)
	require.Empty(d.t, found)
}
