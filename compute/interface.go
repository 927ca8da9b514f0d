package compute

import (
	"context"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/store"
)

// ListInterfaces returns a server's NICs with their ports as they are now, in the guest's order.
func (s *Service) ListInterfaces(ctx context.Context, serverID string) (out []*Interface, err error) {
	err = s.view(ctx, func(tx *store.Tx) error {
		v, err := s.server(tx, "compute:interface:list", serverID)
		if err == nil {
			out, err = s.interfaces(tx, v)
		}
		return err
	})
	return out, err
}

func (s *Service) interfaces(tx *store.Tx, v *Server) (out []*Interface, err error) {
	all, err := s.opt.Network.As(identity.System()).PortsOf(tx.Context(), v.ID)
	if err != nil {
		return nil, err
	}
	ports := map[string]*network.Port{}
	for _, p := range all {
		ports[p.ID] = p
	}
	for _, n := range v.NICs {
		p := ports[n.PortID]
		if p == nil {
			continue // deleted behind the server's back
		}
		i := &Interface{NIC: n, PortState: p.Status}
		for _, f := range p.Fixed {
			i.FixedIPs = append(i.FixedIPs, FixedIP(f))
		}
		out = append(out, i)
	}
	return out, nil
}

// GetInterface returns one of them; NotFound when the port is not the server's.
func (s *Service) GetInterface(ctx context.Context, serverID, portID string) (i *Interface, err error) {
	err = s.view(ctx, func(tx *store.Tx) error {
		v, err := s.server(tx, "compute:interface:get", serverID)
		if err == nil {
			i, err = s.interfaceOf(tx, v, portID)
		}
		return err
	})
	return i, err
}

func (s *Service) interfaceOf(tx *store.Tx, v *Server, portID string) (*Interface, error) {
	all, err := s.interfaces(tx, v)
	if err != nil {
		return nil, err
	}
	for _, i := range all {
		if i.PortID == portID {
			return i, nil
		}
	}
	return nil, fault.New(fault.NotFound, "port %s is not attached to it", portID).About("server", v.ID)
}

// AttachInterface would add a NIC to a guest. No driver can do that yet, and defining the guest anew
// would cost it its disk, so that it is Unsupported; a wrong request gets its own code.
func (s *Service) AttachInterface(ctx context.Context, serverID string, req AttachInterface) (*Interface, error) {
	return nil, s.view(ctx, func(tx *store.Tx) error {
		v, err := s.open(tx, "compute:interface:attach", serverID)
		if err != nil {
			return err
		}
		if err := v.allow(doPlug); err != nil {
			return err
		}
		if req.PortID != "" {
			if _, err := s.opt.Network.As(s.who).GetPort(tx.Context(), req.PortID); err != nil {
				return err
			}
		}
		if req.NetworkID != "" {
			if _, err := s.opt.Network.As(s.who).GetNetwork(tx.Context(), req.NetworkID); err != nil {
				return err
			}
		}
		return cannotPlug(v)
	})
}

// DetachInterface would take a NIC from a guest; see AttachInterface. NotFound: the port is not the server's.
func (s *Service) DetachInterface(ctx context.Context, serverID, portID string) error {
	return s.view(ctx, func(tx *store.Tx) error {
		v, err := s.open(tx, "compute:interface:detach", serverID)
		if err != nil {
			return err
		}
		if err := v.allow(doPlug); err != nil {
			return err
		}
		if _, err := s.interfaceOf(tx, v, portID); err != nil {
			return err
		}
		return cannotPlug(v)
	})
}

func cannotPlug(v *Server) error {
	return fault.New(fault.Unsupported, "the hypervisor of host %s cannot change the NICs of a guest; name all networks and ports when the server is created", v.Host).About("server", v.ID)
}
