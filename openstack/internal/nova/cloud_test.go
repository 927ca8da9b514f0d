package nova_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/aggregates"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/availabilityzones"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/hypervisors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/keypairs"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/limits"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/quotasets"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servergroups"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/services"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/usage"
	"github.com/gophercloud/gophercloud/v2/pagination"
	"github.com/stretchr/testify/require"
)

func TestFlavors(t *testing.T) {
	s := newSite(t)
	ctx := context.Background()
	admin, demo := s.client("admin", "2.61"), s.client("demo", "2.61")
	disk, private := 3, false
	f, err := flavors.Create(ctx, admin, flavors.CreateOpts{Name: "own", RAM: 128, VCPUs: 2, Disk: &disk, ID: "own-1", RxTxFactor: 1.5, IsPublic: &private, Description: "ours"}).Extract()
	require.NoError(t, err)
	require.Equal(t, "ours", f.Description)
	require.Equal(t, 1.5, f.RxTxFactor)
	require.False(t, f.IsPublic)
	_, err = flavors.Create(ctx, admin, flavors.CreateOpts{Name: "own", RAM: 128, VCPUs: 2, Disk: &disk}).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusConflict), err)
	_, err = flavors.Create(ctx, demo, flavors.CreateOpts{Name: "mine", RAM: 128, VCPUs: 2, Disk: &disk}).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusForbidden), err)

	names := func(c *gophercloud.ServiceClient, o flavors.ListOpts) (out []string) {
		list, err := flavors.ExtractFlavors(all(t, flavors.ListDetail(c, o)))
		require.NoError(t, err)
		for _, f := range list {
			out = append(out, f.Name)
		}
		return out
	}
	require.NotContains(t, names(demo, flavors.ListOpts{}), "own")
	require.NotContains(t, names(admin, flavors.ListOpts{}), "own")
	require.Equal(t, []string{"own"}, names(admin, flavors.ListOpts{AccessType: flavors.PrivateAccess}))
	everything := names(admin, flavors.ListOpts{AccessType: flavors.AllAccess})
	require.Contains(t, everything, "own")
	require.Equal(t, everything, names(admin, flavors.ListOpts{AccessType: flavors.AllAccess, Limit: 1}), "by pages")
	require.NotContains(t, names(admin, flavors.ListOpts{MinRAM: 100000}), "m1.nano")
	_, err = flavors.Get(ctx, demo, f.ID).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusNotFound), err)

	access, err := flavors.AddAccess(ctx, admin, f.ID, flavors.AddAccessOpts{Tenant: s.env.Seeded.ProjectID}).Extract()
	require.NoError(t, err)
	require.Equal(t, []flavors.FlavorAccess{{FlavorID: "own-1", TenantID: s.env.Seeded.ProjectID}}, access)
	require.Contains(t, names(demo, flavors.ListOpts{}), "own")
	access, err = flavors.ExtractAccesses(all(t, flavors.ListAccesses(admin, f.ID)))
	require.NoError(t, err)
	require.Len(t, access, 1)
	access, err = flavors.RemoveAccess(ctx, admin, f.ID, flavors.RemoveAccessOpts{Tenant: s.env.Seeded.ProjectID}).Extract()
	require.NoError(t, err)
	require.Empty(t, access)

	specs, err := flavors.CreateExtraSpecs(ctx, admin, f.ID, flavors.ExtraSpecsOpts{"hw:cpu_policy": "shared", "mine": "1"}).Extract()
	require.NoError(t, err)
	require.Equal(t, map[string]string{"hw:cpu_policy": "shared", "mine": "1"}, specs)
	_, err = flavors.UpdateExtraSpec(ctx, admin, f.ID, flavors.ExtraSpecsOpts{"mine": "2"}).Extract()
	require.NoError(t, err)
	require.NoError(t, flavors.DeleteExtraSpec(ctx, admin, f.ID, "hw:cpu_policy").ExtractErr())
	specs, err = flavors.ListExtraSpecs(ctx, admin, f.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, map[string]string{"mine": "2"}, specs)
	_, err = flavors.GetExtraSpec(ctx, admin, f.ID, "hw:cpu_policy").Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusNotFound), err)
	_, err = flavors.CreateExtraSpecs(ctx, s.client("admin", "2.86"), f.ID, flavors.ExtraSpecsOpts{"hw:cpu_policy": "fast"}).Extract()
	require.ErrorContains(t, err, "dedicated, shared, mixed")

	f, err = flavors.Update(ctx, admin, f.ID, flavors.UpdateOpts{Description: "theirs"}).Extract()
	require.NoError(t, err)
	require.Equal(t, "theirs", f.Description)
	require.NoError(t, flavors.Delete(ctx, admin, f.ID).ExtractErr())
	_, err = flavors.Get(ctx, admin, f.ID).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusNotFound), err)
}

