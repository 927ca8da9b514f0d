package postgres_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// cut says what happens to the next commit that passes a proxy.
type cut int

const (
	cutNothing cut = iota
	cutBefore      // it does not reach the server
	cutMiddle      // a part of it does
	cutAfter       // it does, and its answer is lost
	cutLate        // it does when the client has long been told that the connection is lost
)

// proxy is a network between a driver and its server, that breaks as told. Dial is how the driver gets through.
type proxy struct {
	t testing.TB

	mu    sync.Mutex
	next  cut
	down  bool
	conns map[*proxied]bool
	late  []func() // sends what cutLate held back
	trips int      // how often somebody waited for an answer
	cuts  int
}

func newProxy(t testing.TB) *proxy { return &proxy{t: t, conns: map[*proxied]bool{}} }

// proxied is one connection, as the client sees it.
type proxied struct {
	net.Conn
	p       *proxy
	feed    bool // it waits for notifications
	commits bool // it has sent a commit before
	asked   bool
	after   bool // lose the answer
}

func (p *proxy) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return nil, io.ErrUnexpectedEOF
	}
	inner, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &proxied{Conn: inner, p: p}
	p.conns[c] = true
	return c, nil
}

// arm lets the next commit be cut.
func (p *proxy) arm(c cut) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = c
}

// setDown cuts all connections and refuses new ones, or lets them through again.
func (p *proxy) setDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
	for c := range p.conns {
		if down {
			c.Conn.Close()
			delete(p.conns, c)
		}
	}
}

// roundTrips counts since the last call, without the connection that waits for notifications.
func (p *proxy) roundTrips() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.trips
	p.trips = 0
	return n
}

func (p *proxy) sendLate() {
	p.mu.Lock()
	late := p.late
	p.late = nil
	p.mu.Unlock()
	for _, f := range late {
		f()
	}
}

func (c *proxied) Write(b []byte) (int, error) {
	p := c.p
	p.mu.Lock()
	c.feed = c.feed || bytes.Contains(b, []byte("LISTEN"))
	c.asked = true
	what := cutNothing
	if c.commits && p.next != cutNothing {
		what, p.next = p.next, cutNothing
		p.cuts++
	}
	c.commits = c.commits || bytes.Contains(b, []byte("INSERT INTO commits"))
	p.mu.Unlock()
	switch what {
	case cutBefore:
		c.Conn.Close()
		return 0, io.ErrClosedPipe
	case cutMiddle:
		c.Conn.Write(b[:len(b)*2/3])
		c.Conn.Close()
		return len(b), nil
	case cutLate:
		inner, held := c.Conn, bytes.Clone(b)
		c.Conn = closed{inner}
		p.mu.Lock()
		p.late = append(p.late, func() {
			inner.Write(held)
			io.ReadAtLeast(inner, make([]byte, 64), 64) // the server has answered
			inner.Close()
		})
		p.mu.Unlock()
		return len(b), nil
	case cutAfter:
		c.after = true
	}
	return c.Conn.Write(b)
}

// closed is a connection that the client has lost and the server not yet.
type closed struct{ net.Conn }

func (closed) Read([]byte) (int, error)  { return 0, io.ErrUnexpectedEOF }
func (closed) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
func (closed) Close() error              { return nil }

func (c *proxied) Read(b []byte) (int, error) {
	c.p.mu.Lock()
	if c.asked && !c.feed {
		c.p.trips++
	}
	c.asked = false
	c.p.mu.Unlock()
	n, err := c.Conn.Read(b)
	if c.after && n > 0 {
		for !bytes.Contains(b[:n], []byte("COMMIT\x00")) && err == nil {
			n, err = c.Conn.Read(b)
		}
		c.Conn.Close()
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

func (c *proxied) Close() error {
	c.p.mu.Lock()
	delete(c.p.conns, c)
	c.p.mu.Unlock()
	return c.Conn.Close()
}

// TestProxy: what the proxy cuts is cut.
func TestProxy(t *testing.T) {
	t.Parallel()
	p := newProxy(t)
	p.setDown(true)
	_, err := p.dial(context.Background(), "tcp", "127.0.0.1:1")
	require.Error(t, err)
}
