package fakecompute

import (
	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
)

// Usage is what guests take of a host, running or not.
type Usage struct {
	Guests    int   `json:"guests"`
	VCPUs     int   `json:"vcpus"`
	MemoryMiB int64 `json:"memory_mib"`
	DiskGiB   int64 `json:"disk_gib"`
}

func (u Usage) add(o Usage, sign int) Usage {
	n := int64(sign)
	return Usage{u.Guests + sign*o.Guests, u.VCPUs + sign*o.VCPUs, u.MemoryMiB + n*o.MemoryMiB, u.DiskGiB + n*o.DiskGiB}
}

func uses(g computedriver.Guest) Usage {
	disk := g.Root.SizeGiB
	if b := g.Root.Base; b != nil && disk == 0 {
		disk = (b.SizeBytes + 1<<30 - 1) >> 30
	}
	return Usage{1, g.VCPUs, g.MemoryMiB, disk}
}

// account keeps the sum of a Backend in memory; one in files adds up what is there, others may have changed it.
func (b *Backend) account(u Usage, sign int) {
	if b.inMem {
		b.used = b.used.add(u, sign)
	}
}

// usage adds up all guests; inside space.Do.
func (b *Backend) usage() (Usage, error) {
	if b.inMem {
		return b.used, nil
	}
	var sum Usage
	err := b.guests.Each(func(_ string, g guestDoc) error {
		sum = sum.add(g.Uses, +1)
		return nil
	})
	return sum, err
}

// fits refuses g where memory or disks would exceed the host's; old is what it replaces.
func (b *Backend) fits(g computedriver.Guest, old guestDoc, limit *computedriver.Host) error {
	if limit == nil {
		return nil
	}
	sum, err := b.usage()
	if err != nil {
		return err
	}
	sum, u := sum.add(old.Uses, -1), uses(g)
	if sum.MemoryMiB+u.MemoryMiB > limit.MemoryMiB || sum.DiskGiB+u.DiskGiB > limit.DiskGiB {
		return about(fault.New(fault.Exhausted, "host %s has %d MiB of memory and %d GiB of disk left, the guest needs %d and %d; place it elsewhere",
			limit.Name, limit.MemoryMiB-sum.MemoryMiB, limit.DiskGiB-sum.DiskGiB, u.MemoryMiB, u.DiskGiB), g.Mark.ID)
	}
	return nil
}
