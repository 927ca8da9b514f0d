package compute

import (
	"context"
	"fmt"
	"time"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/store"
)

// HostGone is what becomes of a host's servers when it is declared gone for good.
type HostGone struct {
	Host  *Host
	Lost  []string // ids of servers that go to ERROR
	Ended []string // ids of deleted servers that gave back their share of the host, ports and addresses
	Busy  []string // ids of servers with an operation at work, which fails or ends now: they follow within a minute
}

// DeclareHostGone is an operator's word that a host, by id or name, never comes back: its machine has burnt. Its servers go
// to ERROR, and deletes of them end and give back ports, addresses and the share of the host. It takes no servers until
// UpdateHost says that it is not forced down. Should it come back all the same, guests of servers that were deleted are removed, and
// servers that were not come back with their guests. dryRun looks at what would be. Saying it again is no error.
//
// It must be true: a guest that runs on after all keeps an address which is given to another server. So it is refused while the
// host answers, or has not been silent for Options.DownAfter: Conflict. NotFound when there is no such host.
func (s *Service) DeclareHostGone(ctx context.Context, idOrName string, dryRun bool) (*HostGone, error) {
	if err := s.allowed(ctx, "compute:host:update"); err != nil {
		return nil, err
	}
	h, err := s.GetHost(ctx, idOrName)
	if err != nil {
		return nil, err
	}
	s.askNow(ctx, h.ID)
	decide := func(tx *store.Tx) error {
		if h, err = hosts.Get(tx, h.ID); err != nil {
			return err
		}
		if err := s.notGone(tx, h); err != nil {
			return err
		}
		return s.fillHost(tx, h)
	}
	if dryRun {
		if err := s.view(ctx, decide); err != nil {
			return nil, err
		}
		return s.closeDown(ctx, h, true)
	}
	err = s.update(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "compute:host:update", identity.Target{Kind: "host"}); err != nil {
			return err
		}
		if err := decide(tx); err != nil || !h.Gone.IsZero() {
			return err
		}
		h.Gone, h.ForcedDown, h.UpdatedAt = tx.Now(), true, tx.Now()
		s.emit(tx, "compute.host.gone", "host", h.ID, "", nil)
		tx.OnCommit(func() {
			s.log.WarnContext(ctx, "an operator declared a host gone for good; its servers go to ERROR, and deletes of them wait for it no longer", "host_id", h.ID, "host", h.Name)
		})
		return s.putHost(tx, h)
	})
	if err != nil {
		return nil, err
	}
	return s.closeDown(ctx, h, false)
}

// askNow has a host of this process that seems silent asked once more, for the last time.
func (c *core) askNow(ctx context.Context, hostID string) {
	c.hyper.mu.RLock()
	d := c.hyper.byID[hostID]
	c.hyper.mu.RUnlock()
	if d != nil {
		c.beatAndLook(ctx, d) // an answer is recorded
	}
}

// notGone is why a host is not gone for all that is known; nil when it may be.
func (c *core) notGone(tx *store.Tx, h *Host) error {
	silence := c.silence(h, tx.LeaseNow())
	if silence > c.opt.DownAfter {
		return nil
	}
	last := "it has not answered yet"
	if !h.SeenAt.IsZero() {
		last = "its last heartbeat was at " + h.SeenAt.UTC().Format(time.RFC3339)
	}
	return &fault.Error{Code: fault.Conflict, Kind: "host", ID: h.ID, Msg: fmt.Sprintf("%s cannot be declared gone: %s, and it must have been silent for %s while this process listened; "+
		"if it works, disable it for new servers and delete those that it has; if its machine is lost, see that it has no power, and say so again at %s",
		h.Name, last, c.opt.DownAfter, tx.Now().Add(c.opt.DownAfter-silence).UTC().Format(time.RFC3339))}
}

// free reports whether a host was declared gone and is silent, so that what its servers have is given back at once. Nothing is
// while the store is held, nor while the host answers after all: its guests run, and use their addresses.
func (c *core) free(tx *store.Tx, hostID string) (bool, error) {
	h, err := hosts.Get(tx, hostID)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil && !h.Gone.IsZero() && c.silence(h, tx.LeaseNow()) > c.opt.DownAfter && c.opt.Witness.Held() == nil, err
}

