package compute

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/store"
)

// ListHosts returns every host, by name. Hypervisors and compute services are both views of a Host.
func (s *Service) ListHosts(ctx context.Context) (out []*Host, err error) {
	err = s.view(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "compute:host:list", identity.Target{Kind: "host"}); err != nil {
			return err
		}
		out, err = s.allHosts(tx)
		return err
	})
	return out, err
}

func (c *core) allHosts(tx *store.Tx) ([]*Host, error) {
	out, err := hosts.List(tx, store.Query[Host]{Index: "name"})
	for _, h := range out {
		if err == nil {
			err = c.fillHost(tx, h)
		}
	}
	return out, err
}

func (c *core) fillHost(tx *store.Tx, h *Host) error {
	l, err := ledgerOf(tx, h.ID)
	if err != nil {
		return err
	}
	h.Up, h.Answers, h.Used, h.Servers = c.up(h, tx.LeaseNow()), c.answers(h, tx.LeaseNow()), l.Used, l.Servers
	return nil
}

// GetHost returns a host by id or name; of several of one name the first.
func (s *Service) GetHost(ctx context.Context, idOrName string) (h *Host, err error) {
	err = s.view(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "compute:host:get", identity.Target{Kind: "host"}); err != nil {
			return err
		}
		if h, err = s.host(tx, idOrName); err != nil {
			return err
		}
		return s.fillHost(tx, h)
	})
	return h, err
}

func (c *core) host(tx *store.Tx, idOrName string) (*Host, error) {
	h, err := hosts.Get(tx, idOrName)
	if !fault.Is(err, fault.NotFound) {
		return h, err
	}
	named, err := hosts.List(tx, store.Query[Host]{Index: "name", Prefix: store.Tuple{idOrName}, Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(named) == 0 {
		return nil, fault.Missing("host", idOrName)
	}
	return named[0], nil
}

// UpdateHost changes what operators decide: whether the host takes new servers, and whether it counts
// as down whatever it says. Forced down, what is owed on it is no longer waited for. A host that was declared gone is not
// any more once it is not forced down.
func (s *Service) UpdateHost(ctx context.Context, id string, req UpdateHost) (h *Host, err error) {
	var v check
	if req.DisabledReason != nil {
		v.text("disabled_reason", *req.DisabledReason, 0, 255)
	}
	if err := v.err(); err != nil {
		return nil, err
	}
	err = s.update(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "compute:host:update", identity.Target{Kind: "host"}); err != nil {
			return err
		}
		if h, err = s.host(tx, id); err != nil {
			return err
		}
		if req.Disabled != nil {
			h.Disabled, h.DisabledReason = *req.Disabled, ""
		}
		if req.DisabledReason != nil {
			h.DisabledReason = *req.DisabledReason
		}
		if req.ForcedDown != nil {
			h.ForcedDown = *req.ForcedDown
			if !h.ForcedDown {
				h.Gone = time.Time{}
			}
		}
		h.UpdatedAt = tx.Now()
		s.emit(tx, "compute.host.update", "host", h.ID, "", nil)
		if err := s.putHost(tx, h); err != nil {
			return err
		}
		return s.fillHost(tx, h)
	})
	if err != nil {
		return nil, err
	}
	return h, nil
}

// ListZones returns the availability zones by name; with details, for administrators, their hosts.
func (s *Service) ListZones(ctx context.Context, details bool) (out []*Zone, err error) {
	err = s.view(ctx, func(tx *store.Tx) error {
		action := "compute:availability_zone:list"
		if details {
			action = "compute:availability_zone:detail"
		}
		if err := s.check(tx, action, identity.Target{Kind: "availability zone"}); err != nil {
			return err
		}
		all, err := s.allHosts(tx)
		zones := map[string]*Zone{}
		for _, h := range all {
			z := zones[h.Zone]
			if z == nil {
				z = &Zone{Name: h.Zone}
				zones[h.Zone] = z
				out = append(out, z)
			}
			z.Available = z.Available || h.Up && !h.Disabled
			if details {
				z.Hosts = append(z.Hosts, h)
			}
		}
		return err
	})
	slices.SortFunc(out, func(a, b *Zone) int { return cmp.Compare(a.Name, b.Name) })
	return out, err
}
