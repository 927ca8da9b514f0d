package compute

import (
	"context"
	"time"

	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/scheduler"
	"github.com/nubecula/cloud/store"
)

// tooEarly reports whether a refused server may yet be taken by a host that this process has not heard, and not listened to
// for long enough to call it down: one answer that was lost at a start must not end in "No valid host was found".
func (c *core) tooEarly(ctx context.Context, v *Server, r *engine.Run[createState], now time.Time) (early bool, err error) {
	c.hyper.mu.RLock()
	since, drivers := c.hyper.since, c.hyper.all
	c.hyper.mu.RUnlock()
	if now.Sub(since) > c.opt.DownAfter {
		return false, nil
	}
	var snap snapshot // as if they had answered; who just has is perhaps not in the scheduler's yet
	err = c.store.View(ctx, func(tx *store.Tx) error {
		strange := 0 // drivers that have told nobody yet which host is theirs, or that is new
		for _, d := range drivers {
			known, err := hosts.Has(tx, d.hostID())
			if err != nil {
				return err
			}
			if !known {
				strange++
			}
		}
		var all []scheduler.Host
		for h, err := range hosts.Each(tx, store.Query[Host]{}) {
			if err != nil {
				return err
			}
			if h.ForcedDown || !h.Gone.IsZero() || c.silence(h, now) > c.opt.DownAfter {
				continue
			}
			if _, err := c.driver(h.ID); err != nil && !c.answers(h, now) {
				strange--
			}
			l, err := ledgerOf(tx, h.ID)
			if err != nil {
				return err
			}
			as := c.schedulable(h, l)
			as.Down, as.Heartbeat = false, now
			all = append(all, as)
		}
		snap.p.Store(c.snap.p.Load())
		snap.set(all...)
		early = strange > 0 // more than are known from earlier runs
		return nil
	})
	return err == nil && (early || c.decide(snap.p.Load(), v, r, now).Err() == nil), err
}

// untilHeard is how long a server waits before it is looked for a host again: the longer, the longer nothing was heard.
func (c *core) untilHeard(tx *store.Tx) time.Duration {
	c.hyper.mu.RLock()
	defer c.hyper.mu.RUnlock()
	return min(max(tx.LeaseNow().Sub(c.hyper.since)/2, time.Second), 10*time.Second)
}