// closeGone does what is left to do for hosts that were declared gone. It gives up at the first error; the next round tries again.
func (c *core) closeGone(ctx context.Context) {
	var gone []*Host
	err := c.store.View(ctx, func(tx *store.Tx) (err error) {
		gone, err = hosts.List(tx, store.Query[Host]{Index: "gone"})
		return err
	})
	for _, h := range gone {
		if err == nil {
			_, err = c.closeDown(ctx, h, false)
		}
	}
	if err != nil && ctx.Err() == nil {
		c.log.WarnContext(ctx, "servers of a host that was declared gone could not be given up; it is tried again", "after", c.opt.Reconcile, "error", err)
	}
}

// closeDown gives up the servers of a host that was declared gone, as long as it is silent: those that were deleted give back what
// they have, the others go to ERROR. What is removed from it should it come back stays a debt.
func (c *core) closeDown(ctx context.Context, h *Host, dryRun bool) (*HostGone, error) {
	out := &HostGone{Host: h}
	why := Fault{Code: 500, Message: "host " + h.Name + " was declared gone for good, and with it the guest and its disk; delete the server. Should the host come back after all, the server does too"}
	var due []*debt
	left := map[string]expected{}
	if _, err := c.readRecords(ctx, func(tx *store.Tx) (err error) {
		if c.silence(h, tx.LeaseNow()) <= c.opt.DownAfter {
			return nil // it answers, or did so lately: what it holds is compared as always
		}
		if due, err = debts.List(tx, store.Query[debt]{Index: "host", Prefix: store.Tuple{h.ID}}); err != nil {
			return err
		}
		for v, err := range servers.Each(tx, store.Query[Server]{Index: "host", Prefix: store.Tuple{h.ID}}) {
			if err != nil {
				return err
			}
			was, err := expect(tx, v.ID)
			switch {
			case err != nil:
				return err
			case was.busy:
				out.Busy = append(out.Busy, v.ID)
			case !v.Lost || v.VMState != Error || v.Fault == nil || v.Fault.Message != why.Message:
				left[v.ID] = was
			}
		}
		return nil
	}); err != nil {
		return nil, err
	}
	for id, was := range left {
		done := dryRun
		if !dryRun {
			if err := c.unlessChanged(ctx, id, was, func(tx *store.Tx, v *Server) error {
				f := why
				f.Created = tx.Now()
				v.VMState, v.PowerState, v.Lost, v.Fault = Error, PowerNone, true, &f
				tx.Emit(v.event("lost"))
				tx.OnCommit(func() { done = true })
				return nil
			}); err != nil {
				return out, err
			}
		}
		if done {
			out.Lost = append(out.Lost, id)
		}
	}
	for _, d := range due {
		if d.Orphan || c.opt.Witness.Held() != nil {
			continue
		}
		if !dryRun {
			if err := c.giveBack(ctx, d); err != nil {
				return out, err
			}
		}
		out.Ended = append(out.Ended, d.ServerID)
	}
	return out, nil
}

// giveBack releases what waits for a guest's removal, which stays owed, from a host that may never answer.
func (c *core) giveBack(ctx context.Context, d *debt) error {
	if err := c.unplugAll(ctx, d.NICs, d.HostID, d.Generation); err != nil {
		return err
	}
	return c.store.Update(ctx, func(tx *store.Tx) error {
		has, err := debts.Has(tx, placementID(d.ServerID, d.Generation))
		if err != nil || !has {
			return err
		}
		if err := c.dropPorts(tx, d.ServerID, d.NICs, d.Generation); err != nil {
			return err
		}
		if err := c.release(tx, d.ServerID, d.Generation); err != nil {
			return err
		}
		return debts.Put(tx, &debt{ServerID: d.ServerID, Generation: d.Generation, HostID: d.HostID, ProjectID: d.ProjectID, Orphan: true})
	})
}
