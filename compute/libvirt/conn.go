//go:build libvirt && linux

package libvirt

import (
	"context"
	"sync"
	"time"

	"libvirt.org/go/libvirt"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
)

// eventLoop starts libvirt's event loop. libvirt has one for the whole process - that is its design, not
// ours - so this is the only state that drivers share: the loop must run before the first connection is
// opened, and is never stopped. It delivers events and keep-alives of all connections.
var eventLoop = sync.OnceValue(func() error {
	if err := libvirt.EventRegisterDefaultImpl(); err != nil {
		return err
	}
	go func() {
		c := clock.System()
		for {
			if err := libvirt.EventRunDefaultImpl(); err != nil {
				_ = c.Sleep(context.Background(), time.Second)
			}
		}
	}()
	return nil
})

const (
	// A libvirtd that does not answer for keepAlive * (keepAliveCount + 1) seconds is given up.
	keepAlive      = 5
	keepAliveCount = 3
	// maxCalls is how many calls a driver has under way at once; libvirtd works on 20.
	maxCalls = 8
	// dialLimit is how long a connection may take to open: there are no keep-alives before.
	dialLimit = 20 * time.Second
)

// session is one connection to libvirtd. It serves one call at a time: when a connection breaks, libvirt 9.0
// forgets to wake all but one of the calls that wait on it, and damages memory.
type session struct {
	*libvirt.Connect
	broken chan struct{} // closed when libvirtd has gone
	once   sync.Once
}

func (s *session) fail() { s.once.Do(func() { close(s.broken) }) }

// alive asks no one: a connection knows when it was cut.
func (s *session) alive() bool {
	ok, err := s.IsAlive()
	return ok && err == nil
}

func (s *session) end() {
	_ = s.UnregisterCloseCallback()
	_, _ = s.Close()
}

// pool keeps connections between calls, and makes new ones when libvirtd has gone and come back.
type pool struct {
	uri   string
	clock clock.Clock
	slots chan struct{} // one value for each call under way

	mu     sync.Mutex
	idle   []*session
	closed bool
}

func newPool(uri string, c clock.Clock) *pool {
	return &pool{uri: uri, clock: c, slots: make(chan struct{}, maxCalls)}
}

// on runs a call on a connection of its own.
func on[T any](ctx context.Context, d *Driver, call func(*session) (T, error)) (T, error) {
	var zero T
	s, err := d.pool.take(ctx)
	if err != nil {
		return zero, err
	}
	defer d.pool.put(s)
	return call(s)
}

// take returns a connection for one call; put takes it back.
func (p *pool) take(ctx context.Context) (*session, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ended(ctx)
	}
	for {
		s, err := p.next()
		if err != nil {
			<-p.slots
			return nil, err
		}
		if s == nil {
			break
		}
		if s.alive() {
			return s, nil
		}
		s.end()
	}
	return p.dial(ctx, p.put, func() { <-p.slots })
}

// next removes one of the idle connections; nil when there is none.
func (p *pool) next() (*session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, fault.New(fault.Unavailable, "the driver is closed")
	}
	if len(p.idle) == 0 {
		return nil, nil
	}
	s := p.idle[len(p.idle)-1]
	p.idle = p.idle[:len(p.idle)-1]
	return s, nil
}

func (p *pool) put(s *session) {
	p.mu.Lock()
	keep := !p.closed && s.alive()
	if keep {
		p.idle = append(p.idle, s)
	}
	p.mu.Unlock()
	if !keep {
		s.end()
	}
	<-p.slots
}

// dial connects. A connection that comes too late goes to late, an error calls failed.
func (p *pool) dial(ctx context.Context, late func(*session), failed func()) (*session, error) {
	type result struct {
		s   *session
		err error
	}
	done := make(chan result, 1)
	go func() {
		s, err := connect(p.uri)
		done <- result{s, err}
	}()
	limit, cancel := clock.WithTimeout(ctx, p.clock, dialLimit)
	defer cancel()
	select {
	case r := <-done:
		if r.err != nil {
			failed()
			return nil, fault.New(fault.Unavailable, "connect to %s: %s", p.uri, message(r.err))
		}
		return r.s, nil
	case <-limit.Done():
		go func() {
			if r := <-done; r.err != nil {
				failed()
			} else {
				late(r.s)
			}
		}()
		if ctx.Err() != nil {
			return nil, ended(ctx)
		}
		return nil, fault.New(fault.Unavailable, "connect to %s: no answer within %v", p.uri, dialLimit)
	}
}

func connect(uri string) (*session, error) {
	if err := eventLoop(); err != nil {
		return nil, err
	}
	c, err := libvirt.NewConnect(uri)
	if err != nil {
		return nil, err
	}
	s := &session{Connect: c, broken: make(chan struct{})}
	// neither is there for local drivers such as test:///, which cannot be cut off
	_ = c.RegisterCloseCallback(func(*libvirt.Connect, libvirt.ConnectCloseReason) { s.fail() })
	_ = c.SetKeepAlive(keepAlive, keepAliveCount)
	return s, nil
}

// close ends the idle connections; calls under way end theirs, later calls fail.
func (p *pool) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for _, s := range idle {
		go s.end() // it may wait for a libvirtd that hangs
	}
}
