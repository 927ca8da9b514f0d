package openstack_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	stack "github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/imagedata"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/cloudtest"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/openstack"
)

// TestAllServicesFromOneURL logs in at each address that OS_AUTH_URL may be, and finds every service in the catalog.
func TestAllServicesFromOneURL(t *testing.T) {
	t.Parallel()
	env, ctx := cloudtest.New(t), context.Background()
	for _, path := range []string{"", "/", "/v3", "/v3/", "/identity", "/identity/v3"} {
		p, err := stack.AuthenticatedClient(ctx, gophercloud.AuthOptions{IdentityEndpoint: env.URL() + path,
			Username: "demo", Password: cloudtest.DemoPassword, DomainID: "default", TenantName: "demo", AllowReauth: true})
		require.NoError(t, err, path)
		for _, iface := range []gophercloud.Availability{gophercloud.AvailabilityPublic, gophercloud.AvailabilityInternal, gophercloud.AvailabilityAdmin} {
			eo := gophercloud.EndpointOpts{Region: "RegionOne", Availability: iface}
			identity, err := stack.NewIdentityV3(p, eo)
			require.NoError(t, err)
			_, err = projects.ListAvailable(identity).AllPages(ctx)
			require.NoError(t, err)
			image, err := stack.NewImageV2(p, eo)
			require.NoError(t, err)
			_, err = images.Get(ctx, image, env.Seeded.ImageID).Extract()
			require.NoError(t, err)
			network, err := stack.NewNetworkV2(p, eo)
			require.NoError(t, err)
			_, err = networks.Get(ctx, network, env.Seeded.NetworkID).Extract()
			require.NoError(t, err)
			compute, err := stack.NewComputeV2(p, eo)
			require.NoError(t, err)
			_, err = flavors.Get(ctx, compute, "42").Extract()
			require.NoError(t, err)
		}
	}
}

func TestUploadThroughTheCloud(t *testing.T) {
	t.Parallel()
	env, ctx := cloudtest.New(t), context.Background()
	p, err := stack.AuthenticatedClient(ctx, gophercloud.AuthOptions{IdentityEndpoint: env.URL() + "/v3",
		Username: "demo", Password: cloudtest.DemoPassword, DomainID: "default", TenantName: "demo"})
	require.NoError(t, err)
	c, err := stack.NewImageV2(p, gophercloud.EndpointOpts{})
	require.NoError(t, err)
	i, err := images.Create(ctx, c, images.CreateOpts{Name: "mine", DiskFormat: "raw", ContainerFormat: "bare"}).Extract()
	require.NoError(t, err)
	require.NoError(t, imagedata.Upload(ctx, c, i.ID, strings.NewReader("data")).ExtractErr())
	require.NoError(t, images.Delete(ctx, c, i.ID).ExtractErr())
	env.Settle()
	require.Empty(t, env.Leaks())
	env.Check()
}

func TestHealth(t *testing.T) {
	t.Parallel()
	env := cloudtest.New(t)
	resp, err := http.Get(env.URL() + "/healthz")
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Panics(t, func() { openstack.Handler(env.Cloud, &openstack.Options{PublicURL: "nonsense"}) })
}

// TestReady: whether the cloud can serve, without the reasons, which are not for everybody.
func TestReady(t *testing.T) {
	t.Parallel()
	env := cloudtest.New(t)
	get := func() (int, string) {
		w := httptest.NewRecorder() // each handler keeps its answer for a second
		openstack.Handler(env.Cloud, nil).ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
		return w.Code, w.Body.String()
	}
	code, body := get()
	require.Equal(t, http.StatusOK, code)
	require.JSONEq(t, `{"ready": true, "conditions": [{"name": "store", "state": "ok"}, {"name": "lease", "state": "ok"},
		{"name": "hosts", "state": "ok"}, {"name": "operations", "state": "ok"}]}`, body)
	env.Fail(inject.Rule{Driver: "store", Method: "Commit", Err: fault.New(fault.Exhausted, "the disk at home is full")})
	code, body = get()
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.JSONEq(t, `{"ready": false, "conditions": [{"name": "store", "state": "fail"}]}`, body)
}

// TestReadyIsKept: who asks often has no commit made for each time.
func TestReadyIsKept(t *testing.T) {
	t.Parallel()
	env := cloudtest.New(t)
	h := openstack.Handler(env.Cloud, nil)
	before := env.Commits()
	for range 20 {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/readyz", nil))
	}
	require.Less(t, env.Commits()-before, 10)
}

// TestHealthTakesNoBody: the address that needs no token holds no connection for a body that never comes.
func TestHealthTakesNoBody(t *testing.T) {
	t.Parallel()
	env := cloudtest.New(t)
	resp, err := http.Post(env.URL()+"/healthz", "text/plain", strings.NewReader("x"))
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
}

func TestServerLimitsHeaders(t *testing.T) {
	t.Parallel()
	env := cloudtest.New(t)
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = openstack.Server(openstack.Handler(env.Cloud, nil))
	srv.Start()
	defer srv.Close()
	req, err := http.NewRequest("GET", srv.URL+"/v3", nil)
	require.NoError(t, err)
	req.Header.Set("X-Large", strings.Repeat("x", 80<<10))
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, resp.StatusCode)
}
