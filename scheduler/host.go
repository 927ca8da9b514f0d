package scheduler

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/nubecula/cloud/fault"
)

// Resource is one of the quantities that a host has and a server needs.
type Resource int

const (
	CPU  Resource = iota // in vCPUs
	RAM                  // in MiB
	Disk                 // in GiB
	resources
)

// Resources are amounts of each Resource. The zero value is nothing.
type Resources struct {
	VCPUs     int64 `json:"vcpus"`
	MemoryMiB int64 `json:"memory_mib"`
	DiskGiB   int64 `json:"disk_gib"`
}

// Get returns the amount of one resource.
func (r Resources) Get(k Resource) int64 {
	switch k {
	case CPU:
		return r.VCPUs
	case RAM:
		return r.MemoryMiB
	case Disk:
		return r.DiskGiB
	}
	return 0
}

// Ratios say how many times over a host's resources are given out; 0 means
// the default. The defaults are those that Nova gives a new host
// (initial_*_allocation_ratio in nova/conf/compute.py at 020ad2d).
type Ratios struct {
	VCPUs  float64 `json:"vcpus"`  // 0 means 4.0
	Memory float64 `json:"memory"` // 0 means 1.0
	Disk   float64 `json:"disk"`   // 0 means 1.0
}

// Get returns the ratio of one resource, with the default applied.
func (r Ratios) Get(k Resource) float64 {
	v, def := r.Disk, 1.0
	switch k {
	case CPU:
		v, def = r.VCPUs, 4.0
	case RAM:
		v = r.Memory
	}
	if v == 0 {
		return def
	}
	return v
}

// Host is what the scheduler knows of a hypervisor host. The zero value of
// each field but ID is sensible: a host with nothing to give, enabled and up.
type Host struct {
	ID    string // stable and unique
	Name  string // for people; "" means the ID
	Zone  string // availability zone
	Total Resources
	Used  Resources // claimed by servers; may exceed Total times Ratio
	Ratio Ratios

	Disabled       bool // by an operator: takes no new servers
	DisabledReason string
	Down           bool // known not to work: fenced, forced down
	DownReason     string
	// Heartbeat is when the host was last heard of, by the clock that
	// Request.Now is read from. The zero time means that heartbeats do not count.
	Heartbeat time.Time

	Traits map[string]string // anything a filter may ask for; not to be modified
}

// Label returns the name, or the ID of a host without a name.
func (h *Host) Label() string {
	if h.Name == "" {
		return h.ID
	}
	return h.Name
}

// Free returns what is left of one resource under its ratio; negative when more is used than there is.
func (h *Host) Free(k Resource) int64 {
	return int64(float64(h.Total.Get(k))*h.Ratio.Get(k)) - h.Used.Get(k)
}

// Room returns the most of one resource that a single server can get: what is
// free, but never more than the host physically has, since a server that
// overcommits against itself would gain nothing.
func (h *Host) Room(k Resource) int64 { return min(h.Total.Get(k), h.Free(k)) }

// Limits that keep Total times Ratio exact enough and inside an int64.
const (
	maxAmount = 1 << 50
	maxRatio  = 1000
)

func (h *Host) validate() error {
	if h.ID == "" {
		return fault.InvalidField("host.id", h.ID, "a host needs a unique id")
	}
	var errs []error
	for k := range resources {
		for _, v := range []int64{h.Total.Get(k), h.Used.Get(k)} {
			if v < 0 || v > maxAmount {
				errs = append(errs, amountError(h.ID, v))
			}
		}
		if v := h.Ratio.Get(k); math.IsNaN(v) || v < 0 || v > maxRatio {
			errs = append(errs, fault.InvalidField("host "+h.ID, v,
				"an allocation ratio must be above 0 and at most "+strconv.Itoa(maxRatio)))
		}
	}
	return errors.Join(errs...)
}

func amountError(id string, v int64) error {
	return fault.InvalidField("host "+id, v, fmt.Sprintf("an amount must be between 0 and %d", int64(maxAmount)))
}
