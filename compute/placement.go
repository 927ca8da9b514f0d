package compute

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/scheduler"
	"github.com/nubecula/cloud/store"
)

// ledger is what of a host is given out. It is apart from the host, since every placement writes it.
type ledger struct {
	HostID  string              `json:"host_id"`
	Used    scheduler.Resources `json:"used"`
	Servers int                 `json:"servers"`
}

// claim is one placement's share of a host. It outlives the server while a debt is open.
type claim struct {
	ServerID   string              `json:"server_id"`
	Generation int64               `json:"generation"`
	HostID     string              `json:"host_id"`
	Need       scheduler.Resources `json:"need"`
}

var (
	ledgers = store.Define(store.Spec[ledger]{
		Kind: "host-ledger", Version: 1,
		ID: func(l *ledger) string { return l.HostID },
	})
	claims = store.Define(store.Spec[claim]{
		Kind: "claim", Version: 1,
		ID: func(c *claim) string { return placementID(c.ServerID, c.Generation) },
		Indexes: []store.Index[claim]{
			{Name: "host", Keys: func(c *claim) []store.Tuple { return []store.Tuple{{c.HostID}} }},
		},
	})
)

func placementID(serverID string, generation int64) string {
	return fmt.Sprintf("%s/%d", serverID, generation)
}

func ledgerOf(tx *store.Tx, hostID string) (*ledger, error) {
	l, err := ledgers.Get(tx, hostID)
	if fault.Is(err, fault.NotFound) {
		return &ledger{HostID: hostID}, nil
	}
	return l, err
}

// take claims a host for a placement, and reports false when there is no room or the host takes no servers any more.
func (c *core) take(tx *store.Tx, h *Host, forced bool, p claim) (bool, error) {
	if ok, err := claims.Has(tx, placementID(p.ServerID, p.Generation)); err != nil || ok {
		return ok, err
	}
	l, err := ledgerOf(tx, h.ID)
	if err != nil {
		return false, err
	}
	as := c.schedulable(h, l)
	if as.Down || as.Disabled && !forced || !fits(as, p.Need) {
		return false, nil
	}
	p.HostID = h.ID
	if err := claims.Put(tx, &p); err != nil {
		return false, err
	}
	return true, c.account(tx, l, p.Need, 1)
}

// takeFirst claims the first candidate that still has room, and returns nil when none has.
func (c *core) takeFirst(tx *store.Tx, d *scheduler.Decision, forced bool, p claim) (*Host, error) {
	for _, candidate := range d.Candidates {
		h, err := hosts.Get(tx, candidate.ID)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if ok, err := c.take(tx, h, forced, p); err != nil || ok {
			return h, err
		}
	}
	return nil, nil
}

// Place picks a host with room for a flavor and claims it, as the operation that creates a server does, but for an id without a
// server: Check will complain of that. For benchmarks. Conflict: every candidate was taken by others meanwhile.
func (s *Service) Place(ctx context.Context, id string, f *Flavor) error {
	c := s.core
	now, err := c.store.Now(ctx)
	if err != nil {
		return err
	}
	d := c.scheduler.Pick(c.snap.p.Load(), &scheduler.Request{Need: f.Need(), Now: now.Lease})
	if err := d.Err(); err != nil {
		return err
	}
	return c.store.Update(ctx, func(tx *store.Tx) error {
		h, err := c.takeFirst(tx, &d, false, claim{ServerID: id, Generation: 1, Need: f.Need()})
		if err == nil && h == nil {
			err = fault.New(fault.Conflict, "the race for a host was lost")
		}
		return err
	})
}

func fits(h scheduler.Host, need scheduler.Resources) bool {
	for _, k := range []scheduler.Resource{scheduler.CPU, scheduler.RAM, scheduler.Disk} {
		if n := need.Get(k); n > 0 && n > h.Room(k) {
			return false
		}
	}
	return true
}

// release gives a placement's claim back; none is success.
func (c *core) release(tx *store.Tx, serverID string, generation int64) error {
	p, err := claims.Get(tx, placementID(serverID, generation))
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := claims.Delete(tx, placementID(serverID, generation)); err != nil {
		return err
	}
	l, err := ledgerOf(tx, p.HostID)
	if err != nil {
		return err
	}
	return c.account(tx, l, p.Need, -1)
}

func (c *core) account(tx *store.Tx, l *ledger, need scheduler.Resources, sign int64) error {
	l.Used.VCPUs += sign * need.VCPUs
	l.Used.MemoryMiB += sign * need.MemoryMiB
	l.Used.DiskGiB += sign * need.DiskGiB
	l.Servers += int(sign)
	id, used := l.HostID, l.Used
	tx.OnCommit(func() { c.snap.used(id, used) })
	return ledgers.Put(tx, l)
}

// schedulable is a host as the scheduler sees it.
func (c *core) schedulable(h *Host, l *ledger) scheduler.Host {
	out := scheduler.Host{
		ID: h.ID, Name: h.Name, Zone: h.Zone, Ratio: h.Ratios, Used: l.Used,
		Total:    scheduler.Resources{VCPUs: int64(h.VCPUs), MemoryMiB: h.MemoryMiB, DiskGiB: h.DiskGiB},
		Disabled: h.Disabled, DisabledReason: h.DisabledReason, Heartbeat: h.Heartbeat, Traits: h.Traits,
	}
	switch {
	case !h.Gone.IsZero():
		out.Down, out.DownReason = true, "declared gone for good by an operator"
	case h.ForcedDown:
		out.Down, out.DownReason = true, "forced down by an operator"
	case !c.heard(h):
		out.Down, out.DownReason = true, "it has not answered since this process started"
	}
	return out
}

// snapshot is the scheduler's view of all hosts, changed in the order of the commits.
type snapshot struct {
	p atomic.Pointer[scheduler.Snapshot]
}

// used and set are called in OnCommit hooks only, one at a time.
func (s *snapshot) used(hostID string, used scheduler.Resources) {
	now := s.p.Load()
	if at, ok := now.Position(hostID); ok {
		h := *now.Host(at)
		h.Used = used
		s.set(h)
	}
}

func (s *snapshot) set(hosts ...scheduler.Host) {
	next, err := s.p.Load().With(hosts...)
	switch {
	case err == nil:
		s.p.Store(next)
	case len(hosts) > 1: // one that reports nonsense takes no servers; the others do
		for _, h := range hosts {
			s.set(h)
		}
	}
}

// fillSnapshot reads every host. It is an Update although it writes nothing, so that the result takes
// its place in the order of the commits.
func (c *core) fillSnapshot(ctx context.Context) error {
	return c.store.Update(ctx, func(tx *store.Tx) error {
		var all []scheduler.Host
		for h, err := range hosts.Each(tx, store.Query[Host]{}) {
			if err != nil {
				return err
			}
			l, err := ledgerOf(tx, h.ID)
			if err != nil {
				return err
			}
			all = append(all, c.schedulable(h, l))
		}
		tx.OnCommit(func() { c.snap.set(all...) })
		return nil
	})
}
