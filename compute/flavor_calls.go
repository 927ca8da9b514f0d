package compute

import (
	"context"
	"maps"
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/internal/pattern"
	"github.com/nubecula/cloud/store"
)

const maxFlavorNumber = math.MaxInt32

var (
	flavorID = pattern.New(`^[a-zA-Z0-9._-]([a-zA-Z0-9. _-]*[a-zA-Z0-9._-])?$`)
	specKey  = pattern.New(`^[a-zA-Z0-9-_:. ]{1,255}$`)
)

// CreateFlavor makes a flavor. Exists: the id or the name is taken.
func (s *Service) CreateFlavor(ctx context.Context, req CreateFlavor) (f *Flavor, err error) {
	if req.RxTxFactor == 0 {
		req.RxTxFactor = 1
	}
	if err := req.validate(); err != nil {
		return nil, err
	}
	err = s.update(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "compute:flavor:create", identity.Target{Kind: "flavor"}); err != nil {
			return err
		}
		f = &Flavor{
			ID: req.ID, Name: req.Name, Description: req.Description, VCPUs: req.VCPUs, MemoryMiB: req.MemoryMiB,
			DiskGiB: req.DiskGiB, EphemeralGiB: req.EphemeralGiB, SwapMiB: req.SwapMiB, RxTxFactor: req.RxTxFactor,
			Public: !req.Private, Disabled: req.Disabled, ExtraSpecs: maps.Clone(req.ExtraSpecs), CreatedAt: tx.Now(),
		}
		if f.ID == "" || f.ID == "auto" {
			f.ID = tx.NewID()
		}
		return flavors.Insert(tx, f)
	})
	return f, err
}

func (r *CreateFlavor) validate() error {
	var v check
	v.text("name", r.Name, 1, 255)
	if strings.TrimSpace(r.Name) != r.Name {
		v.bad("name", r.Name, "it must not begin or end with a space")
	}
	if r.ID != "" && (len(r.ID) > 255 || !flavorID.MatchString(r.ID)) {
		v.bad("id", r.ID, "use letters, digits, '.', '_', '-' and inner spaces, at most 255")
	}
	v.text("description", r.Description, 0, 65535)
	v.number("vcpus", int64(r.VCPUs), 1, maxFlavorNumber)
	v.number("ram", r.MemoryMiB, 1, maxFlavorNumber)
	v.number("disk", r.DiskGiB, 0, maxFlavorNumber)
	v.number("ephemeral", r.EphemeralGiB, 0, maxFlavorNumber)
	v.number("swap", r.SwapMiB, 0, maxFlavorNumber)
	if !(r.RxTxFactor > 0 && r.RxTxFactor <= math.MaxFloat32) {
		v.bad("rxtx_factor", r.RxTxFactor, "it must be greater than 0")
	}
	v.specs(r.ExtraSpecs)
	return v.err()
}

func (v *check) specs(specs map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(specs)) {
		if !specKey.MatchString(k) {
			v.bad("extra_specs", k, "a key has 1 to 255 letters, digits, '-', '_', ':', '.' and spaces")
		}
		v.text("extra_specs."+k, specs[k], 0, 255)
	}
}

// seen reports whether the principal may see a flavor: it is public, his project has access, or he administers.
func (s *Service) seen(f *Flavor) bool {
	return f.Public || s.admin() || s.who != nil && slices.Contains(f.Access, s.who.ProjectID)
}

func (s *Service) flavor(tx *store.Tx, id string) (*Flavor, error) {
	f, err := flavors.Get(tx, id)
	if err == nil && !s.seen(f) {
		err = fault.Missing("flavor", id)
	}
	return f, err
}

// GetFlavor returns a flavor by id.
func (s *Service) GetFlavor(ctx context.Context, id string) (f *Flavor, err error) {
	err = s.view(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "compute:flavor:get", identity.Target{Kind: "flavor"}); err != nil {
			return err
		}
		f, err = s.flavor(tx, id)
		return err
	})
	return f, err
}

