// Package ledger keeps the promises of networkdriver.Provider that are about
// order: revisions, bindings that move, tombstones. Providers that have
// nowhere else to write these down build on it.
package ledger

import (
	"slices"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/statedir"
	"github.com/nubecula/cloud/network/networkdriver"
)

// Ledger is safe for concurrent use; one in a directory also by several processes.
type Ledger struct {
	space    *statedir.Space
	networks *statedir.Table[networkdriver.Topology] // without ports; files written before there was a table of them hold them
	heads    *statedir.Table[head]                   // what Bind needs of a network, which may have many ports; may be missing
	removed  *statedir.Table[bool]
	bindings *statedir.Table[binding] // by port id; one of a network that is gone does not count
	unbound  *statedir.Table[int64]   // greatest generation unbound, by port id
	epochs   *statedir.Table[int64]   // by cloud
	sorted   bool                     // no ports are left where they were before each network had a table of them; inside space.Do
}

// head is a topology without its lists.
type head struct {
	Segment networkdriver.Segment `json:"segment"`
}

type binding struct {
	NetworkID  string `json:"network_id"`
	Host       string `json:"host"`
	Generation int64  `json:"generation"`
}

// New returns the ledger kept in the space.
func New(s *statedir.Space) *Ledger {
	return &Ledger{
		space:    s,
		networks: statedir.In[networkdriver.Topology](s, "networks"),
		heads:    statedir.In[head](s, "heads"),
		removed:  statedir.In[bool](s, "removed"),
		bindings: statedir.In[binding](s, "bindings"),
		unbound:  statedir.In[int64](s, "unbound"),
		epochs:   statedir.In[int64](s, "epochs"),
	}
}

// ports is the table of a network's ports, by id. What is in that of a network that is gone does not count.
func (l *Ledger) ports(networkID string) *statedir.Table[networkdriver.Port] {
	return statedir.In[networkdriver.Port](l.space, "ports-"+networkID)
}

// do runs f inside the space, where all ports are in the tables of their networks.
func (l *Ledger) do(f func() error) error {
	return l.space.Do(func() error {
		if !l.sorted {
			all := statedir.In[networkdriver.Port](l.space, "ports") // an earlier version kept all of them there
			if err := all.Each(func(id string, p networkdriver.Port) error {
				if statedir.Key(p.NetworkID) == nil {
					if err := l.ports(p.NetworkID).Put(id, p); err != nil {
						return err
					}
				}
				return all.Delete(id)
			}); err != nil {
				return err
			}
			l.sorted = true
		}
		return f()
	})
}

// Close lets go of the space.
func (l *Ledger) Close() error { return l.space.Close() }

// Apply keeps the topology and says whether it changed anything.
func (l *Ledger) Apply(t networkdriver.Topology) (changed bool, err error) {
	if err := statedir.Key(t.NetworkID); err != nil {
		return false, err
	}
	err = l.do(func() error {
		old, found, err := l.current(t)
		if err != nil {
			return err
		}
		want := map[string]bool{}
		for _, p := range t.Ports {
			want[p.ID] = true
		}
		var gone []string
		ids, err := l.ports(t.NetworkID).Keys()
		if err != nil {
			return err
		}
		for _, id := range ids {
			if !want[id] {
				gone = append(gone, id)
			}
		}
		changed, err = l.change(old, found, t, gone)
		return err
	})
	return changed && err == nil, err
}

// Change keeps what has changed of a topology since a revision, and says whether it changed anything.
func (l *Ledger) Change(since int64, t networkdriver.Topology, gone []string) (changed bool, err error) {
	if err := statedir.Key(t.NetworkID); err != nil {
		return false, err
	}
	err = l.do(func() error {
		old, found, err := l.current(t)
		switch {
		case err != nil:
			return err
		case !found || old.Revision != since || len(old.Ports) > 0:
			return fault.New(fault.Conflict, "revision %d is here, not %d; apply the whole", old.Revision, since).About("network", t.NetworkID)
		}
		changed, err = l.change(old, found, t, gone)
		return err
	})
	return changed && err == nil, err
}

