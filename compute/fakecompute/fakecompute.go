// Package fakecompute is a hypervisor without a machine: it keeps the same
// promises as a real one (it passes computetest), boots its guests in no
// time, and fails as told by a plan of faults.
//
// The guests live in a Backend, in memory or in a directory, apart from the
// Hypervisor that is the connection to it: as with a real host they go on
// when the program that made them has died.
package fakecompute

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/id"
)

// Options describe a fake host. The zero value is a host in memory that never fails.
type Options struct {
	ID        string            // host UUID; "" means the one that the backend drew when it was made
	Name      string            // host name, and the plan's name of this driver; "" means "fake"
	VCPUs     int               // 0 means 64
	MemoryMiB int64             // 0 means 262144: 256 GiB
	DiskGiB   int64             // 0 means 4096: 4 TiB
	Address   string            // an IP; may be empty
	Traits    map[string]string // may be nil

	// Enforce makes Define fail with Exhausted when the guests' memory or disks would exceed
	// the host's. Without it the host takes whatever it is given, as one that overcommits does.
	Enforce bool

	Backend *Backend     // shared with other Hypervisors; nil means a new one
	Dir     string       // where a new Backend keeps its guests; "" means in memory
	Faults  *inject.Plan // nil means none
	Clock   clock.Clock  // nil means the machine's
}

// Hypervisor is a connection to a fake host. It also is a computedriver.Rebooter, Consoler, Rememberer and Watcher.
type Hypervisor struct {
	host    computedriver.Host
	enforce bool
	b       *Backend
	owned   bool // the backend was made by New
	faults  *inject.Plan
	clock   clock.Clock
	closed  atomic.Bool
}

var (
	_ computedriver.Hypervisor = (*Hypervisor)(nil)
	_ computedriver.Rebooter   = (*Hypervisor)(nil)
	_ computedriver.Consoler   = (*Hypervisor)(nil)
	_ computedriver.Watcher    = (*Hypervisor)(nil)
	_ computedriver.Rememberer = (*Hypervisor)(nil)
)

