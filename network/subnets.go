package network

import (
	"cmp"
	"context"
	"net/netip"
	"slices"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/internal/ipam"
	"github.com/nubecula/cloud/store"
)

// CreateSubnet adds an address range to a network, whose owner the principal must be. Codes: Invalid, Quota, Conflict.
func (s *Service) CreateSubnet(ctx context.Context, req CreateSubnet) (v *Subnet, err error) {
	project, err := s.owner(req.ProjectID, "subnet")
	if err != nil {
		return nil, err
	}
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		n, err := s.network(tx, "network:network:get", req.NetworkID)
		if err != nil {
			return err
		}
		for _, owner := range []string{n.ProjectID, project} {
			if err := s.check(tx, "network:subnet:create", identity.Target{Kind: "subnet", ProjectID: owner}); err != nil {
				return err
			}
		}
		v = &Subnet{
			ID: tx.NewID(), ProjectID: project, NetworkID: n.ID, Name: req.Name, Description: req.Description, CIDR: req.CIDR.Masked(),
			Pools: req.Pools, DNS: req.DNS, Routes: req.Routes, DHCP: yes(req.DHCP), RAMode: req.RAMode, AddressMode: req.AddressMode,
			Tags: tidy(req.Tags), Revision: 1, CreatedAt: tx.Now(), UpdatedAt: tx.Now(),
		}
		if err := validCIDR(v); err != nil {
			return err
		}
		if err := validModes(v); err != nil {
			return err
		}
		if err := s.apart(tx, n, v.CIDR); err != nil {
			return err
		}
		if v.Gateway = defaultGateway(v.CIDR); req.Gateway != nil {
			v.Gateway = *req.Gateway
		}
		if v.Pools == nil {
			v.Pools = defaultPools(v.CIDR, v.Gateway)
		}
		if err := validSubnet(v); err != nil {
			return err
		}
		if err := s.book.Reserve(tx, project, map[string]int64{"subnet": 1}); err != nil {
			return err
		}
		if err := ipam.Create(tx, v.ID, ranges(v.Pools)); err != nil {
			return err
		}
		if err := subnets.Insert(tx, v); err != nil {
			return err
		}
		n.Subnets = append(n.Subnets, v.ID)
		n.Revision++
		n.UpdatedAt = tx.Now()
		if err := networks.Put(tx, n); err != nil {
			return err
		}
		s.emit(tx, "subnet", "create", v.ID, project)
		return s.moved(tx, n)
	})
	return v, err
}

// GetSubnet returns a subnet of a network that the principal may see, or of his project.
func (s *Service) GetSubnet(ctx context.Context, id string) (v *Subnet, err error) {
	err = s.store.View(ctx, func(tx *store.Tx) error {
		v, _, err = s.subnet(tx, "network:subnet:get", id)
		return err
	})
	return v, err
}

// ListSubnets returns the subnets that a filter selects and the principal may see, oldest first.
func (s *Service) ListSubnets(ctx context.Context, f SubnetFilter) (out []*Subnet, err error) {
	err = s.store.View(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "network:subnet:list", identity.Target{Kind: "subnet"}); err != nil {
			return err
		}
		var sets []store.Query[Subnet]
		switch {
		case len(f.NetworkIDs) > 0:
			for _, id := range f.NetworkIDs {
				sets = append(sets, store.Query[Subnet]{Index: "network", Prefix: store.Tuple{id}})
			}
		case s.seesAll("subnet"):
			sets = append(sets, store.Query[Subnet]{})
		default:
			sets = append(sets, store.Query[Subnet]{Index: "project", Prefix: store.Tuple{s.project()}})
			visible, err := s.ListNetworks(tx.Context(), NetworkFilter{})
			if err != nil {
				return err
			}
			for _, n := range visible {
				sets = append(sets, store.Query[Subnet]{Index: "network", Prefix: store.Tuple{n.ID}})
			}
		}
		of := s.networksOf(tx)
		var failed error
		out, err = gather(tx, subnets, subnetID, f.IDs, sets, func(v *Subnet) bool {
			if f.ProjectID != "" && v.ProjectID != f.ProjectID || !oneOf(f.NetworkIDs, v.NetworkID) || !oneOf(f.Names, v.Name) || f.Keep != nil && !f.Keep(v) {
				return false
			}
			n, err := of(v.NetworkID)
			failed = cmpErr(failed, err)
			return err == nil && s.anyOf("network:subnet:get", subnetTargets(v, n)) == nil
		})
		slices.SortFunc(out, func(a, b *Subnet) int { return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID)) })
		return cmpErr(err, failed)
	})
	return out, err
}

