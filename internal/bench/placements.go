package main

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
)

// placements are decisions with their claims on the host's ledger, in the store.
func placements(ctx context.Context, b *bench) error {
	for _, clients := range []int{1, 16} {
		var lost atomic.Int64
		r, err := inCloud(ctx, where{}, func(c *inside) (result, error) {
			system := c.As(nil).Compute
			var id atomic.Int64
			flavor := &compute.Flavor{VCPUs: 1, MemoryMiB: 64}
			return load(ctx, clients, b.measure, 4*addresses, func(ctx context.Context, _ int) error {
				name := fmt.Sprint("placement-", id.Add(1))
				for {
					err := system.Place(ctx, name, flavor)
					if !fault.Is(err, fault.Conflict) {
						return err
					}
					lost.Add(1)
				}
			})
		})
		if err != nil {
			return err
		}
		b.add("placement with its claim, memory, "+count(clients, "goroutine"), r.rate(), "1/s", "", "%d; decision among %d hosts, claim and host ledger in one transaction; %d races lost", r.n, hosts, lost.Load())
		if clients == 16 {
			b.atLeast(10000)
		}
	}
	return nil
}