// current returns what is held of a network, unless it is newer than t.
func (l *Ledger) current(t networkdriver.Topology) (old networkdriver.Topology, found bool, err error) {
	if err := l.gone(t.NetworkID); err != nil {
		return old, false, err
	}
	old, found, err = l.networks.Get(t.NetworkID)
	if err == nil && found && t.Revision < old.Revision {
		err = fault.New(fault.Stale, "revision %d was applied, %d is older; stop", old.Revision, t.Revision).About("network", t.NetworkID)
	}
	return old, found, err
}

// change writes ports first: killed half-way, the network has its old revision, and the same is handed over again.
func (l *Ledger) change(old networkdriver.Topology, found bool, t networkdriver.Topology, gone []string) (changed bool, err error) {
	ports := l.ports(t.NetworkID)
	for _, id := range gone {
		_, there, err := ports.Get(id)
		if err == nil && there {
			changed, err = true, ports.Delete(id)
		}
		if err != nil {
			return changed, err
		}
	}
	for _, p := range t.Ports {
		if err := statedir.Key(p.ID); err != nil {
			return changed, err
		}
		p.Fixed, p.NetworkID = slices.Clone(p.Fixed), t.NetworkID
		was, there, err := ports.Get(p.ID)
		if err == nil && (!there || !samePort(was, p)) {
			changed, err = true, ports.Put(p.ID, p)
		}
		if err != nil {
			return changed, err
		}
	}
	t.Ports = nil
	if found && len(old.Ports) == 0 && same(old, t) {
		return changed, nil
	}
	return true, l.put(t)
}

// put keeps the topology. There is never a head that does not match: killed half-way, it leaves none.
func (l *Ledger) put(t networkdriver.Topology) error {
	want := head{t.Segment}
	was, found, err := l.heads.Get(t.NetworkID)
	if err != nil {
		return err
	}
	if found && was != want {
		if err := l.heads.Delete(t.NetworkID); err != nil {
			return err
		}
	}
	if err := l.networks.Put(t.NetworkID, clone(t)); err != nil || found && was == want {
		return err
	}
	return l.heads.Put(t.NetworkID, want)
}

// head returns the segment of a network that was applied.
func (l *Ledger) head(id string) (h head, found bool, err error) {
	if h, found, err = l.heads.Get(id); err != nil || found {
		return h, found, err
	}
	t, found, err := l.networks.Get(id)
	return head{t.Segment}, found, err
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
	return l.do(func() error {
		if err := l.removed.Put(id, true); err != nil {
			return err
		}
		if err := l.heads.Delete(id); err != nil {
			return err
		}
		if err := l.networks.Delete(id); err != nil {
			return err
		}
		ports := l.ports(id)
		if err := ports.Each(func(portID string, _ networkdriver.Port) error { return ports.Delete(portID) }); err != nil {
			return err
		}
		return l.bindings.Each(func(portID string, b binding) error {
			if b.NetworkID != id {
				return nil
			}
			return l.bindings.Delete(portID)
		})
	})
}

// Bind keeps the binding and returns the segment of its network.
func (l *Ledger) Bind(p networkdriver.Port, b networkdriver.Bind) (s networkdriver.Segment, err error) {
	if err := statedir.Key(p.ID); err != nil {
		return s, err
	}
	if b.Host == "" || b.Generation < 1 {
		return s, fault.InvalidField("bind", b, "name a host and a generation from 1")
	}
	err = l.do(func() error {
		h, found, err := l.head(p.NetworkID)
		switch {
		case err != nil:
			return err
		case !found:
			return fault.New(fault.NotFound, "it was not applied; apply it before binding port %s", p.ID).About("network", p.NetworkID)
		}
		s = h.Segment
		return l.bind(p, b)
	})
	return s, err
}

func (l *Ledger) bind(p networkdriver.Port, b networkdriver.Bind) error {
	grave, _, err := l.unbound.Get(p.ID)
	if err != nil {
		return err
	}
	if b.Generation <= grave {
		return fault.New(fault.Stale, "generation %d was unbound, %d cannot come back; stop", grave, b.Generation).About("port", p.ID)
	}
	want := binding{p.NetworkID, b.Host, b.Generation}
	old, found, err := l.bindings.Get(p.ID)
	switch {
	case err != nil:
		return err
	case found && old == want:
		return nil
	case found && old.Generation > b.Generation:
		return fault.New(fault.Stale, "it is bound to host %s with generation %d, %d is older; stop", old.Host, old.Generation, b.Generation).About("port", p.ID)
	case found && old.NetworkID != p.NetworkID:
		if _, there, err := l.head(old.NetworkID); err != nil {
			return err
		} else if there {
			return fault.New(fault.Conflict, "it is bound in network %s; unbind it first", old.NetworkID).About("port", p.ID)
		}
	}
	return l.bindings.Put(p.ID, want)
}

