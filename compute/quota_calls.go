package compute

import (
	"context"
	"maps"
	"slices"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/store"
)

// GetQuota returns the limits of a project and what it uses; the absolute limits are a view of it.
func (s *Service) GetQuota(ctx context.Context, projectID string) (set QuotaSet, err error) {
	err = s.view(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "compute:quota:get", identity.Target{Kind: "quota", ProjectID: projectID}); err != nil {
			return err
		}
		set, err = s.quotaOf(tx, projectID)
		return err
	})
	return set, err
}

func (c *core) quotaOf(tx *store.Tx, projectID string) (QuotaSet, error) {
	usage, err := c.book.Usage(tx, projectID)
	set := make(QuotaSet, len(usage))
	for name, u := range usage {
		set[name] = QuotaLine{Limit: u.Limit, Used: u.Used}
	}
	return set, err
}

// DefaultQuota returns the limits of projects that have none of their own.
func (s *Service) DefaultQuota(ctx context.Context) (set QuotaSet, err error) {
	err = s.view(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "compute:quota:get", identity.Target{Kind: "quota", ProjectID: s.project()}); err != nil {
			return err
		}
		set, err = s.quotaOf(tx, "")
		return err
	})
	return set, err
}

// UpdateQuota sets limits of a project and returns all; -1 means unlimited. Invalid: a name is unknown,
// or, without force, a limit is below what is used.
func (s *Service) UpdateQuota(ctx context.Context, projectID string, limits map[string]int64, force bool) (set QuotaSet, err error) {
	err = s.update(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "compute:quota:update", identity.Target{Kind: "quota", ProjectID: projectID}); err != nil {
			return err
		}
		have, err := s.book.Usage(tx, projectID)
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(limits)) {
			if n := limits[name]; !force && n >= 0 && n < have[name].Used {
				return fault.InvalidField(name, n, "the project uses more; delete some first, or force it")
			}
		}
		if err := s.book.SetLimits(tx, projectID, limits); err != nil {
			return err
		}
		set, err = s.quotaOf(tx, projectID)
		return err
	})
	return set, err
}

// UpdateDefaultQuota sets limits of the projects that have none of their own, Nova's quota class "default".
func (s *Service) UpdateDefaultQuota(ctx context.Context, limits map[string]int64) (set QuotaSet, err error) {
	err = s.update(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "compute:quota:update", identity.Target{Kind: "quota"}); err != nil {
			return err
		}
		if err := s.book.SetLimits(tx, "", limits); err != nil {
			return err
		}
		set, err = s.quotaOf(tx, "")
		return err
	})
	return set, err
}

// DeleteQuota gives a project the default limits again.
func (s *Service) DeleteQuota(ctx context.Context, projectID string) error {
	return s.update(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "compute:quota:update", identity.Target{Kind: "quota", ProjectID: projectID}); err != nil {
			return err
		}
		return s.book.ResetLimits(tx, projectID)
	})
}
