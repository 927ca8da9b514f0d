// Package clock is the only place that asks the machine for the time. A
// program uses System; a test uses Manual, whose time moves when told to.
package clock

import (
	"context"
	"time"
)

// Clock tells time in two ways. Now is for people: it may jump when the
// machine's clock is set. Mono is for leases, limits and back-off: it only
// ever goes forward. Safe for concurrent use.
type Clock interface {
	Now() time.Time
	// Mono is the time since some fixed instant of this process.
	Mono() time.Duration
	// AfterFunc calls f once when d has passed, unless stop is called first.
	// System calls f in a goroutine of its own, Manual inside Advance.
	AfterFunc(d time.Duration, f func()) (stop func())
	// Sleep returns nil when d has passed, or ctx's error. d < 0 waits for ctx alone.
	Sleep(ctx context.Context, d time.Duration) error
}

// System returns the machine's clock.
func System() Clock { return system{time.Now()} }

type system struct{ start time.Time }

func (s system) Now() time.Time      { return time.Now().UTC() }
func (s system) Mono() time.Duration { return time.Since(s.start) }

func (s system) AfterFunc(d time.Duration, f func()) func() {
	t := time.AfterFunc(d, f)
	return func() { t.Stop() }
}

func (s system) Sleep(ctx context.Context, d time.Duration) error {
	if d < 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// WithTimeout is context.WithTimeout on a Clock; the context ends with DeadlineExceeded as its cause.
func WithTimeout(ctx context.Context, c Clock, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := c.AfterFunc(d, func() { cancel(context.DeadlineExceeded) })
	return ctx, func() { stop(); cancel(context.Canceled) }
}
