package image

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/image/imagedriver"
	"github.com/nubecula/cloud/internal/finding"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// Driver is the name of the image store among a Cloud's drivers.
const Driver = "image"

// What Inspect finds in the image store.
var (
	dataSilent = finding.Rule{Name: "image-store-not-compared",
		Means: "nobody knows what the image store holds; boots from images that a host has not cached fail",
		Do:    "see that its directory or daemon is there and reachable; then inspect again"}
	dataUnknown = finding.Rule{Name: "image-data-unknown", Removable: true,
		Means: "no image has this data: it is from a newer state of a store that was restored from an older backup, or from another cloud",
		Do:    "restore a newer backup if there is one; otherwise keep a copy if it may matter, and have it removed (Cloud.AcceptRemoval)"}
	dataLate = finding.Rule{Name: "image-data-late", Removable: true,
		Means: "data of a deleted image was written once more by a call that came late, or brought back by the image store's own restore",
		Do:    "nothing: the next pass deletes it, unless there is too much at once; then have it removed (Cloud.AcceptRemoval)"}
	dataMissing = finding.Rule{Name: "image-data-missing",
		Means: "the image looks usable and its data is gone: servers made from it fail, unless their host has it cached",
		Do:    "mount the image store's directory if it was not; bring the data back from a backup of it under the same name; or delete the image and upload it again"}
)

// remove deletes data, unless the store is older than what the drivers have seen.
func (c *core) remove(ctx context.Context, dataID string) error {
	if err := c.opt.Witness.AllowAt(ctx, Driver, c.data); err != nil {
		return err
	}
	return c.data.Delete(ctx, dataID)
}

// Sweep deletes data that came back after its deletion, and returns how much it found. Data that no record
// knows is reported in unknown and left alone: it may belong to a store that was restored from an older state. So is
// everything while the store is held, or when there is more to delete than Options.Brake.
func (s *Service) Sweep(ctx context.Context) (deleted int, unknown []string, err error) {
	c, err := s.compare(ctx)
	if err != nil {
		return 0, nil, err
	}
	var fresh []string
	pass := s.told.Pass()
	for _, id := range c.unknown {
		if pass.First(id) {
			fresh = append(fresh, id)
		}
	}
	pass.End()
	if len(fresh) > 0 {
		s.opt.Log.ErrorContext(ctx, "the image store holds data that no record knows: it is left alone; was the store restored from an older backup? Look at Cloud.Inspect",
			"count", len(c.unknown), "first", fresh[0])
	}
	switch {
	case len(c.late) > s.opt.Brake:
		s.opt.Log.ErrorContext(ctx, "too much data of deleted images is in the image store at once, so none of it is deleted; look at Cloud.Inspect, and have it removed with Cloud.AcceptRemoval",
			"count", len(c.late), "limit", s.opt.Brake)
	case s.opt.Witness.Held() == nil:
		for _, id := range c.late {
			if err := s.remove(ctx, id); err != nil {
				return deleted, c.unknown, err
			}
			deleted++
		}
	}
	return deleted, c.unknown, s.store.Update(ctx, func(tx *store.Tx) error {
		old, err := retirees.List(tx, store.Query[retiree]{Index: "at", To: store.Tuple{tx.Now().Add(-keepRetired)}, Limit: 256})
		for _, r := range old {
			if err == nil {
				err = retirees.Delete(tx, r.ID)
			}
		}
		return err
	})
}

// comparison is what the driver has and the records say.
type comparison struct {
	late, unknown []string          // ids of data that was retired, and that no record knows
	missing       map[string]string // ids of data that is not there, by the image that should have it
}

// compare reads the records before and after the driver is asked: data that is written meanwhile is neither unknown nor missing.
func (s *Service) compare(ctx context.Context) (c comparison, err error) {
	before := map[string]string{}
	if err := s.store.View(ctx, func(tx *store.Tx) error {
		for i, err := range images.Each(tx, store.Query[Image]{}) {
			if err != nil {
				return err
			}
			if i.HasData() {
				before[i.DataID] = i.ID
			}
		}
		return nil
	}); err != nil {
		return c, err
	}
	there, err := s.data.Images(ctx)
	if err != nil {
		return c, err
	}
	err = s.store.View(ctx, func(tx *store.Tx) error {
		c = comparison{missing: map[string]string{}}
		known, err := dataIDs(tx)
		if err == nil {
			err = atWork(tx, known)
		}
		if err != nil {
			return err
		}
		whole := map[string]bool{}
		for _, d := range there {
			whole[d.ID] = !d.Torn
			if known[d.ID] {
				continue
			}
			if err := c.classify(tx, d); err != nil {
				return err
			}
		}
		for data, image := range before {
			if known[data] && !whole[data] {
				c.missing[image] = data
			}
		}
		return nil
	})
	return c, err
}

// classify sorts data that no image has.
func (c *comparison) classify(tx *store.Tx, d imagedriver.Data) error {
	retired, err := retirees.Has(tx, d.ID)
	if err != nil {
		return err
	}
	if retired {
		c.late = append(c.late, d.ID)
		return nil
	}
	c.unknown = append(c.unknown, d.ID)
	return nil
}

// atWork adds the data that operations are at work on: that of an image that is being deleted is in no record.
func atWork(tx *store.Tx, known map[string]bool) error {
	for op, err := range operation.Collection.Each(tx, store.Query[operation.Operation]{Index: "active", Prefix: store.Tuple{"image"}}) {
		if err != nil {
			return err
		}
		var on erasure
		if err := json.Unmarshal(op.Data, &on); err == nil {
			known[on.DataID] = true
		}
	}
	return nil
}

// Inspect compares what the image store holds with the records. It changes nothing.
func (s *Service) Inspect(ctx context.Context) ([]finding.Finding, error) {
	if err := s.mayInspect(ctx); err != nil {
		return nil, err
	}
	l := &finding.List{Service: "image"}
	c, err := s.compare(ctx)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		l.Add(dataSilent, "driver", Driver, "the image store could not be asked: %v", err).Where = Driver
		return l.Found, nil
	}
	for _, id := range c.unknown {
		l.Add(dataUnknown, "image data", id, "the image store has data %s, which no image of this store has", id).Where = Driver
	}
	for _, id := range c.late {
		l.Add(dataLate, "image data", id, "the image store has data %s of an image that was deleted", id).Where = Driver
	}
	var gone []string
	for image := range c.missing {
		gone = append(gone, image)
	}
	slices.Sort(gone)
	for _, image := range gone {
		l.Add(dataMissing, "image", image, "image %s has data %s, which is not in the image store, or only a part of it", image, c.missing[image]).Where = Driver
	}
	return l.Found, nil
}

// AcceptRemoval is an operator's word that data may be deleted although no record knows it, or although there was too much. It
// returns the ids of what it deleted. Unavailable while the store is held.
func (s *Service) AcceptRemoval(ctx context.Context, ids ...string) (removed []string, err error) {
	if err := s.mayInspect(ctx); err != nil {
		return nil, err
	}
	c, err := s.compare(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range append(c.unknown, c.late...) {
		if !slices.Contains(ids, id) {
			continue
		}
		if err := s.remove(ctx, id); err != nil {
			return removed, err
		}
		removed = append(removed, id)
	}
	return removed, nil
}

func (s *Service) mayInspect(ctx context.Context) error {
	return s.store.View(ctx, func(tx *store.Tx) error {
		c, err := s.caller(tx)
		if err == nil {
			err = c.policy.Check(c.Principal, "image:data:inspect", identity.Target{Kind: "image"})
		}
		return err
	})
}
