package network

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/finding"
	"github.com/nubecula/cloud/internal/ipam"
	"github.com/nubecula/cloud/internal/quota"
	"github.com/nubecula/cloud/store"
)

// Collections lists the kinds of documents that this package keeps, those of its ledgers included.
func Collections() []store.AnyCollection {
	return slices.Concat([]store.AnyCollection{networks, subnets, ports, groups, rules, topologies, losses, debts},
		quota.Collections(), ipam.Collections())
}

// audit collects what Check finds.
type audit struct {
	tx       *store.Tx
	counts   map[string]map[string]int64      // of quota, by project and resource
	held     map[string]map[netip.Addr]string // addresses that ports and debts have, by subnet
	segments map[string]int                   // how many networks have an id of a pool
	finding.List
}

// Check recounts everything and returns what is not as it should be: references to what is not there,
// addresses that the ledger and the ports do not agree on, quota.
func (s *Service) Check(tx *store.Tx) ([]finding.Finding, error) {
	a := &audit{tx: tx, List: finding.List{Service: "network"}, counts: map[string]map[string]int64{}, held: map[string]map[netip.Addr]string{}, segments: map[string]int{}}
	for _, part := range []func() error{a.networks, a.segmentPools, a.ports, a.debts, a.addresses, a.groups} {
		if err := part(); err != nil {
			return nil, err
		}
	}
	lines, err := s.book.Verify(tx, a.counts)
	a.Lines(finding.QuotaWrong, "quota", "", lines)
	return a.Found, err
}

func (a *audit) count(project, resource string) {
	if a.counts[project] == nil {
		a.counts[project] = map[string]int64{}
	}
	a.counts[project][resource]++
}

// want says so when a reference of a thing leads nowhere.
func want[T any](a *audit, c *store.Collection[T], id, by, byID string) error {
	ok, err := c.Has(a.tx, id)
	if err == nil && !ok {
		a.Add(dangling, by, byID, "%s %s refers to %s %s, which is not there", by, byID, c.Kind(), id)
	}
	return err
}

func (a *audit) networks() error {
	for n, err := range networks.Each(a.tx, store.Query[Network]{}) {
		if err != nil {
			return err
		}
		a.count(n.ProjectID, "network")
		if err := want(a, topologies, n.ID, "network", n.ID); err != nil {
			return err
		}
		if err := a.segment(n); err != nil {
			return err
		}
		for _, id := range n.Subnets {
			v, err := subnets.Get(a.tx, id)
			if fault.Is(err, fault.NotFound) || err == nil && v.NetworkID != n.ID {
				a.Add(dangling, "network", n.ID, "network %s lists subnet %s, which is not its own", n.ID, id)
			} else if err != nil {
				return err
			}
		}
	}
	for t, err := range topologies.Each(a.tx, store.Query[topology]{}) {
		if err != nil {
			return err
		}
		if t.Removed {
			continue
		}
		if err := want(a, networks, t.NetworkID, "topology", t.NetworkID); err != nil {
			return err
		}
	}
	for v, err := range subnets.Each(a.tx, store.Query[Subnet]{}) {
		if err != nil {
			return err
		}
		a.count(v.ProjectID, "subnet")
		a.held[v.ID] = map[netip.Addr]string{}
		n, err := networks.Get(a.tx, v.NetworkID)
		if fault.Is(err, fault.NotFound) || err == nil && !slices.Contains(n.Subnets, v.ID) {
			a.Add(dangling, "subnet", v.ID, "subnet %s is not listed by its network %s", v.ID, v.NetworkID)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// segment says so when the id of a network's segment is not its own.
func (a *audit) segment(n *Network) error {
	if n.Segment.Type == "local" || n.Segment.Type == "flat" {
		return nil
	}
	pool := segmentPool(n.Segment)
	a.segments[pool]++
	by, err := ipam.Owner(a.tx, pool, number(n.Segment.ID))
	if err == nil && by != n.ID {
		a.Add(segmentWrong, "network", n.ID, "network %s has %s segment %d, which the ledger gives to %q", n.ID, n.Segment.Type, n.Segment.ID, by)
	}
	return err
}

func (a *audit) segmentPools() error {
	for _, pool := range slices.Sorted(maps.Keys(a.segments)) {
		lines, err := ipam.Verify(a.tx, pool)
		if err != nil {
			return err
		}
		a.Lines(segmentWrong, "segment pool", pool, lines)
		taken, err := ipam.Held(a.tx, pool)
		if err != nil {
			return err
		}
		if len(taken) != a.segments[pool] {
			a.Add(segmentWrong, "segment pool", pool, "pool %s has given out %d ids, %d networks have one", pool, len(taken), a.segments[pool])
		}
	}
	return nil
}

func (a *audit) hold(by, portID string, fixed []FixedIP) {
	for _, f := range fixed {
		switch held := a.held[f.SubnetID]; {
		case held == nil:
			a.Add(dangling, "port", portID, "%s has address %s in subnet %s, which is not there", by, f.Addr, f.SubnetID)
		case held[f.Addr] != "":
			a.Add(addressTwice, "port", portID, "%s and port %s both have address %s in subnet %s", by, held[f.Addr], f.Addr, f.SubnetID)
		default:
			held[f.Addr] = portID
		}
	}
}

func (a *audit) ports() error {
	for p, err := range ports.Each(a.tx, store.Query[Port]{}) {
		if err != nil {
			return err
		}
		a.count(p.ProjectID, "port")
		a.hold("port "+p.ID, p.ID, p.Fixed)
		if err := want(a, networks, p.NetworkID, "port", p.ID); err != nil {
			return err
		}
		for _, g := range p.SecurityGroups {
			if err := want(a, groups, g, "port", p.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *audit) debts() error {
	for d, err := range debts.Each(a.tx, store.Query[debt]{}) {
		if err != nil {
			return err
		}
		a.hold("deleted port "+d.PortID, d.PortID, d.Fixed)
		if err := want(a, topologies, d.NetworkID, "deleted port", d.PortID); err != nil {
			return err
		}
	}
	return nil
}

func (a *audit) addresses() error {
	for id, ports := range a.held {
		lines, err := ipam.Verify(a.tx, id)
		if err != nil {
			return err
		}
		a.Lines(addressWrong, "subnet", id, lines)
		taken, err := ipam.Held(a.tx, id)
		if err != nil {
			return err
		}
		for _, t := range taken {
			if ports[t.Addr] != t.Owner {
				a.Add(addressHeld, "subnet", id, "address %s of subnet %s is held by port %s, which does not have it", t.Addr, id, t.Owner)
			}
			delete(ports, t.Addr)
		}
		for addr, port := range ports {
			a.Add(addressFree, "port", port, "port %s has address %s of subnet %s, which the ledger counts as free", port, addr, id)
		}
	}
	slices.SortFunc(a.Found, func(x, y finding.Finding) int { return strings.Compare(x.Text, y.Text) })
	return nil
}

func (a *audit) groups() error {
	for g, err := range groups.Each(a.tx, store.Query[SecurityGroup]{}) {
		if err != nil {
			return err
		}
		a.count(g.ProjectID, "security_group")
	}
	for r, err := range rules.Each(a.tx, store.Query[SecurityGroupRule]{}) {
		if err != nil {
			return err
		}
		a.count(r.ProjectID, "security_group_rule")
		if err := want(a, groups, r.GroupID, "security group rule", r.ID); err != nil {
			return err
		}
		if r.RemoteGroupID != "" {
			if err := want(a, groups, r.RemoteGroupID, "security group rule", r.ID); err != nil {
				return err
			}
		}
	}
	return nil
}
