package rest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/meter"
)

// Limits bound what is at work and what waits at once. Zero fields take defaults.
type Limits struct {
	// Reads is how many GET and HEAD calls are at work at once; one project has at most half. 0 means 4 for each processor.
	Reads int
	// Writes is how many other calls are at work at once; one project has at most three quarters. 0 means 16.
	Writes int
	// Logins is how many calls without a token, which hash passwords, are at work at once. 0 means one for each processor.
	Logins int
	// Streams is how many uploads and downloads are under way at once; one project has at most half. 0 means 64.
	Streams int
	// Waiting is how many calls of each of these sorts one project may have here, those at work or being answered
	// included; calls without a token count for their address. 0 means 128. All together may have eight times as many.
	Waiting int
	// Patience is how long a call waits for its turn. 0 means 10 s.
	Patience time.Duration
	// Bodies is how many bytes of bodies are in memory at once, besides uploads. 0 means 64 MiB.
	Bodies int64
}

func (l *Limits) complete() {
	processors := runtime.GOMAXPROCS(0)
	for _, f := range []struct {
		field *int
		zero  int
	}{{&l.Reads, 4 * processors}, {&l.Writes, 16}, {&l.Logins, processors}, {&l.Streams, 64}, {&l.Waiting, 128}} {
		if *f.field <= 0 {
			*f.field = f.zero
		}
	}
	if l.Patience <= 0 {
		l.Patience = 10 * time.Second
	}
	if l.Bodies <= 0 {
		l.Bodies = 64 << 20
	}
}

// pools are those of a Frame.
type pools struct{ reads, writes, logins, streams *pool }

func (l *Limits) pools(k clock.Clock, m *meter.Meters) pools {
	make := func(sort string, slots, share int) *pool {
		q := m.Queue(sort)
		q.Slots.Add(int64(slots))
		return &pool{clock: k, slots: slots, share: max(1, share), each: l.Waiting, all: 8 * l.Waiting, owners: map[string]*owner{}, meter: q}
	}
	return pools{reads: make("reads", l.Reads, l.Reads/2), writes: make("writes", l.Writes, l.Writes*3/4), logins: make("logins", l.Logins, l.Logins),
		streams: make("streams", l.Streams, l.Streams/2)}
}

// of returns the pool of a route and the owner whom a call counts for; nil for what is too small to count.
func (p *pools) of(route *Route, r *Request) (*pool, string) {
	read := r.HTTP.Method == http.MethodGet || r.HTTP.Method == http.MethodHead
	who := ""
	switch {
	case r.Principal == nil:
		if who, _, _ = net.SplitHostPort(r.HTTP.RemoteAddr); who == "" {
			who = r.HTTP.RemoteAddr
		}
	case r.Principal.ProjectID != "":
		who = r.Principal.ProjectID
	default:
		who = r.Principal.UserID
	}
	switch {
	case route.Public && read:
		return nil, ""
	case route.Public:
		return p.logins, who
	case route.Stream:
		return p.streams, who
	case read:
		return p.reads, who
	}
	return p.writes, who
}

// pool bounds the calls of one sort: slots of them are at work, others wait for their turn. Owners take turns, so
// that one who calls a thousand times does not hold back another's single call.
type pool struct {
	clock clock.Clock
	slots int // calls at work at once
	share int // of them one owner may have
	each  int // tickets of one owner
	all   int // tickets of all
	meter *meter.Queue

	mu      sync.Mutex
	owners  map[string]*owner
	turns   []*owner // those with a line, next first
	tickets int
	working int
	mean    time.Duration // that a call is at work, of the latest ones
}

type owner struct {
	name    string
	tickets int
	working int
	line    []*ticket // oldest first
}

// ticket is a call's place in a pool. nil is a place in no pool.
type ticket struct {
	p     *pool
	o     *owner
	turn  chan struct{} // closed when the call has a slot
	slot  bool
	began time.Duration
	left  bool
}

// enter takes a ticket, or refuses: 429 when the owner has too many, 503 when all together have.
func (p *pool) enter(who string) (*ticket, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.owners[who]
	if o == nil {
		o = &owner{name: who}
	}
	switch {
	case o.tickets >= p.each:
		p.meter.Refused[meter.OwnersLimit].Add(1)
		return nil, refuse(http.StatusTooManyRequests, p.delay(o),
			"there are "+strconv.Itoa(o.tickets)+" other calls of yours here, which is the most at once: wait for their answers, and try again after a pause")
	case p.tickets >= p.all:
		p.meter.Refused[meter.AllLimit].Add(1)
		return nil, refuse(http.StatusServiceUnavailable, p.delay(o), "the service has as many calls as it can take: nothing has happened, try again after a pause")
	}
	p.owners[who] = o
	o.tickets++
	p.tickets++
	p.meter.Here.Add(1)
	return &ticket{p: p, o: o, turn: make(chan struct{})}, nil
}

