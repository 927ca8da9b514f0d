package network

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/internal/ipam"
	"github.com/nubecula/cloud/store"
)

// CreatePort makes a port with its addresses, in state DOWN until it is bound. Codes: Invalid, Quota,
// Conflict for an address in use, Exhausted when no address is left. Who does not manage the network
// may choose neither addresses nor the MAC.
func (s *Service) CreatePort(ctx context.Context, req CreatePort) (p *Port, err error) {
	project, err := s.owner(req.ProjectID, "port")
	if err != nil {
		return nil, err
	}
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		n, err := s.network(tx, "network:network:get", req.NetworkID)
		if err != nil {
			return err
		}
		p = &Port{
			ID: tx.NewID(), ProjectID: project, NetworkID: n.ID, Name: req.Name, Description: req.Description, DeviceID: req.DeviceID,
			DeviceOwner: req.DeviceOwner, AdminUp: yes(req.AdminUp), AddressPairs: req.AddressPairs, PortSecurity: n.PortSecurity,
			DNSName: req.DNSName, VNICType: cmp.Or(req.VNICType, "normal"), Profile: req.Profile, Host: req.Host, Tags: tidy(req.Tags),
			Status: Down, Revision: 1, CreatedAt: tx.Now(), UpdatedAt: tx.Now(),
		}
		set(&p.PortSecurity, req.PortSecurity)
		if err := s.check(tx, "network:port:create", identity.Target{Kind: "port", ProjectID: project}); err != nil {
			return err
		}
		if err := s.mayChoose(tx, n, p, choices{mac: req.MAC != "", addresses: named(req.Fixed), security: req.PortSecurity != nil,
			pairs: len(req.AddressPairs) > 0, owner: reservedOwner(req.DeviceOwner), binding: req.Host != "" || len(req.Profile) > 0}); err != nil {
			return err
		}
		if n.External && !n.Shared && !s.manages(n) {
			return &fault.Error{Code: fault.Denied, Op: "network:port:create", Kind: "network", ID: n.ID, Msg: "is external and not shared; use another network"}
		}
		if err := s.book.Reserve(tx, project, map[string]int64{"port": 1}); err != nil {
			return err
		}
		if p.MAC, err = s.chooseMAC(tx, n.ID, req.MAC); err != nil {
			return err
		}
		if err := s.chooseGroups(tx, p, req.SecurityGroups); err != nil {
			return err
		}
		if err := validPort(p); err != nil {
			return err
		}
		if p.Fixed, err = s.address(tx, n, p, req.Fixed); err != nil {
			return err
		}
		if err := s.movedPort(tx, n, p); err != nil {
			return err
		}
		s.emit(tx, "port", "create", p.ID, project)
		return ports.Insert(tx, p)
	})
	return p, err
}

// GetPort returns a port of the principal's project, or on a network of it.
func (s *Service) GetPort(ctx context.Context, id string) (p *Port, err error) {
	err = s.store.View(ctx, func(tx *store.Tx) error {
		p, _, err = s.port(tx, "network:port:get", id)
		return err
	})
	return p, err
}

// ListPorts returns the ports that a filter selects and the principal may see, oldest first.
func (s *Service) ListPorts(ctx context.Context, f PortFilter) (out []*Port, err error) {
	err = s.store.View(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "network:port:list", identity.Target{Kind: "port"}); err != nil {
			return err
		}
		sets, err := s.portSets(tx, f)
		if err != nil {
			return err
		}
		of := s.networksOf(tx)
		var failed error
		out, err = gather(tx, ports, portID, f.IDs, sets, func(p *Port) bool {
			if f.ProjectID != "" && p.ProjectID != f.ProjectID || !oneOf(f.NetworkIDs, p.NetworkID) || !oneOf(f.DeviceIDs, p.DeviceID) ||
				!oneOf(f.Names, p.Name) || !p.hasOneOf(f.Addrs) || f.Keep != nil && !f.Keep(p) {
				return false
			}
			n, err := of(p.NetworkID)
			failed = cmpErr(failed, err)
			return err == nil && s.anyOf("network:port:get", portTargets(p, n)) == nil
		})
		slices.SortFunc(out, func(a, b *Port) int { return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID)) })
		return cmpErr(err, failed)
	})
	return out, err
}

