package simbackend

import (
	"context"

	"github.com/nubecula/cloud/network/networkdriver"
)

// Provider is the network of the simulated backend. It also is a networkdriver.Rememberer and Changer.
type Provider struct {
	link *link
	end  closer
}

// NewProvider connects to the Server that listens on a Unix socket; it need not be there yet.
func NewProvider(address string) *Provider { return &Provider{link: connect(address)} }

func (p *Provider) call(ctx context.Context, method string, in, out any) error {
	if err := p.end.open(); err != nil {
		return err
	}
	return p.link.call(ctx, path("network", method), in, out)
}

// Apply keeps the topology.
func (p *Provider) Apply(ctx context.Context, t networkdriver.Topology) error {
	return p.call(ctx, "Apply", t, nil)
}

// Change changes the topology that is kept.
func (p *Provider) Change(ctx context.Context, since int64, t networkdriver.Topology, gone []string) error {
	return p.call(ctx, "Change", change{since, t, gone}, nil)
}

// Remember keeps the greatest epoch of a Cloud.
func (p *Provider) Remember(ctx context.Context, cloud string, epoch int64) (newest int64, err error) {
	err = p.call(ctx, "Remember", remember{cloud, epoch}, &newest)
	return newest, err
}

// Remove takes the network away and leaves a tombstone.
func (p *Provider) Remove(ctx context.Context, networkID string) error {
	return p.call(ctx, "Remove", networkID, nil)
}

// Bind keeps the binding.
func (p *Provider) Bind(ctx context.Context, port networkdriver.Port, b networkdriver.Bind) (out networkdriver.Binding, err error) {
	err = p.call(ctx, "Bind", bind{port, b}, &out)
	return out, err
}

// Unbind takes the binding away and leaves a tombstone.
func (p *Provider) Unbind(ctx context.Context, portID string, b networkdriver.Bind) error {
	return p.call(ctx, "Unbind", bind{networkdriver.Port{ID: portID}, b}, nil)
}

// Networks lists all networks in the order of their ids.
func (p *Provider) Networks(ctx context.Context) (out []networkdriver.NetworkState, err error) {
	err = p.call(ctx, "Networks", none{}, &out)
	return out, err
}

// Close ends the connection; networks stay.
func (p *Provider) Close() error {
	p.end.closed.Store(true)
	p.link.close()
	return nil
}
