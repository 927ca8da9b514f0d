package compute

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/finding"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// Reconciliation: what a host's guests do is compared with what the records say, in three parts: observe, plan
// (plan.go, which is pure) and act. It removes no guest but those whose placement the store knows to be over.

// lookAt has a host reconciled and its debts paid now.
func (c *core) lookAt(hostID string) {
	c.spawn(func(ctx context.Context) { c.reconcile(ctx, hostID) })
}

// reconcileAll is a round: every host is compared, and told how new the store is. It pauses nine times as long as it reads records.
func (c *core) reconcileAll(ctx context.Context) {
	for _, id := range c.driven() {
		c.hyper.mu.RLock()
		h := c.hyper.byID[id]
		c.hyper.mu.RUnlock()
		if err := c.meet(ctx, h, id); err != nil && ctx.Err() == nil {
			c.log.WarnContext(ctx, "a driver could not be told how new the store is; the next round does it", "host_id", id, "after", c.opt.Reconcile, "error", err)
		}
		c.reconcile(ctx, id)
		if clock.Rest(ctx, c.clock, time.Duration(c.lookOf(id).took.Load())) != nil {
			return
		}
	}
	c.closeGone(ctx)
}

// reconcileEach looks at hosts, one after the other.
func (c *core) reconcileEach(ctx context.Context, hostIDs []string) {
	for _, id := range hostIDs {
		c.reconcile(ctx, id)
	}
}

