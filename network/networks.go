package network

import (
	"cmp"
	"context"
	"slices"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/internal/ipam"
	"github.com/nubecula/cloud/network/networkdriver"
	"github.com/nubecula/cloud/store"
)

// CreateNetwork makes a network in state BUILD; it is ACTIVE once the provider has it. Codes: Invalid,
// Quota, Conflict for a segment in use, Exhausted when no segment is left.
func (s *Service) CreateNetwork(ctx context.Context, req CreateNetwork) (n *Network, err error) {
	project, err := s.owner(req.ProjectID, "network")
	if err != nil {
		return nil, err
	}
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		n = &Network{
			ID: tx.NewID(), ProjectID: project, Name: req.Name, Description: req.Description, AdminUp: yes(req.AdminUp), Shared: req.Shared,
			External: req.External, Default: req.Default, Segment: req.Segment, PortSecurity: yes(req.PortSecurity), DNSDomain: req.DNSDomain,
			AvailabilityZones: req.AvailabilityZones, Tags: tidy(req.Tags), Status: Build, Revision: 1, CreatedAt: tx.Now(), UpdatedAt: tx.Now(),
		}
		target := identity.Target{Kind: "network", ProjectID: project}
		if err := s.checkAll(tx, target, []needs{
			{"network:network:create", true},
			{"network:network:set_shared", req.Shared},
			{"network:network:set_external", req.External || req.Default},
			{"network:network:set_provider", req.Segment != networkdriver.Segment{}},
		}); err != nil {
			return err
		}
		if err := s.validNetwork(n); err != nil {
			return err
		}
		for _, z := range req.AvailabilityZones {
			if !slices.Contains(s.opt.AvailabilityZones, z) {
				return fault.InvalidField("availability_zone_hints", z, "name an availability zone that exists")
			}
		}
		if err := s.setDefault(tx, n); err != nil {
			return err
		}
		if err := s.book.Reserve(tx, project, map[string]int64{"network": 1}); err != nil {
			return err
		}
		if err := s.chooseSegment(tx, n); err != nil {
			return err
		}
		limit := s.mtu(n.Segment.Type)
		n.MTU = cmp.Or(req.MTU, limit)
		if err := s.validMTU(n); err != nil {
			return err
		}
		if err := networks.Insert(tx, n); err != nil {
			return segmentFault(err, n.Segment)
		}
		if err := topologies.Insert(tx, &topology{NetworkID: n.ID}); err != nil {
			return err
		}
		s.emit(tx, "network", "create", n.ID, project)
		return s.moved(tx, n)
	})
	return n, err
}

// GetNetwork returns a network: one of the principal's project, or one that is shared or external.
func (s *Service) GetNetwork(ctx context.Context, id string) (n *Network, err error) {
	err = s.store.View(ctx, func(tx *store.Tx) error {
		n, err = s.network(tx, "network:network:get", id)
		return err
	})
	return n, err
}

// ListNetworks returns the networks that a filter selects and the principal may see, oldest first.
func (s *Service) ListNetworks(ctx context.Context, f NetworkFilter) (out []*Network, err error) {
	err = s.store.View(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "network:network:list", identity.Target{Kind: "network"}); err != nil {
			return err
		}
		var sets []store.Query[Network]
		if s.seesAll("network") {
			sets = append(sets, store.Query[Network]{})
			if f.ProjectID != "" {
				sets = []store.Query[Network]{{Index: "project", Prefix: store.Tuple{f.ProjectID}}}
			}
		} else {
			sets = append(sets, store.Query[Network]{Index: "project", Prefix: store.Tuple{s.project()}}, store.Query[Network]{Index: "public"})
		}
		out, err = gather(tx, networks, networkID, f.IDs, sets, func(n *Network) bool {
			return (f.ProjectID == "" || n.ProjectID == f.ProjectID) && oneOf(f.Names, n.Name) && (f.Keep == nil || f.Keep(n)) &&
				s.policy.Check(s.who, "network:network:get", networkTarget(n)) == nil
		})
		slices.SortFunc(out, func(a, b *Network) int { return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID)) })
		return err
	})
	return out, err
}

// UpdateNetwork changes a network. Codes: Invalid; Conflict for another revision, or when others use
// what would no longer be shared.
func (s *Service) UpdateNetwork(ctx context.Context, req UpdateNetwork) (n *Network, err error) {
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		if n, err = s.network(tx, "network:network:update", req.ID); err != nil {
			return err
		}
		if err := atRevision(req.IfRevision, n.Revision, "network", n.ID); err != nil {
			return err
		}
		if err := s.checkAll(tx, networkTarget(n), []needs{
			{"network:network:set_shared", req.Shared != nil && *req.Shared != n.Shared},
			{"network:network:set_external", req.External != nil && *req.External != n.External || req.Default != nil && *req.Default != n.Default},
			{"network:network:set_provider", req.Segment != nil},
		}); err != nil {
			return err
		}
		if req.Segment != nil && *req.Segment != n.Segment {
			return fault.InvalidField("provider:segmentation_id", req.Segment.ID, "the segment of a network cannot change; make another network")
		}
		before := *n
		set(&n.Name, req.Name)
		set(&n.Description, req.Description)
		set(&n.AdminUp, req.AdminUp)
		set(&n.Shared, req.Shared)
		set(&n.External, req.External)
		set(&n.Default, req.Default)
		set(&n.MTU, req.MTU)
		set(&n.PortSecurity, req.PortSecurity)
		set(&n.DNSDomain, req.DNSDomain)
		if req.Tags != nil {
			n.Tags = tidy(*req.Tags)
		}
		if err := s.validNetwork(n); err != nil {
			return err
		}
		if err := s.validMTU(n); err != nil {
			return err
		}
		if before.Shared && !n.Shared {
			if err := s.unshare(tx, n); err != nil {
				return err
			}
		}
		if n.Default && !before.Default {
			if err := s.setDefault(tx, n); err != nil {
				return err
			}
		}
		n.Revision++
		n.UpdatedAt = tx.Now()
		if err := networks.Put(tx, n); err != nil {
			return err
		}
		s.emit(tx, "network", "update", n.ID, n.ProjectID)
		if before.Name == n.Name && before.AdminUp == n.AdminUp && before.External == n.External && before.MTU == n.MTU {
			return nil
		}
		return s.moved(tx, n)
	})
	return n, err
}