func TestKeypairs(t *testing.T) {
	s := newSite(t)
	ctx := context.Background()
	demo, admin := s.client("demo", "2.35"), s.client("admin", "2.35")
	made, err := keypairs.Create(ctx, demo, keypairs.CreateOpts{Name: "a", Type: "ssh"}).Extract()
	require.NoError(t, err)
	for _, name := range []string{"b", "c"} {
		_, err = keypairs.Create(ctx, demo, keypairs.CreateOpts{Name: name, PublicKey: made.PublicKey}).Extract()
		require.NoError(t, err)
	}
	_, err = keypairs.Create(ctx, demo, keypairs.CreateOpts{Name: "b", PublicKey: made.PublicKey}).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusConflict), err)
	_, err = keypairs.Create(ctx, s.client("demo", "2.92"), keypairs.CreateOpts{Name: "d"}).Extract()
	require.ErrorContains(t, err, "public_key")

	list, err := keypairs.ExtractKeyPairs(all(t, keypairs.List(demo, nil)))
	require.NoError(t, err)
	require.Len(t, list, 3)
	list, err = keypairs.ExtractKeyPairs(all(t, keypairs.List(admin, keypairs.ListOpts{UserID: s.env.Seeded.UserID})))
	require.NoError(t, err)
	require.Len(t, list, 3)
	list, err = keypairs.ExtractKeyPairs(all(t, keypairs.List(s.client("admin", "2.2"), keypairs.ListOpts{UserID: s.env.Seeded.UserID})))
	require.NoError(t, err)
	require.Empty(t, list, "user_id means nothing before 2.10")
	got, err := keypairs.Get(ctx, demo, "a", nil).Extract()
	require.NoError(t, err)
	require.Equal(t, made.Fingerprint, got.Fingerprint)
	require.Equal(t, "ssh", got.Type)
	require.NoError(t, keypairs.Delete(ctx, demo, "a", nil).ExtractErr())
	_, err = keypairs.Get(ctx, demo, "a", nil).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusNotFound), err)
}

func TestQuotasAndLimits(t *testing.T) {
	s := newSite(t)
	ctx := context.Background()
	demo, admin, project := s.client("demo", ""), s.client("admin", ""), s.env.Seeded.ProjectID
	s.boot(s.client("demo", "2.1"), s.small("web"))

	q, err := quotasets.Get(ctx, demo, project).Extract()
	require.NoError(t, err)
	require.Equal(t, -1, q.Instances)
	two := 2
	q, err = quotasets.Update(ctx, admin, project, quotasets.UpdateOpts{Instances: &two}).Extract()
	require.NoError(t, err)
	require.Equal(t, 2, q.Instances)
	zero := 0
	_, err = quotasets.Update(ctx, admin, project, quotasets.UpdateOpts{Instances: &zero}).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusBadRequest), "one is used: %v", err)
	_, err = quotasets.Update(ctx, demo, project, quotasets.UpdateOpts{Instances: &two}).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusForbidden), err)
	detail, err := quotasets.GetDetail(ctx, demo, project).Extract()
	require.NoError(t, err)
	require.Equal(t, quotasets.QuotaDetail{InUse: 1, Limit: 2}, detail.Instances)
	l, err := limits.Get(ctx, demo, nil).Extract()
	require.NoError(t, err)
	require.Equal(t, 2, l.Absolute.MaxTotalInstances)
	require.Equal(t, 1, l.Absolute.TotalInstancesUsed)
	require.Equal(t, 192, l.Absolute.TotalRAMUsed)
	l, err = limits.Get(ctx, admin, limits.GetOpts{TenantID: project}).Extract()
	require.NoError(t, err)
	require.Equal(t, 1, l.Absolute.TotalInstancesUsed)
	_, err = limits.Get(ctx, demo, limits.GetOpts{TenantID: "another"}).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusForbidden), err)

	require.NoError(t, quotasets.Delete(ctx, admin, project).Err)
	q, err = quotasets.Get(ctx, demo, project).Extract()
	require.NoError(t, err)
	require.Equal(t, -1, q.Instances)
}

