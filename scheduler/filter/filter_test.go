package filter_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/scheduler"
	"github.com/nubecula/cloud/scheduler/filter"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// TestReasons runs each filter alone on one host: "" means that it passes.
func TestReasons(t *testing.T) {
	t.Parallel()
	host := scheduler.Host{
		ID: "0a", Name: "cmp1", Zone: "nova",
		Total: scheduler.Resources{VCPUs: 64, MemoryMiB: 262144, DiskGiB: 4096},
		Used:  scheduler.Resources{VCPUs: 252, MemoryMiB: 1024, DiskGiB: 4000},
	}
	with := func(change func(*scheduler.Host)) scheduler.Host {
		h := host
		change(&h)
		return h
	}
	need := func(cpu, ram, disk int64) scheduler.Request {
		return scheduler.Request{Need: scheduler.Resources{VCPUs: cpu, MemoryMiB: ram, DiskGiB: disk}}
	}
	empty := with(func(h *scheduler.Host) { h.Used = scheduler.Resources{} })
	disabled := with(func(h *scheduler.Host) { h.Disabled, h.DisabledReason = true, "broken fan" })
	down := with(func(h *scheduler.Host) { h.Down, h.DownReason = true, "fenced at 11:58" })
	silent := with(func(h *scheduler.Host) { h.Heartbeat = now.Add(-75 * time.Second) })

	for _, c := range []struct {
		name string
		f    scheduler.Filter
		h    scheduler.Host
		r    scheduler.Request
		want string
	}{
		{"the last vCPUs", filter.VCPU(), host, need(4, 0, 0), ""},
		{"one vCPU too many", filter.VCPU(), host, need(5, 0, 0),
			"needs 5 vCPUs, 64 vCPUs x 4.0 allocation ratio - 252 vCPUs used = 4 vCPUs free"},
		{"all of the host", filter.VCPU(), empty, need(64, 0, 0), ""},
		{"overcommit against itself", filter.VCPU(), empty, need(65, 0, 0),
			"needs 65 vCPUs, the whole host has 64 vCPUs: a server may not overcommit against itself"},
		{"own vCPU ratio", filter.VCPU(), with(func(h *scheduler.Host) { h.Ratio.VCPUs = 3.95 }), need(1, 0, 0),
			"needs 1 vCPUs, 64 vCPUs x 3.95 allocation ratio - 252 vCPUs used = 0 vCPUs free"},
		{"the last memory", filter.RAM(), host, need(0, 261120, 0), ""},
		{"too much memory", filter.RAM(), host, need(0, 524288, 0),
			"needs 524288 MiB memory, 262144 MiB x 1.0 allocation ratio - 1024 MiB used = 261120 MiB free"},
		{"own memory ratio", filter.RAM(), with(func(h *scheduler.Host) { h.Ratio.Memory = 1.5 }), need(0, 262144, 0), ""},
		{"the last disk", filter.Disk(), host, need(0, 0, 96), ""},
		{"too much disk", filter.Disk(), host, need(0, 0, 97),
			"needs 97 GiB disk, 4096 GiB x 1.0 allocation ratio - 4000 GiB used = 96 GiB free"},
		{"over-full host", filter.Disk(), with(func(h *scheduler.Host) { h.Ratio.Disk = 0.5 }), need(0, 0, 1),
			"needs 1 GiB disk, 4096 GiB x 0.5 allocation ratio - 4000 GiB used = -1952 GiB free"},
		{"nothing of an over-full host", filter.Disk(), with(func(h *scheduler.Host) { h.Ratio.Disk = 0.5 }), need(1, 1, 0), ""},

		{"alive", filter.Alive(0), host, scheduler.Request{Now: now}, ""},
		{"disabled", filter.Alive(0), disabled, scheduler.Request{Now: now}, "disabled: broken fan"},
		{"disabled for no reason", filter.Alive(0), with(func(h *scheduler.Host) { h.Disabled = true }), scheduler.Request{},
			"disabled, no reason given"},
		{"disabled but forced", filter.Alive(0), disabled, scheduler.Request{ForceHosts: []string{"cmp1"}}, ""},
		{"down", filter.Alive(0), down, scheduler.Request{}, "down: fenced at 11:58"},
		{"down and forced", filter.Alive(0), down, scheduler.Request{ForceHosts: []string{"cmp1"}}, "down: fenced at 11:58"},
		{"silent", filter.Alive(0), silent, scheduler.Request{Now: now}, "no heartbeat for 1m15s, at most 1m0s allowed"},
		{"silent and disabled, forced", filter.Alive(0), with(func(h *scheduler.Host) { h.Heartbeat, h.Disabled = silent.Heartbeat, true }),
			scheduler.Request{Now: now, ForceHosts: []string{"cmp1"}}, "no heartbeat for 1m15s, at most 1m0s allowed"},
		{"silent within grace", filter.Alive(75 * time.Second), silent, scheduler.Request{Now: now}, ""},
		{"silent, nobody knows the time", filter.Alive(0), silent, scheduler.Request{}, ""},

		{"same zone", filter.Zone(), host, scheduler.Request{Zone: "nova"}, ""},
		{"any zone", filter.Zone(), host, scheduler.Request{}, ""},
		{"other zone", filter.Zone(), host, scheduler.Request{Zone: "az2"}, "in availability zone nova, az2 is asked for"},
		{"other zone, forced", filter.Zone(), host, scheduler.Request{Zone: "az2", ForceHosts: []string{"0a"}}, ""},
		{"no zone", filter.Zone(), with(func(h *scheduler.Host) { h.Zone = "" }), scheduler.Request{Zone: "az2"},
			"in no availability zone, az2 is asked for"},

		{"excluded", filter.Exclude(), host, scheduler.Request{Exclude: map[string]string{"0a": "define failed: disk is full", "0c": ""}},
			"excluded: define failed: disk is full"},
		{"excluded for no reason", filter.Exclude(), host, scheduler.Request{Exclude: map[string]string{"0a": ""}}, "excluded, no reason given"},
		{"another excluded", filter.Exclude(), host, scheduler.Request{Exclude: map[string]string{"0b": "full", "0c": ""}}, ""},

		{"destination by name", filter.Destination(), host, scheduler.Request{Destination: "cmp1"}, ""},
		{"destination by id", filter.Destination(), host, scheduler.Request{Destination: "0a"}, ""},
		{"another destination", filter.Destination(), host, scheduler.Request{Destination: "cmp2"}, "not the requested host cmp2"},
		{"forced by name", filter.Destination(), host, scheduler.Request{ForceHosts: []string{"cmp2", "cmp1"}}, ""},
		{"forced by id", filter.Destination(), host, scheduler.Request{ForceHosts: []string{"0a"}}, ""},
		{"others forced", filter.Destination(), host, scheduler.Request{ForceHosts: []string{"cmp2", "cmp3"}},
			"not among the forced hosts cmp2, cmp3"},

		{"a function passes", big(), host, scheduler.Request{}, ""},
		{"a function refuses", big(), with(func(h *scheduler.Host) { h.Total.VCPUs = 8 }), scheduler.Request{}, "too small"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			// The neighbours must not matter: the host stands among more than one block of others.
			hosts := []scheduler.Host{c.h}
			for i := range 70 {
				hosts = append(hosts, scheduler.Host{ID: "0b" + string(rune('0'+i)), Name: "other"})
			}
			s, err := scheduler.NewSnapshot(hosts)
			require.NoError(t, err)
			m := scheduler.Mask{1<<64 - 1, 1<<7 - 1}
			c.f.Keep(s, &c.r, m)
			p, ok := s.Position(c.h.ID)
			require.True(t, ok)
			require.Equal(t, c.want == "", m.Has(p), "whether the host passes")
			if c.want != "" {
				require.Equal(t, c.want, c.f.Reason(&c.h, &c.r))
			}
		})
	}
}

func big() scheduler.Filter {
	return filter.Func("big", func(h *scheduler.Host, _ *scheduler.Request) string {
		if h.Total.VCPUs < 64 {
			return "too small"
		}
		return ""
	})
}

func TestDefaultNames(t *testing.T) {
	t.Parallel()
	var names []string
	for _, f := range filter.Default() {
		names = append(names, f.Name())
	}
	require.Equal(t, []string{"destination", "exclude", "alive", "zone", "vcpu", "ram", "disk"}, names)
}
