package network

import (
	"context"
	"maps"
	"slices"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/network/networkdriver"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// Driver is the name of the network provider among a Cloud's drivers.
const Driver = "network"

// comparison is what the provider has and the records say. Everything in it was so before and after the provider was asked.
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

// compare reads the records, asks the provider, and reads once more what the provider has besides. It fails when the listing
// does: what is not in a broken list is not absent.
func (s *Service) compare(ctx context.Context) (*comparison, error) {
	known := map[string]topology{} // a network made after this is not taken for one that the provider lacks
	bound := map[string]binding{}
	if err := s.store.View(ctx, func(tx *store.Tx) error {
		for t, err := range topologies.Each(tx, store.Query[topology]{}) {
			if err != nil {
				return err
			}
			known[t.NetworkID] = *t
		}
		for p, err := range ports.Each(tx, store.Query[Port]{}) {
			if err != nil {
				return err
			}
			if p.Binding != nil {
				bound[p.ID] = p.bound()
			}
		}
		return nil
	}); err != nil {
		return nil, err
	}
	states, err := s.provider.Networks(ctx)
	if err != nil {
		return nil, err
	}
	c := &comparison{}
	err = s.store.View(ctx, func(tx *store.Tx) error {
		*c = comparison{}
		has, have := map[string]int64{}, map[string]networkdriver.Bind{}
		for _, v := range states {
			has[v.NetworkID] = v.Revision
			maps.Copy(have, v.Bindings)
			if err := c.network(tx, v, known); err != nil {
				return err
			}
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
		for _, id := range slices.Sorted(maps.Keys(bound)) {
			if _, ok := have[id]; ok {
				continue
			}
			lost, err := stillBound(tx, bound[id])
			if err != nil {
				return err
			}
			if lost {
				c.unbound = append(c.unbound, bound[id])
			}
		}
		return nil
	})
	return c, err
}

func (p *Port) bound() binding {
	return binding{p.ID, p.NetworkID, networkdriver.Bind{Host: p.Binding.Host, Generation: p.Binding.Generation}}
}

// network sorts what the provider has of a network.
func (c *comparison) network(tx *store.Tx, v networkdriver.NetworkState, known map[string]topology) error {
	id := v.NetworkID
	_, ours := known[id]
	if !ours {
		var err error
		if ours, err = topologies.Has(tx, id); err != nil { // made meanwhile
			return err
		}
	}
	if !ours {
		over, err := networkOver(tx, id)
		switch {
		case err != nil:
			return err
		case over:
			c.deadNetworks = append(c.deadNetworks, id)
		default:
			c.unknownNetworks = append(c.unknownNetworks, id)
		}
		return nil // its bindings go, or stay, with it
	}
	for _, port := range slices.Sorted(maps.Keys(v.Bindings)) {
		b := binding{port, id, v.Bindings[port]}
		v, err := judge(tx, b)
		switch {
		case err != nil:
			return err
		case v == over:
			c.deadBindings = append(c.deadBindings, b)
		case v == unknown:
			c.unknownBindings = append(c.unknownBindings, b)
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

func judge(tx *store.Tx, b binding) (verdict, error) {
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
