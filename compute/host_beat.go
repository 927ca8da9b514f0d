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
	"github.com/nubecula/cloud/internal/witness"
	"github.com/nubecula/cloud/scheduler"
	"github.com/nubecula/cloud/store"
)

// hypervisors are the drivers of this process by the ids that their hosts report.
type hypervisors struct {
	mu      sync.RWMutex
	byID    map[string]*hypervisor
	looks   map[string]*look
	reading chan struct{} // holds the right to read all records of a host
	since   time.Time     // when this process began to listen, by the lease clock
	all     []*hypervisor // set with since, and not changed any more
}

type hypervisor struct {
	Hypervisor
	asking atomic.Bool // a heartbeat is under way
	silent atomic.Bool // the newest heartbeat failed, or was not recorded
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

// answer is what a host says, or why it says nothing.
type answer struct {
	h       *hypervisor
	host    computedriver.Host
	meeting *witness.Meeting // with a host that this driver has not reported before
	met     bool             // the store was compared with it
	err     error

	fresh bool // this run hears it for the first time, or after a silence
	gone  bool // it was declared gone
}

// linger is how long answers wait for those of other hosts, to be recorded in one transaction with them.
const linger = 100 * time.Millisecond

// beat asks hosts whether they are there, all at once, and records the answers together, without those that let the others wait.
// It returns the hosts to look at, which answer for the first time or again.
func (c *core) beat(ctx context.Context, all ...*hypervisor) (look []string) {
	ctx, cancel := clock.WithTimeout(ctx, c.clock, c.opt.DownAfter/2)
	defer cancel()
	said := make(chan *answer, 2*len(all)) // each answers, and then has perhaps been told how new the store is
	left := 0
	for _, h := range all {
		if !h.asking.Swap(true) {
			left++
			go func() { said <- c.ask(ctx, h) }()
		}
	}
	for left > 0 {
		var meet, heard []*answer
		for _, a := range c.gather(said, left) {
			switch {
			case a.err != nil:
				left--
				c.unheard(ctx, a)
			case a.meeting != nil && !a.met:
				meet = append(meet, a)
			default:
				left--
				heard = append(heard, a)
			}
		}
		c.meetHosts(ctx, meet, said)
		look = append(look, c.welcome(ctx, heard)...)
	}
	return look
}

// gather returns what is said by n hosts, or by those of them that are quick.
func (c *core) gather(said <-chan *answer, n int) []*answer {
	all := []*answer{<-said}
	if n == 1 {
		return all
	}
	over := make(chan struct{})
	defer c.clock.AfterFunc(linger, func() { close(over) })()
	for len(all) < n {
		select {
		case a := <-said:
			all = append(all, a)
		case <-over:
			return all
		}
	}
	return all
}

// ask asks a host what it is, and one that is new to this process how new a store it has seen.
func (c *core) ask(ctx context.Context, h *hypervisor) *answer {
	got := make(chan *answer, 1) // not a variable: a late answer must not be written to it
	go func() {
		defer h.asking.Store(false)
		a := &answer{h: h}
		a.host, a.err = h.Driver.Host(ctx)
		if a.err == nil && (a.host.ID == "" || a.host.Name == "") {
			a.err = fault.New(fault.Invalid, "the driver reports a host without id or name: %q, %q", a.host.ID, a.host.Name)
		}
		if a.err == nil && h.hostID() != a.host.ID { // before anything is done there
			a.meeting, a.err = c.opt.Witness.Ask(ctx, instance(a.host.ID), rememberer(h.Driver))
		}
		got <- a
	}()
	select {
	case a := <-got:
		return a
	case <-ctx.Done():
		return &answer{h: h, err: context.Cause(ctx)}
	}
}

// meetHosts compares the store with what new hosts remember of it, and has them told; each is said again then.
func (c *core) meetHosts(ctx context.Context, all []*answer, said chan<- *answer) {
	var meetings []*witness.Meeting
	for _, a := range all {
		meetings = append(meetings, a.meeting)
	}
	err := c.opt.Witness.Compare(ctx, meetings...)
	for _, a := range all {
		a.met = true
		if a.err = err; err != nil {
			said <- a
			continue
		}
		go func() {
			a.err = within(ctx, func() error { return c.opt.Witness.Tell(ctx, a.meeting) })
			said <- a
		}()
	}
}

// welcome records answers in one transaction and returns the hosts to look at.
func (c *core) welcome(ctx context.Context, all []*answer) (look []string) {
	var heard []*answer
	for _, a := range all {
		if a.err = c.adopt(a.h, a.host.ID); a.err != nil {
			c.unheard(ctx, a)
		} else {
			heard = append(heard, a)
		}
	}
	if len(heard) == 0 {
		return nil
	}
	if err := c.record(ctx, heard); err != nil {
		c.unrecorded(ctx, heard, err)
		return nil
	}
	for _, a := range heard {
		if returned := a.h.silent.Swap(false); !a.fresh && !returned {
			continue
		}
		c.log.Info("a host answers", "host_id", a.host.ID, "host", a.host.Name, "type", a.host.Type, "zone", a.h.Zone)
		if a.gone {
			c.log.WarnContext(ctx, "a host answers that an operator declared gone for good; guests of servers that were deleted since are removed from it, and servers whose guests are there come back. "+
				"It takes new servers once an operator says that it is not forced down", "host_id", a.host.ID, "host", a.host.Name)
		}
		look = append(look, a.host.ID)
	}
	return look
}

// unheard has a host that did not answer asked again soon, once.
func (c *core) unheard(ctx context.Context, a *answer) {
	if c.askAgain(ctx, a.h) {
		c.log.WarnContext(ctx, "a host does not answer; its servers go on, new ones go elsewhere once it counts as down",
			"host_id", a.h.hostID(), "down_after", c.opt.DownAfter, "error", a.err)
	}
}

// unrecorded has hosts asked again soon, once, whose answers the store did not take.
func (c *core) unrecorded(ctx context.Context, all []*answer, err error) {
	again := 0
	for _, a := range all {
		if c.askAgain(ctx, a.h) {
			again++
		}
	}
	if again > 0 {
		c.log.WarnContext(ctx, "hosts answer, but the store does not record it; they are asked again, and count as down if that goes on",
			"hosts", again, "again_after", c.opt.Heartbeat/10, "down_after", c.opt.DownAfter, "error", err)
	}
}

// askAgain has a host asked again soon if its last heartbeat was recorded: one lost answer is no silence.
func (c *core) askAgain(ctx context.Context, h *hypervisor) bool {
	if h.silent.Swap(true) || ctx.Err() != nil {
		return false
	}
	c.clock.AfterFunc(c.opt.Heartbeat/10, func() { c.spawn(func(ctx context.Context) { c.beatAndLook(ctx, h) }) })
	return true
}

// beatAndLook is a heartbeat of one host, which is looked at if it was silent.
func (c *core) beatAndLook(ctx context.Context, h *hypervisor) {
	for _, id := range c.beat(ctx, h) {
		c.lookAt(id)
	}
}

// meet compares the store with what the driver of a host remembers of it.
func (c *core) meet(ctx context.Context, h *hypervisor, hostID string) error {
	return within(ctx, func() error { return c.opt.Witness.Meet(ctx, instance(hostID), rememberer(h.Driver)) })
}

// rememberer is what of a driver remembers how new a store was; nil when nothing does.
func rememberer(d computedriver.Hypervisor) any {
	if r, ok := computedriver.As[computedriver.Rememberer](d); ok {
		return r
	}
	return nil
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

// record keeps what hosts report.
func (c *core) record(ctx context.Context, all []*answer) error {
	return c.store.Update(ctx, func(tx *store.Tx) error {
		var seen []scheduler.Host
		for _, a := range all {
			h, err := c.report(tx, a)
			if err != nil {
				return err
			}
			seen = append(seen, h)
		}
		tx.OnCommit(func() { c.snap.set(seen...) })
		return nil
	})
}

// report writes what a host reports, and returns the scheduler's view of it.
func (c *core) report(tx *store.Tx, a *answer) (scheduler.Host, error) {
	d, r := a.h, &a.host
	h, err := hosts.Get(tx, r.ID)
	if fault.Is(err, fault.NotFound) {
		h, err = &Host{ID: r.ID, CreatedAt: tx.Now(), UpdatedAt: tx.Now()}, nil
	}
	if err != nil {
		return scheduler.Host{}, err
	}
	a.fresh, a.gone = !c.answers(h, tx.LeaseNow()), !h.Gone.IsZero()
	was := *h
	h.Name, h.Type, h.Version, h.Arch, h.Address, h.Traits = r.Name, r.Type, r.Version, r.Arch, r.Address, r.Traits
	h.VCPUs, h.MemoryMiB, h.DiskGiB = r.VCPUs, r.MemoryMiB, r.DiskGiB
	h.Zone, h.Ratios = d.Zone, d.Ratios
	if !sameFacts(&was, h) {
		h.UpdatedAt = tx.Now()
	}
	h.Heartbeat, h.SeenAt, h.Run = tx.LeaseNow(), tx.Now(), c.run
	return c.writeHost(tx, h)
}

func sameFacts(a, b *Host) bool {
	return a.Name == b.Name && a.Type == b.Type && a.Version == b.Version && a.Arch == b.Arch && a.Address == b.Address &&
		maps.Equal(a.Traits, b.Traits) && a.VCPUs == b.VCPUs && a.MemoryMiB == b.MemoryMiB && a.DiskGiB == b.DiskGiB &&
		a.Zone == b.Zone && a.Ratios == b.Ratios
}

// putHost writes a host and, with the commit, the scheduler's view of it.
func (c *core) putHost(tx *store.Tx, h *Host) error {
	as, err := c.writeHost(tx, h)
	tx.OnCommit(func() { c.snap.set(as) })
	return err
}

// writeHost writes a host and returns what the scheduler's view of it is once that is committed.
func (c *core) writeHost(tx *store.Tx, h *Host) (scheduler.Host, error) {
	l, err := ledgerOf(tx, h.ID)
	if err != nil {
		return scheduler.Host{}, err
	}
	return c.schedulable(h, l), hosts.Put(tx, h)
}
