package fakecompute_test

import (
	"context"
	"fmt"
	"time"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/compute/fakecompute"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/internal/clock"
)

// A start whose reply is lost is repeated, and the guest has started once. Guests go on when the
// connection that made them is gone.
func Example() {
	ctx := context.Background()
	machine := fakecompute.NewBackend()
	c := clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	plan := inject.NewPlan(c, 1)
	plan.Fail(inject.Rule{Method: "Start", Times: 1, When: inject.After})
	host, err := fakecompute.New(fakecompute.Options{Name: "host-1", Backend: machine, Faults: plan, Clock: c})
	if err != nil {
		panic(err)
	}
	g := computedriver.Guest{
		Mark: computedriver.Mark{Cloud: "c", ID: "web", Generation: 1},
		Name: "web", Hostname: "web", VCPUs: 1, MemoryMiB: 512, Root: computedriver.Disk{SizeGiB: 1},
	}
	fmt.Println(host.Define(ctx, g))
	fmt.Println(host.Start(ctx, g.Mark.Ref()))
	fmt.Println(host.Start(ctx, g.Mark.Ref()))
	host.Close()

	guests, _ := machine.Guests()
	fmt.Println(guests[0].Name, guests[0].Power, machine.Counts("web").Starts)
	// Output:
	// <nil>
	// injected fault in host-1.Start
	// <nil>
	// web running 1
}
