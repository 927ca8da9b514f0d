package compute

import (
	"context"
	"sync"
	"time"
)

// loop calls work again and again, every apart, in a goroutine of its own. A
// tick that falls due while work is under way makes it run once more.
type loop struct {
	c     *core
	every time.Duration
	work  func(ctx context.Context)

	mu      sync.Mutex
	stop    func()
	running bool
	again   bool
}

func (c *core) loop(every time.Duration, work func(ctx context.Context)) *loop {
	l := &loop{c: c, every: every, work: work}
	c.loops.mu.Lock()
	c.loops.stops = append(c.loops.stops, l)
	c.loops.mu.Unlock()
	l.arm()
	return l
}

func (l *loop) arm() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.c.loops.ctx.Err() == nil {
		l.stop = l.c.clock.AfterFunc(l.every, func() { l.arm(); l.kick() })
	}
}

// kick has work run now.
func (l *loop) kick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running {
		l.again = true
		return
	}
	l.running = l.c.spawn(func(ctx context.Context) {
		for {
			l.work(ctx)
			l.mu.Lock()
			more := l.again && ctx.Err() == nil
			l.again, l.running = false, more
			l.mu.Unlock()
			if !more {
				return
			}
		}
	})
}

// spawn runs f unless the Service is closed.
func (c *core) spawn(f func(ctx context.Context)) bool {
	c.loops.mu.Lock()
	defer c.loops.mu.Unlock()
	if c.loops.ctx.Err() != nil {
		return false
	}
	c.loops.busy.Add(1)
	c.loops.wait.Go(func() {
		defer c.idleNow()
		f(c.loops.ctx)
	})
	return true
}

// idleNow ends what spawn began.
func (c *core) idleNow() {
	c.loops.busy.Add(-1)
	if f := c.loops.changed.Load(); f != nil {
		(*f)()
	}
}

// firstLook is when the guests of the hosts are compared with the records after a start. Whoever calls first does not share the machine with that.
const firstLook = time.Second

// Start registers the hosts, fills the scheduler's view and begins heartbeats
// and reconciliation. It returns once every host has answered or failed to
// within DownAfter/2. Call it before the engine's Start, so that operations of an earlier run find their hosts.
func (s *Service) Start(ctx context.Context) error {
	c := s.core
	now, err := c.store.Now(ctx)
	if err != nil {
		return err
	}
	drivers := make([]*hypervisor, len(c.opt.Hypervisors))
	for i, o := range c.opt.Hypervisors {
		drivers[i] = &hypervisor{Hypervisor: o}
	}
	c.hyper.mu.Lock()
	c.hyper.since, c.hyper.all = now.Lease, drivers
	c.hyper.mu.Unlock()
	if err := c.fillSnapshot(ctx); err != nil {
		return err
	}
	look := c.beat(ctx, drivers...)
	if err := ctx.Err(); err != nil {
		return err
	}
	c.clock.AfterFunc(firstLook, func() { c.spawn(func(ctx context.Context) { c.reconcileEach(ctx, look) }) })
	for _, h := range drivers {
		c.loop(c.opt.Heartbeat, func(ctx context.Context) { c.beatAndLook(ctx, h) })
		c.watch(h)
	}
	c.loop(c.opt.Reconcile, func(ctx context.Context) { c.reconcileAll(ctx) })
	if !c.store.Exclusive() {
		c.loop(c.opt.Heartbeat, func(ctx context.Context) { c.fillSnapshot(ctx) })
	}
	return nil
}

// Close ends heartbeats and reconciliation. It does not wait for a driver that does not return: what it
// answers late is dropped. Drivers, engine and store stay open.
func (s *Service) Close() error {
	s.Kill()
	s.loops.wait.Wait()
	return nil
}

// Kill stops without waiting, as the death of the process would. For tests; Close uses it too.
func (s *Service) Kill() {
	s.loops.mu.Lock()
	defer s.loops.mu.Unlock()
	s.loops.cancel()
	for _, l := range s.loops.stops {
		l.mu.Lock()
		l.stop()
		l.mu.Unlock()
	}
}

// Busy returns how many heartbeats and reconciliations are under way right now. For tests that wait until nothing is.
func (s *Service) Busy() int { return int(s.loops.busy.Load()) }

// OnChange has f called whenever Busy has become smaller. For tests.
func (s *Service) OnChange(f func()) { s.loops.changed.Store(&f) }
