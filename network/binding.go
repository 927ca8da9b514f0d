package network

import (
	"context"
	"slices"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/network/networkdriver"
	"github.com/nubecula/cloud/store"
)

// ClaimPort gives an existing port to a device such as a server: owner is "compute:" and the zone. It
// repeats harmlessly. Conflict when the port belongs to another device.
func (s *Service) ClaimPort(ctx context.Context, id, deviceID, owner string) (p *Port, err error) {
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		var n *Network
		if p, n, err = s.port(tx, "network:port:update", id); err != nil {
			return err
		}
		switch p.DeviceID {
		case deviceID:
			return nil
		case "":
		default:
			return &fault.Error{Code: fault.Conflict, Kind: "port", ID: id, Err: PortInUse,
				Msg: "belongs to device " + p.DeviceID + "; detach it there first"}
		}
		p.DeviceID, p.DeviceOwner = deviceID, owner
		if err := s.movedPort(tx, n, p); err != nil {
			return err
		}
		return s.keepPort(tx, p)
	})
	return p, err
}

// UnclaimPort takes a port from a device; nothing happens when it is not that device's, or gone. It
// must be unbound first.
func (s *Service) UnclaimPort(ctx context.Context, id, deviceID string) error {
	return s.store.Update(ctx, func(tx *store.Tx) error {
		p, n, err := s.port(tx, "network:port:update", id)
		if fault.Is(err, fault.NotFound) || err == nil && p.DeviceID != deviceID {
			return nil
		}
		if err != nil {
			return err
		}
		p.DeviceID, p.DeviceOwner = "", ""
		if err := s.movedPort(tx, n, p); err != nil {
			return err
		}
		return s.keepPort(tx, p)
	})
}

// PortsOf returns the ports of a device that the principal may see, oldest first.
func (s *Service) PortsOf(ctx context.Context, deviceID string) ([]*Port, error) {
	return s.ListPorts(ctx, PortFilter{DeviceIDs: []string{deviceID}})
}

// PortsByID returns those ports of a list that exist and that the principal may see, by id.
func (s *Service) PortsByID(ctx context.Context, ids []string) (map[string]*Port, error) {
	out := make(map[string]*Port, len(ids))
	err := s.store.View(ctx, func(tx *store.Tx) error {
		of := s.networksOf(tx)
		for _, id := range ids {
			p, err := ports.Get(tx, id)
			if fault.Is(err, fault.NotFound) {
				continue
			}
			if err != nil {
				return err
			}
			n, err := of(p.NetworkID)
			if err != nil {
				return err
			}
			if s.anyOf("network:port:get", portTargets(p, n)) == nil {
				out[id] = p
			}
		}
		return nil
	})
	return out, err
}

// Plug makes a port reachable on a host and says how a hypervisor connects to it; Bound is to record
// that. It calls the provider, so it runs outside of transactions, and it repeats harmlessly. A
// network that the provider does not have yet is applied first. Codes: NotFound when the port is
// gone; Stale when the port has been bound or released with a newer generation; those of the provider.
func (s *Service) Plug(ctx context.Context, portID, host string, generation int64) (b networkdriver.Binding, err error) {
	var p *Port
	if err := s.store.View(ctx, func(tx *store.Tx) error {
		p, err = ports.Get(tx, portID)
		return err
	}); err != nil {
		return b, err
	}
	at := networkdriver.Bind{Host: host, Generation: generation}
	b, err = s.provider.Bind(ctx, p.driver(), at)
	if !fault.Is(err, fault.NotFound) {
		return b, err
	}
	if _, err := s.apply(ctx, p.NetworkID); err != nil && !fault.Is(err, fault.Stale) {
		return b, err
	}
	return s.provider.Bind(ctx, p.driver(), at)
}