// ListFlavors returns a page of flavors, ordered by id unless q says otherwise, and whether there are more.
// Invalid: the marker is unknown.
func (s *Service) ListFlavors(ctx context.Context, q FlavorQuery) (page []*Flavor, more bool, err error) {
	var all []*Flavor
	err = s.view(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "compute:flavor:list", identity.Target{Kind: "flavor"}); err != nil {
			return err
		}
		all, err = flavors.List(tx, store.Query[Flavor]{Filter: func(f *Flavor) bool { return s.selects(q, f) }})
		return err
	})
	if err != nil {
		return nil, false, err
	}
	less, err := flavorOrder(q.SortKey)
	if err != nil {
		return nil, false, err
	}
	sort.SliceStable(all, func(i, j int) bool {
		if q.SortDesc {
			i, j = j, i
		}
		return less(all[i], all[j])
	})
	return paged(all, q.Marker, q.Limit, func(f *Flavor) string { return f.ID })
}

func (s *Service) selects(q FlavorQuery, f *Flavor) bool {
	switch admin := s.admin(); {
	case admin && q.Public != nil && *q.Public != f.Public:
		return false
	case admin && q.Public == nil && !q.All && !f.Public && !slices.Contains(f.Access, s.who.ProjectID):
		return false
	case !admin && (f.Disabled || !s.seen(f) || q.Public != nil && *q.Public != f.Public):
		return false
	}
	return f.DiskGiB >= q.MinDiskGiB && f.MemoryMiB >= q.MinMemoryMiB
}

// flavorOrder returns the order of a sort key, ties broken by id.
func flavorOrder(key string) (func(a, b *Flavor) bool, error) {
	by := func(value func(*Flavor) int64) func(a, b *Flavor) bool {
		return func(a, b *Flavor) bool {
			if x, y := value(a), value(b); x != y {
				return x < y
			}
			return a.ID < b.ID
		}
	}
	switch key {
	case "", "flavorid", "id":
		return func(a, b *Flavor) bool { return a.ID < b.ID }, nil
	case "name":
		return func(a, b *Flavor) bool { return a.Name < b.Name }, nil
	case "vcpus":
		return by(func(f *Flavor) int64 { return int64(f.VCPUs) }), nil
	case "memory_mb", "ram":
		return by(func(f *Flavor) int64 { return f.MemoryMiB }), nil
	case "root_gb", "disk":
		return by(func(f *Flavor) int64 { return f.DiskGiB }), nil
	case "ephemeral_gb":
		return by(func(f *Flavor) int64 { return f.EphemeralGiB }), nil
	case "swap":
		return by(func(f *Flavor) int64 { return f.SwapMiB }), nil
	case "created_at":
		return by(func(f *Flavor) int64 { return f.CreatedAt.UnixNano() }), nil
	case "updated_at":
		return by(func(f *Flavor) int64 { return f.UpdatedAt.UnixNano() }), nil
	case "disabled", "is_public", "rxtx_factor", "vcpu_weight":
		return func(a, b *Flavor) bool { return a.ID < b.ID }, nil
	}
	return nil, fault.InvalidField("sort_key", key, "use flavorid, name, vcpus, memory_mb, root_gb, ephemeral_gb, swap, created_at or updated_at")
}

// UpdateFlavor changes the description.
func (s *Service) UpdateFlavor(ctx context.Context, id string, req UpdateFlavor) (*Flavor, error) {
	var v check
	if req.Description != nil {
		v.text("description", *req.Description, 0, 65535)
	}
	if err := v.err(); err != nil {
		return nil, err
	}
	return s.changeFlavor(ctx, "compute:flavor:update", id, func(f *Flavor) error {
		if req.Description != nil {
			f.Description = *req.Description
		}
		return nil
	})
}

// changeFlavor is the common part of every change to a flavor.
func (s *Service) changeFlavor(ctx context.Context, action, id string, change func(f *Flavor) error) (f *Flavor, err error) {
	err = s.update(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, action, identity.Target{Kind: "flavor"}); err != nil {
			return err
		}
		if f, err = s.flavor(tx, id); err != nil {
			return err
		}
		if err := change(f); err != nil {
			return err
		}
		f.UpdatedAt = tx.Now()
		return flavors.Put(tx, f)
	})
	return f, err
}