// UpdateSubnet changes a subnet. Codes: Invalid, Conflict.
func (s *Service) UpdateSubnet(ctx context.Context, req UpdateSubnet) (v *Subnet, err error) {
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		var n *Network
		if v, n, err = s.subnet(tx, "network:subnet:update", req.ID); err != nil {
			return err
		}
		if err := atRevision(req.IfRevision, v.Revision, "subnet", v.ID); err != nil {
			return err
		}
		set(&v.Name, req.Name)
		set(&v.Description, req.Description)
		set(&v.Gateway, req.Gateway)
		set(&v.Pools, req.Pools)
		set(&v.DNS, req.DNS)
		set(&v.Routes, req.Routes)
		set(&v.DHCP, req.DHCP)
		if req.Tags != nil {
			v.Tags = tidy(*req.Tags)
		}
		if err := validModes(v); err != nil {
			return err
		}
		if err := validSubnet(v); err != nil {
			return err
		}
		if req.Gateway != nil && v.Gateway.IsValid() {
			if by, err := ipam.Owner(tx, v.ID, v.Gateway); err != nil {
				return err
			} else if by != "" {
				return &fault.Error{Code: fault.Conflict, Kind: "subnet", ID: v.ID, Field: "gateway_ip", Err: GatewayInUse,
					Msg: "gateway " + v.Gateway.String() + " is in use by port " + by + "; choose another address"}
			}
		}
		if req.Pools != nil {
			if err := ipam.Resize(tx, v.ID, ranges(v.Pools)); err != nil {
				return err
			}
		}
		v.Revision++
		v.UpdatedAt = tx.Now()
		if err := subnets.Put(tx, v); err != nil {
			return err
		}
		s.emit(tx, "subnet", "update", v.ID, v.ProjectID)
		return s.moved(tx, n)
	})
	return v, err
}

// DeleteSubnet deletes a subnet. Conflict while ports have addresses in it; addresses that hosts make
// up themselves (SLAAC) are taken off their ports.
func (s *Service) DeleteSubnet(ctx context.Context, id string) error {
	return s.store.Update(ctx, func(tx *store.Tx) error {
		v, n, err := s.subnet(tx, "network:subnet:delete", id)
		if err != nil {
			return err
		}
		if err := forgive(tx, n.ID, id); err != nil {
			return err
		}
		revision, err := s.movedTo(tx, n)
		if err != nil {
			return err
		}
		if err := s.stripAutomatic(tx, v, revision); err != nil {
			return err
		}
		if err := s.dropSubnet(tx, v); err != nil {
			return err
		}
		n.Subnets = slices.DeleteFunc(n.Subnets, func(x string) bool { return x == id })
		n.Revision++
		n.UpdatedAt = tx.Now()
		return networks.Put(tx, n)
	})
}

// dropSubnet deletes a subnet and its pool.
func (s *Service) dropSubnet(tx *store.Tx, v *Subnet) error {
	used, err := ipam.Used(tx, v.ID)
	if err != nil {
		return err
	}
	if used > 0 {
		return &fault.Error{Code: fault.Conflict, Kind: "subnet", ID: v.ID, Err: SubnetInUse,
			Msg: sprint("has %d addresses in use by ports; delete those ports or move them first", used)}
	}
	if err := ipam.Drop(tx, v.ID); err != nil {
		return err
	}
	if err := subnets.Delete(tx, v.ID); err != nil {
		return err
	}
	s.emit(tx, "subnet", "delete", v.ID, v.ProjectID)
	return s.book.Release(tx, v.ProjectID, map[string]int64{"subnet": 1})
}

func (s *Service) stripAutomatic(tx *store.Tx, v *Subnet, moved int64) error {
	if !v.automatic() {
		return nil
	}
	taken, err := ipam.Held(tx, v.ID)
	if err != nil {
		return err
	}
	for _, a := range taken {
		p, err := ports.Get(tx, a.Owner)
		if err != nil {
			return err
		}
		p.Fixed = slices.DeleteFunc(p.Fixed, func(f FixedIP) bool { return f.SubnetID == v.ID })
		p.Revision++
		p.Moved, p.UpdatedAt = moved, tx.Now()
		if err := ports.Put(tx, p); err != nil {
			return err
		}
		if err := ipam.Release(tx, v.ID, a.Addr, p.ID); err != nil {
			return err
		}
	}
	return nil
}

func subnetID(v *Subnet) string { return v.ID }

// subnetTargets are the ways in which a subnet can be somebody's: as its own project's, and as its network's.
func subnetTargets(v *Subnet, n *Network) []identity.Target {
	shared := n.Shared || n.External
	return []identity.Target{
		{Kind: "subnet", ID: v.ID, ProjectID: v.ProjectID, Shared: shared},
		{Kind: "subnet", ID: v.ID, ProjectID: n.ProjectID, Shared: shared},
	}
}

// subnet loads a subnet and its network for an action.
func (s *Service) subnet(tx *store.Tx, action, id string) (*Subnet, *Network, error) {
	v, err := subnets.Get(tx, id)
	if err != nil {
		return nil, nil, err
	}
	n, err := networks.Get(tx, v.NetworkID)
	if err != nil {
		return nil, nil, err
	}
	return v, n, s.checkAny(tx, action, subnetTargets(v, n))
}

// apart is refused when a prefix overlaps a subnet of the network.
func (s *Service) apart(tx *store.Tx, n *Network, p netip.Prefix) error {
	for _, id := range n.Subnets {
		other, err := subnets.Get(tx, id)
		if err != nil {
			return err
		}
		if other.CIDR.Overlaps(p) {
			return &fault.Error{Code: fault.Invalid, Kind: "network", ID: n.ID, Field: "cidr", Err: SubnetOverlap,
				Msg: p.String() + " overlaps " + other.CIDR.String() + " of subnet " + id + " on the same network; choose another range"}
		}
	}
	return nil
}
