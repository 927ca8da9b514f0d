// Package ledger keeps the promises of networkdriver.Provider that are about
// order: revisions, bindings that move, tombstones. Providers that have
// nowhere else to write these down build on it.
package ledger

import (
	"maps"
	"slices"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/statedir"
	"github.com/nubecula/cloud/network/networkdriver"
)

// Ledger is safe for concurrent use; one in a directory also by several processes.
type Ledger struct {
	space    *statedir.Space
	networks *statedir.Table[network]
	removed  *statedir.Table[bool]
	ports    *statedir.Table[port]
}

type network struct {
	Topology networkdriver.Topology        `json:"topology"`
	Bindings map[string]networkdriver.Bind `json:"bindings,omitempty"` // by port id; replaced, never changed
}

// port finds the network of a binding and remembers what was unbound. It is
// written before the network, so that a crash in between leaves no binding that Unbind would miss.
type port struct {
	NetworkID string `json:"network_id,omitempty"` // where it was bound last, and may still be; "" means nowhere
	Unbound   int64  `json:"unbound,omitempty"`    // greatest generation unbound
}

// New returns the ledger kept in the space.
func New(s *statedir.Space) *Ledger {
	return &Ledger{
		space:    s,
		networks: statedir.In[network](s, "networks"),
		removed:  statedir.In[bool](s, "removed"),
		ports:    statedir.In[port](s, "ports"),
	}
}

// Close lets go of the space.
func (l *Ledger) Close() error { return l.space.Close() }

// Apply keeps the topology and says whether it changed anything.
func (l *Ledger) Apply(t networkdriver.Topology) (changed bool, err error) {
	if err := statedir.Key(t.NetworkID); err != nil {
		return false, err
	}
	err = l.space.Do(func() error {
		if err := l.gone(t.NetworkID); err != nil {
			return err
		}
		n, found, err := l.networks.Get(t.NetworkID)
		switch {
		case err != nil:
			return err
		case found && t.Revision < n.Topology.Revision:
			return fault.New(fault.Stale, "revision %d was applied, %d is older; stop", n.Topology.Revision, t.Revision).About("network", t.NetworkID)
		case found && same(n.Topology, t):
			return nil
		}
		changed = true
		n.Topology = clone(t)
		return l.networks.Put(t.NetworkID, n)
	})
	return changed && err == nil, err
}

func (l *Ledger) gone(id string) error {
	gone, _, err := l.removed.Get(id)
	if err == nil && gone {
		return fault.New(fault.Stale, "it was removed and cannot come back; use a new id").About("network", id)
	}
	return err
}

// Remove takes the network and its bindings away and leaves a tombstone.
func (l *Ledger) Remove(id string) error {
	if err := statedir.Key(id); err != nil {
		return err
	}
	return l.space.Do(func() error {
		if err := l.removed.Put(id, true); err != nil {
			return err
		}
		return l.networks.Delete(id)
	})
}

// Bind keeps the binding and returns the topology of its network.
func (l *Ledger) Bind(p networkdriver.Port, b networkdriver.Bind) (t networkdriver.Topology, err error) {
	if err := statedir.Key(p.ID); err != nil {
		return t, err
	}
	if b.Host == "" || b.Generation < 1 {
		return t, fault.InvalidField("bind", b, "name a host and a generation from 1")
	}
	err = l.space.Do(func() error {
		n, found, err := l.networks.Get(p.NetworkID)
		switch {
		case err != nil:
			return err
		case !found:
			return fault.New(fault.NotFound, "it was not applied; apply it before binding port %s", p.ID).About("network", p.NetworkID)
		}
		doc, _, err := l.ports.Get(p.ID)
		if err != nil {
			return err
		}
		if b.Generation <= doc.Unbound {
			return fault.New(fault.Stale, "generation %d was unbound, %d cannot come back; stop", doc.Unbound, b.Generation).About("port", p.ID)
		}
		if old, bound := n.Bindings[p.ID]; bound && old.Generation > b.Generation {
			return fault.New(fault.Stale, "it is bound to host %s with generation %d, %d is older; stop", old.Host, old.Generation, b.Generation).About("port", p.ID)
		}
		if doc.NetworkID != p.NetworkID {
			if _, elsewhere, err := l.bound(doc, p.ID); err != nil {
				return err
			} else if elsewhere {
				return fault.New(fault.Conflict, "it is bound in network %s; unbind it first", doc.NetworkID).About("port", p.ID)
			}
			doc.NetworkID = p.NetworkID
			if err := l.ports.Put(p.ID, doc); err != nil {
				return err
			}
		}
		t = clone(n.Topology)
		if n.Bindings[p.ID] == b {
			return nil
		}
		n.Bindings = with(n.Bindings, p.ID, b)
		return l.networks.Put(p.NetworkID, n)
	})
	return t, err
}

