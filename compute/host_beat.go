package compute

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/store"
)

// hypervisors are the drivers of this process by the ids that their hosts report.
type hypervisors struct {
	mu      sync.RWMutex
	byID    map[string]*hypervisor
	looks   map[string]*look
	reading chan struct{} // holds the right to read all records of a host
	since   time.Time     // when this process began to listen, by the lease clock
}

type hypervisor struct {
	Hypervisor
	asking atomic.Bool // a heartbeat is under way
	silent atomic.Bool // the newest heartbeat failed
	id     atomic.Pointer[string]
}

const instancePrefix = "host/"

func instance(hostID string) string {
	if hostID == "" {
		return ""
	}
	return instancePrefix + hostID
}

// driver returns the driver of a host; Unavailable when this process has none.
func (c *core) driver(hostID string) (computedriver.Hypervisor, error) {
	c.hyper.mu.RLock()
	defer c.hyper.mu.RUnlock()
	if h := c.hyper.byID[hostID]; h != nil {
		return h.Driver, nil
	}
	return nil, fault.New(fault.Unavailable, "this process does not drive it, or has not reached it yet").About("host", hostID)
}

// holds is engine.Options.Holds.
func (c *core) holds(instance string) bool {
	if len(instance) < len(instancePrefix) || instance[:len(instancePrefix)] != instancePrefix {
		return true
	}
	_, err := c.driver(instance[len(instancePrefix):])
	return err == nil
}

// down is engine.Options.Down: an operator says so, or the host has been silent for long enough, of
// which this process has listened all the time.
func (c *core) down(tx *store.Tx, instance string) bool {
	if len(instance) < len(instancePrefix) || instance[:len(instancePrefix)] != instancePrefix {
		return false
	}
	h, err := hosts.Get(tx, instance[len(instancePrefix):])
	if err != nil {
		return false
	}
	return h.ForcedDown || c.silence(h, tx.LeaseNow()) > c.opt.DownAfter
}

// silence is how long a host has been silent, of what this process has listened.
func (c *core) silence(h *Host, now time.Time) time.Duration {
	c.hyper.mu.RLock()
	last := c.hyper.since
	c.hyper.mu.RUnlock()
	if last.IsZero() {
		return 0
	}
	if c.heard(h) && h.Heartbeat.After(last) {
		last = h.Heartbeat
	}
	return now.Sub(last)
}

// heard reports whether the recorded heartbeat counts. In a store of one process only its own do: the
// lease clock of an earlier run means nothing.
func (c *core) heard(h *Host) bool {
	return !h.Heartbeat.IsZero() && (!c.store.Exclusive() || h.Run == c.run)
}

// up reports whether a host answers and no operator says that it does not work.
func (c *core) up(h *Host, now time.Time) bool { return !h.ForcedDown && c.answers(h, now) }

// answers reports whether a host answers, whatever operators say.
func (c *core) answers(h *Host, now time.Time) bool {
	return c.heard(h) && now.Sub(h.Heartbeat) <= c.opt.DownAfter
}

// beat asks one host whether it is there and records the answer.
func (c *core) beat(ctx context.Context, h *hypervisor) error {
	if h.asking.Swap(true) {
		return nil
	}
	type answer struct {
		host computedriver.Host
		err  error
	}
	got := make(chan answer, 1)
	ctx, cancel := clock.WithTimeout(ctx, c.clock, c.opt.DownAfter/2)
	defer cancel()
	go func() {
		defer h.asking.Store(false)
		host, err := h.Driver.Host(ctx)
		got <- answer{host, err}
	}()
	var a answer
	select {
	case a = <-got:
	case <-ctx.Done():
		a.err = context.Cause(ctx)
	}
	if a.err == nil && (a.host.ID == "" || a.host.Name == "") {
		a.err = fault.New(fault.Invalid, "the driver reports a host without id or name: %q, %q", a.host.ID, a.host.Name)
	}
	if a.err == nil && h.hostID() != a.host.ID { // before anything is done there
		a.err = c.meet(ctx, h, a.host.ID)
	}
	if a.err == nil {
		a.err = c.adopt(h, a.host.ID)
	}
	if a.err != nil {
		if !h.silent.Swap(true) && ctx.Err() == nil {
			c.clock.AfterFunc(c.opt.Heartbeat/10, func() { c.spawn(func(ctx context.Context) { c.beat(ctx, h) }) }) // one lost answer is no silence
			c.log.WarnContext(ctx, "a host does not answer; its servers go on, new ones go elsewhere once it counts as down",
				"host_id", h.hostID(), "down_after", c.opt.DownAfter, "error", a.err)
		}
		return a.err
	}
	returned := h.silent.Swap(false)
	fresh, gone, err := c.record(ctx, h, a.host)
	if err != nil {
		return err
	}
	if fresh || returned {
		c.log.Info("a host answers", "host_id", a.host.ID, "host", a.host.Name, "type", a.host.Type, "zone", h.Zone)
		if gone {
			c.log.WarnContext(ctx, "a host answers that an operator declared gone for good; guests of servers that were deleted since are removed from it, and servers whose guests are there come back. "+
				"It takes new servers once an operator says that it is not forced down", "host_id", a.host.ID, "host", a.host.Name)
		}
		c.lookAt(a.host.ID)
	}
	return nil
}

