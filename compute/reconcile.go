package compute

import (
	"context"
	"slices"
	"time"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// Reconciliation: what a host's guests do is compared with what the records say. It changes records
// only, and removes no guest but those that a debt names.

// lookAt has a host reconciled and its debts paid now.
func (c *core) lookAt(hostID string) {
	c.spawn(func(ctx context.Context) { c.reconcile(ctx, hostID) })
}

func (c *core) reconcileAll(ctx context.Context) {
	for _, id := range c.driven() {
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
	err := c.payDebts(ctx, hostID)
	if err == nil {
		err = c.observeHost(ctx, hostID)
	}
	if err != nil && ctx.Err() == nil {
		c.log.Warn("the guests of a host could not be compared with the records; it is tried again", "host_id", hostID, "after", c.opt.Reconcile, "error", err)
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

// expected is a server as it was recorded before the host was asked.
type expected struct {
	generation int64
	revision   int64
}

// observeHost brings servers in line with their guests. The records are read before the guests; a server
// that was written since then, or is being worked on, is left to the next round.
func (c *core) observeHost(ctx context.Context, hostID string) error {
	driver, err := c.driver(hostID)
	if err != nil {
		return err
	}
	before := map[string]expected{}
	if err := c.store.View(ctx, func(tx *store.Tx) error {
		for v, err := range servers.Each(tx, store.Query[Server]{Index: "host", Prefix: store.Tuple{hostID}}) {
			if err != nil {
				return err
			}
			_, rev, err := servers.GetRev(tx, v.ID)
			if err != nil {
				return err
			}
			before[v.ID] = expected{v.Generation, rev}
		}
		return nil
	}); err != nil {
		return err
	}
	list := make(chan []computedriver.GuestState, 1) // not a variable: a late answer must not be written to it
	if err := within(ctx, func() error {
		guests, err := driver.Guests(ctx)
		list <- guests
		return err
	}); err != nil {
		return err
	}
	for _, g := range <-list {
		was, known := before[g.Mark.ID]
		if g.Mark.Cloud != c.opt.CloudID || !known || g.Mark.Generation != was.generation || g.Power == computedriver.Torn {
			continue
		}
		if err := c.takeOver(ctx, g, was); err != nil {
			return err
		}
	}
	return nil
}

// takeOver records what a guest was seen to do. A guest that runs although it was stopped is noted, not
// stopped: somebody started it on purpose.
func (c *core) takeOver(ctx context.Context, g computedriver.GuestState, was expected) error {
	id := g.Mark.ID
	changes := func(v *Server) bool {
		off := g.Power == computedriver.Off || g.Power == computedriver.Crashed
		return v.PowerState != powers[g.Power] || v.VMState == Active && off
	}
	if err := c.store.View(ctx, func(tx *store.Tx) error { return c.unless(tx, id, was, changes) }); err != nil {
		return ignore(err)
	}
	err := c.store.Update(ctx, func(tx *store.Tx) error {
		if err := c.unless(tx, id, was, changes); err != nil {
			return err
		}
		v, err := servers.Get(tx, id)
		if err != nil {
			return err
		}
		v.PowerState = powers[g.Power]
		if v.VMState == Active && g.Power != computedriver.Running && g.Power != computedriver.Paused {
			v.VMState = Stopped
			tx.Emit(v.event("power_off.end"))
		}
		state := v.VMState
		tx.OnCommit(func() {
			c.log.Info("a server's guest changed on its own", "server_id", id, "power", g.Power, "vm_state", state)
		})
		return put(tx, v)
	})
	return ignore(err)
}

// errLeave says that there is nothing to record now.
var errLeave = fault.New(fault.Stale, "left to the next round")

func ignore(err error) error {
	if err == errLeave || fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// unless returns errLeave when the server has changed since it was read, is busy, or is as it should be.
func (c *core) unless(tx *store.Tx, id string, was expected, changes func(v *Server) bool) error {
	v, rev, err := servers.GetRev(tx, id)
	if err != nil {
		return err
	}
	op, err := operation.Active(tx, resource(id))
	if err != nil {
		return err
	}
	if op != nil || rev != was.revision || !changes(v) {
		return errLeave
	}
	return nil
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
				if hint.What != "defined" && hint.What != "undefined" {
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
			op, err := operation.Active(tx, resource(h.ID))
			known = op != nil || h.What == "started" && v.PowerState == PowerRunning || h.What == "stopped" && v.PowerState == PowerShutdown
			return err
		}); err != nil {
			return // the next round sees it
		}
	}
	if !known {
		look.kick()
	}
}