// delay is in how many seconds an owner's line will have gone down, as far as one can tell: 1 to 30.
func (p *pool) delay(o *owner) int {
	wait := p.mean * time.Duration((len(o.line)+1)*max(1, len(p.turns))) / time.Duration(p.slots)
	return max(1, min(30, int((wait+time.Second-1)/time.Second)))
}

// wait returns when the call has a slot; 503 when that takes longer than patience or ctx ends.
func (t *ticket) wait(ctx context.Context, patience time.Duration) error {
	if t == nil {
		return nil
	}
	t.p.mu.Lock()
	if len(t.o.line) == 0 {
		t.p.turns = append(t.p.turns, t.o)
	}
	t.o.line = append(t.o.line, t)
	t.p.meter.Waiting.Add(1)
	t.p.serve()
	t.p.mu.Unlock()
	select {
	case <-t.turn:
		return nil
	default:
	}
	client := ctx
	ctx, cancel := clock.WithTimeout(ctx, t.p.clock, patience)
	defer cancel()
	select {
	case <-t.turn:
		return nil
	case <-ctx.Done():
	}
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	if t.slot { // it came while we gave up
		return nil
	}
	t.p.quit(t)
	if client.Err() != nil && !errors.Is(context.Cause(client), context.DeadlineExceeded) {
		t.p.meter.Refused[meter.Left].Add(1)
	} else {
		t.p.meter.Refused[meter.Patience].Add(1)
	}
	return refuse(http.StatusServiceUnavailable, t.p.delay(t.o), "it was not this call's turn within the time that a call waits: nothing has happened, try again after a pause")
}

// serve gives free slots to those whose turn it is.
func (p *pool) serve() {
	for i := 0; i < len(p.turns) && p.working < p.slots; {
		o := p.turns[i]
		if o.working >= p.share {
			i++
			continue
		}
		t := o.line[0]
		o.line = o.line[1:]
		p.turns = append(p.turns[:i], p.turns[i+1:]...)
		if len(o.line) > 0 {
			p.turns = append(p.turns, o)
		}
		o.working++
		p.working++
		p.meter.Waiting.Add(-1)
		p.meter.Running.Add(1)
		t.slot, t.began = true, p.clock.Mono()
		close(t.turn)
	}
}

// quit takes a ticket out of its line.
func (p *pool) quit(t *ticket) {
	p.meter.Waiting.Add(-1)
	for i, other := range t.o.line {
		if other == t {
			t.o.line = append(t.o.line[:i:i], t.o.line[i+1:]...)
		}
	}
	if len(t.o.line) > 0 {
		return
	}
	for i, o := range p.turns {
		if o == t.o {
			p.turns = append(p.turns[:i], p.turns[i+1:]...)
			return
		}
	}
}

// yield gives the slot back once the work is done, before the answer goes to a client that may be slow.
func (t *ticket) yield() {
	if t == nil {
		return
	}
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	t.free()
}

func (t *ticket) free() {
	if !t.slot || t.left {
		return
	}
	t.slot = false
	t.o.working--
	t.p.working--
	t.p.meter.Running.Add(-1)
	t.p.mean += (t.p.clock.Mono() - t.began - t.p.mean) / 8
	t.p.serve()
}

// leave gives back what the call has.
func (t *ticket) leave() {
	if t == nil {
		return
	}
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	if t.left {
		return
	}
	t.free()
	t.left = true
	t.p.tickets--
	t.p.meter.Here.Add(-1)
	if t.o.tickets--; t.o.tickets == 0 {
		delete(t.p.owners, t.o.name)
	}
}

// refuse is the error for a call that is one too many; it can be repeated after so many seconds.
func refuse(status, seconds int, msg string) error { return &statusError{status, msg, seconds} }

// takeBody counts the bytes of a body before it is read.
func (c *call) takeBody(limit int64) error {
	n := c.r.ContentLength
	if n < 0 {
		n = limit
	}
	if c.f.bodies.Add(n) > c.f.Limits.Bodies && n > 0 {
		c.f.bodies.Add(-n)
		if c.ticket != nil {
			c.ticket.p.meter.Refused[meter.Bodies].Add(1)
		}
		return refuse(http.StatusServiceUnavailable, 1, "the bodies of other calls fill the memory for them: nothing has happened, try again after a pause")
	}
	c.body = n
	return nil
}

// leave gives back what the call has taken.
func (c *call) leave() {
	c.ticket.leave()
	c.f.bodies.Add(-c.body)
}
