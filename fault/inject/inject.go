// Package inject is the fault plan of the fake drivers and of the chaos
// store: rules that say which call fails, when, and how. The same seed and
// the same calls give the same faults.
package inject

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
)

// When says how a failing call relates to its effect.
type When int

const (
	// Before fails the call without its effect. It is the zero value.
	Before When = iota
	// After lets the effect happen and fails the call: a lost reply.
	After
)

// Rule is one fault. Empty matching fields match everything; all set ones must match.
type Rule struct {
	Driver string  // instance: a host's name, "network", "image", "store"
	Method string  // "Define"
	Object string  // id of the guest, port, image...
	Nth    int     // only the n-th call that matches the three above, from 1; 0 means each
	From   int     // only that call and those after it, counted as Nth is; 0 means each
	Times  int     // stop after this many hits; 0 means never
	Chance float64 // probability of a hit, 0 means 1

	When    When
	Err     error         // what the call returns; nil means fault.Unavailable, unless Latency, Hang or Hold is set
	Latency time.Duration // wait this long on the clock before anything else
	Hang    bool          // wait until the call's context ends, and return its error
	Do      func()        // called at the hit, before the error is returned
	Hold    func()        // called at the hit, before the effect: it may block, as a frozen process does; on its own it makes no error
}

// Call is one line of the log of calls.
type Call struct {
	Driver, Method, Object string
	Err                    error // what the fault made of it; nil means no fault
}

// Plan holds rules and the log of calls. The nil Plan has no rules and keeps no log. Safe for concurrent use.
type Plan struct {
	*shared
	gate func(driver, method string, after bool) error
}

// shared is what a Plan has in common with those made from it by Through.
type shared struct {
	clock clock.Clock
	mu    sync.Mutex
	rnd   *rand.Rand
	rules []*armed
	calls []Call
	pace  func(driver, method, object string) time.Duration
}

type armed struct {
	Rule
	seen, hits int
}

// NewPlan returns an empty plan. Its latencies pass on c; nil means the machine's clock.
func NewPlan(c clock.Clock, seed uint64) *Plan {
	if c == nil {
		c = clock.System()
	}
	return &Plan{shared: &shared{clock: c, rnd: rand.New(rand.NewPCG(seed, 0))}}
}

// Through returns the same plan for the calls of one process: gate is called before a call is sent and, with
// after set, before its answer is passed on. It may block meanwhile, as a frozen process does. An error of
// gate says that the process is dead: the call is not sent, or nobody hears of its answer.
func (p *Plan) Through(gate func(driver, method string, after bool) error) *Plan {
	return &Plan{p.shared, gate}
}

// Pace makes each call take the time that f says, on the plan's clock, before anything else happens. nil ends that.
func (p *Plan) Pace(f func(driver, method, object string) time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pace = f
}

// Fail adds a rule and returns what removes it. Where several rules match, the first added decides.
func (p *Plan) Fail(r Rule) (remove func()) {
	a := &armed{Rule: r}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, a)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for i, x := range p.rules {
			if x == a {
				p.rules = append(p.rules[:i:i], p.rules[i+1:]...)
				return
			}
		}
	}
}

// Clear removes every rule; the log stays.
func (p *Plan) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = nil
}

// Calls returns the log so far.
func (p *Plan) Calls() []Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Call(nil), p.calls...)
}

// Run is one call of a driver: effect runs unless a rule stops it, and a rule may replace its result.
func (p *Plan) Run(ctx context.Context, driver, method, object string, effect func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if p == nil {
		return effect()
	}
	if p.gate == nil {
		return p.run(ctx, driver, method, object, effect)
	}
	if dead := p.gate(driver, method, false); dead != nil {
		return dead
	}
	err := p.run(ctx, driver, method, object, effect)
	if dead := p.gate(driver, method, true); dead != nil {
		return dead
	}
	return err
}

// run is Run within a process that is at work.
func (p *Plan) run(ctx context.Context, driver, method, object string, effect func() error) error {
	r, pace := p.match(driver, method, object)
	if pace > 0 {
		if err := p.clock.Sleep(ctx, pace); err != nil {
			return err
		}
	}
	if r == nil {
		return effect()
	}
	if r.Latency > 0 {
		if err := p.clock.Sleep(ctx, r.Latency); err != nil {
			return err
		}
	}
	if r.Hold != nil {
		r.Hold()
	}
	fail := r.fails()
	if fail && r.When == Before {
		return r.end(ctx, p)
	}
	if err := effect(); err != nil || !fail {
		return err
	}
	return r.end(ctx, p)
}

func (r *Rule) fails() bool {
	return r.Err != nil || r.Hang || r.Latency == 0 && r.Hold == nil
}

func (r *Rule) end(ctx context.Context, p *Plan) error {
	if r.Do != nil {
		r.Do()
	}
	if r.Hang {
		return p.clock.Sleep(ctx, -1)
	}
	return r.failure()
}

func (r *Rule) failure() error {
	if r.Err != nil {
		return r.Err
	}
	return fault.New(fault.Unavailable, "injected fault in %s.%s", r.Driver, r.Method)
}

// match logs the call and returns the rule that hits it, and how long the call takes anyway.
func (p *shared) match(driver, method, object string) (hit *Rule, pace time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pace != nil {
		pace = p.pace(driver, method, object)
	}
	p.calls = append(p.calls, Call{Driver: driver, Method: method, Object: object})
	for _, a := range p.rules {
		if !a.matches(driver, method, object) {
			continue
		}
		a.seen++
		if a.Nth > 0 && a.seen != a.Nth || a.seen < a.From || a.Times > 0 && a.hits >= a.Times || a.Chance > 0 && p.rnd.Float64() >= a.Chance {
			continue
		}
		if hit == nil {
			a.hits++
			r := a.Rule
			r.Driver, r.Method = driver, method
			hit = &r
			if r.fails() {
				p.calls[len(p.calls)-1].Err = r.failure()
			}
		}
	}
	return hit, pace
}

func (r *Rule) matches(driver, method, object string) bool {
	return (r.Driver == "" || r.Driver == driver) && (r.Method == "" || r.Method == method) && (r.Object == "" || r.Object == object)
}

// String names the call as "driver.Method(object)".
func (c Call) String() string { return fmt.Sprintf("%s.%s(%s)", c.Driver, c.Method, c.Object) }
