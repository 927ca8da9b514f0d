// Package weigh holds the usual weighers of a scheduler: free memory, vCPUs and disk space.
package weigh

import "github.com/nubecula/cloud/scheduler"

// Default returns free RAM, vCPUs and disk space, each counted once as in
// Nova, so that servers spread over the emptiest hosts.
func Default() []scheduler.Weight {
	return []scheduler.Weight{{By: RAM()}, {By: CPU()}, {By: Disk()}}
}

// RAM prefers the host with the most free memory under its allocation ratio.
func RAM() scheduler.Weigher { return free{"ram", scheduler.RAM} }

// CPU prefers the host with the most free vCPUs under its allocation ratio.
func CPU() scheduler.Weigher { return free{"cpu", scheduler.CPU} }

// Disk prefers the host with the most free disk space under its allocation ratio.
func Disk() scheduler.Weigher { return free{"disk", scheduler.Disk} }

type free struct {
	name string
	of   scheduler.Resource
}

func (f free) Name() string { return f.name }

func (f free) Weigh(s *scheduler.Snapshot, _ *scheduler.Request, m scheduler.Mask, w []float64) {
	for k := range m {
		if m[k] == 0 {
			continue
		}
		amounts := s.Free(k, f.of)
		block := w[k*len(amounts):][:len(amounts)]
		for i := range amounts {
			block[i] = float64(amounts[i])
		}
	}
}
