// Package metered wraps drivers so that their calls are counted and timed.
package metered

import (
	"context"
	"io"
	"time"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/image/imagedriver"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/meter"
	"github.com/nubecula/cloud/network/networkdriver"
)

// timed records calls of one driver.
type timed struct {
	m      *meter.Meters
	c      clock.Clock
	driver string
}

// call begins a call and returns what ends it, to be deferred with the address of the error.
func (t timed) call(method string) func(err *error) {
	began := t.c.Mono()
	return func(err *error) {
		code := "ok"
		if *err != nil {
			code = fault.CodeOf(*err).String()
		}
		t.m.Calls.Observe(meter.Call{Driver: t.driver, Method: method, Code: code}, t.c.Mono()-began)
	}
}

type hypervisor struct {
	computedriver.Hypervisor
	t timed
}

// Hypervisor records the calls of a hypervisor, but not those of its optional interfaces.
func Hypervisor(d computedriver.Hypervisor, m *meter.Meters, c clock.Clock) computedriver.Hypervisor {
	return hypervisor{d, timed{m, c, "compute"}}
}

func (h hypervisor) Unwrap() computedriver.Hypervisor { return h.Hypervisor }

func (h hypervisor) Host(ctx context.Context) (_ computedriver.Host, err error) {
	defer h.t.call("Host")(&err)
	return h.Hypervisor.Host(ctx)
}

func (h hypervisor) Define(ctx context.Context, g computedriver.Guest) (err error) {
	defer h.t.call("Define")(&err)
	return h.Hypervisor.Define(ctx, g)
}

func (h hypervisor) Start(ctx context.Context, r computedriver.Ref) (err error) {
	defer h.t.call("Start")(&err)
	return h.Hypervisor.Start(ctx, r)
}

func (h hypervisor) Stop(ctx context.Context, r computedriver.Ref, grace time.Duration) (err error) {
	defer h.t.call("Stop")(&err)
	return h.Hypervisor.Stop(ctx, r, grace)
}

func (h hypervisor) Undefine(ctx context.Context, r computedriver.Ref) (err error) {
	defer h.t.call("Undefine")(&err)
	return h.Hypervisor.Undefine(ctx, r)
}

func (h hypervisor) Guests(ctx context.Context) (_ []computedriver.GuestState, err error) {
	defer h.t.call("Guests")(&err)
	return h.Hypervisor.Guests(ctx)
}

type provider struct {
	networkdriver.Provider
	t timed
}

// Provider records the calls of a network provider.
func Provider(d networkdriver.Provider, m *meter.Meters, c clock.Clock) networkdriver.Provider {
	p := provider{d, timed{m, c, "network"}}
	if r, ok := d.(networkdriver.Rememberer); ok { // it is looked for in the driver itself
		return struct {
			provider
			networkdriver.Rememberer
		}{p, r}
	}
	return p
}

func (p provider) Apply(ctx context.Context, t networkdriver.Topology) (err error) {
	defer p.t.call("Apply")(&err)
	return p.Provider.Apply(ctx, t)
}

// Change is there for every provider: one that takes no changes is given the whole.
func (p provider) Change(ctx context.Context, since int64, t networkdriver.Topology, gone []string) (err error) {
	c, ok := p.Provider.(networkdriver.Changer)
	if !ok {
		return fault.New(fault.Conflict, "it takes no changes; apply the whole").About("network", t.NetworkID)
	}
	defer p.t.call("Change")(&err)
	return c.Change(ctx, since, t, gone)
}

func (p provider) Remove(ctx context.Context, networkID string) (err error) {
	defer p.t.call("Remove")(&err)
	return p.Provider.Remove(ctx, networkID)
}

func (p provider) Bind(ctx context.Context, port networkdriver.Port, b networkdriver.Bind) (_ networkdriver.Binding, err error) {
	defer p.t.call("Bind")(&err)
	return p.Provider.Bind(ctx, port, b)
}

func (p provider) Unbind(ctx context.Context, portID string, b networkdriver.Bind) (err error) {
	defer p.t.call("Unbind")(&err)
	return p.Provider.Unbind(ctx, portID, b)
}

func (p provider) Networks(ctx context.Context) (_ []networkdriver.NetworkState, err error) {
	defer p.t.call("Networks")(&err)
	return p.Provider.Networks(ctx)
}

type images struct {
	imagedriver.Store
	t timed
}

// Images records the calls of an image store; Open until it returns, Put until all is read.
func Images(d imagedriver.Store, m *meter.Meters, c clock.Clock) imagedriver.Store {
	s := images{d, timed{m, c, "image"}}
	if r, ok := d.(imagedriver.Rememberer); ok { // it is looked for in the driver itself
		return struct {
			images
			imagedriver.Rememberer
		}{s, r}
	}
	return s
}

func (s images) Put(ctx context.Context, id string, r io.Reader) (_ int64, err error) {
	defer s.t.call("Put")(&err)
	return s.Store.Put(ctx, id, r)
}

func (s images) Open(ctx context.Context, id string, offset int64) (_ io.ReadCloser, err error) {
	defer s.t.call("Open")(&err)
	return s.Store.Open(ctx, id, offset)
}

func (s images) Delete(ctx context.Context, id string) (err error) {
	defer s.t.call("Delete")(&err)
	return s.Store.Delete(ctx, id)
}

func (s images) Locate(ctx context.Context, id string) (_ imagedriver.Location, err error) {
	defer s.t.call("Locate")(&err)
	return s.Store.Locate(ctx, id)
}

func (s images) Images(ctx context.Context) (_ []imagedriver.Data, err error) {
	defer s.t.call("Images")(&err)
	return s.Store.Images(ctx)
}