// DeleteNetwork deletes a network with its subnets. Conflict while it has ports.
func (s *Service) DeleteNetwork(ctx context.Context, id string) error {
	return s.store.Update(ctx, func(tx *store.Tx) error {
		n, err := s.network(tx, "network:network:delete", id)
		if err != nil {
			return err
		}
		left, err := ports.List(tx, store.Query[Port]{Index: "network", Prefix: store.Tuple{id}, Limit: 3})
		if err != nil {
			return err
		}
		if len(left) > 0 {
			return &fault.Error{Code: fault.Conflict, Kind: "network", ID: id, Err: NetworkInUse, Msg: "still has ports, such as " + left[0].ID + "; delete them first"}
		}
		if err := forgive(tx, n.ID, ""); err != nil {
			return err
		}
		for _, sub := range n.Subnets {
			v, err := subnets.Get(tx, sub)
			if err != nil {
				return err
			}
			if err := s.dropSubnet(tx, v); err != nil {
				return err
			}
		}
		if err := freeSegment(tx, n.Segment, n.ID); err != nil {
			return err
		}
		if err := networks.Delete(tx, id); err != nil {
			return err
		}
		if err := s.book.Release(tx, n.ProjectID, map[string]int64{"network": 1}); err != nil {
			return err
		}
		s.emit(tx, "network", "delete", id, n.ProjectID)
		return s.removed(tx, n)
	})
}

func networkID(n *Network) string { return n.ID }

func networkTarget(n *Network) identity.Target {
	return identity.Target{Kind: "network", ID: n.ID, ProjectID: n.ProjectID, Shared: n.Shared || n.External}
}

// network loads a network for an action.
func (s *Service) network(tx *store.Tx, action, id string) (*Network, error) {
	n, err := networks.Get(tx, id)
	if err != nil {
		return nil, err
	}
	return n, s.check(tx, action, networkTarget(n))
}

// manages reports whether the principal may do to the network what its owner may.
func (s *Service) manages(n *Network) bool {
	return s.policy.Check(s.who, "network:network:update", identity.Target{Kind: "network", ProjectID: n.ProjectID}) == nil
}

func (s *Service) validNetwork(n *Network) error {
	if err := validTexts("network", n.Name, n.Description, n.Tags); err != nil {
		return err
	}
	if n.Default && !n.External {
		return fault.InvalidField("is_default", true, "only an external network can be the default")
	}
	return nil
}

func (s *Service) validMTU(n *Network) error {
	if limit := s.mtu(n.Segment.Type); n.MTU < 68 || n.MTU > limit {
		return fault.InvalidField("mtu", n.MTU, sprint("a %s network here carries 68 to %d bytes", n.Segment.Type, limit))
	}
	return nil
}

// setDefault takes the mark from the network that was the default before.
func (s *Service) setDefault(tx *store.Tx, n *Network) error {
	if !n.Default {
		return nil
	}
	for other, err := range networks.Each(tx, store.Query[Network]{Index: "public"}) {
		if err != nil {
			return err
		}
		if other.Default && other.ID != n.ID {
			return &fault.Error{Code: fault.Conflict, Kind: "network", ID: other.ID, Msg: "is the default external network already; unset that first"}
		}
	}
	return nil
}

// unshare is refused while other projects have ports or subnets on the network.
func (s *Service) unshare(tx *store.Tx, n *Network) error {
	inUse := func(project, what, id string) error {
		if project == n.ProjectID {
			return nil
		}
		return &fault.Error{Code: fault.Conflict, Kind: "network", ID: n.ID, Err: SharedInUse,
			Msg: "cannot stop being shared: project " + project + " has " + what + " " + id + " on it"}
	}
	for p, err := range ports.Each(tx, store.Query[Port]{Index: "network", Prefix: store.Tuple{n.ID}}) {
		if err != nil {
			return err
		}
		if err := inUse(p.ProjectID, "port", p.ID); err != nil {
			return err
		}
	}
	for _, id := range n.Subnets {
		v, err := subnets.Get(tx, id)
		if err != nil {
			return err
		}
		if err := inUse(v.ProjectID, "subnet", id); err != nil {
			return err
		}
	}
	return nil
}

// Addresses is how much of a subnet is in use.
type Addresses struct {
	Subnet *Subnet
	Used   int64
}

// NetworkAddresses returns the use of addresses of each subnet of a network, for administrators.
func (s *Service) NetworkAddresses(ctx context.Context, networkID string) (out []Addresses, err error) {
	err = s.store.View(ctx, func(tx *store.Tx) error {
		out = nil
		n, err := s.network(tx, "network:network:get_addresses", networkID)
		if err != nil {
			return err
		}
		for _, id := range n.Subnets {
			v, err := subnets.Get(tx, id)
			if err != nil {
				return err
			}
			used, err := ipam.Used(tx, id)
			if err != nil {
				return err
			}
			out = append(out, Addresses{v, used})
		}
		return nil
	})
	return out, err
}