// DeleteFlavor removes a flavor; servers keep the copy that they were made with.
func (s *Service) DeleteFlavor(ctx context.Context, id string) error {
	return s.update(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "compute:flavor:delete", identity.Target{Kind: "flavor"}); err != nil {
			return err
		}
		return flavors.Delete(tx, id)
	})
}

// UpdateExtraSpecs adds and changes extra specs and returns all of them.
func (s *Service) UpdateExtraSpecs(ctx context.Context, flavorID string, specs map[string]string) (map[string]string, error) {
	var v check
	if v.specs(specs); v.err() != nil {
		return nil, v.err()
	}
	f, err := s.changeFlavor(ctx, "compute:flavor:update", flavorID, func(f *Flavor) error {
		if f.ExtraSpecs == nil {
			f.ExtraSpecs = map[string]string{}
		}
		maps.Copy(f.ExtraSpecs, specs)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f.ExtraSpecs, nil
}

// DeleteExtraSpec removes one extra spec; NotFound when there is none of that key.
func (s *Service) DeleteExtraSpec(ctx context.Context, flavorID, key string) error {
	_, err := s.changeFlavor(ctx, "compute:flavor:update", flavorID, func(f *Flavor) error {
		if _, ok := f.ExtraSpecs[key]; !ok {
			return fault.Missing("extra spec", key)
		}
		delete(f.ExtraSpecs, key)
		return nil
	})
	return err
}

// ListFlavorAccess returns which projects may use a private flavor. NotFound: the flavor is public, so that it has no such list.
func (s *Service) ListFlavorAccess(ctx context.Context, flavorID string) (out []FlavorAccess, err error) {
	err = s.view(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "compute:flavor:list_access", identity.Target{Kind: "flavor"}); err != nil {
			return err
		}
		f, err := s.flavor(tx, flavorID)
		if err == nil && f.Public {
			err = fault.New(fault.NotFound, "access list not available for public flavors").About("flavor", flavorID)
		}
		if err == nil {
			out = f.access()
		}
		return err
	})
	return out, err
}

func (f *Flavor) access() []FlavorAccess {
	out := make([]FlavorAccess, len(f.Access))
	for i, p := range f.Access {
		out[i] = FlavorAccess{f.ID, p}
	}
	return out
}

// AddFlavorAccess lets a project use a private flavor. Conflict: the flavor is public; Exists: it may already.
func (s *Service) AddFlavorAccess(ctx context.Context, flavorID, projectID string) ([]FlavorAccess, error) {
	f, err := s.changeFlavor(ctx, "compute:flavor:update_access", flavorID, func(f *Flavor) error {
		if f.Public {
			return fault.New(fault.Conflict, "it is public, so that every project may use it").About("flavor", flavorID)
		}
		i, found := slices.BinarySearch(f.Access, projectID)
		if found {
			return &fault.Error{Code: fault.Exists, Kind: "flavor", ID: flavorID, Msg: "project " + projectID + " has access already"}
		}
		f.Access = slices.Insert(f.Access, i, projectID)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f.access(), nil
}

// RemoveFlavorAccess takes that back. NotFound: the project has no access. Conflict: the flavor is public.
func (s *Service) RemoveFlavorAccess(ctx context.Context, flavorID, projectID string) ([]FlavorAccess, error) {
	f, err := s.changeFlavor(ctx, "compute:flavor:update_access", flavorID, func(f *Flavor) error {
		if f.Public {
			return fault.New(fault.Conflict, "it is public, so that every project may use it").About("flavor", flavorID)
		}
		i, found := slices.BinarySearch(f.Access, projectID)
		if !found {
			return fault.New(fault.NotFound, "project %s has no access", projectID).About("flavor", flavorID)
		}
		f.Access = slices.Delete(f.Access, i, i+1)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f.access(), nil
}