// bound returns the network where the port is bound now, if it is.
func (l *Ledger) bound(p port, portID string) (n network, bound bool, err error) {
	if p.NetworkID == "" {
		return n, false, nil
	}
	n, _, err = l.networks.Get(p.NetworkID)
	_, bound = n.Bindings[portID]
	return n, bound, err
}

// with returns a copy that holds the binding too: documents in memory are shared.
func with(m map[string]networkdriver.Bind, portID string, b networkdriver.Bind) map[string]networkdriver.Bind {
	c := maps.Clone(m)
	if c == nil {
		c = map[string]networkdriver.Bind{}
	}
	c[portID] = b
	return c
}

// Unbind takes the binding away unless it is of a greater generation, and leaves a tombstone.
func (l *Ledger) Unbind(portID string, b networkdriver.Bind) error {
	if err := statedir.Key(portID); err != nil {
		return err
	}
	return l.space.Do(func() error {
		doc, _, err := l.ports.Get(portID)
		if err != nil {
			return err
		}
		if b.Generation > doc.Unbound {
			doc.Unbound = b.Generation
			if err := l.ports.Put(portID, doc); err != nil {
				return err
			}
		}
		n, bound, err := l.bound(doc, portID)
		if err != nil || !bound || n.Bindings[portID].Generation > b.Generation {
			return err
		}
		n.Bindings = maps.Clone(n.Bindings)
		delete(n.Bindings, portID)
		return l.networks.Put(doc.NetworkID, n)
	})
}

// Networks lists what is there, in the order of the ids.
func (l *Ledger) Networks() (states []networkdriver.NetworkState, err error) {
	err = l.space.Do(func() error {
		return l.networks.Each(func(id string, n network) error {
			b := maps.Clone(n.Bindings)
			if b == nil {
				b = map[string]networkdriver.Bind{}
			}
			states = append(states, networkdriver.NetworkState{NetworkID: id, Revision: n.Topology.Revision, Bindings: b})
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return states, nil
}

// Topology returns a copy of what was applied, and whether there is one.
func (l *Ledger) Topology(id string) (t networkdriver.Topology, found bool, err error) {
	err = l.space.Do(func() error {
		var n network
		n, found, err = l.networks.Get(id)
		t = clone(n.Topology)
		return err
	})
	return t, found, err
}

func clone(t networkdriver.Topology) networkdriver.Topology {
	t.Subnets = slices.Clone(t.Subnets)
	for i := range t.Subnets {
		s := &t.Subnets[i]
		s.DNS, s.HostRoutes = slices.Clone(s.DNS), slices.Clone(s.HostRoutes)
	}
	t.Ports = slices.Clone(t.Ports)
	for i := range t.Ports {
		t.Ports[i].Fixed = slices.Clone(t.Ports[i].Fixed)
	}
	return t
}

// same compares by meaning: a nil list and an empty one are the same.
func same(a, b networkdriver.Topology) bool {
	return a.NetworkID == b.NetworkID && a.Revision == b.Revision && a.Name == b.Name && a.ProjectID == b.ProjectID &&
		a.MTU == b.MTU && a.Segment == b.Segment && a.External == b.External && a.AdminUp == b.AdminUp &&
		slices.EqualFunc(a.Subnets, b.Subnets, func(x, y networkdriver.Subnet) bool {
			return x.ID == y.ID && x.CIDR == y.CIDR && x.Gateway == y.Gateway && x.DHCP == y.DHCP &&
				slices.Equal(x.DNS, y.DNS) && slices.Equal(x.HostRoutes, y.HostRoutes)
		}) &&
		slices.EqualFunc(a.Ports, b.Ports, func(x, y networkdriver.Port) bool {
			return x.ID == y.ID && x.NetworkID == y.NetworkID && x.MAC == y.MAC && x.DeviceID == y.DeviceID &&
				x.AdminUp == y.AdminUp && slices.Equal(x.Fixed, y.Fixed)
		})
}
