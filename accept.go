package cloud

import (
	"context"
	"fmt"
	"time"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/finding"
)

// storeHeld is a store that is older than what the drivers have seen.
var storeHeld = finding.Rule{Name: "store-held",
	Means: "the store was restored from an older backup, or lost commits: what was made since is unknown to it, what was deleted since is in it. Nothing is deleted and no address is given out",
	Do:    "restore a newer backup if there is one. Otherwise look at what else is found here, and accept the store (Cloud.AcceptStore): deletes and addresses then go on"}

// Inspect is Check, and asks every driver what it holds: guests, networks, bindings and image data that the store does not
// know, lacks, or has otherwise. It changes nothing. It takes as long as the slowest driver does to list; a driver that does
// not answer is a finding.
func (c *Cloud) Inspect(ctx context.Context) ([]Finding, error) {
	l := &finding.List{Service: "cloud"}
	if err := c.witness.Refresh(ctx); err != nil {
		return nil, err
	}
	if h := c.witness.Held(); h != nil {
		for _, e := range h.Evidence {
			l.Add(storeHeld, "driver", e.Driver, "since %s: %s (%s: epoch %d there, %d in the store)", h.Since.Format(time.RFC3339), e.What, e.Driver, e.Seen, e.Knew).Where = e.Driver
		}
	}
	out := l.Found
	found, err := c.Check(ctx)
	if err != nil {
		return nil, err
	}
	out = append(out, found...)
	sys := c.As(identity.System())
	for _, inspect := range []func(context.Context) ([]Finding, error){sys.Image.Inspect, sys.Network.Inspect, sys.Compute.Inspect} {
		found, err := inspect(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

// Held tells since when, and why, nothing is deleted and no address given out: the store is older than what the drivers have
// seen. The empty reason means that it is not.
func (c *Cloud) Held() (since time.Time, reason string) {
	h := c.witness.Held()
	if h == nil {
		return time.Time{}, ""
	}
	return h.Since, fmt.Sprintf("%s; %d drivers have seen a newer state of the store", h.Evidence[0].What, len(h.Evidence))
}

// AcceptStore is an operator's word that this store is the one to go on with although drivers have seen a newer one: deletes
// that waited go on, within half a minute, and addresses are given out again. What the drivers hold and the store does not
// know stays until AcceptRemoval names it. Conflict when nothing is held.
func (c *Cloud) AcceptStore(ctx context.Context) error {
	if _, err := c.witness.Accept(ctx); err != nil {
		return err
	}
	// From here on there are two stores that go on from what the drivers have seen, and the other must be known as the older.
	if err := c.AfterBackup(ctx); err != nil {
		c.opt.Log.WarnContext(ctx, "drivers could not be told that the store was accepted; their next round does it, within minutes", "error", err)
	}
	return nil
}

// AfterBackup tells every driver that the store has moved on, now instead of within minutes, so that a backup which was made
// before is recognised as older than what they have seen, whenever it is restored. Call it after a backup; package operator does. It returns what
// drivers said that could not be told; their next round does it.
func (c *Cloud) AfterBackup(ctx context.Context) error {
	ctx, cancel := clock.WithTimeout(ctx, c.opt.Clock, 10*time.Second)
	defer cancel()
	return c.witness.MeetAll(ctx)
}

// AcceptRemoval is an operator's word that things may be removed from the drivers although the store does not know them, or
// although there were too many for the sweeper: those that Inspect calls Removable and whose ids are given. It returns the
// ids of those that it removed. Unavailable while the store is held.
func (c *Cloud) AcceptRemoval(ctx context.Context, ids ...string) (removed []string, err error) {
	sys := c.As(identity.System())
	for _, accept := range []func(context.Context, ...string) ([]string, error){sys.Compute.AcceptRemoval, sys.Network.AcceptRemoval, sys.Image.AcceptRemoval} {
		some, err := accept(ctx, ids...)
		removed = append(removed, some...)
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}

// AcceptLoss is an operator's word that the guests which a host, by id or name, lacks are lost although they are many: their
// servers go to ERROR. It returns the ids of those that went there. NotFound when there is no such host; Unavailable when this
// process does not drive it, or it does not answer.
func (c *Cloud) AcceptLoss(ctx context.Context, hostIDOrName string) (lost []string, err error) {
	return c.As(identity.System()).Compute.AcceptLoss(ctx, hostIDOrName)
}

// DeclareHostGone is an operator's word that a host, by id or name, never comes back: its servers go to ERROR, and deletes of
// them end and give back ports, addresses and the share of the host. dryRun looks at what would be. See compute.Service.DeclareHostGone.
func (c *Cloud) DeclareHostGone(ctx context.Context, hostIDOrName string, dryRun bool) (*compute.HostGone, error) {
	return c.As(identity.System()).Compute.DeclareHostGone(ctx, hostIDOrName, dryRun)
}
