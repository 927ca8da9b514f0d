//go:build libvirt && linux

package libvirt

import (
	"context"
	"sync/atomic"
	"time"

	"libvirt.org/go/libvirt"

	"github.com/nubecula/cloud/compute/computedriver"
)

const (
	redialPause = time.Second
	hintBuffer  = 256
)

// Watch passes on lifecycle events. When libvirtd has gone it connects again and says "reconnected".
func (d *Driver) Watch(ctx context.Context, f func(computedriver.Hint)) error {
	for first := true; ctx.Err() == nil; first = false {
		w, err := do(ctx, d, "watch", "", d.subscribe)
		if err != nil {
			_ = d.opts.Clock.Sleep(ctx, redialPause)
			continue
		}
		if !first {
			f(computedriver.Hint{What: "reconnected"})
		}
		w.pass(ctx, f)
		go w.end() // it asks libvirtd, which may hang
	}
	return ctx.Err()
}

// watch is one subscription, on a connection of its own.
type watch struct {
	session *session
	id      int
	hints   chan computedriver.Hint
	lost    atomic.Bool // hints were dropped: whoever reads was too slow
}

func (d *Driver) subscribe(ctx context.Context) (*watch, error) {
	s, err := d.pool.dial(ctx, (*session).end, func() {})
	if err != nil {
		return nil, err
	}
	w := &watch{session: s, hints: make(chan computedriver.Hint, hintBuffer)}
	w.id, err = s.DomainEventLifecycleRegister(nil, func(_ *libvirt.Connect, dom *libvirt.Domain, e *libvirt.DomainEventLifecycle) {
		what := hintOf(e)
		id, err := dom.GetUUIDString()
		if what == "" || err != nil {
			return
		}
		select { // this runs in the event loop of the process: it must not wait
		case w.hints <- computedriver.Hint{ID: id, What: what}:
		default:
			w.lost.Store(true)
		}
	})
	if err == nil && ctx.Err() != nil {
		err = ended(ctx)
		_ = s.DomainEventDeregister(w.id)
	}
	if err != nil {
		s.end()
		return nil, err
	}
	return w, nil
}

// pass calls f until ctx or the connection ends.
func (w *watch) pass(ctx context.Context, f func(computedriver.Hint)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.session.broken:
			return
		case h := <-w.hints:
			f(h)
			if w.lost.Swap(false) {
				f(computedriver.Hint{What: "reconnected"}) // look at everything
			}
		}
	}
}

func (w *watch) end() {
	_ = w.session.DomainEventDeregister(w.id)
	w.session.end()
}

// hintOf is the word for an event; "" for one that tells nothing.
func hintOf(e *libvirt.DomainEventLifecycle) string {
	switch e.Event {
	case libvirt.DOMAIN_EVENT_DEFINED:
		return "defined"
	case libvirt.DOMAIN_EVENT_UNDEFINED:
		return "undefined"
	case libvirt.DOMAIN_EVENT_STARTED, libvirt.DOMAIN_EVENT_RESUMED:
		return "started"
	case libvirt.DOMAIN_EVENT_CRASHED:
		return "crashed"
	case libvirt.DOMAIN_EVENT_SUSPENDED, libvirt.DOMAIN_EVENT_PMSUSPENDED:
		return "stopped" // its CPUs stand still
	case libvirt.DOMAIN_EVENT_STOPPED:
		if d := libvirt.DomainEventStoppedDetailType(e.Detail); d == libvirt.DOMAIN_EVENT_STOPPED_CRASHED || d == libvirt.DOMAIN_EVENT_STOPPED_FAILED {
			return "crashed"
		}
		return "stopped"
	}
	return ""
}
