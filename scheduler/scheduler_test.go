package scheduler_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/scheduler"
	"github.com/nubecula/cloud/scheduler/filter"
)

// cluster returns n equal hosts.
func cluster(n int) []scheduler.Host {
	hosts := make([]scheduler.Host, n)
	for i := range hosts {
		hosts[i] = scheduler.Host{
			ID: fmt.Sprintf("id-%05d", i), Name: fmt.Sprintf("cmp%05d", i), Zone: "nova", Heartbeat: now,
			Total: scheduler.Resources{VCPUs: 64, MemoryMiB: 262144, DiskGiB: 4096},
		}
	}
	return hosts
}

var small = scheduler.Resources{VCPUs: 1, MemoryMiB: 512, DiskGiB: 1}

func TestTooBigForEveryHost(t *testing.T) {
	t.Parallel()
	hosts := cluster(5)
	hosts[0].Used.MemoryMiB = 1024
	hosts[3].Disabled, hosts[3].DisabledReason = true, "broken fan"
	hosts[4].Zone = "az2"
	d := newScheduler(t, scheduler.Options{}).Pick(newSnapshot(t, hosts...), &scheduler.Request{
		Need: scheduler.Resources{VCPUs: 1, MemoryMiB: 524288, DiskGiB: 1}, Zone: "nova", Now: now,
	})
	err := d.Err()
	require.Equal(t, fault.Exhausted, fault.CodeOf(err))
	require.EqualError(t, err, "No valid host was found: all of 5 refused (alive 1, zone 1, ram 3); "+
		"cmp00000: ram: needs 524288 MiB memory, 262144 MiB x 1.0 allocation ratio - 1024 MiB used = 261120 MiB free; "+
		"cmp00004: zone: in availability zone az2, nova is asked for; "+
		"cmp00003: alive: disabled: broken fan; "+
		"cmp00001, cmp00002: ram: needs 524288 MiB memory, 262144 MiB x 1.0 allocation ratio - 0 MiB used = 262144 MiB free")

	text, err := json.Marshal(d)
	require.NoError(t, err)
	require.JSONEq(t, `{"hosts":5,"passed":0,
		"counts":[{"filter":"alive","refused":1},{"filter":"zone","refused":1},{"filter":"ram","refused":3}],
		"refused":[
			{"filter":"alive","reason":"disabled: broken fan","hosts":["cmp00003"],"count":1},
			{"filter":"zone","reason":"in availability zone az2, nova is asked for","hosts":["cmp00004"],"count":1},
			{"filter":"ram","hosts":["cmp00000"],"count":1,
				"reason":"needs 524288 MiB memory, 262144 MiB x 1.0 allocation ratio - 1024 MiB used = 261120 MiB free"},
			{"filter":"ram","hosts":["cmp00001","cmp00002"],"count":2,
				"reason":"needs 524288 MiB memory, 262144 MiB x 1.0 allocation ratio - 0 MiB used = 262144 MiB free"}]}`, string(text))
	var back scheduler.Decision
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, d, back)
}

// TestBoundedInAHugeCloud: ten thousand hosts, each with a reason of its own, and a driver's error as long as a novel.
func TestBoundedInAHugeCloud(t *testing.T) {
	t.Parallel()
	hosts := cluster(10_000)
	q := &scheduler.Request{Need: scheduler.Resources{MemoryMiB: 262144}, Now: now, Exclude: map[string]string{}}
	for i := range hosts {
		hosts[i].Used.MemoryMiB = int64(i + 1)
		if i < 20 {
			q.Exclude[hosts[i].ID] = strings.Repeat("é", 1000+i)
		}
	}
	d := newScheduler(t, scheduler.Options{}).Pick(newSnapshot(t, hosts...), q)
	require.Equal(t, []scheduler.Count{{Filter: "exclude", Refused: 20}, {Filter: "ram", Refused: 9980}}, d.Counts)
	require.Len(t, d.Refused, 1+8, "equal once cut, and eight of the different ones")
	require.Equal(t, 20, d.Refused[0].Count)
	require.Len(t, d.Refused[0].Hosts, 5)
	require.Equal(t, 9980-8, d.Omitted)
	text, err := json.Marshal(d)
	require.NoError(t, err)
	require.Less(t, len(text), 4096)

	message := d.Err().Error()
	require.Less(t, len(message), 1500)
	require.Contains(t, message, "all of 10000 refused (exclude 20, ram 9980)")
	require.Contains(t, message, "cmp00000, cmp00001, cmp00002 and 17 more: exclude: excluded: éé")
	require.True(t, strings.HasSuffix(message, "; and 9976 hosts more"), message)
}