// New connects to a fake host.
func New(o Options) (*Hypervisor, error) {
	var errs []error
	bad := func(field string, value any, remedy string) {
		errs = append(errs, fault.InvalidField(field, value, remedy))
	}
	if o.ID != "" && !id.IsUUID(o.ID) {
		bad("ID", o.ID, "use a UUID, or none for one that the backend draws")
	}
	if o.VCPUs < 0 || o.MemoryMiB < 0 || o.DiskGiB < 0 {
		bad("VCPUs, MemoryMiB, DiskGiB", []int64{int64(o.VCPUs), o.MemoryMiB, o.DiskGiB}, "must not be negative")
	}
	if o.Backend != nil && o.Dir != "" {
		bad("Dir", o.Dir, "a Backend knows its directory; give one of the two")
	}
	if o.Address != "" {
		if _, err := netip.ParseAddr(o.Address); err != nil {
			bad("Address", o.Address, "use an IP address")
		}
	}
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	h := &Hypervisor{
		host: computedriver.Host{
			ID: o.ID, Name: o.Name, Type: "fake", Version: 1_000_000, Arch: "x86_64",
			VCPUs: o.VCPUs, MemoryMiB: o.MemoryMiB, DiskGiB: o.DiskGiB,
			Address: o.Address, Traits: maps.Clone(o.Traits),
		},
		enforce: o.Enforce, b: o.Backend, faults: o.Faults, clock: o.Clock,
	}
	def(&h.host.Name, "fake")
	def(&h.host.VCPUs, 64)
	def(&h.host.MemoryMiB, 256<<10)
	def(&h.host.DiskGiB, 4<<10)
	if h.clock == nil {
		h.clock = clock.System()
	}
	if h.b == nil {
		h.owned, h.b = true, NewBackend()
		if o.Dir != "" {
			var err error
			if h.b, err = OpenBackend(o.Dir); err != nil {
				return nil, err
			}
		}
	}
	if h.host.ID == "" {
		var err error
		if h.host.ID, err = h.b.hostID(); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func def[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// Backend returns what holds the guests, for a test to look at and to play the host's part.
func (h *Hypervisor) Backend() *Backend { return h.b }

// Close ends the connection; guests stay.
func (h *Hypervisor) Close() error {
	if h.closed.Swap(true) || !h.owned {
		return nil
	}
	return h.b.Close()
}

// call runs one call of the interface: closed, cancelled and down come first, then the plan.
func (h *Hypervisor) call(ctx context.Context, method, object string, effect func() error) error {
	if h.closed.Load() {
		return fault.New(fault.Unavailable, "the connection to %s is closed", h.host.Name).About("host", h.host.ID)
	}
	return h.faults.Run(ctx, h.host.Name, method, object, func() error {
		if err := h.b.down(); err != nil {
			return err
		}
		return effect()
	})
}

// Host describes the host.
func (h *Hypervisor) Host(ctx context.Context) (host computedriver.Host, err error) {
	err = h.call(ctx, "Host", h.host.ID, func() error {
		host = h.host
		host.Traits = maps.Clone(h.host.Traits)
		return nil
	})
	if err != nil {
		return computedriver.Host{}, err
	}
	return host, nil
}

// Define makes the guest. It reads an image to its end the first time the backend sees it.
func (h *Hypervisor) Define(ctx context.Context, g computedriver.Guest) error {
	return h.call(ctx, "Define", g.Mark.ID, func() error {
		if err := validate(g); err != nil {
			return err
		}
		return h.b.define(ctx, g, h.limits())
	})
}

func (h *Hypervisor) limits() *computedriver.Host {
	if h.enforce {
		return &h.host
	}
	return nil
}

// Start powers the guest on; it boots at once.
func (h *Hypervisor) Start(ctx context.Context, r computedriver.Ref) error {
	return h.call(ctx, "Start", r.ID, func() error { return h.b.start(r, h.clock.Now()) })
}

// Stop powers the guest off. A guest obeys at once, unless Backend.IgnoreShutdown says otherwise.
func (h *Hypervisor) Stop(ctx context.Context, r computedriver.Ref, grace time.Duration) error {
	return h.call(ctx, "Stop", r.ID, func() error {
		if grace > 0 && h.b.ignores(r.ID) {
			if off, err := h.b.isOff(r); off || err != nil {
				return err
			}
			if err := h.clock.Sleep(ctx, grace); err != nil {
				return err
			}
			grace = 0
		}
		return h.b.stop(r, grace > 0, h.clock.Now())
	})
}

// Undefine takes the guest away and leaves a tombstone.
func (h *Hypervisor) Undefine(ctx context.Context, r computedriver.Ref) error {
	return h.call(ctx, "Undefine", r.ID, func() error { return h.b.undefine(r) })
}

// Guests lists all guests in the order of their ids.
func (h *Hypervisor) Guests(ctx context.Context) (states []computedriver.GuestState, err error) {
	err = h.call(ctx, "Guests", "", func() error {
		states, err = h.b.list()
		return err
	})
	if err != nil {
		return nil, err
	}
	return states, nil
}

// Remember keeps how new a Cloud's store was.
func (h *Hypervisor) Remember(ctx context.Context, cloud string, epoch int64) (newest int64, err error) {
	err = h.call(ctx, "Remember", cloud, func() error {
		newest, err = h.b.remember(cloud, epoch)
		return err
	})
	if err != nil {
		return 0, err
	}
	return newest, nil
}

// Reboot makes the guest boot once more.
func (h *Hypervisor) Reboot(ctx context.Context, r computedriver.Ref) error {
	return h.call(ctx, "Reboot", r.ID, func() error { return h.b.reboot(r, h.clock.Now()) })
}

// ConsoleOutput returns what a small guest with this configuration would have written.
func (h *Hypervisor) ConsoleOutput(ctx context.Context, r computedriver.Ref, max int) (out []byte, err error) {
	err = h.call(ctx, "ConsoleOutput", r.ID, func() error {
		out, err = h.b.console(r, max)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Watch calls f, before the call that made the change returns, for each change made through this
// process. f must not call the driver.
func (h *Hypervisor) Watch(ctx context.Context, f func(computedriver.Hint)) error {
	return h.call(ctx, "Watch", "", func() error {
		defer h.b.watchers.add(f)()
		<-ctx.Done()
		return ctx.Err()
	})
}
