package network

import (
	"context"
	"maps"
	"slices"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// Reconcile compares what the provider has with what it should have, and has networks applied again
// that it lacks, is behind with, or refused before. It calls the provider. Networks that the provider
// has and nobody here knows are left alone and reported in the log. Codes: those of the provider.
func (s *Service) Reconcile(ctx context.Context) error {
	// The store is read first: a network made in between is then not taken for a stranger.
	known := map[string]topology{}
	if err := s.store.View(ctx, func(tx *store.Tx) error {
		for t, err := range topologies.Each(tx, store.Query[topology]{}) {
			if err != nil {
				return err
			}
			known[t.NetworkID] = *t
		}
		return nil
	}); err != nil {
		return err
	}
	states, err := s.provider.Networks(ctx)
	if err != nil {
		return err
	}
	has := make(map[string]int64, len(states))
	for _, v := range states {
		has[v.NetworkID] = v.Revision
	}
	for _, id := range slices.Sorted(maps.Keys(known)) {
		t := known[id]
		rev, ok := has[id]
		if !t.Removed && (!ok || rev < t.Applied || t.Applied < t.Wanted) {
			if err := s.applyAgain(ctx, id); err != nil {
				return err
			}
		}
	}
	for _, v := range states {
		if _, ok := known[v.NetworkID]; ok {
			continue
		}
		if err := s.stranger(ctx, v.NetworkID); err != nil {
			return err
		}
	}
	return nil
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

// stranger reports a network of the provider's that the store does not know, now either.
func (s *Service) stranger(ctx context.Context, id string) error {
	return s.store.View(ctx, func(tx *store.Tx) error {
		ok, err := topologies.Has(tx, id)
		if err == nil && !ok {
			s.log.ErrorContext(ctx, "the provider has a network that this cloud does not know: the store was restored or damaged; look before removing it", "network_id", id)
		}
		return err
	})
}
