package network

import (
	"context"
	"fmt"
	"slices"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/internal/finding"
	"github.com/nubecula/cloud/store"
)

// What Inspect finds at the provider.
var (
	providerSilent = finding.Rule{Name: "network-provider-not-compared",
		Means: "nobody knows what the network provider has; networks and ports are shown as they were last seen",
		Do:    "see that the provider's daemon or directory is there and reachable; then inspect again"}
	networkUnknown = finding.Rule{Name: "network-unknown", Removable: true,
		Means: "the provider has a network under this cloud's name that the store never heard of: the store was restored from an older backup, or damaged. Guests may be using it",
		Do:    "restore a newer backup if there is one; otherwise see that no guest uses it, and have it removed (Cloud.AcceptRemoval)"}
	networkDead = finding.Rule{Name: "network-left", Removable: true,
		Means: "the provider still has a network that was deleted",
		Do:    "nothing: the next pass removes it, unless there are too many; then have it removed (Cloud.AcceptRemoval)"}
	networkLost = finding.Rule{Name: "network-missing",
		Means: "the provider had the network and lost it: guests on it reach nobody",
		Do:    "nothing: the next pass applies it again. If it comes back, look at the provider's storage and its log"}
	bindingUnknown = finding.Rule{Name: "binding-unknown", Removable: true,
		Means: "the provider has a port bound that the store does not know, or knows as bound otherwise: the store was restored from an older backup, or damaged. A guest may be using it",
		Do:    "restore a newer backup if there is one; otherwise see that no guest uses it, and have it removed (Cloud.AcceptRemoval)"}
	bindingDead = finding.Rule{Name: "binding-left", Removable: true,
		Means: "the provider still has a port bound for a placement that is over",
		Do:    "nothing: the next pass unbinds it, unless there are too many; then have it removed (Cloud.AcceptRemoval)"}
	bindingLost = finding.Rule{Name: "binding-missing",
		Means: "the provider lost the binding of a port: its guest reaches nobody on that network",
		Do:    "nothing: the next pass binds it again. If it comes back, look at the provider's storage and its log"}
)

// mayRemove is nil unless the store is older than what the drivers have seen.
func (c *core) mayRemove(ctx context.Context) error {
	return c.opt.Witness.AllowAt(ctx, Driver, c.provider)
}

// bindAgain binds a port that the provider has lost, in the generation that is recorded.
func (s *Service) bindAgain(ctx context.Context, b binding) error {
	var p *Port
	err := s.store.View(ctx, func(tx *store.Tx) error {
		still, err := stillBound(tx, b)
		if err == nil && still {
			p, err = ports.Get(tx, b.port)
		}
		return err
	})
	if err != nil || p == nil {
		return err
	}
	_, err = s.provider.Bind(ctx, p.driver(), b.at)
	switch fault.CodeOf(err) {
	case fault.Unavailable, fault.Timeout, fault.Canceled:
		if err != nil {
			return err
		}
	}
	if err != nil && !fault.Is(err, fault.NotFound) { // a network that is applied again first
		s.log.ErrorContext(ctx, "a port is bound in the records and not at the provider, which refuses to bind it; its guest has no network there: reboot the server --hard, or make it anew",
			"port_id", b.port, "network_id", b.network, "host_id", b.at.Host, "generation", b.at.Generation, "error", err)
		return nil
	}
	s.log.WarnContext(ctx, "the provider had lost a port; it is bound again: look why if it goes on", "port_id", b.port, "network_id", b.network, "host_id", b.at.Host)
	return nil
}

// bury removes networks and bindings, each if it still is what it was taken for.
func (s *Service) bury(ctx context.Context, dead []string, unused []binding) error {
	if err := s.mayRemove(ctx); err != nil {
		return err
	}
	for _, id := range dead {
		s.log.WarnContext(ctx, "the provider has a network that was deleted; it is removed", "network_id", id)
		if err := s.provider.Remove(ctx, id); err != nil {
			return err
		}
	}
	for _, b := range unused {
		still := false
		if err := s.store.View(ctx, func(tx *store.Tx) error {
			v, err := verdictOn(tx, b)
			still = v != asRecorded
			return err
		}); err != nil {
			return err
		}
		if !still {
			continue
		}
		s.log.WarnContext(ctx, "the provider has a port bound whose placement is over; it is unbound", "port_id", b.port, "network_id", b.network, "host_id", b.at.Host, "generation", b.at.Generation)
		if err := s.provider.Unbind(ctx, b.port, b.at); err != nil {
			return err
		}
	}
	return nil
}