func TestRefusalsBesideACandidate(t *testing.T) {
	t.Parallel()
	hosts := cluster(100)
	for i := range 99 {
		hosts[i].Disabled = true
	}
	s, sched := newSnapshot(t, hosts...), newScheduler(t, scheduler.Options{})
	d := sched.Pick(s, &scheduler.Request{Need: small})
	require.NoError(t, d.Err())
	require.Equal(t, []scheduler.Candidate{{ID: "id-00099", Name: "cmp00099"}}, d.Candidates)
	require.Equal(t, []scheduler.Count{{Filter: "alive", Refused: 99}}, d.Counts)
	require.Equal(t, 16, d.Refused[0].Count)
	require.Equal(t, 83, d.Omitted)

	d = sched.Pick(s, &scheduler.Request{Need: small, Explain: true})
	require.Equal(t, 99, d.Refused[0].Count)
	require.Len(t, d.Refused[0].Hosts, 5)
	require.Zero(t, d.Omitted)
}

// TestScratchIsClean: what a weigher leaves out counts 0, not what an earlier Pick left behind.
func TestScratchIsClean(t *testing.T) {
	t.Parallel()
	sched, err := scheduler.New(&scheduler.Options{Filters: filter.Default(), Weighers: []scheduler.Weight{{By: lazy{}}}})
	require.NoError(t, err)
	s := newSnapshot(t, cluster(3)...)
	for host := range 3 {
		d := sched.Pick(s, &scheduler.Request{Need: small, Project: s.Host(host).ID})
		require.Equal(t, s.Host(host).ID, d.Candidates[0].ID)
		require.Zero(t, d.Candidates[1].Weight)
	}
}

// lazy sets the weight of the one host that it likes, named by the project.
type lazy struct{}

func (lazy) Name() string { return "lazy" }

func (lazy) Weigh(s *scheduler.Snapshot, r *scheduler.Request, _ scheduler.Mask, w []float64) {
	p, _ := s.Position(r.Project)
	w[p] = 1
}

func TestTiesDoNotDependOnPosition(t *testing.T) {
	t.Parallel()
	hosts := cluster(100)
	s, sched := newSnapshot(t, hosts...), newScheduler(t, scheduler.Options{SubsetSize: 5})
	slices.Reverse(hosts)
	other, err := (*scheduler.Snapshot)(nil).With(hosts...)
	require.NoError(t, err)
	require.Equal(t, "id-00099", other.Host(0).ID)
	q := &scheduler.Request{Need: small, Seed: 4}
	require.Equal(t, sched.Pick(s, q).Candidates, sched.Pick(other, q).Candidates)
}

func TestNoHosts(t *testing.T) {
	t.Parallel()
	sched := newScheduler(t, scheduler.Options{})
	for _, s := range []*scheduler.Snapshot{nil, newSnapshot(t)} {
		d := sched.Pick(s, &scheduler.Request{Exclude: map[string]string{"x": ""}})
		require.EqualError(t, d.Err(), "No valid host was found: there are no hosts")
		require.Equal(t, fault.Exhausted, fault.CodeOf(d.Err()))
	}
}