// Unplug undoes Plug, also of a port that is gone from the store; Unbound is to record that. It calls
// the provider and repeats harmlessly.
func (s *Service) Unplug(ctx context.Context, portID, host string, generation int64) error {
	if err := s.mayRemove(ctx); err != nil {
		return err
	}
	return s.provider.Unbind(ctx, portID, networkdriver.Bind{Host: host, Generation: generation})
}

// Bound records what Plug answered, for the device that the port belongs to. Codes: NotFound when the port is gone;
// Conflict when it belongs to another device; Stale when a newer generation is recorded.
func (s *Service) Bound(tx *store.Tx, portID, deviceID, host string, generation int64, vif networkdriver.Binding) error {
	p, err := ports.Get(tx, portID)
	if err != nil {
		return err
	}
	if p.DeviceID != deviceID {
		return &fault.Error{Code: fault.Conflict, Kind: "port", ID: portID, Err: PortInUse, Msg: "does not belong to device " + deviceID + " any more"}
	}
	if p.Binding != nil && p.Binding.Generation > generation {
		return &fault.Error{Code: fault.Stale, Kind: "port", ID: portID, Msg: sprint("is bound with generation %d, after %d", p.Binding.Generation, generation)}
	}
	p.Host, p.Binding = host, &Binding{Host: host, Generation: generation, VIF: vif}
	return s.keepPort(tx, p)
}

// Unbound records that a port has been unplugged; nothing happens when it is gone, or is bound with a
// newer generation.
func (s *Service) Unbound(tx *store.Tx, portID string, generation int64) error {
	p, err := ports.Get(tx, portID)
	if fault.Is(err, fault.NotFound) || err == nil && (p.Binding == nil || p.Binding.Generation > generation) {
		return nil
	}
	if err != nil {
		return err
	}
	p.Host, p.Binding = "", nil
	return s.keepPort(tx, p)
}

// owe keeps the addresses of a bound port that is being deleted until the provider has unbound it.
func owe(tx *store.Tx, p *Port) error {
	return debts.Put(tx, &debt{PortID: p.ID, NetworkID: p.NetworkID, Host: p.Binding.Host, Gen: p.Binding.Generation, Fixed: p.Fixed})
}

// pay releases what a debt kept.
func pay(tx *store.Tx, portID string) error {
	d, err := debts.Get(tx, portID)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := releaseAll(tx, d.PortID, d.Fixed); err != nil {
		return err
	}
	return debts.Delete(tx, portID)
}

// forgive releases the addresses that debts of a network keep in a subnet which is going away, or in all for "".
func forgive(tx *store.Tx, networkID, subnetID string) error {
	owed, err := debts.List(tx, store.Query[debt]{Index: "network", Prefix: store.Tuple{networkID}})
	if err != nil {
		return err
	}
	for _, d := range owed {
		var kept []FixedIP
		for _, f := range d.Fixed {
			if subnetID != "" && f.SubnetID != subnetID {
				kept = append(kept, f)
			} else if err := releaseAll(tx, d.PortID, []FixedIP{f}); err != nil {
				return err
			}
		}
		if len(kept) == len(d.Fixed) {
			continue
		}
		d.Fixed = kept
		if err := debts.Put(tx, d); err != nil {
			return err
		}
	}
	return nil
}

// driver is the port as the provider sees it.
func (p *Port) driver() networkdriver.Port {
	out := networkdriver.Port{ID: p.ID, NetworkID: p.NetworkID, MAC: p.MAC, DeviceID: p.DeviceID, AdminUp: p.AdminUp}
	for _, f := range p.Fixed {
		out.Fixed = append(out.Fixed, networkdriver.FixedIP(f))
	}
	return out
}

// Compute reports whether the port belongs to a server.
func (p *Port) Compute() bool { return strings.HasPrefix(p.DeviceOwner, "compute:") }

// FixedIn returns the addresses that the port has in a subnet.
func (p *Port) FixedIn(subnetID string) []FixedIP {
	return slices.DeleteFunc(slices.Clone(p.Fixed), func(f FixedIP) bool { return f.SubnetID != subnetID })
}
