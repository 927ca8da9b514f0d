package scheduler_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/scheduler"
	"github.com/nubecula/cloud/scheduler/filter"
	"github.com/nubecula/cloud/scheduler/weigh"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// forSeeds runs f with many seeds. A failure names its seed, which is the subtest's name:
// go test ./scheduler -run 'TestX/seed=17$'
func forSeeds(t *testing.T, f func(t *testing.T, r *rand.Rand)) {
	t.Helper()
	for seed := range uint64(300) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			f(t, rand.New(rand.NewPCG(seed, 1)))
		})
	}
}

// randomHosts makes up to 200 hosts of every kind of trouble.
func randomHosts(r *rand.Rand) []scheduler.Host {
	hosts := make([]scheduler.Host, r.IntN(200))
	for i := range hosts {
		h := scheduler.Host{
			ID:    fmt.Sprintf("id-%03d", i),
			Name:  fmt.Sprintf("cmp%d", i),
			Zone:  pick(r, "az1", "az1", "az2", ""),
			Total: scheduler.Resources{VCPUs: r.Int64N(64), MemoryMiB: r.Int64N(1 << 18), DiskGiB: r.Int64N(4096)},
			Ratio: scheduler.Ratios{VCPUs: pick(r, 0, 1, 2.5), Memory: pick(r, 0, 0, 0.9, 1.5)},
		}
		h.Used = scheduler.Resources{
			VCPUs: r.Int64N(h.Total.VCPUs*2 + 1), MemoryMiB: r.Int64N(h.Total.MemoryMiB + 1), DiskGiB: r.Int64N(h.Total.DiskGiB + 1),
		}
		h.Disabled, h.Down = r.IntN(10) == 0, r.IntN(10) == 0
		if r.IntN(4) > 0 {
			h.Heartbeat = now.Add(-time.Duration(r.IntN(80)) * time.Second)
		}
		hosts[i] = h
	}
	return hosts
}

