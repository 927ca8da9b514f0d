package identity

import (
	"crypto/sha256"
	"sync"
	"time"
)

// cache remembers validated tokens by their hash. It holds two generations of at most half its size
// and drops the older one when the younger is full.
type cache struct {
	mu         sync.RWMutex
	half       int
	young, old map[[sha256.Size]byte]*cached
}

type cached struct {
	claims *Claims
	who    *Principal    // nil when it must be resolved
	at     time.Duration // clock.Mono when it was resolved
}

func newCache(size int) *cache {
	return &cache{half: max(1, size/2), young: map[[sha256.Size]byte]*cached{}}
}

func (c *cache) get(key [sha256.Size]byte) *cached {
	c.mu.RLock()
	e, found := c.young[key]
	if !found {
		e = c.old[key]
	}
	c.mu.RUnlock()
	if e != nil && !found {
		c.put(key, e)
	}
	return e
}

func (c *cache) put(key [sha256.Size]byte, e *cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.young) >= c.half {
		c.young, c.old = map[[sha256.Size]byte]*cached{}, c.young
	}
	c.young[key] = e
}
