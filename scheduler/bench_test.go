package scheduler_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/scheduler"
)

var sizes = []int{100, 1_000, 10_000}

// used returns n hosts, each in use to another degree, a few of them disabled.
func used(n int) []scheduler.Host {
	hosts := cluster(n)
	for i := range hosts {
		hosts[i].Used = scheduler.Resources{VCPUs: int64(i * 7 % 200), MemoryMiB: int64(i * 7919 % 200_000), DiskGiB: int64(i * 31 % 4000)}
		hosts[i].Disabled = i%50 == 0
	}
	return hosts
}

// BenchmarkPick is one decision with every usual filter and weigher at work.
func BenchmarkPick(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("hosts=%d", n), func(b *testing.B) {
			s, sched := newSnapshot(b, used(n)...), newScheduler(b, scheduler.Options{})
			q := &scheduler.Request{Need: small, Zone: "nova", Now: now, Exclude: map[string]string{"id-00001": "full"}}
			b.ReportAllocs()
			for b.Loop() {
				q.Seed++
				if d := sched.Pick(s, q); d.Err() != nil {
					b.Fatal(d.Err())
				}
			}
		})
	}
}

// BenchmarkPickEqual is the worst case for the selection: all hosts have the same weight.
func BenchmarkPickEqual(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("hosts=%d", n), func(b *testing.B) {
			s, sched := newSnapshot(b, cluster(n)...), newScheduler(b, scheduler.Options{})
			q := &scheduler.Request{Need: small, Now: now}
			b.ReportAllocs()
			for b.Loop() {
				q.Seed++
				sched.Pick(s, q)
			}
		})
	}
}

// BenchmarkPickNone refuses every host, most of them for a reason of their own, and makes the error.
func BenchmarkPickNone(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("hosts=%d", n), func(b *testing.B) {
			s, sched := newSnapshot(b, used(n)...), newScheduler(b, scheduler.Options{})
			q := &scheduler.Request{Need: scheduler.Resources{MemoryMiB: 524288}, Now: now}
			b.ReportAllocs()
			for b.Loop() {
				if d := sched.Pick(s, q); d.Err() == nil {
					b.Fatal("found a host")
				}
			}
		})
	}
}

// BenchmarkPlace is a decision and the claim in the snapshot, and gives the server back half-way to full.
func BenchmarkPlace(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("hosts=%d", n), func(b *testing.B) {
			start, sched := newSnapshot(b, cluster(n)...), newScheduler(b, scheduler.Options{})
			s := start
			q := &scheduler.Request{Need: small, Now: now}
			b.ReportAllocs()
			for b.Loop() {
				q.Seed++
				if q.Seed%uint64(n*100) == 0 {
					s = start
				}
				next, err := s.Claim(sched.Pick(s, q).Candidates[0].ID, q.Need)
				if err != nil {
					b.Fatal(err)
				}
				s = next
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "placements/s")
		})
	}
}

// BenchmarkWith replaces one host, as a heartbeat does.
func BenchmarkWith(b *testing.B) {
	s := newSnapshot(b, cluster(10_000)...)
	h := *s.Host(5_000)
	b.ReportAllocs()
	for b.Loop() {
		h.Used.VCPUs ^= 1
		next, err := s.With(h)
		require.NoError(b, err)
		s = next
	}
}
