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

// A libvirtd that does not answer for keepAlive * keepAliveCount seconds is given up.
const (
	keepAlive      = 5
	keepAliveCount = 4
)

// session is one connection to libvirtd.
type session struct {
	*libvirt.Connect
	broken chan struct{} // closed when libvirtd has gone
	once   sync.Once
}

func (s *session) fail() { s.once.Do(func() { close(s.broken) }) }

// alive asks no one: a connection knows when it was cut.
func (s *session) alive() bool {
	select {
	case <-s.broken:
		return false
	default:
	}
	ok, err := s.IsAlive()
	return ok && err == nil
}

// end drops the link's hold on the connection; calls under way keep theirs.
func (s *session) end() {
	s.fail()
	_ = s.UnregisterCloseCallback()
	_, _ = s.Close()
}

// link keeps one session and makes a new one when libvirtd has gone and come back.
type link struct {
	uri string

	mu      sync.Mutex
	session *session
	dial    *dial // under way
	closed  bool
}

type dial struct {
	done chan struct{}
	err  error
}

// use returns the session for one call. release must be called, once, when nothing uses it any more.
func (l *link) use(ctx context.Context) (s *session, release func(), err error) {
	for {
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			return nil, nil, fault.New(fault.Unavailable, "the driver is closed")
		}
		if l.session != nil && !l.session.alive() {
			go l.session.end()
			l.session = nil
		}
		if s := l.session; s != nil {
			err := s.Ref() // a reference of its own: Close waits for no call
			l.mu.Unlock()
			return s, func() { _, _ = s.Close() }, err
		}
		if l.dial == nil {
			l.dial = &dial{done: make(chan struct{})}
			go l.connect(l.dial)
		}
		d := l.dial
		l.mu.Unlock()
		select {
		case <-d.done:
			if d.err != nil {
				return nil, nil, fault.New(fault.Unavailable, "connect to %s: %w", l.uri, d.err)
			}
		case <-ctx.Done():
			return nil, nil, ended(ctx)
		}
	}
}

// connect ends d with a session or an error.
func (l *link) connect(d *dial) {
	s, err := connect(l.uri)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dial, d.err = nil, err
	if l.closed && s != nil {
		go s.end()
	} else if s != nil {
		l.session = s
	}
	close(d.done)
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

// close gives up the session; later calls fail.
func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.session != nil {
		go l.session.end() // it may wait for a libvirtd that hangs
		l.session = nil
	}
}
