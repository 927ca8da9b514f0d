package clock

import (
	"context"
	"sync/atomic"
	"time"
)

// Ticking is a Manual clock on which every look at Mono takes a millisecond, and pauses are counted and not waited for.
type Ticking struct {
	*Manual
	looks, paused atomic.Int64
}

// Mono counts the looks.
func (c *Ticking) Mono() time.Duration { return time.Duration(c.looks.Add(1)) * time.Millisecond }

// Sleep counts d and returns nil at once.
func (c *Ticking) Sleep(_ context.Context, d time.Duration) error {
	c.paused.Add(int64(d))
	return nil
}

// Paused is how long all pauses together would have been.
func (c *Ticking) Paused() time.Duration { return time.Duration(c.paused.Load()) }