func TestHosts(t *testing.T) {
	s := newSite(t)
	ctx := context.Background()
	admin := s.client("admin", "2.53")
	v := s.boot(s.client("demo", "2.1"), s.small("web"))
	list, err := hypervisors.ExtractHypervisors(all(t, hypervisors.List(admin, nil)))
	require.NoError(t, err)
	require.Len(t, list, 3)
	yes := true
	list, err = hypervisors.ExtractHypervisors(all(t, hypervisors.List(admin, hypervisors.ListOpts{WithServers: &yes})))
	require.NoError(t, err)
	found := 0
	for _, h := range list {
		require.Equal(t, "up", h.State)
		if h.Servers != nil {
			for _, srv := range *h.Servers {
				require.Equal(t, v.ID, srv.UUID)
				found++
			}
		}
	}
	require.Equal(t, 1, found)
	h, err := hypervisors.Get(ctx, admin, list[0].ID).Extract()
	require.NoError(t, err)
	require.Equal(t, list[0].HypervisorHostname, h.HypervisorHostname)
	stats, err := hypervisors.GetStatistics(ctx, admin).Extract()
	require.NoError(t, err)
	require.Equal(t, 3, stats.Count)
	require.Equal(t, 1, stats.RunningVMs)
	old, err := hypervisors.ExtractHypervisors(all(t, hypervisors.List(s.client("admin", ""), nil)))
	require.NoError(t, err)
	_, err = hypervisors.Get(ctx, s.client("admin", ""), old[0].ID).Extract()
	require.NoError(t, err, "before 2.53 the id is a number")
	_, err = hypervisors.GetStatistics(ctx, s.client("admin", "2.88")).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusNotFound), "2.88 took them away: %v", err)
	_, err = hypervisors.List(s.client("demo", ""), nil).AllPages(ctx)
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusForbidden), err)

	all1, err := services.ExtractServices(all(t, services.List(admin, services.ListOpts{Binary: "nova-compute", Host: "host-2"})))
	require.NoError(t, err)
	require.Len(t, all1, 1)
	svc, err := services.Update(ctx, admin, all1[0].ID, services.UpdateOpts{Status: services.ServiceDisabled, DisabledReason: "broken fan"}).Extract()
	require.NoError(t, err)
	require.Equal(t, "disabled", svc.Status)
	require.Equal(t, "broken fan", svc.DisabledReason)
	svc, err = services.Update(ctx, admin, all1[0].ID, services.UpdateOpts{Status: services.ServiceEnabled}).Extract()
	require.NoError(t, err)
	require.Equal(t, "enabled", svc.Status)
	require.Empty(t, svc.DisabledReason)
	require.True(t, gophercloud.ResponseCodeIs(services.Delete(ctx, admin, all1[0].ID).ExtractErr(), http.StatusConflict))

	zones, err := availabilityzones.ExtractAvailabilityZones(all(t, availabilityzones.List(s.client("demo", ""))))
	require.NoError(t, err)
	require.Equal(t, []availabilityzones.AvailabilityZone{{ZoneName: "nova", ZoneState: availabilityzones.ZoneState{Available: true}}}, zones)
	zones, err = availabilityzones.ExtractAvailabilityZones(all(t, availabilityzones.ListDetail(admin)))
	require.NoError(t, err)
	require.Contains(t, zones[0].Hosts, "host-1")
	_, err = availabilityzones.ListDetail(s.client("demo", "")).AllPages(ctx)
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusForbidden), err)
}

func TestUsageAndWhatIsNotThere(t *testing.T) {
	s := newSite(t)
	ctx := context.Background()
	demo, admin := s.client("demo", "2.40"), s.client("admin", "2.40")
	s.boot(s.client("demo", "2.1"), s.small("web"))
	start := s.env.Now().Add(-time.Minute)
	s.env.Advance(2 * time.Hour)
	list, err := usage.ExtractAllTenants(all(t, usage.AllTenants(admin, usage.AllTenantsOpts{Start: &start, Detailed: true})))
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, s.env.Seeded.ProjectID, list[0].TenantID)
	require.InDelta(t, 2, list[0].TotalHours, 0.01)
	require.InDelta(t, 2*192, list[0].TotalMemoryMBUsage, 1)
	require.Len(t, list[0].ServerUsages, 1)
	hours := 0.0
	require.NoError(t, usage.SingleTenant(demo, s.env.Seeded.ProjectID, usage.SingleTenantOpts{Start: &start}).EachPage(ctx, func(_ context.Context, p pagination.Page) (bool, error) {
		one, err := usage.ExtractSingleTenant(p)
		hours += one.TotalHours
		return true, err
	}))
	require.InDelta(t, 2, hours, 0.01)
	// start and end are both optional: without either it is the time from now to now, as in Nova.
	r := s.call("demo", "", "GET", "/os-simple-tenant-usage/"+s.env.Seeded.ProjectID, "")
	require.Equal(t, http.StatusOK, r.status, r.text)
	require.Equal(t, http.StatusBadRequest, s.call("demo", "", "GET", "/os-simple-tenant-usage/"+s.env.Seeded.ProjectID+"?end=2020-01-01", "").status)
	_, err = usage.AllTenants(demo, usage.AllTenantsOpts{Start: &start}).AllPages(ctx)
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusForbidden), err)

	groups, err := servergroups.ExtractServerGroups(all(t, servergroups.List(demo, nil)))
	require.NoError(t, err)
	require.Empty(t, groups)
	_, err = servergroups.Create(ctx, demo, servergroups.CreateOpts{Name: "g", Policies: []string{"affinity"}}).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusNotImplemented), err)
	none, err := aggregates.ExtractAggregates(all(t, aggregates.List(admin)))
	require.NoError(t, err)
	require.Empty(t, none)
}
