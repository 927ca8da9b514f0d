package network

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/internal/quota"
	"github.com/nubecula/cloud/store"
)

// Usage is what a project has and may have of one resource; a Limit of -1 is none.
type Usage = quota.Usage

// newBook returns the ledger of what is counted: unlimited until set.
func newBook() *quota.Book {
	return quota.NewBook("network",
		quota.Resource{Name: "network", Label: "networks", Default: quota.Unlimited},
		quota.Resource{Name: "subnet", Label: "subnets", Default: quota.Unlimited},
		quota.Resource{Name: "port", Label: "ports", Default: quota.Unlimited},
		quota.Resource{Name: "security_group", Label: "security groups", Default: quota.Unlimited},
		quota.Resource{Name: "security_group_rule", Label: "security group rules", Default: quota.Unlimited},
	)
}

// GetQuota returns the use and limits of a project, by resource.
func (s *Service) GetQuota(ctx context.Context, projectID string) (u map[string]Usage, err error) {
	err = s.store.View(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "network:quota:get", quotaTarget(projectID)); err != nil {
			return err
		}
		u, err = s.book.Usage(tx, projectID)
		return err
	})
	return u, err
}

// DefaultQuota returns the limits of a project that has none of its own.
func (s *Service) DefaultQuota(ctx context.Context, projectID string) (u map[string]Usage, err error) {
	err = s.store.View(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "network:quota:get", quotaTarget(projectID)); err != nil {
			return err
		}
		u, err = s.book.Usage(tx, "")
		return err
	})
	return u, err
}

// SetQuota changes limits of a project; -1 means unlimited. A limit may be below the use: then nothing more can be
// made. Invalid for an unknown resource.
func (s *Service) SetQuota(ctx context.Context, projectID string, limits map[string]int64) (map[string]Usage, error) {
	return s.setQuota(ctx, projectID, limits, false)
}

// SetQuotaChecked is SetQuota, but Invalid for a limit below what the project uses.
func (s *Service) SetQuotaChecked(ctx context.Context, projectID string, limits map[string]int64) (map[string]Usage, error) {
	return s.setQuota(ctx, projectID, limits, true)
}

func (s *Service) setQuota(ctx context.Context, projectID string, limits map[string]int64, check bool) (u map[string]Usage, err error) {
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "network:quota:update", quotaTarget(projectID)); err != nil {
			return err
		}
		if projectID == "" {
			return fault.InvalidField("project_id", projectID, "name a project")
		}
		if err := s.book.SetLimits(tx, projectID, limits); err != nil {
			return err
		}
		if u, err = s.book.Usage(tx, projectID); err != nil || !check {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(limits)) {
			if n := limits[name]; n >= 0 && n < u[name].Used {
				return fault.InvalidField(name, n, fmt.Sprintf("the project uses %d; delete some first, or set it without the check", u[name].Used))
			}
		}
		return nil
	})
	return u, err
}

// ResetQuota gives a project the default limits again.
func (s *Service) ResetQuota(ctx context.Context, projectID string) error {
	return s.store.Update(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "network:quota:update", quotaTarget(projectID)); err != nil {
			return err
		}
		return s.book.ResetLimits(tx, projectID)
	})
}

// ListQuotas returns the projects that have limits of their own, for administrators.
func (s *Service) ListQuotas(ctx context.Context) (out map[string]map[string]Usage, err error) {
	err = s.store.View(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "network:quota:list", identity.Target{Kind: "quota"}); err != nil {
			return err
		}
		projects, err := s.book.Projects(tx)
		if err != nil {
			return err
		}
		out = make(map[string]map[string]Usage, len(projects))
		for _, p := range projects {
			if out[p], err = s.book.Usage(tx, p); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

func quotaTarget(projectID string) identity.Target {
	return identity.Target{Kind: "quota", ProjectID: projectID}
}
