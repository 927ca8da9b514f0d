package scheduler_test

import (
	"fmt"

	"github.com/nubecula/cloud/scheduler"
	"github.com/nubecula/cloud/scheduler/filter"
	"github.com/nubecula/cloud/scheduler/weigh"
)

func Example() {
	hosts, err := scheduler.NewSnapshot([]scheduler.Host{
		{ID: "a", Name: "cmp1", Total: scheduler.Resources{VCPUs: 64, MemoryMiB: 262144, DiskGiB: 4096}},
		{ID: "b", Name: "cmp2", Total: scheduler.Resources{VCPUs: 32, MemoryMiB: 131072, DiskGiB: 4096}},
		{ID: "c", Name: "cmp3", Disabled: true, DisabledReason: "broken fan"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := scheduler.New(&scheduler.Options{Filters: filter.Default(), Weighers: weigh.Default()})
	if err != nil {
		fmt.Println(err)
		return
	}

	request := &scheduler.Request{Need: scheduler.Resources{VCPUs: 4, MemoryMiB: 8192, DiskGiB: 80}, Seed: 1}
	d := s.Pick(hosts, request)
	for _, c := range d.Candidates {
		fmt.Println(c.Name)
	}
	hosts, err = hosts.Claim(d.Candidates[0].ID, request.Need) // the next Pick sees it
	if err != nil {
		fmt.Println(err)
		return
	}

	request.Need.MemoryMiB = 262144
	for refusal := range s.Explain(hosts, request) {
		fmt.Printf("%s: %s: %s\n", refusal.Host, refusal.Filter, refusal.Reason)
	}
	// Output:
	// cmp1
	// cmp2
	// cmp3: alive: disabled: broken fan
	// cmp1: ram: needs 262144 MiB memory, 262144 MiB x 1.0 allocation ratio - 8192 MiB used = 253952 MiB free
	// cmp2: ram: needs 262144 MiB memory, 131072 MiB x 1.0 allocation ratio - 0 MiB used = 131072 MiB free
}
