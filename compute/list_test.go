package compute_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
)

func serverNames(p *compute.ServerPage) string {
	var names []string
	for _, v := range p.Servers {
		names = append(names, v.Name)
	}
	return strings.Join(names, " ")
}

func TestListServers(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	start := e.clock.Now()
	var ids []string
	for i, name := range []string{"web-a", "web-b", "db-a", "db-b"} {
		req := e.request(name)
		req.Metadata = map[string]string{"tier": strings.Split(name, "-")[0]}
		req.Tags = []string{"all", fmt.Sprint("t", i)}
		ids = append(ids, e.create(req).ID)
		e.settle()
	}
	require.NoError(t, e.alice.StopServer(e.ctx, ids[0]))
	e.settle()
	addr := e.get(ids[2]).Addresses[0].Addr.String()
	all := "db-b db-a web-b web-a"
	yes := true
	for name, c := range map[string]struct {
		q    compute.ServerQuery
		want string
	}{
		"all":         {compute.ServerQuery{}, all},
		"name":        {compute.ServerQuery{Name: "^web"}, "web-b web-a"},
		"name inside": {compute.ServerQuery{Name: "-a"}, "db-a web-a"},
		"status":      {compute.ServerQuery{Status: []compute.Status{compute.StatusShutoff}}, "web-a"},
		"ip":          {compute.ServerQuery{IP: "^" + strings.ReplaceAll(addr, ".", `\.`) + "$"}, "db-a"},
		"metadata":    {compute.ServerQuery{Metadata: map[string]string{"tier": "db"}}, "db-b db-a"},
		"tags":        {compute.ServerQuery{Tags: []string{"all", "t1"}}, "web-b"},
		"tags any":    {compute.ServerQuery{TagsAny: []string{"t1", "t2"}}, "db-a web-b"},
		"not tags":    {compute.ServerQuery{NotTags: []string{"all", "t1"}}, "db-b db-a web-a"},
		"not any":     {compute.ServerQuery{NotTagsAny: []string{"t1", "t2"}}, "db-b web-a"},
		"flavor":      {compute.ServerQuery{FlavorID: "2"}, ""},
		"image":       {compute.ServerQuery{ImageID: e.imageID}, all},
		"ids":         {compute.ServerQuery{IDs: ids[:1]}, "web-a"},
		"locked":      {compute.ServerQuery{Locked: &yes}, ""},
		"sorted":      {compute.ServerQuery{Sort: []compute.SortKey{{Key: "display_name"}}}, "db-a db-b web-a web-b"},
		"by state":    {compute.ServerQuery{Sort: []compute.SortKey{{Key: "vm_state", Desc: true}, {Key: "display_name", Desc: true}}}, "web-a web-b db-b db-a"},
		"marker":      {compute.ServerQuery{Marker: ids[2]}, "web-b web-a"},
		"created":     {compute.ServerQuery{CreatedSince: start.Add(time.Hour)}, ""},
	} {
		page, err := e.alice.ListServers(e.ctx, c.q)
		require.NoError(t, err, name)
		require.Equal(t, c.want, serverNames(page), name)
		require.False(t, page.More)
	}
	for _, bad := range []compute.ServerQuery{{Name: "("}, {Marker: "none"}, {Sort: []compute.SortKey{{Key: "shoe_size"}}}} {
		_, err := e.alice.ListServers(e.ctx, bad)
		require.True(t, fault.Is(err, fault.Invalid), "%+v: %v", bad, err)
	}
	_, err := e.alice.ListServers(e.ctx, compute.ServerQuery{Deleted: true})
	require.True(t, fault.Is(err, fault.Denied), err)

	// Pages join without gap or repetition, in the index's order and in another.
	for _, sort := range [][]compute.SortKey{nil, {{Key: "hostname"}}} {
		var got []string
		for marker := ""; ; {
			page, err := e.alice.ListServers(e.ctx, compute.ServerQuery{Sort: sort, Marker: marker, Limit: 1})
			require.NoError(t, err)
			require.Len(t, page.Servers, 1)
			marker = page.Servers[0].ID
			got = append(got, page.Servers[0].Name)
			if !page.More {
				break
			}
		}
		require.Len(t, got, 4)
		if sort == nil {
			require.Equal(t, all, strings.Join(got, " "))
		} else {
			require.True(t, slices.IsSorted(got))
		}
	}

	// What has changed since then, deleted servers included.
	then := e.clock.Now()
	e.clock.Advance(time.Second)
	require.NoError(t, e.alice.DeleteServer(e.ctx, ids[3]))
	e.settle()
	text := "touched"
	_, err = e.alice.UpdateServer(e.ctx, ids[1], compute.UpdateServer{Description: &text})
	require.NoError(t, err)
	page, err := e.alice.ListServers(e.ctx, compute.ServerQuery{ChangedSince: then})
	require.NoError(t, err)
	require.Equal(t, "db-b web-b", serverNames(page))
	require.Equal(t, compute.StatusDeleted, page.Servers[0].Status())
	require.False(t, page.Servers[0].DeletedAt.IsZero())
}