// meet compares the store with what the driver of a host remembers of it.
func (c *core) meet(ctx context.Context, h *hypervisor, hostID string) error {
	if r, ok := computedriver.As[computedriver.Rememberer](h.Driver); ok {
		return within(ctx, func() error { return c.opt.Witness.Meet(ctx, instance(hostID), r) })
	}
	return c.opt.Witness.Meet(ctx, instance(hostID), nil)
}

func (h *hypervisor) hostID() string {
	if id := h.id.Load(); id != nil {
		return *id
	}
	return ""
}

// adopt makes the driver the one of the host that it reports.
func (c *core) adopt(h *hypervisor, id string) error {
	c.hyper.mu.Lock()
	defer c.hyper.mu.Unlock()
	if other := c.hyper.byID[id]; other != nil && other != h {
		return fault.New(fault.Conflict, "two drivers of this process report the same host; give each machine its own id").About("host", id)
	}
	if was := h.hostID(); was != "" && was != id {
		delete(c.hyper.byID, was)
	}
	h.id.Store(&id)
	c.hyper.byID[id] = h
	return nil
}

// record keeps what a host reports, and tells whether this run hears it for the first time after a silence, and whether it was declared gone.
func (c *core) record(ctx context.Context, d *hypervisor, r computedriver.Host) (fresh, gone bool, err error) {
	err = c.store.Update(ctx, func(tx *store.Tx) error {
		h, err := hosts.Get(tx, r.ID)
		if fault.Is(err, fault.NotFound) {
			h, err = &Host{ID: r.ID, CreatedAt: tx.Now(), UpdatedAt: tx.Now()}, nil
		}
		if err != nil {
			return err
		}
		fresh, gone = !c.answers(h, tx.LeaseNow()), !h.Gone.IsZero()
		was := *h
		h.Name, h.Type, h.Version, h.Arch, h.Address, h.Traits = r.Name, r.Type, r.Version, r.Arch, r.Address, r.Traits
		h.VCPUs, h.MemoryMiB, h.DiskGiB = r.VCPUs, r.MemoryMiB, r.DiskGiB
		h.Zone, h.Ratios = d.Zone, d.Ratios
		if !sameFacts(&was, h) {
			h.UpdatedAt = tx.Now()
		}
		h.Heartbeat, h.SeenAt, h.Run = tx.LeaseNow(), tx.Now(), c.run
		return c.putHost(tx, h)
	})
	return fresh, gone, err
}

func sameFacts(a, b *Host) bool {
	return a.Name == b.Name && a.Type == b.Type && a.Version == b.Version && a.Arch == b.Arch && a.Address == b.Address &&
		maps.Equal(a.Traits, b.Traits) && a.VCPUs == b.VCPUs && a.MemoryMiB == b.MemoryMiB && a.DiskGiB == b.DiskGiB &&
		a.Zone == b.Zone && a.Ratios == b.Ratios
}

// putHost writes a host and, with the commit, the scheduler's view of it.
func (c *core) putHost(tx *store.Tx, h *Host) error {
	l, err := ledgerOf(tx, h.ID)
	if err != nil {
		return err
	}
	as := c.schedulable(h, l)
	tx.OnCommit(func() { c.snap.set(as) })
	return hosts.Put(tx, h)
}
