// Package fakenetwork is a network back end without a network: it keeps the
// same promises as a real one (it passes networktest) and fails as told by a
// plan of faults. What it holds lives in a Backend, apart from the Provider
// that is the connection to it.
package fakenetwork

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/internal/statedir"
	"github.com/nubecula/cloud/network/internal/ledger"
	"github.com/nubecula/cloud/network/networkdriver"
)

// Options describe a fake provider. The zero value is one in memory that never fails.
type Options struct {
	Name    string                // the plan's name of this driver; "" means "network"
	Binding networkdriver.Binding // what Bind answers; the zero Binding means Tap{Bridge: "br-fake"}
	Backend *Backend              // shared with other Providers; nil means a new one
	Dir     string                // where a new Backend keeps its networks; "" means in memory
	Faults  *inject.Plan          // nil means none
}

// Backend holds the networks. Safe for concurrent use; a directory also by several processes.
type Backend struct {
	ledger *ledger.Ledger

	mu    sync.Mutex
	why   error // not nil: the back end is down
	count map[string]int
}

// NewBackend returns an empty back end in memory.
func NewBackend() *Backend { return backend(statedir.Memory()) }

// OpenBackend returns the back end that is kept in the directory, which is made at the first use.
func OpenBackend(dir string) (*Backend, error) {
	s, err := statedir.Open(dir, false)
	if err != nil {
		return nil, err
	}
	return backend(s), nil
}

func backend(s *statedir.Space) *Backend {
	return &Backend{ledger: ledger.New(s), count: map[string]int{}}
}

// Close lets go of the directory; the networks stay in it.
func (b *Backend) Close() error { return b.ledger.Close() }

// SetDown makes every call of every Provider on this Backend fail with why; nil brings it back.
func (b *Backend) SetDown(why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.why = why
}

func (b *Backend) down() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.why
}

// Topology returns a copy of what was applied last for the network, and whether it is there.
func (b *Backend) Topology(networkID string) (networkdriver.Topology, bool, error) {
	return b.ledger.Topology(networkID)
}

// Networks lists what Provider.Networks does, also when the back end is down.
func (b *Backend) Networks() ([]networkdriver.NetworkState, error) { return b.ledger.Networks() }

// Plant applies a topology that no Cloud asked for.
func (b *Backend) Plant(t networkdriver.Topology) error {
	_, err := b.ledger.Apply(t)
	return err
}

// PlantBinding binds a port that no Cloud asked for; its network must be there.
func (b *Backend) PlantBinding(p networkdriver.Port, at networkdriver.Bind) error {
	_, err := b.ledger.Bind(p, at)
	return err
}

// Lose forgets the binding of a port behind the back of the cloud that has it, and leaves no tombstone.
func (b *Backend) Lose(portID string) error { return b.ledger.Forget(portID) }

// Changes returns how many calls of Apply changed the network, made through this Backend.
func (b *Backend) Changes(networkID string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count[networkID]
}

// Provider is a connection to a Backend.
type Provider struct {
	name    string
	binding networkdriver.Binding
	b       *Backend
	owned   bool // the backend was made by New
	faults  *inject.Plan
	closed  atomic.Bool
}

var (
	_ networkdriver.Provider   = (*Provider)(nil)
	_ networkdriver.Rememberer = (*Provider)(nil)
	_ networkdriver.Changer    = (*Provider)(nil)
)

// New connects to a fake back end.
func New(o Options) (*Provider, error) {
	p := &Provider{name: o.Name, binding: o.Binding, b: o.Backend, faults: o.Faults}
	if p.name == "" {
		p.name = "network"
	}
	if p.binding == (networkdriver.Binding{}) {
		p.binding.Tap = &networkdriver.Tap{Bridge: "br-fake"}
	}
	var errs []error
	set := 0
	for _, is := range []bool{p.binding.OVS != nil, p.binding.Tap != nil, p.binding.User != nil} {
		if is {
			set++
		}
	}
	if set != 1 {
		errs = append(errs, fault.InvalidField("Binding", o.Binding.VIFType(), "set exactly one of its fields"))
	}
	if o.Backend != nil && o.Dir != "" {
		errs = append(errs, fault.InvalidField("Dir", o.Dir, "a Backend knows its directory; give one of the two"))
	}
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	if p.b == nil {
		p.owned, p.b = true, NewBackend()
		if o.Dir != "" {
			var err error
			if p.b, err = OpenBackend(o.Dir); err != nil {
				return nil, err
			}
		}
	}
	return p, nil
}

