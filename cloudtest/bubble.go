package cloudtest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/nubecula/cloud/internal/id"
	"github.com/nubecula/cloud/internal/request"
	"github.com/nubecula/cloud/store"
)

// drawer draws the ids of a bubble from its seed: the n-th Update of a request (see Env.Request) gets the same ones
// again, whatever other requests do meanwhile. So a history that is made shorter keeps the ids of what is left of it.
type drawer struct {
	seed uint64
	mu   sync.Mutex
	n    map[string]int
}

// numbered begins the request ids of Env.Request.
const numbered = "req-00000000-0000-4000-8000-"

// Request returns a context that carries the request id with a number, for a call in a bubble whose ids are to be the
// same whenever it is made.
func (e *Env) Request(n int) context.Context {
	return request.WithID(e.ctx(), fmt.Sprintf("%s%012d", numbered, n))
}

func (d *drawer) draw(ctx context.Context) [32]byte {
	key := request.ID(ctx)
	if !strings.HasPrefix(key, numbered) {
		key = "" // those of the handler of the APIs are by chance
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.n == nil {
		d.n = map[string]int{}
	}
	d.n[key]++
	return sha256.Sum256(fmt.Appendf(nil, "%d %s %d", d.seed, key, d.n[key]))
}

func (d *drawer) uuid(name string) string {
	return id.NewSource(sha256.Sum256(fmt.Appendf(nil, "%d host %s", d.seed, name))).New()
}

// Do runs f, which may wait for the clock, and moves the clock until it has returned. In a bubble only.
func (e *Env) Do(f func()) {
	e.t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	limit := e.clock.Mono() + settleLimit
	for {
		synctest.Wait()
		select {
		case <-done:
			return
		default:
		}
		if !e.clock.Step(limit - e.clock.Mono()) {
			e.t.Fatal("cloudtest: what Do runs does not return, and nothing is left to wait for")
		}
	}
}

// Step lets the earliest timer fire, if it is due within d, and waits until all is quiet. In a bubble only.
func (e *Env) Step(d time.Duration) bool {
	synctest.Wait()
	if !e.clock.Step(d) {
		return false
	}
	synctest.Wait()
	return true
}

// Look runs fn on the database itself, past processes and faults. In a bubble only.
func (e *Env) Look(fn func(s *store.Store) error) error {
	e.main.mu.Lock()
	inner := e.main.inner
	e.main.mu.Unlock()
	s, err := store.New(inner, store.Options{Key: e.key, Clock: e.clock})
	if err != nil {
		return err
	}
	defer s.Close()
	return fn(s)
}

// drain lets everything return that still waits for the clock.
func (e *Env) drain() {
	e.Faults.Clear()
	e.Faults.Pace(nil)
	for range 1_000_000 {
		if !e.Step(1 << 62) {
			return
		}
	}
}
