package compute

import (
	"context"
	"time"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// powerState is the state of server.start, server.stop and the reboots.
type powerState struct {
	ServerID   string              `json:"server_id"`
	HostID     string              `json:"host_id"`
	Generation int64               `json:"generation"`
	Turn       int64               `json:"turn,omitempty"` // of its first call; a Start behind a Stop has the next
	Task       TaskState           `json:"task"`           // that it set
	Seen       computedriver.Power `json:"seen,omitempty"` // after a failure; "" means that the host did not say
	Missing    bool                `json:"missing,omitempty"`
}

// turns is how many an operation is given: one for its Stop, one for its Start.
const turns = 2

func (s *powerState) ref() computedriver.Ref {
	return computedriver.Ref{ID: s.ServerID, Generation: s.Generation, Turn: s.Turn}
}

// then is the ref of a Start that follows a Stop or Reboot of the same operation.
func (s *powerState) then() computedriver.Ref {
	r := s.ref()
	r.Turn++
	return r
}

// powerStep makes a step on the guest. When it fails, Undo looks what the guest does now.
func (c *core) powerStep(name string, do func(ctx context.Context, h computedriver.Hypervisor, r *engine.Run[powerState]) error) engine.Step[powerState] {
	return engine.Step[powerState]{
		Name: name, Limit: c.opt.StopGrace + time.Minute,
		Instance: func(s *powerState) string { return instance(s.HostID) },
		Do: func(ctx context.Context, r *engine.Run[powerState]) error {
			driver, err := c.driver(r.State.HostID)
			if err != nil {
				return err
			}
			return do(ctx, driver, r)
		},
		Undo: c.observe,
		Debt: func(*store.Tx, *engine.Run[powerState]) error { return nil }, // nothing to see on a host that is down
	}
}

// observe sees what the guest does after a failure, and does without when the host does not say.
func (c *core) observe(ctx context.Context, r *engine.Run[powerState]) error {
	r.State.Seen, r.State.Missing = "", false
	driver, err := c.driver(r.State.HostID)
	if err != nil {
		return nil
	}
	guests, err := driver.Guests(ctx)
	if err != nil {
		return nil
	}
	r.State.Missing = true
	for _, g := range guests {
		if g.Mark == c.mark(r.State.ServerID, r.State.Generation) {
			r.State.Seen, r.State.Missing = g.Power, false
		}
	}
	return nil
}

func (c *core) startKind() engine.Kind[powerState] {
	return c.powerKind("server.start", nil, "power_on.end", Active,
		c.powerStep("start", func(ctx context.Context, h computedriver.Hypervisor, r *engine.Run[powerState]) error {
			return h.Start(ctx, r.State.ref())
		}))
}

func (c *core) stopKind() engine.Kind[powerState] {
	return c.powerKind("server.stop", nil, "power_off.end", Stopped,
		c.powerStep("stop", func(ctx context.Context, h computedriver.Hypervisor, r *engine.Run[powerState]) error {
			return h.Stop(ctx, r.State.ref(), c.opt.StopGrace)
		}))
}

func (c *core) rebootKind() engine.Kind[powerState] {
	return c.powerKind("server.reboot", nil, "reboot.end", Active,
		c.powerStep("reboot", func(ctx context.Context, h computedriver.Hypervisor, r *engine.Run[powerState]) error {
			if soft, ok := computedriver.As[computedriver.Rebooter](h); ok {
				if err := soft.Reboot(ctx, r.State.ref()); !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.Stale) {
					return err
				}
				return h.Start(ctx, r.State.then()) // it was off, or this step has run before, as far as here
			}
			// Stale: this step has run before, as far as the start.
			if err := h.Stop(ctx, r.State.ref(), c.opt.StopGrace); err != nil && !fault.Is(err, fault.Stale) {
				return err
			}
			return h.Start(ctx, r.State.then())
		}))
}

// rebootHardKind also mends a guest of which only the disk is left.
func (c *core) rebootHardKind() engine.Kind[powerState] {
	define := c.powerStep("define", func(ctx context.Context, h computedriver.Hypervisor, r *engine.Run[powerState]) error {
		return c.defineGuest(ctx, r.State.ServerID, r.State.HostID, r.State.Generation, true)
	})
	define.Limit = bootLimit
	return c.powerKind("server.reboot-hard", []string{"server.reboot"}, "reboot.end", Active,
		c.powerStep("stop", func(ctx context.Context, h computedriver.Hypervisor, r *engine.Run[powerState]) error {
			err := h.Stop(ctx, r.State.ref(), 0)
			if fault.Is(err, fault.NotFound) {
				return nil
			}
			return err
		}),
		define,
		c.powerStep("start", func(ctx context.Context, h computedriver.Hypervisor, r *engine.Run[powerState]) error {
			return h.Start(ctx, r.State.then())
		}))
}

func (c *core) powerKind(name string, preempts []string, event string, to VMState, steps ...engine.Step[powerState]) engine.Kind[powerState] {
	return engine.Kind[powerState]{
		Name: name, Version: 1, Preempts: preempts, Steps: steps,
		Finish: func(tx *store.Tx, r *engine.Run[powerState]) error {
			return change(tx, r.State.ServerID, func(v *Server) error {
				v.VMState, v.PowerState, v.Fault, v.Lost = to, PowerRunning, nil, false
				if to == Stopped {
					v.PowerState = PowerShutdown
				}
				v.move(NoTask, r.State.Task)
				emitFor(tx, r.Op, v, event)
				return nil
			})
		},
		Abort: func(tx *store.Tx, r *engine.Run[powerState], f *operation.Failure) error {
			return c.powerFailed(tx, r, f)
		},
	}
}

// powerFailed brings the server into the state that its guest was seen in. The operation keeps the reason.
func (c *core) powerFailed(tx *store.Tx, r *engine.Run[powerState], f *operation.Failure) error {
	return change(tx, r.State.ServerID, func(v *Server) error {
		over, err := overtaken(tx, v.ID)
		if err != nil {
			return err
		}
		if !over {
			v.move(NoTask, r.State.Task)
		}
		switch {
		case r.State.Missing:
			v.VMState, v.PowerState, v.Lost = Error, PowerNone, true
			v.Fault = &Fault{Code: 500, Message: "the guest is not on its host any more: " + f.Message, Created: tx.Now()}
		case r.State.Seen != "":
			v.sees(r.State.Seen)
		}
		if f.Code != fault.Canceled {
			emitFor(tx, r.Op, v, "power.error")
		}
		return nil
	})
}

// sees takes over what a guest was seen to do.
func (v *Server) sees(p computedriver.Power) {
	v.PowerState = powers[p]
	switch {
	case v.VMState == Active && (p == computedriver.Off || p == computedriver.Crashed):
		v.VMState = Stopped
	case v.VMState == Stopped && p == computedriver.Running:
		v.VMState = Active
	}
}

// powers are Nova's numbers for what a driver reports.
var powers = map[computedriver.Power]PowerState{
	computedriver.Off:     PowerShutdown,
	computedriver.Running: PowerRunning,
	computedriver.Crashed: PowerCrashed,
	computedriver.Paused:  PowerPaused,
	computedriver.Torn:    PowerNone,
}