// TestSeedSpreads: pickers with different seeds and one snapshot do not all want the same host.
func TestSeedSpreads(t *testing.T) {
	t.Parallel()
	equal := cluster(50)
	graded := cluster(50)
	for i := range graded {
		graded[i].Used.MemoryMiB = int64(i)
	}
	for _, c := range []struct {
		name   string
		hosts  []scheduler.Host
		subset int
		want   int // different hosts in first place, of 1000 seeds
	}{
		{"equal weights", equal, 0, 50},
		{"one best host", graded, 0, 1},
		{"among the best five", graded, 5, 5},
		{"subset above the candidates", graded, 20, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			sched, s := newScheduler(t, scheduler.Options{SubsetSize: c.subset}), newSnapshot(t, c.hosts...)
			first := map[string]int{}
			for seed := range uint64(1000) {
				d := sched.Pick(s, &scheduler.Request{Need: small, Seed: seed})
				require.Len(t, d.Candidates, 10)
				first[d.Candidates[0].ID]++
			}
			require.Len(t, first, c.want)
			for id, n := range first {
				require.Greater(t, n, 1000/c.want/4, "%s is hardly ever first", id)
			}
		})
	}
}

func TestClaimsFillEveryHost(t *testing.T) {
	t.Parallel()
	s, sched := newSnapshot(t, cluster(3)...), newScheduler(t, scheduler.Options{})
	first := s
	q := scheduler.Request{Need: scheduler.Resources{VCPUs: 2, MemoryMiB: 65536, DiskGiB: 10}}
	placed := 0
	for {
		q.Seed++
		d := sched.Pick(s, &q)
		if d.Err() != nil {
			break
		}
		next, err := s.Claim(d.Candidates[0].ID, q.Need)
		require.NoError(t, err)
		s = next
		placed++
	}
	require.Equal(t, 3*4, placed, "four times 64 GiB in each")
	require.Zero(t, first.Host(0).Used, "a snapshot never changes")
	require.Equal(t, 3, sched.Pick(first, &q).Passed)

	s, err := s.Claim("id-00001", scheduler.Resources{VCPUs: -2, MemoryMiB: -65536, DiskGiB: -10})
	require.NoError(t, err)
	require.Equal(t, "id-00001", sched.Pick(s, &q).Candidates[0].ID)

	_, err = s.Claim("nobody", q.Need)
	require.Equal(t, fault.NotFound, fault.CodeOf(err))
	_, err = s.Claim("id-00001", scheduler.Resources{VCPUs: -100})
	require.Equal(t, fault.Invalid, fault.CodeOf(err))
}

func TestSnapshotChanges(t *testing.T) {
	t.Parallel()
	s := newSnapshot(t, cluster(130)...)
	changed := *s.Host(70)
	changed.Disabled, changed.Traits = true, map[string]string{"arch": "x86_64"}
	next, err := s.With(changed, scheduler.Host{ID: "new"})
	require.NoError(t, err)
	changed.Traits["arch"] = "the caller's map is its own"
	require.Equal(t, 131, next.Len())
	require.Equal(t, 130, s.Len())
	require.True(t, next.Host(70).Disabled)
	require.Equal(t, "x86_64", next.Host(70).Traits["arch"])
	require.False(t, s.Host(70).Disabled)
	require.Same(t, s.Host(71), next.Host(71))
	p, ok := next.Position("new")
	require.True(t, ok)
	require.Equal(t, "new", next.Host(p).ID)
	_, ok = s.Position("new")
	require.False(t, ok)

	less := next.Without("id-00070", "id-00000", "nobody")
	require.Equal(t, 129, less.Len())
	_, ok = less.Position("id-00070")
	require.False(t, ok)
	for p := range less.Len() {
		at, ok := less.Position(less.Host(p).ID)
		require.True(t, ok)
		require.Equal(t, p, at)
	}
}

