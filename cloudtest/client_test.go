package cloudtest_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	stack "github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/hypervisors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/endpoints"
	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/cloudtest"
	"github.com/nubecula/cloud/fault/inject"
)

// TestOtherCalls makes the calls of gophercloud that no test of one API makes.
func TestOtherCalls(t *testing.T) {
	t.Parallel()
	env, ctx := cloudtest.New(t), context.Background()
	p, err := stack.AuthenticatedClient(ctx, gophercloud.AuthOptions{IdentityEndpoint: env.URL() + "/v3", Username: "admin",
		Password: cloudtest.AdminPassword, DomainID: "default", TenantName: "admin"})
	require.NoError(t, err)
	c, err := stack.NewComputeV2(p, gophercloud.EndpointOpts{})
	require.NoError(t, err)
	s, err := servers.Create(ctx, c, servers.CreateOpts{Name: "web", FlavorRef: "42", ImageRef: env.Seeded.ImageID,
		Networks: []servers.Network{{UUID: env.Seeded.NetworkID}}}, nil).Extract()
	require.NoError(t, err)
	env.Settle()
	page, err := servers.ListSimple(c, servers.ListOpts{}).AllPages(ctx)
	require.NoError(t, err)
	list, err := servers.ExtractServers(page)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, s.ID, list[0].ID)
	require.Empty(t, list[0].Status, "the short list has ids and names")

	page, err = hypervisors.List(c, nil).AllPages(ctx)
	require.NoError(t, err)
	hosts, err := hypervisors.ExtractHypervisors(page)
	require.NoError(t, err)
	require.Len(t, hosts, 3)
	_, err = hypervisors.GetUptime(ctx, c, hosts[0].ID).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusNotImplemented), "%v", err)

	require.NoError(t, servers.ForceDelete(ctx, c, s.ID).ExtractErr())
	env.Settle()
	_, err = servers.Get(ctx, c, s.ID).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusNotFound), "%v", err)
	env.NoLeaks()

	i, err := stack.NewIdentityV3(p, gophercloud.EndpointOpts{})
	require.NoError(t, err)
	page, err = endpoints.List(i, nil).AllPages(ctx)
	require.NoError(t, err)
	all, err := endpoints.ExtractEndpoints(page)
	require.NoError(t, err)
	for _, e := range all {
		got, err := endpoints.Get(ctx, i, e.ID).Extract()
		require.NoError(t, err)
		require.Equal(t, e.URL, got.URL)
	}
}

// TestSlowDriver boots while a driver takes forty seconds of the clock, which pass in Settle alone.
func TestSlowDriver(t *testing.T) {
	t.Parallel()
	env := cloudtest.New(t)
	before := env.Now()
	env.Fail(inject.Rule{Driver: "network", Method: "Bind", Times: 1, Latency: 40e9})
	id := env.Boot("web")
	env.Settle()
	require.Equal(t, "ACTIVE", string(env.Server(id).Status()))
	require.GreaterOrEqual(t, env.Now().Sub(before).Seconds(), 40.0)
}
