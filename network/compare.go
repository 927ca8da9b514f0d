package network

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/network/networkdriver"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// Driver is the name of the network provider among a Cloud's drivers.
const Driver = "network"

// comparison is what the provider has and the records say. Everything in it was so before and after the provider was asked last.
type comparison struct {
	behind          []string  // networks that the provider lacks, is behind with, or refused
	lacking         []string  // those of them that it had once and lacks
	unbound         []binding // bindings in the records that the provider lacks
	deadNetworks    []string  // networks of the provider's that are deleted
	deadBindings    []binding // bindings of the provider's that are over
	unknownNetworks []string  // of the provider's
	unknownBindings []binding
}

// binding is a port's, at the provider or in its record.
type binding struct {
	port, network string
	at            networkdriver.Bind
}

// compare compares networks and bindings without a pause: an operator waits. It fails when a listing does: what is not in a broken
// list is not absent.
func (s *Service) compare(ctx context.Context) (*comparison, error) {
	c, have, err := s.compareNetworks(ctx)
	if err != nil {
		return nil, err
	}
	return c, s.compareBindings(ctx, c, have, func(time.Duration) error { return nil })
}

// compareNetworks asks the provider, and compares its networks with the records. It also returns what the provider has bound, by port and
// network, in those that are this cloud's.
func (s *Service) compareNetworks(ctx context.Context) (c *comparison, have map[string]map[string]networkdriver.Bind, err error) {
	known := map[string]topology{} // a network made after this is not taken for one that the provider lacks
	if err := s.store.View(ctx, func(tx *store.Tx) error {
		for t, err := range topologies.Each(tx, store.Query[topology]{}) {
			if err != nil {
				return err
			}
			known[t.NetworkID] = *t
		}
		return nil
	}); err != nil {
		return nil, nil, err
	}
	states, err := s.provider.Networks(ctx)
	if err != nil {
		return nil, nil, err
	}
	err = s.store.View(ctx, func(tx *store.Tx) error {
		c, have = &comparison{}, make(map[string]map[string]networkdriver.Bind, len(known))
		for id := range known {
			have[id] = nil
		}
		return c.networks(tx, states, known, have)
	})
	return c, have, err
}

func (p *Port) bound() binding {
	return binding{p.ID, p.NetworkID, networkdriver.Bind{Host: p.Binding.Host, Generation: p.Binding.Generation}}
}

// networks sorts the provider's networks, and notes in have what it has bound in those that are ours.
func (c *comparison) networks(tx *store.Tx, states []networkdriver.NetworkState, known map[string]topology, have map[string]map[string]networkdriver.Bind) error {
	has := make(map[string]int64, len(states))
	for _, v := range states {
		id := v.NetworkID
		has[id] = v.Revision
		_, ours := known[id]
		if !ours {
			var err error
			if ours, err = topologies.Has(tx, id); err != nil { // made meanwhile
				return err
			}
		}
		if ours {
			have[id] = v.Bindings
			continue
		}
		over, err := networkOver(tx, id)
		switch {
		case err != nil:
			return err
		case over:
			c.deadNetworks = append(c.deadNetworks, id)
		default:
			c.unknownNetworks = append(c.unknownNetworks, id)
		} // its bindings go, or stay, with it
	}
	for _, id := range slices.Sorted(maps.Keys(known)) {
		t := known[id]
		rev, ok := has[id]
		if !t.Removed && (!ok || rev < t.Applied || t.Applied < t.Wanted) {
			c.behind = append(c.behind, id)
			if !ok && t.Applied > 0 {
				c.lacking = append(c.lacking, id)
			}
		}
	}
	return nil
}

// networkOver reports whether a network is deleted and nobody is at work on it.
func networkOver(tx *store.Tx, id string) (bool, error) {
	if has, err := topologies.Has(tx, id); err != nil || has {
		return false, err
	}
	_, err := networks.GetDeleted(tx, id)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil, err
}

// verdict is what a binding of the provider's is to the store.
type verdict int

const (
	asRecorded verdict = iota // or somebody is at work on it
	over                      // the store knows that this placement of the port has ended
	unknown                   // the store never heard of it
)

// verdictOn is what the records say of a binding of the provider's.
func verdictOn(tx *store.Tx, b binding) (verdict, error) {
	owed, err := debts.Has(tx, b.port)
	if err != nil || owed {
		return asRecorded, err
	}
	p, err := ports.Get(tx, b.port)
	if fault.Is(err, fault.NotFound) {
		_, err := ports.GetDeleted(tx, b.port)
		if fault.Is(err, fault.NotFound) {
			return unknown, nil
		}
		return over, err
	}
	if err != nil || p.Binding != nil && p.bound() == b {
		return asRecorded, err
	}
	busy, err := atWork(tx, p)
	switch {
	case err != nil || busy:
		return asRecorded, err
	case p.Binding != nil && p.Binding.Generation > b.at.Generation:
		return over, nil
	}
	return unknown, nil
}

// atWork reports whether an operation is at work on the server that has the port: it binds first and records then.
func atWork(tx *store.Tx, p *Port) (bool, error) {
	if p.DeviceID == "" {
		return false, nil
	}
	op, err := operation.Active(tx, operation.Resource{Kind: "server", ID: p.DeviceID})
	return op != nil, err
}

// stillBound reports whether a port is recorded as bound that way and nobody is at work on it.
func stillBound(tx *store.Tx, b binding) (bool, error) {
	p, err := ports.Get(tx, b.port)
	if fault.Is(err, fault.NotFound) || err == nil && (p.Binding == nil || p.bound() != b) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	busy, err := atWork(tx, p)
	return err == nil && !busy, err
}