func TestSnapshotRefusesNonsense(t *testing.T) {
	t.Parallel()
	for name, hosts := range map[string][]scheduler.Host{
		"no id":          {{}},
		"twice":          {{ID: "a"}, {ID: "b"}, {ID: "a"}},
		"negative total": {{ID: "a", Total: scheduler.Resources{DiskGiB: -1}}},
		"negative used":  {{ID: "a", Used: scheduler.Resources{VCPUs: -1}}},
		"too much":       {{ID: "a", Total: scheduler.Resources{MemoryMiB: math.MaxInt64}}},
		"negative ratio": {{ID: "a", Ratio: scheduler.Ratios{VCPUs: -1}}},
		"no number":      {{ID: "a", Ratio: scheduler.Ratios{Disk: math.NaN()}}},
	} {
		_, err := scheduler.NewSnapshot(hosts)
		require.True(t, fault.Is(err, fault.Invalid), "%s: %v", name, err)
	}
}

func TestNewSaysEverythingWrongAtOnce(t *testing.T) {
	t.Parallel()
	_, err := scheduler.New(nil)
	require.ErrorContains(t, err, "Filters: 0 is not valid: give at least one filter")
	_, err = scheduler.New(&scheduler.Options{
		Filters:    []scheduler.Filter{filter.RAM(), nil, filter.RAM()},
		Weighers:   []scheduler.Weight{{}, {By: rogue{}, Multiplier: math.NaN()}},
		Candidates: -1, SubsetSize: -1, Reasons: -1,
	})
	for _, field := range []string{"Filters[1]", "Filters[2]", "Weighers[0]", "Weighers[1]", "Candidates", "SubsetSize", "Reasons"} {
		require.ErrorContains(t, err, field+": ")
	}
}

// rogue is a filter that puts hosts back and gives no reason, and a weigher that makes no sense.
type rogue struct{}

func (rogue) Name() string { return "rogue" }

func (rogue) Keep(_ *scheduler.Snapshot, _ *scheduler.Request, m scheduler.Mask) {
	for k := range m {
		m[k] = math.MaxUint64
	}
	m.Remove(2)
}

func (rogue) Reason(*scheduler.Host, *scheduler.Request) string { return "" }

func (rogue) Weigh(_ *scheduler.Snapshot, _ *scheduler.Request, m scheduler.Mask, w []float64) {
	odd := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.MaxFloat64, -math.MaxFloat64}
	for p := range m.All() {
		w[p] = odd[p%len(odd)]
	}
}

func TestRogueFilterAndWeigher(t *testing.T) {
	t.Parallel()
	hosts := cluster(10)
	hosts[0].Disabled = true
	sched, err := scheduler.New(&scheduler.Options{
		Filters: []scheduler.Filter{filter.Alive(0), rogue{}}, Weighers: []scheduler.Weight{{By: rogue{}, Multiplier: -1}},
	})
	require.NoError(t, err)
	d := sched.Pick(newSnapshot(t, hosts...), &scheduler.Request{})
	require.Equal(t, 8, d.Passed, "neither disabled hosts nor those beyond the end come back")
	require.Equal(t, "no reason given", d.Refused[1].Reason)
	_, err = json.Marshal(d)
	require.NoError(t, err, "every weight is a number")
	for i := 1; i < len(d.Candidates); i++ {
		require.GreaterOrEqual(t, d.Candidates[i-1].Weight, d.Candidates[i].Weight)
	}
}

// TestConcurrentPicks is for the race detector: the scratch of one pick must not be seen by another.
func TestConcurrentPicks(t *testing.T) {
	t.Parallel()
	sched := newScheduler(t, scheduler.Options{})
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			s := newSnapshot(t, cluster(10+n*50)...)
			q := &scheduler.Request{Need: small, Seed: uint64(n)}
			want := sched.Pick(s, q)
			for range 200 {
				if got := sched.Pick(s, q); got.Passed != s.Len() || got.Candidates[0] != want.Candidates[0] {
					t.Errorf("got %+v, want %+v", got, want)
				}
			}
		})
	}
	wg.Wait()
}
