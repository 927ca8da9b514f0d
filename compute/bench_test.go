package compute_test

import (
	"fmt"
	"testing"

	"github.com/nubecula/cloud/compute"
)

// BenchmarkListServers lists 1,000 servers with a port each, in full and in brief.
func BenchmarkListServers(b *testing.B) {
	e := newEnv(b, config{once: true})
	for i := range 1000 {
		e.create(e.request(fmt.Sprint("s", i)))
	}
	e.settle()
	for _, brief := range []bool{false, true} {
		b.Run(fmt.Sprintf("brief=%t", brief), func(b *testing.B) {
			for b.Loop() {
				page, err := e.alice.ListServers(e.ctx, compute.ServerQuery{Brief: brief})
				if err != nil || len(page.Servers) != 1000 {
					b.Fatal(err, len(page.Servers))
				}
			}
		})
	}
}

// BenchmarkBoot creates servers one after another, up to ACTIVE.
func BenchmarkBoot(b *testing.B) {
	e := newEnv(b, config{once: true})
	req := e.request("s")
	n := 0
	for b.Loop() {
		e.create(req)
		e.settle()
		n++
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "boots/s")
}