// tell gives the alarms that were not given the last time.
func (s *Service) tell(c *comparison) {
	pass := s.told.Pass()
	defer pass.End()
	for _, id := range c.unknownNetworks {
		if pass.First("network " + id) {
			s.log.Error("the provider has a network that this cloud does not know: the store was restored or damaged. It is left alone; look at Cloud.Inspect before it is removed", "network_id", id)
		}
	}
	for _, b := range c.unknownBindings {
		if pass.First("binding " + b.port) {
			s.log.Error("the provider has a port bound that this cloud does not know, or knows otherwise: the store was restored or damaged. It is left alone; look at Cloud.Inspect before it is unbound",
				"port_id", b.port, "network_id", b.network, "host_id", b.at.Host, "generation", b.at.Generation)
		}
	}
	if n := len(c.deadNetworks) + len(c.deadBindings); n > s.opt.Brake && pass.First(fmt.Sprint("brake ", n)) {
		s.log.Error("too much of what was deleted is still at the network provider, so nothing of it is removed: is it the right provider, and was its state restored? Look at Cloud.Inspect; Cloud.AcceptRemoval removes it",
			"networks", len(c.deadNetworks), "bindings", len(c.deadBindings), "limit", s.opt.Brake)
	}
}

// Inspect compares what the provider has with the records. It changes nothing.
func (s *Service) Inspect(ctx context.Context) ([]finding.Finding, error) {
	if err := s.mayInspect(ctx); err != nil {
		return nil, err
	}
	l := &finding.List{Service: "network"}
	c, err := s.compare(ctx)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		l.Add(providerSilent, "driver", Driver, "the network provider could not be asked: %v", err)
		c = &comparison{}
	}
	for _, id := range c.unknownNetworks {
		l.Add(networkUnknown, "network", id, "the provider has network %s, which this store does not know", id)
	}
	for _, id := range c.deadNetworks {
		l.Add(networkDead, "network", id, "the provider has network %s, which was deleted", id)
	}
	for _, id := range c.lacking {
		l.Add(networkLost, "network", id, "the provider lacks network %s, which it was given", id)
	}
	for _, b := range c.unknownBindings {
		l.Add(bindingUnknown, "port", b.port, "the provider has port %s bound to host %s with generation %d, which this store does not know", b.port, b.at.Host, b.at.Generation)
	}
	for _, b := range c.deadBindings {
		l.Add(bindingDead, "port", b.port, "the provider has port %s bound to host %s with generation %d, which is over", b.port, b.at.Host, b.at.Generation)
	}
	for _, b := range c.unbound {
		l.Add(bindingLost, "port", b.port, "port %s is bound to host %s with generation %d, and the provider does not have that", b.port, b.at.Host, b.at.Generation)
	}
	for i := range l.Found {
		l.Found[i].Where = Driver
	}
	return l.Found, nil
}

// AcceptRemoval is an operator's word that the networks and the bindings of the ports with these ids may be removed from the
// provider although the store does not know them, or although there were too many. It returns the ids of what it removed.
// Unavailable while the store is held.
func (s *Service) AcceptRemoval(ctx context.Context, ids ...string) (removed []string, err error) {
	if err := s.mayInspect(ctx); err != nil {
		return nil, err
	}
	c, err := s.compare(ctx)
	if err != nil {
		return nil, err
	}
	var dead []string
	var unused []binding
	for _, id := range slices.Concat(c.unknownNetworks, c.deadNetworks) {
		if slices.Contains(ids, id) {
			dead, removed = append(dead, id), append(removed, id)
		}
	}
	for _, b := range slices.Concat(c.unknownBindings, c.deadBindings) {
		if slices.Contains(ids, b.port) {
			unused, removed = append(unused, b), append(removed, b.port)
		}
	}
	if len(removed) == 0 {
		return nil, nil
	}
	if err := s.bury(ctx, dead, unused); err != nil {
		return nil, err
	}
	return removed, nil
}

func (s *Service) mayInspect(ctx context.Context) error {
	return s.store.View(ctx, func(tx *store.Tx) error {
		return s.check(tx, "network:provider:inspect", identity.Target{Kind: "network"})
	})
}
