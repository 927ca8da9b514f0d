package postgres

import (
	"sync"
	"time"

	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/store"
)

// dbClock tells the database's time without asking for it each time.
//
// Wall is the machine's monotonic time plus how far the database's clock is
// ahead of it, measured whenever something is read; it is never before a commit that was seen.
// Lease runs with the monotonic time of the replicas: each commit carries it,
// and who is behind jumps ahead, so setting a clock moves no lease.
type dbClock struct {
	c    clock.Clock
	fake bool // c tells the database's time itself

	mu      sync.Mutex
	wall    time.Time // the latest given or seen
	samples [8]time.Time
	next    int
	lease   time.Time // at monotonic time 0
}

func newClock(c clock.Clock) *dbClock {
	if c == nil {
		return &dbClock{c: clock.System()}
	}
	return &dbClock{c: c, fake: true}
}

// observe is told what the database's clock said no later than now.
func (d *dbClock) observe(said time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.samples[d.next%len(d.samples)] = said.Add(-d.c.Mono())
	d.next++
}

// seen is told the time of a commit.
func (d *dbClock) seen(wall, lease int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if w := time.Unix(0, wall).UTC(); w.After(d.wall) {
		d.wall = w
	}
	if zero := time.Unix(0, lease).UTC().Add(-d.c.Mono()); zero.After(d.lease) {
		d.lease = zero
	}
}

// start begins a run: lease time has gone on since the last commit as the database's clock did.
func (d *dbClock) start(wall, lease int64) {
	now := d.database()
	if since := now.Sub(time.Unix(0, wall)); wall > 0 && since > 0 {
		lease += int64(since)
	} else if wall == 0 {
		lease = max(lease, now.UnixNano())
	}
	d.seen(wall, lease)
}

// database is the time of the database's clock, as far as is known.
func (d *dbClock) database() time.Time {
	if d.fake {
		return d.c.Now()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var zero time.Time
	for _, s := range d.samples { // the answer that was fastest is the one furthest ahead
		if s.After(zero) {
			zero = s
		}
	}
	return zero.Add(d.c.Mono())
}

func (d *dbClock) now() store.Instant {
	now := d.database().UTC()
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.After(d.wall) {
		d.wall = now
	}
	return store.Instant{Wall: d.wall, Lease: d.lease.Add(d.c.Mono())}
}
