package compute_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
)

func flavorIDs(list []*compute.Flavor) (ids []string) {
	for _, f := range list {
		ids = append(ids, f.ID)
	}
	return ids
}

func TestFlavors(t *testing.T) {
	t.Parallel()
	e := newEnv(t, config{hosts: -1})
	f, err := e.admin.CreateFlavor(e.ctx, compute.CreateFlavor{Name: "hidden", VCPUs: 1, MemoryMiB: 64, Private: true, ExtraSpecs: map[string]string{"hw:cpu_policy": "shared"}})
	require.NoError(t, err)
	require.Len(t, f.ID, 36)
	require.Equal(t, 1.0, f.RxTxFactor)
	_, err = e.admin.CreateFlavor(e.ctx, compute.CreateFlavor{Name: "hidden", VCPUs: 1, MemoryMiB: 64})
	require.True(t, fault.Is(err, fault.Exists), err)
	_, err = e.admin.CreateFlavor(e.ctx, compute.CreateFlavor{ID: "1", Name: "other", VCPUs: 1, MemoryMiB: 64})
	require.True(t, fault.Is(err, fault.Exists), err)
	_, err = e.admin.CreateFlavor(e.ctx, compute.CreateFlavor{ID: " x", Name: "", VCPUs: 0, MemoryMiB: 0, DiskGiB: -1})
	require.True(t, fault.Is(err, fault.Invalid), err)
	for _, field := range []string{"name", "id", "vcpus", "ram", "disk"} {
		require.ErrorContains(t, err, field)
	}
	_, err = e.alice.CreateFlavor(e.ctx, compute.CreateFlavor{Name: "mine", VCPUs: 1, MemoryMiB: 64})
	require.True(t, fault.Is(err, fault.Denied), err)

	_, err = e.alice.GetFlavor(e.ctx, f.ID)
	require.True(t, fault.Is(err, fault.NotFound), err)
	req := e.request("x")
	req.FlavorID = f.ID
	_, err = e.alice.CreateServer(e.ctx, req)
	require.True(t, fault.Is(err, fault.Invalid), err)
	page, _, err := e.alice.ListFlavors(e.ctx, compute.FlavorQuery{})
	require.NoError(t, err)
	require.Equal(t, []string{"1", "2", "3"}, flavorIDs(page))
	page, _, err = e.admin.ListFlavors(e.ctx, compute.FlavorQuery{All: true, SortKey: "memory_mb", SortDesc: true})
	require.NoError(t, err)
	require.Equal(t, []string{"3", "2", "1", f.ID}, flavorIDs(page))

	access, err := e.admin.AddFlavorAccess(e.ctx, f.ID, "a")
	require.NoError(t, err)
	require.Equal(t, []compute.FlavorAccess{{FlavorID: f.ID, ProjectID: "a"}}, access)
	_, err = e.admin.AddFlavorAccess(e.ctx, f.ID, "a")
	require.True(t, fault.Is(err, fault.Exists), err)
	_, err = e.admin.AddFlavorAccess(e.ctx, "1", "a")
	require.True(t, fault.Is(err, fault.Conflict), err)
	got, err := e.alice.GetFlavor(e.ctx, f.ID)
	require.NoError(t, err)
	require.Equal(t, "shared", got.ExtraSpecs["hw:cpu_policy"])
	_, err = e.bob.GetFlavor(e.ctx, f.ID)
	require.True(t, fault.Is(err, fault.NotFound), err)
	_, err = e.admin.RemoveFlavorAccess(e.ctx, f.ID, "a")
	require.NoError(t, err)
	_, err = e.admin.RemoveFlavorAccess(e.ctx, f.ID, "a")
	require.True(t, fault.Is(err, fault.NotFound), err)

	page, more, err := e.alice.ListFlavors(e.ctx, compute.FlavorQuery{Limit: 1, Marker: "1"})
	require.NoError(t, err)
	require.True(t, more)
	require.Equal(t, []string{"2"}, flavorIDs(page))
	_, _, err = e.alice.ListFlavors(e.ctx, compute.FlavorQuery{Marker: "nope"})
	require.True(t, fault.Is(err, fault.Invalid), err)
	page, _, err = e.alice.ListFlavors(e.ctx, compute.FlavorQuery{MinMemoryMiB: 1000, MinDiskGiB: 50})
	require.NoError(t, err)
	require.Equal(t, []string{"2"}, flavorIDs(page))

	specs, err := e.admin.UpdateExtraSpecs(e.ctx, "1", map[string]string{"a": "1", "b": "2"})
	require.NoError(t, err)
	require.Len(t, specs, 2)
	require.NoError(t, e.admin.DeleteExtraSpec(e.ctx, "1", "a"))
	require.True(t, fault.Is(e.admin.DeleteExtraSpec(e.ctx, "1", "a"), fault.NotFound))
	text := "now described"
	got, err = e.admin.UpdateFlavor(e.ctx, "1", compute.UpdateFlavor{Description: &text})
	require.NoError(t, err)
	require.Equal(t, text, got.Description)
	require.Equal(t, map[string]string{"b": "2"}, got.ExtraSpecs)
	require.NoError(t, e.admin.DeleteFlavor(e.ctx, "1"))
	require.True(t, fault.Is(e.admin.DeleteFlavor(e.ctx, "1"), fault.NotFound))
}

// TestFlavorOfServer: a server keeps the flavor it was made with.
func TestFlavorOfServer(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	v := e.boot("keeps")
	require.NoError(t, e.admin.DeleteFlavor(e.ctx, "1"))
	require.Equal(t, int64(512), e.get(v.ID).Flavor.MemoryMiB)
	require.NoError(t, e.alice.DeleteServer(e.ctx, v.ID))
	e.settle()
	e.sound()
}
