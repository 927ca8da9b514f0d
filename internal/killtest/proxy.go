package main

import (
	"io"
	"net"
	"sync"
)

// proxy passes TCP connections on to a target until it is cut.
type proxy struct {
	listener net.Listener
	target   string
	mu       sync.Mutex
	severed  bool
	open     map[net.Conn]bool
}

func newProxy(target string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, target: target, open: map[net.Conn]bool{}}
	go p.serve()
	return p, nil
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) serve() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		go p.pass(c)
	}
}

func (p *proxy) pass(c net.Conn) {
	defer c.Close()
	t, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer t.Close()
	if !p.keep(c, t) {
		return
	}
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{c, t}, {t, c}} {
		go func() { _, _ = io.Copy(way[0], way[1]); done <- struct{}{} }()
	}
	<-done
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
	delete(p.open, t)
}

// keep reports false when the line is cut.
func (p *proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.open[c] = true
	}
	return !p.severed
}

// sever ends all connections and lets none through, until severed is false.
func (p *proxy) sever(severed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.severed = severed
	if severed {
		for c := range p.open {
			c.Close()
			delete(p.open, c)
		}
	}
}

func (p *proxy) close() error {
	p.sever(true)
	return p.listener.Close()
}
