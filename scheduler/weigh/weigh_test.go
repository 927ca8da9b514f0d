package weigh_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/scheduler"
	"github.com/nubecula/cloud/scheduler/filter"
	"github.com/nubecula/cloud/scheduler/weigh"
)

// TestOrder picks among three hosts, each of which has the most of one thing and the least of another.
func TestOrder(t *testing.T) {
	t.Parallel()
	s, err := scheduler.NewSnapshot([]scheduler.Host{
		{ID: "cpu", Total: scheduler.Resources{VCPUs: 30, MemoryMiB: 20, DiskGiB: 10}},
		{ID: "ram", Total: scheduler.Resources{VCPUs: 10, MemoryMiB: 30, DiskGiB: 20}},
		{ID: "disk", Total: scheduler.Resources{VCPUs: 20, MemoryMiB: 10, DiskGiB: 30}},
	})
	require.NoError(t, err)
	for _, c := range []struct {
		name     string
		weighers []scheduler.Weight
		want     []scheduler.Candidate
	}{
		{"cpu", []scheduler.Weight{{By: weigh.CPU()}}, []scheduler.Candidate{{ID: "cpu", Weight: 1}, {ID: "disk", Weight: 0.5}, {ID: "ram"}}},
		{"ram", []scheduler.Weight{{By: weigh.RAM()}}, []scheduler.Candidate{{ID: "ram", Weight: 1}, {ID: "cpu", Weight: 0.5}, {ID: "disk"}}},
		{"disk", []scheduler.Weight{{By: weigh.Disk()}}, []scheduler.Candidate{{ID: "disk", Weight: 1}, {ID: "ram", Weight: 0.5}, {ID: "cpu"}}},
		{"pack", []scheduler.Weight{{By: weigh.RAM(), Multiplier: -1}},
			[]scheduler.Candidate{{ID: "disk"}, {ID: "cpu", Weight: -0.5}, {ID: "ram", Weight: -1}}},
		{"more of one", []scheduler.Weight{{By: weigh.RAM(), Multiplier: 2}, {By: weigh.CPU()}, {By: weigh.Disk()}},
			[]scheduler.Candidate{{ID: "ram", Weight: 2.5}, {ID: "cpu", Weight: 2}, {ID: "disk", Weight: 1.5}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			sched, err := scheduler.New(&scheduler.Options{Filters: filter.Default(), Weighers: c.weighers})
			require.NoError(t, err)
			d := sched.Pick(s, &scheduler.Request{})
			require.Equal(t, c.want, d.Candidates)
		})
	}
}

// TestUsed: what counts is what is free, ratio included, not what is built in.
func TestUsed(t *testing.T) {
	t.Parallel()
	s, err := scheduler.NewSnapshot([]scheduler.Host{
		{ID: "large and busy", Total: scheduler.Resources{VCPUs: 64}, Used: scheduler.Resources{VCPUs: 200}}, // 56 free
		{ID: "small", Total: scheduler.Resources{VCPUs: 15}},                                                 // 60 free
		{ID: "overcommitted", Total: scheduler.Resources{VCPUs: 4}, Ratio: scheduler.Ratios{VCPUs: 16}},      // 64 free
	})
	require.NoError(t, err)
	sched, err := scheduler.New(&scheduler.Options{Filters: filter.Default(), Weighers: weigh.Default()})
	require.NoError(t, err)
	var ids []string
	for _, c := range sched.Pick(s, &scheduler.Request{}).Candidates {
		ids = append(ids, c.ID)
	}
	require.Equal(t, []string{"overcommitted", "small", "large and busy"}, ids)
}
