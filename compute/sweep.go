package compute

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/store"
)

// removeOrphans removes guests whose placements are over. Each becomes a debt first, in the transaction that looks once
// more whether it still is one, so that what was decided is done whatever happens.
func (c *core) removeOrphans(ctx context.Context, hostID string, orphans []computedriver.GuestState) error {
	if len(orphans) == 0 || c.opt.Witness.Held() != nil {
		return nil
	}
	for _, g := range orphans {
		if err := c.oweOrphan(ctx, hostID, g, orphan); err != nil {
			return err
		}
	}
	return c.payDebts(ctx, hostID)
}

// oweOrphan makes the removal of a guest a debt, if it still is what it was taken for.
func (c *core) oweOrphan(ctx context.Context, hostID string, g computedriver.GuestState, verdicts ...verdict) error {
	return c.store.Update(ctx, func(tx *store.Tx) error {
		f, err := fateOf(tx, g.Mark.Ref())
		if err != nil {
			return err
		}
		s := &sighting{host: hostID, cloud: c.opt.CloudID, after: map[computedriver.Ref]fate{g.Mark.Ref(): f}}
		if v := s.judge(g); !slices.Contains(verdicts, v) {
			return nil
		}
		tx.OnCommit(func() {
			c.log.WarnContext(ctx, "a guest whose placement is over is still on a host; it is removed", "server_id", g.Mark.ID, "host_id", hostID,
				"generation", g.Mark.Generation, "power", g.Power)
		})
		return owe(tx, &debt{ServerID: g.Mark.ID, Generation: g.Mark.Generation, HostID: hostID, Orphan: true})
	})
}

// tell gives the alarms that were not given before.
func (c *core) tell(ctx context.Context, l *look, s *sighting, p deeds) error {
	pass := l.told.Pass()
	for _, g := range p.unknown {
		if err := c.opt.Witness.Saw(ctx, instance(s.host), g.Epoch, "host "+s.host+" has a guest that was made by a newer state of this store"); err != nil {
			return err
		}
		if pass.First(fmt.Sprint("unknown ", g.Mark)) {
			c.log.ErrorContext(ctx, "a host has a guest under this cloud's mark that the store does not know: the store was restored or damaged. The guest is left "+
				"alone; restore a newer backup, or look at Cloud.Inspect and have it removed with Cloud.AcceptRemoval",
				"host_id", s.host, "server_id", g.Mark.ID, "generation", g.Mark.Generation, "power", g.Power, "name", g.Name)
		}
	}
	c.opt.Witness.Compared(instance(s.host))
	var marked, other []string
	for _, g := range p.foreign {
		if key := "foreign " + g.Mark.Cloud + "/" + g.Mark.ID + "/" + g.Name; pass.First(key) {
			if g.Mark.Cloud != "" {
				marked = append(marked, g.Name+" of cloud "+g.Mark.Cloud)
			} else {
				other = append(other, g.Name)
			}
		}
	}
	if len(other) > 0 {
		c.log.WarnContext(ctx, "a host has guests that no cloud has marked; they are left alone, and what they use of the host is not counted",
			"host_id", s.host, "count", len(other), "guests", few(other))
	}
	if len(marked) > 0 {
		if err := c.strangers(ctx, s.host, marked); err != nil {
			return err
		}
	}
	for _, why := range p.braked {
		if pass.First(why) {
			c.log.ErrorContext(ctx, "too much is wrong with the guests of a host at once, so nothing of it is done: is the driver connected to the right host, and its "+
				"storage mounted? Look at Cloud.Inspect; Cloud.AcceptRemoval and Cloud.AcceptLoss let it go on", "host_id", s.host,
				"reason", why, "to_remove", len(p.spared.remove), "missing", len(p.spared.lose), "limit", s.limit)
		}
	}
	if len(p.remove) > 0 && c.opt.Witness.Held() != nil && pass.First("held") {
		c.log.WarnContext(ctx, "guests whose placements are over are not removed while the store is held; restore a newer backup, or accept the store (AcceptStore)", "host_id", s.host, "count", len(p.remove))
	}
	pass.End()
	return nil
}

// strangers tells of guests of other clouds. In a store without servers it says what that looks like.
func (c *core) strangers(ctx context.Context, hostID string, guests []string) error {
	empty := false
	if err := c.store.View(ctx, func(tx *store.Tx) error {
		any, err := servers.List(tx, store.Query[Server]{Limit: 1})
		empty = len(any) == 0
		return err
	}); err != nil {
		return err
	}
	if empty {
		c.log.ErrorContext(ctx, "this store has no servers, and a host is full of another cloud's guests: nothing is deleted. If they should be this cloud's, stop "+
			"the program and start it with the store that they belong to, or restore that from its backup; if not, give each cloud its own hosts",
			"host_id", hostID, "count", len(guests), "guests", few(guests))
		return nil
	}
	c.log.WarnContext(ctx, "a host has guests of another cloud; they are left alone, and what they use of the host is not counted",
		"host_id", hostID, "count", len(guests), "guests", few(guests))
	return nil
}

// few names some of many.
func few(names []string) string {
	const most = 10
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

// AcceptRemoval is an operator's word that guests may be removed although the store does not know them, or although there
// were too many: those of the servers with these ids, on whatever host that this process drives. It returns the ids of
// those that it removed. Unavailable while the store is held, or when a host does not answer.
func (s *Service) AcceptRemoval(ctx context.Context, ids ...string) (removed []string, err error) {
	if err := s.allowed(ctx, "compute:host:update"); err != nil {
		return nil, err
	}
	if err := s.opt.Witness.Allow(); err != nil {
		return nil, err
	}
	for _, host := range s.driven() {
		seen, err := s.see(ctx, host)
		if err != nil {
			return removed, err
		}
		n := len(removed)
		for _, g := range seen.guests {
			if v := seen.judge(g); v != unknown && v != orphan || !slices.Contains(ids, g.Mark.ID) {
				continue
			}
			if err := s.oweOrphan(ctx, host, g, orphan, unknown); err != nil {
				return removed, err
			}
			removed = append(removed, g.Mark.ID)
		}
		if len(removed) == n {
			continue
		}
		if err := s.payDebts(ctx, host); err != nil {
			return removed, err
		}
	}
	return removed, nil
}

// AcceptLoss is an operator's word that the guests which a host, by id or name, lacks are lost although they are many: their
// servers go to ERROR. It returns the ids of those that went there. NotFound when there is no such host; Unavailable when this
// process does not drive it, or it does not answer.
func (s *Service) AcceptLoss(ctx context.Context, hostIDOrName string) (lost []string, err error) {
	if err := s.allowed(ctx, "compute:host:update"); err != nil {
		return nil, err
	}
	var h *Host
	if err := s.view(ctx, func(tx *store.Tx) (err error) {
		h, err = s.host(tx, hostIDOrName)
		return err
	}); err != nil {
		return nil, err
	}
	for range 2 { // two complete listings
		some, err := s.settle(ctx, h.ID, 1<<30)
		lost = append(lost, some...)
		if err != nil {
			return lost, err
		}
	}
	return lost, nil
}