// portSets chooses the indexes that hold all the ports which a filter can select.
func (s *Service) portSets(tx *store.Tx, f PortFilter) (sets []store.Query[Port], err error) {
	by := func(index string, ids []string) []store.Query[Port] {
		for _, id := range ids {
			sets = append(sets, store.Query[Port]{Index: index, Prefix: store.Tuple{id}})
		}
		return sets
	}
	switch {
	case len(f.DeviceIDs) > 0 && !slices.Contains(f.DeviceIDs, ""):
		return by("device", f.DeviceIDs), nil
	case len(f.Addrs) > 0:
		for _, a := range f.Addrs {
			by("address", []string{a.String()})
		}
		return sets, nil
	case len(f.NetworkIDs) > 0:
		return by("network", f.NetworkIDs), nil
	case s.seesAll("port") && f.ProjectID != "":
		return by("project", []string{f.ProjectID}), nil
	case s.seesAll("port"):
		return []store.Query[Port]{{}}, nil
	}
	by("project", []string{s.project()})
	for n, err := range networks.Each(tx, store.Query[Network]{Index: "project", Prefix: store.Tuple{s.project()}}) {
		if err != nil {
			return nil, err
		}
		by("network", []string{n.ID})
	}
	return sets, nil
}

// UpdatePort changes a port. Codes: Invalid; Conflict for an address in use, or a MAC of a bound port.
func (s *Service) UpdatePort(ctx context.Context, req UpdatePort) (p *Port, err error) {
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		var n *Network
		if p, n, err = s.port(tx, "network:port:update", req.ID); err != nil {
			return err
		}
		if err := atRevision(req.IfRevision, p.Revision, "port", p.ID); err != nil {
			return err
		}
		before := *p
		set(&p.Name, req.Name)
		set(&p.Description, req.Description)
		set(&p.DeviceID, req.DeviceID)
		set(&p.DeviceOwner, req.DeviceOwner)
		set(&p.AdminUp, req.AdminUp)
		set(&p.AddressPairs, req.AddressPairs)
		set(&p.PortSecurity, req.PortSecurity)
		set(&p.DNSName, req.DNSName)
		set(&p.VNICType, req.VNICType)
		set(&p.Profile, req.Profile)
		set(&p.Host, req.Host)
		if req.Tags != nil {
			p.Tags = tidy(*req.Tags)
		}
		if err := s.mayChoose(tx, n, p, choices{mac: req.MAC != nil && *req.MAC != before.MAC, addresses: named(req.Fixed), security: req.PortSecurity != nil && *req.PortSecurity != before.PortSecurity,
			pairs: req.AddressPairs != nil && len(*req.AddressPairs) > 0, owner: req.DeviceOwner != nil && reservedOwner(*req.DeviceOwner), binding: req.Host != nil || req.Profile != nil}); err != nil {
			return err
		}
		if err := s.changeMAC(tx, p, req.MAC); err != nil {
			return err
		}
		if req.SecurityGroups != nil {
			if err := s.chooseGroups(tx, p, req.SecurityGroups); err != nil {
				return err
			}
		}
		if err := validPort(p); err != nil {
			return err
		}
		if req.Fixed != nil {
			if p.Fixed, err = s.address(tx, n, p, req.Fixed); err != nil {
				return err
			}
		}
		if before.MAC != p.MAC || before.DeviceID != p.DeviceID || before.AdminUp != p.AdminUp || !slices.Equal(before.Fixed, p.Fixed) {
			if err := s.movedPort(tx, n, p); err != nil {
				return err
			}
		}
		return s.keepPort(tx, p)
	})
	return p, err
}