// driven lists the hosts whose driver answered its newest heartbeat.
func (c *core) driven() []string {
	c.hyper.mu.RLock()
	defer c.hyper.mu.RUnlock()
	var out []string
	for id, h := range c.hyper.byID {
		if !h.silent.Load() {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// reconcile looks at one host. It gives up at the first error; the next round tries again.
func (c *core) reconcile(ctx context.Context, hostID string) {
	ctx, cancel := clock.WithTimeout(ctx, c.clock, c.opt.DownAfter)
	defer cancel()
	err := c.opt.Witness.Refresh(ctx)
	if err == nil {
		err = c.payDebts(ctx, hostID)
	}
	if err == nil {
		_, err = c.settle(ctx, hostID, c.opt.Brake)
	}
	if err != nil && ctx.Err() == nil {
		c.log.WarnContext(ctx, "the guests of a host could not be compared with the records; it is tried again", "host_id", hostID, "after", c.opt.Reconcile, "error", err)
	}
}

// within waits for a call of a driver until ctx ends; one that does not return by then is left behind.
func within(ctx context.Context, call func() error) error {
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// settle brings servers in line with their guests, and removes guests whose placements are over. It returns the ids of
// the servers that it declared lost.
func (c *core) settle(ctx context.Context, hostID string, limit int) (lost []string, err error) {
	look := c.lookOf(hostID)
	select { // one look at a time: each is compared with the one before
	case look.turn <- struct{}{}:
		defer func() { <-look.turn }()
	case <-ctx.Done(): // the host hangs, and whoever looks waits for it already
		return nil, context.Cause(ctx)
	}
	s, err := c.see(ctx, hostID)
	if err != nil {
		return nil, err
	}
	s.limit, s.missed = limit, look.missed
	p := s.plan()
	for id := range p.missed {
		if _, again := look.missed[id]; !again {
			c.clock.AfterFunc(confirmAfter, func() { c.lookAt(hostID) })
			break
		}
	}
	look.missed = p.missed
	if err := c.tell(ctx, look, s, p); err != nil {
		return nil, err
	}
	for _, g := range p.follow {
		if err := c.takeOver(ctx, g, s.before[g.Mark.ID]); err != nil {
			return nil, err
		}
	}
	for _, l := range p.lose {
		done, err := c.lose(ctx, l, s.before[l.id])
		if err != nil {
			return lost, err
		}
		if done {
			lost = append(lost, l.id)
		}
	}
	return lost, c.removeOrphans(ctx, hostID, p.remove)
}

// confirmAfter is when a host is looked at again that seems to have lost a guest.
const confirmAfter = 5 * time.Second

// look is what this process remembers between two looks at a host.
type look struct {
	turn   chan struct{} // holds the right to look; not a mutex, since a look waits for a driver
	missed map[string]expected
	told   finding.Told
	took   atomic.Int64 // how long the newest one read records, in nanoseconds
}

func (c *core) lookOf(hostID string) *look {
	c.hyper.mu.Lock()
	defer c.hyper.mu.Unlock()
	if c.hyper.looks[hostID] == nil {
		c.hyper.looks[hostID] = &look{turn: make(chan struct{}, 1)}
	}
	return c.hyper.looks[hostID]
}

// see reads the host's records, asks the host, and looks up what the records did not say of its guests. The
// records are read first: a server that was written since then is left to the next round. It fails when the listing
// does: what is not in a broken list is not absent.
func (c *core) see(ctx context.Context, hostID string) (*sighting, error) {
	driver, err := c.driver(hostID)
	if err != nil {
		return nil, err
	}
	s := &sighting{host: hostID, cloud: c.opt.CloudID, before: map[string]expected{}, after: map[computedriver.Ref]fate{}}
	took, err := c.readRecords(ctx, func(tx *store.Tx) error {
		for v, err := range servers.EachRev(tx, store.Query[Server]{Index: "host", Prefix: store.Tuple{hostID}}) {
			if err != nil {
				return err
			}
			if s.before[v.Doc.ID], err = expectOf(tx, v.Doc, v.Rev); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.lookOf(hostID).took.Store(int64(took))
	list := make(chan []computedriver.GuestState, 1) // not a variable: a late answer must not be written to it
	if err := within(ctx, func() error {
		guests, err := driver.Guests(ctx)
		list <- guests
		return err
	}); err != nil {
		return nil, err
	}
	s.guests = <-list
	_, err = c.readRecords(ctx, func(tx *store.Tx) error {
		for _, g := range s.guests {
			if e, ok := s.before[g.Mark.ID]; g.Mark.Cloud != s.cloud || ok && e.generation == g.Mark.Generation {
				continue
			}
			f, err := fateOf(tx, g.Mark.Ref())
			if err != nil {
				return err
			}
			s.after[g.Mark.Ref()] = f
		}
		return nil
	})
	return s, err
}

// readRecords is a View of a whole host. One is read at a time: at a start all hosts are looked at, and users' calls go first.
// It tells how long that took, not how long it waited.
func (c *core) readRecords(ctx context.Context, fn func(tx *store.Tx) error) (took time.Duration, err error) {
	select {
	case c.hyper.reading <- struct{}{}:
		defer func() { <-c.hyper.reading }()
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	began := c.clock.Mono()
	err = c.store.View(ctx, fn)
	return c.clock.Mono() - began, err
}

// expect reads what is expected of a server's guest.
func expect(tx *store.Tx, id string) (expected, error) {
	v, rev, err := servers.GetRev(tx, id)
	if err != nil {
		return expected{}, err
	}
	return expectOf(tx, v, rev)
}

func expectOf(tx *store.Tx, v *Server, rev int64) (expected, error) {
	op, err := operation.Active(tx, resource(v.ID))
	return expected{generation: v.Generation, revision: rev, state: v.VMState, power: v.PowerState, lost: v.Lost, busy: op != nil}, err
}

// fateOf reads what became of a placement.
func fateOf(tx *store.Tx, r computedriver.Ref) (f fate, err error) {
	if f.owed, err = debts.Has(tx, placementID(r.ID, r.Generation)); err != nil {
		return f, err
	}
	v, err := servers.Get(tx, r.ID)
	if fault.Is(err, fault.NotFound) {
		d, err := servers.GetDeleted(tx, r.ID)
		if fault.Is(err, fault.NotFound) {
			return f, nil
		}
		if err == nil {
			f.deleted, f.generation, f.host = true, d.Doc.Generation, d.Doc.HostID
		}
		return f, err
	}
	if err != nil {
		return f, err
	}
	op, err := operation.Active(tx, resource(r.ID))
	f.exists, f.generation, f.host, f.busy = true, v.Generation, v.HostID, op != nil
	return f, err
}

// takeOver records what a guest was seen to do. A guest that runs although it was stopped is not stopped again: somebody
// started it, and cutting its power could lose what it does.
func (c *core) takeOver(ctx context.Context, g computedriver.GuestState, was expected) error {
	return c.unlessChanged(ctx, g.Mark.ID, was, func(tx *store.Tx, v *Server) error {
		v.PowerState = powers[g.Power]
		on := g.Power == computedriver.Running || g.Power == computedriver.Paused
		switch {
		case v.Lost:
			v.Lost, v.Fault, v.VMState = false, nil, Stopped
			if on {
				v.VMState = Active
			}
			tx.Emit(v.event("found"))
		case v.VMState == Active && !on:
			v.VMState = Stopped
			tx.Emit(v.event("power_off.end"))
		case v.VMState == Stopped && g.Power == computedriver.Running:
			v.VMState = Active
			tx.Emit(v.event("power_on.end"))
		}
		state := v.VMState
		tx.OnCommit(func() {
			c.log.Info("a server's guest changed on its own", "server_id", v.ID, "power", g.Power, "vm_state", state)
		})
		return nil
	})
}

// lose records that a server's guest is gone, and reports whether it did.
func (c *core) lose(ctx context.Context, l loss, was expected) (done bool, err error) {
	err = c.unlessChanged(ctx, l.id, was, func(tx *store.Tx, v *Server) error {
		message := "the guest and its disk are not on host " + v.Host + " any more; if its storage was not mounted, mount it and the server comes back by itself, otherwise delete the server"
		if l.torn {
			message = "half of the guest is gone from host " + v.Host + "; reboot the server --hard: that makes it whole around its disk, if that is there"
		}
		v.VMState, v.PowerState, v.Lost = Error, PowerNone, true
		v.Fault = &Fault{Code: 500, Message: message, Created: tx.Now()}
		tx.Emit(v.event("lost"))
		host := v.HostID
		tx.OnCommit(func() {
			c.log.ErrorContext(ctx, "a server has lost its guest; it goes to ERROR, and comes back by itself with its guest: look at the host", "server_id", v.ID, "host_id", host, "half_there", l.torn, "reason", message)
			done = true
		})
		return nil
	})
	return done, err
}

// errLeave says that there is nothing to record now.
var errLeave = fault.New(fault.Stale, "left to the next round")

func ignore(err error) error {
	if err == errLeave || fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// unlessChanged changes a server, unless it was written since it was read or an operation is at work on it.
func (c *core) unlessChanged(ctx context.Context, id string, was expected, change func(tx *store.Tx, v *Server) error) error {
	check := func(tx *store.Tx) error {
		now, err := expect(tx, id)
		if err == nil && (now.busy || now.revision != was.revision) {
			err = errLeave
		}
		return err
	}
	if err := c.store.View(ctx, check); err != nil {
		return ignore(err)
	}
	return ignore(c.store.Update(ctx, func(tx *store.Tx) error {
		if err := check(tx); err != nil {
			return err
		}
		v, err := servers.Get(tx, id)
		if err != nil {
			return err
		}
		if err := change(tx, v); err != nil {
			return err
		}
		return put(tx, v)
	}))
}

// watch follows a driver's hints: a changed guest has its host looked at. Without hints changes are seen
// at the next round.
func (c *core) watch(h *hypervisor) {
	w, ok := computedriver.As[computedriver.Watcher](h.Driver)
	if !ok {
		return
	}
	look := &loop{c: c, work: func(ctx context.Context) {
		if id := h.hostID(); id != "" {
			c.reconcile(ctx, id)
		}
	}}
	go func() {
		for wait := time.Second; c.loops.ctx.Err() == nil; wait = min(2*wait, c.opt.DownAfter) {
			err := w.Watch(c.loops.ctx, func(hint computedriver.Hint) {
				if hint.What != "defined" {
					c.spawn(func(ctx context.Context) { c.hinted(ctx, hint, look) })
				}
			})
			if fault.Is(err, fault.Unsupported) {
				return
			}
			over := make(chan struct{})
			stop := c.clock.AfterFunc(wait, func() { close(over) })
			select {
			case <-over:
			case <-c.loops.ctx.Done():
				stop()
			}
		}
	}()
}

// hinted has the host looked at, unless the hint tells nothing new: an operation is at work on the guest
// and causes hints itself, or the record says the same already.
func (c *core) hinted(ctx context.Context, h computedriver.Hint, look *loop) {
	known := false
	if h.ID != "" {
		if err := c.store.View(ctx, func(tx *store.Tx) error {
			v, err := servers.Get(tx, h.ID)
			if fault.Is(err, fault.NotFound) {
				known = true // not ours, or deleted
				return nil
			}
			if err != nil {
				return err
			}
			known = v.TaskState != NoTask || h.What == "started" && v.PowerState == PowerRunning || h.What == "stopped" && v.PowerState == PowerShutdown
			if known {
				return nil
			}
			op, err := operation.Active(tx, resource(h.ID))
			known = op != nil
			return err
		}); err != nil {
			return // the next round sees it
		}
	}
	if !known {
		look.kick()
	}
}