// Backend returns what holds the networks, for a test to look at.
func (p *Provider) Backend() *Backend { return p.b }

// Close ends the connection; networks stay.
func (p *Provider) Close() error {
	if p.closed.Swap(true) || !p.owned {
		return nil
	}
	return p.b.Close()
}

func (p *Provider) call(ctx context.Context, method, object string, effect func() error) error {
	if p.closed.Load() {
		return fault.New(fault.Unavailable, "the connection to network driver %s is closed", p.name)
	}
	return p.faults.Run(ctx, p.name, method, object, func() error {
		if err := p.b.down(); err != nil {
			return err
		}
		return effect()
	})
}

// Apply keeps the topology.
func (p *Provider) Apply(ctx context.Context, t networkdriver.Topology) error {
	return p.apply(ctx, t, func() (bool, error) { return p.b.ledger.Apply(t) })
}

// Change keeps what has changed of it; the plan knows it as Apply.
func (p *Provider) Change(ctx context.Context, since int64, t networkdriver.Topology, gone []string) error {
	return p.apply(ctx, t, func() (bool, error) { return p.b.ledger.Change(since, t, gone) })
}

func (p *Provider) apply(ctx context.Context, t networkdriver.Topology, effect func() (changed bool, err error)) error {
	return p.call(ctx, "Apply", t.NetworkID, func() error {
		changed, err := effect()
		if changed {
			p.b.mu.Lock()
			p.b.count[t.NetworkID]++
			p.b.mu.Unlock()
		}
		return err
	})
}

// Remove takes the network away and leaves a tombstone.
func (p *Provider) Remove(ctx context.Context, networkID string) error {
	return p.call(ctx, "Remove", networkID, func() error { return p.b.ledger.Remove(networkID) })
}

// Bind keeps the binding; the plan knows it by the port's id.
func (p *Provider) Bind(ctx context.Context, port networkdriver.Port, b networkdriver.Bind) (networkdriver.Binding, error) {
	err := p.call(ctx, "Bind", port.ID, func() error {
		_, err := p.b.ledger.Bind(port, b)
		return err
	})
	if err != nil {
		return networkdriver.Binding{}, err
	}
	return p.bindingOf(port.ID), nil
}

// bindingOf returns a copy that the caller may change.
func (p *Provider) bindingOf(portID string) (b networkdriver.Binding) {
	switch {
	case p.binding.OVS != nil:
		c := *p.binding.OVS
		if c.InterfaceID == "" {
			c.InterfaceID = portID
		}
		b.OVS = &c
	case p.binding.Tap != nil:
		c := *p.binding.Tap
		b.Tap = &c
	default:
		b.User = &networkdriver.User{}
	}
	return b
}

// Unbind takes the binding away and leaves a tombstone.
func (p *Provider) Unbind(ctx context.Context, portID string, b networkdriver.Bind) error {
	return p.call(ctx, "Unbind", portID, func() error { return p.b.ledger.Unbind(portID, b) })
}

// Networks lists all networks in the order of their ids.
func (p *Provider) Networks(ctx context.Context) (states []networkdriver.NetworkState, err error) {
	err = p.call(ctx, "Networks", "", func() error {
		states, err = p.b.ledger.Networks()
		return err
	})
	if err != nil {
		return nil, err
	}
	return states, nil
}

// Remember keeps how new a Cloud's store was.
func (p *Provider) Remember(ctx context.Context, cloud string, epoch int64) (newest int64, err error) {
	err = p.call(ctx, "Remember", cloud, func() error {
		newest, err = p.b.ledger.Remember(cloud, epoch)
		return err
	})
	if err != nil {
		return 0, err
	}
	return newest, nil
}