// Unbind takes the binding away unless it is of a greater generation, and leaves a tombstone.
func (l *Ledger) Unbind(portID string, b networkdriver.Bind) error {
	if err := statedir.Key(portID); err != nil {
		return err
	}
	return l.do(func() error {
		grave, _, err := l.unbound.Get(portID)
		if err == nil && b.Generation > grave {
			err = l.unbound.Put(portID, b.Generation)
		}
		if err != nil {
			return err
		}
		old, found, err := l.bindings.Get(portID)
		if err != nil || !found || old.Generation > b.Generation {
			return err
		}
		return l.bindings.Delete(portID)
	})
}

// Remember keeps the greatest epoch of a cloud and returns it; 0 only asks.
func (l *Ledger) Remember(cloud string, epoch int64) (newest int64, err error) {
	err = l.do(func() error {
		newest, err = statedir.Greatest(l.epochs, cloud, epoch)
		return err
	})
	return newest, err
}

// Forget drops the binding of a port without a tombstone, as damage does.
func (l *Ledger) Forget(portID string) error {
	return l.do(func() error { return l.bindings.Delete(portID) })
}

// Networks lists what is there, in the order of the ids.
func (l *Ledger) Networks() (states []networkdriver.NetworkState, err error) {
	err = l.do(func() error {
		at := map[string]map[string]networkdriver.Bind{}
		if err := l.networks.Each(func(id string, t networkdriver.Topology) error {
			at[id] = map[string]networkdriver.Bind{}
			states = append(states, networkdriver.NetworkState{NetworkID: id, Revision: t.Revision, Bindings: at[id]})
			return nil
		}); err != nil {
			return err
		}
		return l.bindings.Visit(func(portID string, b binding) error {
			if bound := at[b.NetworkID]; bound != nil {
				bound[portID] = networkdriver.Bind{Host: b.Host, Generation: b.Generation}
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return states, nil
}

// Topology returns a copy of what was applied, and whether there is one; its ports in the order of their ids.
func (l *Ledger) Topology(id string) (t networkdriver.Topology, found bool, err error) {
	err = l.do(func() error {
		if t, found, err = l.networks.Get(id); err != nil || !found {
			return err
		}
		t = clone(t)
		return l.ports(id).Each(func(_ string, p networkdriver.Port) error {
			p.Fixed = slices.Clone(p.Fixed)
			t.Ports = append(t.Ports, p)
			return nil
		})
	})
	return t, found, err
}

func clone(t networkdriver.Topology) networkdriver.Topology {
	t.Subnets = slices.Clone(t.Subnets)
	for i := range t.Subnets {
		s := &t.Subnets[i]
		s.DNS, s.HostRoutes = slices.Clone(s.DNS), slices.Clone(s.HostRoutes)
	}
	return t
}

// same compares by meaning, but for ports: a nil list and an empty one are the same.
func same(a, b networkdriver.Topology) bool {
	return a.NetworkID == b.NetworkID && a.Revision == b.Revision && a.Name == b.Name && a.ProjectID == b.ProjectID &&
		a.MTU == b.MTU && a.Segment == b.Segment && a.External == b.External && a.AdminUp == b.AdminUp &&
		slices.EqualFunc(a.Subnets, b.Subnets, func(x, y networkdriver.Subnet) bool {
			return x.ID == y.ID && x.CIDR == y.CIDR && x.Gateway == y.Gateway && x.DHCP == y.DHCP &&
				slices.Equal(x.DNS, y.DNS) && slices.Equal(x.HostRoutes, y.HostRoutes)
		})
}

func samePort(x, y networkdriver.Port) bool {
	return x.ID == y.ID && x.NetworkID == y.NetworkID && x.MAC == y.MAC && x.DeviceID == y.DeviceID &&
		x.AdminUp == y.AdminUp && slices.Equal(x.Fixed, y.Fixed)
}