// keepPort stores a changed port.
func (s *Service) keepPort(tx *store.Tx, p *Port) error {
	p.Status = Down
	if p.Binding != nil && p.AdminUp {
		p.Status = Active
	}
	p.Revision++
	p.UpdatedAt = tx.Now()
	s.emit(tx, "port", "update", p.ID, p.ProjectID)
	return ports.Put(tx, p)
}

// DeletePort deletes a port. If it is bound, its addresses are free once it has been unbound.
func (s *Service) DeletePort(ctx context.Context, id string) error {
	return s.store.Update(ctx, func(tx *store.Tx) error {
		p, n, err := s.port(tx, "network:port:delete", id)
		if err != nil {
			return err
		}
		if p.Binding != nil {
			err = owe(tx, p)
		} else {
			err = releaseAll(tx, p.ID, p.Fixed)
		}
		if err != nil {
			return err
		}
		if err := ports.Delete(tx, id); err != nil {
			return err
		}
		if err := s.book.Release(tx, p.ProjectID, map[string]int64{"port": 1}); err != nil {
			return err
		}
		s.emit(tx, "port", "delete", id, p.ProjectID)
		return s.lost(tx, n, p)
	})
}

func portID(p *Port) string { return p.ID }

// portTargets are the ways in which a port can be somebody's: as its own project's, and as its network's.
func portTargets(p *Port, n *Network) []identity.Target {
	return []identity.Target{{Kind: "port", ID: p.ID, ProjectID: p.ProjectID}, {Kind: "port", ID: p.ID, ProjectID: n.ProjectID}}
}

// port loads a port and its network for an action.
func (s *Service) port(tx *store.Tx, action, id string) (*Port, *Network, error) {
	p, err := ports.Get(tx, id)
	if err != nil {
		return nil, nil, err
	}
	n, err := networks.Get(tx, p.NetworkID)
	if err != nil {
		return nil, nil, err
	}
	return p, n, s.checkAny(tx, action, portTargets(p, n))
}

// choices are the parts of a request that not everybody may make.
type choices struct{ mac, addresses, security, pairs, owner, binding bool }

// mayChoose is refused when the request uses what is kept for whoever manages the network, or for administrators.
func (s *Service) mayChoose(tx *store.Tx, n *Network, p *Port, c choices) error {
	if c.binding {
		if err := s.check(tx, "network:port:set_binding", identity.Target{Kind: "port", ProjectID: p.ProjectID}); err != nil {
			return err
		}
	}
	if s.manages(n) {
		return nil
	}
	what := ""
	switch {
	case c.mac:
		what = "mac_address"
	case c.addresses:
		what = "fixed_ips:ip_address"
	case c.security:
		what = "port_security_enabled"
	case c.pairs:
		what = "allowed_address_pairs"
	case c.owner:
		what = "device_owner"
	default:
		return nil
	}
	return &fault.Error{Code: fault.Denied, Op: "network:port:create:" + what, Kind: "network", ID: n.ID,
		Msg: "belongs to another project: only that one, or an administrator, may choose " + what + " there"}
}

// named reports whether addresses are asked for by name.
func named(fixed *[]FixedRequest) bool {
	return fixed != nil && slices.ContainsFunc(*fixed, func(f FixedRequest) bool { return f.Addr.IsValid() })
}

// reservedOwner reports whether a device owner is one of the network itself.
func reservedOwner(owner string) bool { return strings.HasPrefix(owner, "network:") }

// releaseAll gives the addresses of a port back.
func releaseAll(tx *store.Tx, portID string, fixed []FixedIP) error {
	for _, f := range fixed {
		if err := ipam.Release(tx, f.SubnetID, f.Addr, portID); err != nil {
			return err
		}
	}
	return nil
}

// hasOneOf reports whether the port has one of the addresses; of none it always has.
func (p *Port) hasOneOf(addrs []netip.Addr) bool {
	return len(addrs) == 0 || slices.ContainsFunc(p.Fixed, func(f FixedIP) bool { return slices.Contains(addrs, f.Addr) })
}