func TestUpdates(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	v := e.boot("old")
	name, host := "new", "new-host"
	got, err := e.alice.UpdateServer(e.ctx, v.ID, compute.UpdateServer{Name: &name, Hostname: &host})
	require.NoError(t, err)
	require.Equal(t, "new", got.Name)
	require.Len(t, got.Addresses, 1)
	empty := ""
	_, err = e.alice.UpdateServer(e.ctx, v.ID, compute.UpdateServer{Name: &empty})
	require.True(t, fault.Is(err, fault.Invalid), err)

	items, err := e.alice.UpdateMetadata(e.ctx, v.ID, map[string]string{"a": "1"})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "1"}, items)
	items, err = e.alice.ReplaceMetadata(e.ctx, v.ID, map[string]string{"b": "2"})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"b": "2"}, items)
	require.True(t, fault.Is(e.alice.DeleteMetadata(e.ctx, v.ID, "a"), fault.NotFound))
	require.NoError(t, e.alice.DeleteMetadata(e.ctx, v.ID, "b"))
	_, err = e.admin.UpdateQuota(e.ctx, "a", map[string]int64{"metadata_items": 1}, false)
	require.NoError(t, err)
	_, err = e.alice.UpdateMetadata(e.ctx, v.ID, map[string]string{"a": "1", "b": "2"})
	require.True(t, fault.Is(err, fault.Quota), err)
	items, err = e.alice.GetMetadata(e.ctx, v.ID)
	require.NoError(t, err)
	require.Equal(t, map[string]string{}, items)

	added, err := e.alice.AddTag(e.ctx, v.ID, "x")
	require.NoError(t, err)
	require.True(t, added)
	added, err = e.alice.AddTag(e.ctx, v.ID, "x")
	require.NoError(t, err)
	require.False(t, added)
	require.True(t, fault.Is(e.alice.DeleteTag(e.ctx, v.ID, "y"), fault.NotFound))
	tags, err := e.alice.ReplaceTags(e.ctx, v.ID, []string{"c", "b", "c"})
	require.NoError(t, err)
	require.Equal(t, []string{"b", "c"}, tags)
}

func TestLock(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	v := e.boot("locked")
	require.NoError(t, e.alice.LockServer(e.ctx, v.ID, "hands off"))
	require.Equal(t, "owner", e.get(v.ID).LockedBy)
	for _, err := range []error{e.alice.StopServer(e.ctx, v.ID), e.alice.DeleteServer(e.ctx, v.ID), e.alice.DeleteTags(e.ctx, v.ID)} {
		require.True(t, fault.Is(err, fault.Conflict), err)
	}
	require.NoError(t, e.alice.UnlockServer(e.ctx, v.ID))
	require.NoError(t, e.admin.LockServer(e.ctx, v.ID, ""))
	require.True(t, fault.Is(e.alice.UnlockServer(e.ctx, v.ID), fault.Denied))
	require.NoError(t, e.admin.StopServer(e.ctx, v.ID))
	e.settle()
	require.Equal(t, compute.StatusShutoff, e.get(v.ID).Status())
}

func TestResetState(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	v := e.boot("reset")
	require.True(t, fault.Is(e.alice.ResetState(e.ctx, v.ID, compute.Error), fault.Denied))
	require.True(t, fault.Is(e.admin.ResetState(e.ctx, v.ID, compute.Stopped), fault.Invalid))
	require.NoError(t, e.admin.ResetState(e.ctx, v.ID, compute.Error))
	require.Equal(t, compute.StatusError, e.get(v.ID).Status())
	require.NoError(t, e.alice.RebootServer(e.ctx, v.ID, compute.Hard))
	require.True(t, fault.Is(e.admin.ResetState(e.ctx, v.ID, compute.Active), fault.Conflict))
	e.settle()
	require.Equal(t, compute.StatusActive, e.get(v.ID).Status())
	e.sound()
}

func TestInterfaces(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	v := e.boot("plugged")
	list, err := e.alice.ListInterfaces(e.ctx, v.ID)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "ACTIVE", list[0].PortState)
	require.Len(t, list[0].FixedIPs, 1)
	_, err = e.alice.GetInterface(e.ctx, v.ID, list[0].PortID)
	require.NoError(t, err)
	_, err = e.alice.GetInterface(e.ctx, v.ID, "none")
	require.True(t, fault.Is(err, fault.NotFound), err)
	_, err = e.alice.AttachInterface(e.ctx, v.ID, compute.AttachInterface{Network: compute.Network{NetworkID: e.networkID}})
	require.True(t, fault.Is(err, fault.Unsupported), err)
	require.True(t, fault.Is(e.alice.DetachInterface(e.ctx, v.ID, list[0].PortID), fault.Unsupported))
	require.True(t, fault.Is(e.alice.DetachInterface(e.ctx, v.ID, "none"), fault.NotFound))
}

func TestQuotas(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	set, err := e.alice.GetQuota(e.ctx, "a")
	require.NoError(t, err)
	require.Equal(t, compute.QuotaLine{Limit: -1}, set["cores"], "unlimited until set")
	_, err = e.alice.UpdateQuota(e.ctx, "a", map[string]int64{"cores": 1}, false)
	require.True(t, fault.Is(err, fault.Denied), err)
	e.boot("one")
	_, err = e.admin.UpdateQuota(e.ctx, "a", map[string]int64{"ram": 100}, false)
	require.True(t, fault.Is(err, fault.Invalid), err)
	set, err = e.admin.UpdateQuota(e.ctx, "a", map[string]int64{"ram": 100}, true)
	require.NoError(t, err)
	require.Equal(t, compute.QuotaLine{Limit: 100, Used: 512}, set["ram"])
	_, err = e.alice.CreateServer(e.ctx, e.request("two"))
	require.True(t, fault.Is(err, fault.Quota), err)
	require.ErrorContains(t, err, "512 of 100 MiB of RAM")
	require.NoError(t, e.admin.DeleteQuota(e.ctx, "a"))
	_, err = e.admin.UpdateDefaultQuota(e.ctx, map[string]int64{"instances": 1})
	require.NoError(t, err)
	_, err = e.alice.CreateServer(e.ctx, e.request("two"))
	require.True(t, fault.Is(err, fault.Quota), err)
	e.sound()
}
