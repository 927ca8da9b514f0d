package main

import (
	"context"
	"fmt"
	"time"

	"github.com/nubecula/cloud/scheduler"
	"github.com/nubecula/cloud/scheduler/filter"
	"github.com/nubecula/cloud/scheduler/weigh"
)

// decisions are Picks with every usual filter and weigher, among hosts that are in use to different degrees.
func decisions(ctx context.Context, b *bench) error {
	s, err := scheduler.New(&scheduler.Options{Filters: filter.Default(), Weighers: weigh.Default()})
	if err != nil {
		return err
	}
	for _, n := range []int{100, 1000, 10000} {
		now := time.Now()
		list := make([]scheduler.Host, n)
		for i := range list {
			list[i] = scheduler.Host{ID: fmt.Sprintf("id-%05d", i), Name: fmt.Sprintf("host-%d", i), Zone: "nova", Heartbeat: now,
				Total: scheduler.Resources{VCPUs: 64, MemoryMiB: 262144, DiskGiB: 4096},
				Used:  scheduler.Resources{VCPUs: int64(i * 7 % 200), MemoryMiB: int64(i * 7919 % 200000), DiskGiB: int64(i * 31 % 4000)}}
		}
		snapshot, err := scheduler.NewSnapshot(list)
		if err != nil {
			return err
		}
		q := scheduler.Request{Need: scheduler.Resources{VCPUs: 1, MemoryMiB: 192, DiskGiB: 1}, Zone: "nova", Now: now}
		r, err := load(ctx, 1, b.measure/2, 0, func(context.Context, int) error {
			q.Seed++
			d := s.Pick(snapshot, &q)
			return d.Err()
		})
		if err != nil {
			return err
		}
		b.add(fmt.Sprintf("scheduler decision among %d hosts", n), r.quantile(0.5)*1000, "us", "", "median of %d, 1 goroutine, default filters and weighers", r.n)
	}
	return nil
}
