package network

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/nubecula/cloud/network/networkdriver"
	"github.com/nubecula/cloud/store"
)

// atOnce is how many ports a comparison reads in one View: some 20 ms of work.
const atOnce = 1000

// part is what was read in one View of a network's ports.
type part struct {
	network string
	ports   []*Port
	last    bool // no more of them
}

// compareBindings compares the ports of networks with what the provider has bound there. What does not agree is looked up once more, after
// the provider was asked once more: what changes while this goes on is no finding. rest is called after each View of many ports.
func (s *Service) compareBindings(ctx context.Context, c *comparison, have map[string]map[string]networkdriver.Bind, rest func(took time.Duration) error) error {
	lacking, odd, err := s.differences(ctx, have, rest)
	if err == nil {
		err = s.judge(ctx, c, lacking, odd)
	}
	if err != nil || len(c.unbound)+len(c.deadBindings)+len(c.unknownBindings) == 0 {
		return err
	}
	states, err := s.provider.Networks(ctx)
	if err != nil {
		return err
	}
	lacking, odd = c.still(states)
	return s.judge(ctx, c, lacking, odd)
}

// differences returns the bindings in the records that the provider has not, and those of its own that the records do not have so. It empties have.
func (s *Service) differences(ctx context.Context, have map[string]map[string]networkdriver.Bind, rest func(took time.Duration) error) (lacking, odd []binding, err error) {
	todo := slices.Sorted(maps.Keys(have))
	var after *Port // the last one that was read of todo[0]
	var left map[string]networkdriver.Bind
	for len(todo) > 0 {
		began := s.opt.Clock.Mono()
		parts, err := s.readPorts(ctx, todo, after)
		if err != nil {
			return nil, nil, err
		}
		for _, p := range parts {
			if after == nil {
				left = maps.Clone(have[p.network])
			}
			for _, v := range p.ports {
				after = v
				if v.Binding == nil {
					continue
				}
				switch at, has := left[v.ID]; {
				case !has:
					lacking = append(lacking, v.bound())
				case at == v.bound().at:
					delete(left, v.ID)
				}
			}
			if p.last {
				for _, id := range slices.Sorted(maps.Keys(left)) {
					odd = append(odd, binding{id, p.network, left[id]})
				}
				delete(have, p.network) // a million bindings are some memory, and this takes minutes
				todo, after = todo[1:], nil
			}
		}
		if err := rest(s.opt.Clock.Mono() - began); err != nil {
			return nil, nil, err
		}
	}
	return lacking, odd, nil
}

// readPorts reads some ports of networks, of the first one those behind a port.
func (s *Service) readPorts(ctx context.Context, networks []string, after *Port) (parts []part, err error) {
	err = s.store.View(ctx, func(tx *store.Tx) error {
		parts = nil
		from := after
		for n, i := 0, 0; n < atOnce && i < len(networks); i++ {
			q := store.Query[Port]{Index: "network", Prefix: store.Tuple{networks[i]}, After: from, Limit: atOnce - n}
			some, err := ports.List(tx, q)
			if err != nil {
				return err
			}
			parts = append(parts, part{networks[i], some, len(some) < q.Limit})
			n += len(some) + 1 // one without ports costs something, too
			from = nil
		}
		return nil
	})
	return parts, err
}

// judge keeps of bindings what the records say that is wrong with them.
func (s *Service) judge(ctx context.Context, c *comparison, lacking, odd []binding) error {
	return s.store.View(ctx, func(tx *store.Tx) error {
		c.unbound, c.deadBindings, c.unknownBindings = nil, nil, nil
		for _, b := range lacking {
			lost, err := stillBound(tx, b)
			if err != nil {
				return err
			}
			if lost {
				c.unbound = append(c.unbound, b)
			}
		}
		for _, b := range odd {
			v, err := verdictOn(tx, b)
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
	})
}

// still returns what a later listing says about bindings as the former one did.
func (c *comparison) still(states []networkdriver.NetworkState) (lacking, odd []binding) {
	bound := map[string]bool{} // by port, of those that are asked for
	for _, b := range slices.Concat(c.unbound, c.deadBindings, c.unknownBindings) {
		bound[b.port] = false
	}
	has := map[binding]bool{}
	for _, v := range states {
		for port, at := range v.Bindings {
			if _, ok := bound[port]; ok {
				bound[port], has[binding{port, v.NetworkID, at}] = true, true
			}
		}
	}
	lacking = slices.DeleteFunc(slices.Clone(c.unbound), func(b binding) bool { return bound[b.port] })
	odd = slices.DeleteFunc(slices.Concat(c.deadBindings, c.unknownBindings), func(b binding) bool { return !has[b] })
	return lacking, odd
}
