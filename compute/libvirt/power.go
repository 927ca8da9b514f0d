//go:build libvirt && linux

package libvirt

import (
	"context"
	"time"

	"libvirt.org/go/libvirt"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
)

const (
	stopPoll = 250 * time.Millisecond // how soon Stop sees that a guest has gone
	askAgain = 10 * time.Second       // a guest that still boots misses the power button
)

// with runs a call on a guest's domain, under the guest's lock, if its turn is not over.
func (d *Driver) with(ctx context.Context, op string, r computedriver.Ref, call func(*libvirt.Domain) error) error {
	_, err := do(ctx, d, op, r.ID, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, d.locked(ctx, r, func(dom *libvirt.Domain) error {
			if err := d.state.take(r); err != nil {
				return err
			}
			return call(dom)
		})
	})
	return err
}

func (d *Driver) locked(ctx context.Context, r computedriver.Ref, call func(*libvirt.Domain) error) error {
	if err := checkRef(r); err != nil {
		return err
	}
	unlock, err := d.state.lock(ctx, r.ID)
	if err != nil {
		return err
	}
	defer unlock()
	_, err = on(ctx, d, func(s *session) (struct{}, error) { return struct{}{}, onDomain(ctx, s, r, call) })
	return err
}

func onDomain(ctx context.Context, s *session, r computedriver.Ref, call func(*libvirt.Domain) error) error {
	dom, at, err := find(s, r.ID)
	if err != nil {
		return err
	}
	if dom != nil {
		defer dom.Free()
	}
	switch {
	case at == (computedriver.Mark{}): // none, or an administrator's
		return fault.New(fault.NotFound, "not defined on this host")
	case at.Generation != r.Generation:
		return fault.New(fault.Stale, "generation %d is on the host, not %d", at.Generation, r.Generation)
	case ctx.Err() != nil:
		return ended(ctx)
	}
	return call(dom)
}

// Start powers the guest on; one that is paused goes on.
func (d *Driver) Start(ctx context.Context, r computedriver.Ref) error {
	err := d.with(ctx, "guest.start", r, func(dom *libvirt.Domain) error {
		if err := d.refuseOld(r); err != nil { // an Undefine broke off
			return err
		}
		p, err := powerOf(dom)
		switch {
		case err != nil || p == computedriver.Running:
			return err
		case p == computedriver.Paused:
			err = dom.Resume()
		default:
			err = dom.Create()
		}
		if err != nil { // a process that died may have started it just now
			if p, again := powerOf(dom); again == nil && p == computedriver.Running {
				return nil
			}
		}
		return err
	})
	if fault.Is(err, fault.NotFound) {
		if old := d.refuseOld(r); old != nil {
			return d.about(old, "guest.start", r.ID)
		}
	}
	return err
}

// Stop asks the guest to shut down and cuts the power once grace has passed.
func (d *Driver) Stop(ctx context.Context, r computedriver.Ref, grace time.Duration) error {
	const op = "guest.stop"
	if grace <= 0 {
		return d.with(ctx, op, r, cut)
	}
	clock := d.opts.Clock
	off, run := false, uint(0)
	end, ask := clock.Mono()+grace, clock.Mono()
	// Between its looks the guest is not locked, so a delete need not wait for the grace.
	look := func(dom *libvirt.Domain) error {
		active, err := dom.IsActive()
		if err != nil || !active {
			off = err == nil
			return err
		}
		id, err := dom.GetID()
		if err != nil {
			return nil // it has just gone; the next look sees it
		}
		if run != 0 && run != id {
			off = true // somebody has started it again since
			return nil
		}
		run = id
		now := clock.Mono()
		if now >= end {
			off = true
			return cut(dom)
		}
		if now >= ask {
			ask = now + askAgain
			return d.ask(dom)
		}
		return nil
	}
	for first := true; ; first = false {
		err := d.with(ctx, op, r, look)
		if !first && (fault.Is(err, fault.NotFound) || fault.Is(err, fault.Stale)) {
			return nil // undefined meanwhile
		}
		if err != nil || off {
			return err
		}
		if clock.Sleep(ctx, min(stopPoll, max(0, end-clock.Mono()))) != nil {
			return d.about(ended(ctx), op, r.ID)
		}
	}
}

// ask presses the power button. A guest that cannot be asked, a paused one for instance, has its grace all the same.
func (d *Driver) ask(dom *libvirt.Domain) error {
	err := dom.Shutdown()
	if err := d.about(err, "", ""); fault.Is(err, fault.Unavailable) {
		return err
	}
	return nil
}

// cut cuts the power; a domain that is off or gone is success.
func cut(dom *libvirt.Domain) error {
	err := dom.Destroy()
	if err == nil || isCode(err, libvirt.ERR_NO_DOMAIN) {
		return nil
	}
	if active, again := dom.IsActive(); again == nil && !active {
		return nil
	}
	return err
}

// Reboot asks the guest's system to restart.
func (d *Driver) Reboot(ctx context.Context, r computedriver.Ref) error {
	return d.with(ctx, "guest.reboot", r, func(dom *libvirt.Domain) error {
		p, err := powerOf(dom)
		if err != nil {
			return err
		}
		if p != computedriver.Running {
			return fault.New(fault.Conflict, "is %s; start it instead", p)
		}
		return dom.Reboot(libvirt.DOMAIN_REBOOT_DEFAULT)
	})
}

// ConsoleOutput returns the end of the guest's serial log.
func (d *Driver) ConsoleOutput(ctx context.Context, r computedriver.Ref, max int) ([]byte, error) {
	return do(ctx, d, "guest.console", r.ID, func(ctx context.Context) ([]byte, error) {
		if err := d.locked(ctx, r, func(*libvirt.Domain) error { return nil }); err != nil {
			return nil, err
		}
		return tail(d.console(r.ID), max)
	})
}

// powerOf reads a domain's state.
func powerOf(dom *libvirt.Domain) (computedriver.Power, error) {
	state, reason, err := dom.GetState()
	if err != nil {
		return "", err
	}
	switch state {
	case libvirt.DOMAIN_RUNNING, libvirt.DOMAIN_BLOCKED, libvirt.DOMAIN_SHUTDOWN:
		return computedriver.Running, nil
	case libvirt.DOMAIN_PAUSED, libvirt.DOMAIN_PMSUSPENDED:
		return computedriver.Paused, nil
	case libvirt.DOMAIN_CRASHED:
		return computedriver.Crashed, nil
	case libvirt.DOMAIN_SHUTOFF:
		if libvirt.DomainShutoffReason(reason) == libvirt.DOMAIN_SHUTOFF_CRASHED {
			return computedriver.Crashed, nil
		}
	}
	return computedriver.Off, nil
}