func randomRequest(r *rand.Rand, hosts int) *scheduler.Request {
	q := &scheduler.Request{
		Need: scheduler.Resources{VCPUs: r.Int64N(16), MemoryMiB: r.Int64N(1 << 15), DiskGiB: r.Int64N(500)},
		Zone: pick(r, "", "", "az1", "az2", "az3"), Now: now, Seed: r.Uint64(), Exclude: map[string]string{},
	}
	for range r.IntN(4) {
		q.Exclude[fmt.Sprintf("id-%03d", r.IntN(hosts+1))] = "tried before"
	}
	switch r.IntN(6) {
	case 0:
		q.Destination = fmt.Sprintf("cmp%d", r.IntN(hosts+1))
	case 1:
		q.ForceHosts = []string{fmt.Sprintf("cmp%d", r.IntN(hosts+1)), fmt.Sprintf("id-%03d", r.IntN(hosts+1))}
	}
	return q
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func newScheduler(t testing.TB, o scheduler.Options) *scheduler.Scheduler {
	t.Helper()
	o.Filters, o.Weighers = filter.Default(), append(weigh.Default(), o.Weighers...)
	s, err := scheduler.New(&o)
	require.NoError(t, err)
	return s
}

func newSnapshot(t testing.TB, hosts ...scheduler.Host) *scheduler.Snapshot {
	t.Helper()
	s, err := scheduler.NewSnapshot(hosts)
	require.NoError(t, err)
	return s
}

// fits is the rule once more, written for one host and without a snapshot.
func fits(h scheduler.Host, q *scheduler.Request) bool {
	named := func(n string) bool { return n == h.ID || n == h.Name }
	forced := len(q.ForceHosts) > 0
	if _, out := q.Exclude[h.ID]; out || h.Down || q.Destination != "" && !named(q.Destination) {
		return false
	}
	if forced && !slices.ContainsFunc(q.ForceHosts, named) {
		return false
	}
	if !forced && (h.Disabled || q.Zone != "" && q.Zone != h.Zone) {
		return false
	}
	if !h.Heartbeat.IsZero() && q.Now.Sub(h.Heartbeat) > time.Minute {
		return false
	}
	enough := func(need, total, used int64, ratio, def float64) bool {
		if ratio == 0 {
			ratio = def
		}
		return need == 0 || need <= total && need+used <= int64(float64(total)*ratio)
	}
	return enough(q.Need.VCPUs, h.Total.VCPUs, h.Used.VCPUs, h.Ratio.VCPUs, 4) &&
		enough(q.Need.MemoryMiB, h.Total.MemoryMiB, h.Used.MemoryMiB, h.Ratio.Memory, 1) &&
		enough(q.Need.DiskGiB, h.Total.DiskGiB, h.Used.DiskGiB, h.Ratio.Disk, 1)
}

// TestEveryHostIsCandidateOrRefusedOnce also holds the filters against fits.
func TestEveryHostIsCandidateOrRefusedOnce(t *testing.T) {
	t.Parallel()
	sched := newScheduler(t, scheduler.Options{Candidates: 1000})
	forSeeds(t, func(t *testing.T, r *rand.Rand) {
		hosts := randomHosts(r)
		q := randomRequest(r, len(hosts))
		s := newSnapshot(t, hosts...)
		d := sched.Pick(s, q)
		require.Equal(t, len(hosts), d.Hosts)
		require.Len(t, d.Candidates, d.Passed)

		outcome := map[string]string{}
		for _, c := range d.Candidates {
			require.NotContains(t, outcome, c.ID)
			outcome[c.ID] = ""
		}
		counts := map[string]int{}
		for refusal := range sched.Explain(s, q) {
			require.NotContains(t, outcome, refusal.HostID)
			require.NotEqual(t, "no reason given", refusal.Reason)
			outcome[refusal.HostID] = refusal.Filter
			counts[refusal.Filter]++
		}
		require.Len(t, outcome, len(hosts))
		for _, h := range hosts {
			require.Equal(t, fits(h, q), outcome[h.ID] == "", "host %+v, request %+v", h, q)
		}
		refused := 0
		for _, c := range d.Counts {
			require.Equal(t, counts[c.Filter], c.Refused, c.Filter)
			refused += c.Refused
		}
		require.Equal(t, len(hosts), d.Passed+refused)
		told := d.Omitted
		for _, g := range d.Refused {
			told += g.Count
		}
		require.Equal(t, refused, told)
		require.Equal(t, d.Passed == 0, d.Err() != nil)
	})
}

func TestPickIsPure(t *testing.T) {
	t.Parallel()
	o := scheduler.Options{SubsetSize: 3, Candidates: 5}
	sched := newScheduler(t, o)
	forSeeds(t, func(t *testing.T, r *rand.Rand) {
		hosts := randomHosts(r)
		q := randomRequest(r, len(hosts))
		s := newSnapshot(t, hosts...)
		before, err := json.Marshal(q)
		require.NoError(t, err)
		d := sched.Pick(s, q)
		after, err := json.Marshal(q)
		require.NoError(t, err)
		require.Equal(t, string(before), string(after))
		require.Equal(t, d, sched.Pick(s, q), "the same again")
		require.Equal(t, d, newScheduler(t, o).Pick(newSnapshot(t, hosts...), q), "another scheduler")

		// Added one by one in another order the hosts stand elsewhere, and the candidates are the same.
		r.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
		var other *scheduler.Snapshot
		for _, h := range hosts {
			other, err = other.With(h)
			require.NoError(t, err)
		}
		require.Equal(t, d.Candidates, sched.Pick(other, q).Candidates)
	})
}

func TestMoreCapacityNeverLosesAHost(t *testing.T) {
	t.Parallel()
	sched := newScheduler(t, scheduler.Options{Candidates: 1000})
	forSeeds(t, func(t *testing.T, r *rand.Rand) {
		hosts := randomHosts(r)
		q := randomRequest(r, len(hosts))
		s := newSnapshot(t, hosts...)
		had := sched.Pick(s, q)
		for i := range hosts {
			h := &hosts[i]
			switch r.IntN(4) {
			case 0:
				h.Total.VCPUs += r.Int64N(8)
			case 1:
				h.Total.MemoryMiB += r.Int64N(8192)
			case 2:
				h.Used = scheduler.Resources{VCPUs: h.Used.VCPUs / 2, MemoryMiB: h.Used.MemoryMiB / 2, DiskGiB: h.Used.DiskGiB / 2}
			case 3:
				h.Ratio.Memory = h.Ratio.Get(scheduler.RAM) + r.Float64()
			}
		}
		more, err := s.With(append(hosts, scheduler.Host{ID: "new"})...)
		require.NoError(t, err)
		has := map[string]bool{}
		for _, c := range sched.Pick(more, q).Candidates {
			has[c.ID] = true
		}
		for _, c := range had.Candidates {
			require.True(t, has[c.ID], "%s was a candidate before it got more", c.ID)
		}
	})
}

// TestOrderIsMonotone: with one weigher the candidates are in its order; the top few are those of the
// full order; and among all, no candidate is worse in everything than one that comes after it.
func TestOrderIsMonotone(t *testing.T) {
	t.Parallel()
	byRAM, err := scheduler.New(&scheduler.Options{Filters: filter.Default(), Weighers: []scheduler.Weight{{By: weigh.RAM()}}, Candidates: 1000})
	require.NoError(t, err)
	packed, err := scheduler.New(&scheduler.Options{Filters: filter.Default(), Weighers: []scheduler.Weight{{By: weigh.RAM(), Multiplier: -2}}, Candidates: 1000})
	require.NoError(t, err)
	all, few := newScheduler(t, scheduler.Options{Candidates: 1000}), newScheduler(t, scheduler.Options{Candidates: 7})
	forSeeds(t, func(t *testing.T, r *rand.Rand) {
		hosts := randomHosts(r)
		q := randomRequest(r, len(hosts))
		s := newSnapshot(t, hosts...)
		free := func(c scheduler.Candidate, k scheduler.Resource) int64 {
			p, ok := s.Position(c.ID)
			require.True(t, ok)
			return s.Host(p).Free(k)
		}
		spread, pack := byRAM.Pick(s, q).Candidates, packed.Pick(s, q).Candidates
		for i := 1; i < len(spread); i++ {
			require.GreaterOrEqual(t, free(spread[i-1], scheduler.RAM), free(spread[i], scheduler.RAM))
			require.LessOrEqual(t, free(pack[i-1], scheduler.RAM), free(pack[i], scheduler.RAM))
		}
		full := all.Pick(s, q).Candidates
		require.Equal(t, full[:min(7, len(full))], few.Pick(s, q).Candidates[:min(7, len(full))])
		for i, a := range full {
			for _, b := range full[i+1:] {
				require.GreaterOrEqual(t, a.Weight, b.Weight)
				worse := true
				for _, k := range []scheduler.Resource{scheduler.CPU, scheduler.RAM, scheduler.Disk} {
					worse = worse && free(a, k) < free(b, k)
				}
				require.False(t, worse, "%s before %s", a.ID, b.ID)
			}
		}
	})
}
