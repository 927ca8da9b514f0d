package network

import (
	"context"
	"time"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// Reconcile compares what the provider has with what it should have. Networks that it lacks, is behind with or refused before
// are applied again; bindings that it lacks are bound again; networks and bindings that the store knows to be over are
// removed, unless there are more than Options.Brake. What the provider has and nobody here knows is left alone and reported
// in the log. It pauses nine times as long as it reads ports. It calls the provider. Codes: those of the provider.
func (s *Service) Reconcile(ctx context.Context) error {
	if err := s.opt.Witness.Meet(ctx, Driver, s.provider); err != nil {
		return err
	}
	c, have, err := s.compareNetworks(ctx)
	if err != nil {
		return err
	}
	for _, id := range c.behind {
		if err := s.applyAgain(ctx, id); err != nil {
			return err
		}
	}
	if err := s.compareBindings(ctx, c, have, func(took time.Duration) error {
		return clock.Rest(ctx, s.opt.Clock, took)
	}); err != nil {
		return err
	}
	s.tell(c)
	for _, b := range c.unbound {
		if err := s.bindAgain(ctx, b); err != nil {
			return err
		}
	}
	if s.opt.Witness.Held() != nil || len(c.deadNetworks)+len(c.deadBindings) > s.opt.Brake {
		return nil
	}
	return s.bury(ctx, c.deadNetworks, c.deadBindings)
}

// applyAgain submits an operation for a network that none is at work on.
func (s *Service) applyAgain(ctx context.Context, id string) error {
	return s.store.Update(ctx, func(tx *store.Tx) error {
		n, err := networks.Get(tx, id)
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		active, err := operation.Active(tx, resource(id))
		if err != nil || active != nil {
			return err
		}
		_, err = s.ops.apply.Submit(tx, s.request(n), applyState{NetworkID: id})
		return err
	})
}
