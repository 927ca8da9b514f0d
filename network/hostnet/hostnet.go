// Package hostnet is a real network back end for one machine that needs no
// root and runs no commands: guests get QEMU's user-mode network, or are
// plugged into Linux bridges that an administrator made.
//
// It makes no networks: on bridges, addresses, routing and isolation are what
// the bridge's own network gives. What was applied and bound is kept in a small directory.
package hostnet

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/statedir"
	"github.com/nubecula/cloud/network/internal/ledger"
	"github.com/nubecula/cloud/network/networkdriver"
)

// Options choose where guests' NICs go.
type Options struct {
	// StateDir is where revisions, bindings and tombstones are kept, durably; it is made at the first use. Required.
	StateDir string
	// User gives every NIC a user-mode network of its own: guests reach out, nobody reaches them
	// and they do not reach each other. It excludes the two below.
	User bool
	// Bridge is the Linux bridge for networks without a physical one; "" means that there is none.
	Bridge string
	// Bridges are the Linux bridges by physical network, for flat networks.
	Bridges map[string]string
}

// Provider is a networkdriver.Provider for one machine.
type Provider struct {
	user    bool
	bridge  string
	bridges map[string]string
	ledger  *ledger.Ledger
	closed  atomic.Bool
}

var (
	_ networkdriver.Provider   = (*Provider)(nil)
	_ networkdriver.Rememberer = (*Provider)(nil)
)

// New checks the options. Whether a bridge exists shows when a guest is started: it may be in
// another network namespace than this process.
func New(o Options) (*Provider, error) {
	var errs []error
	bad := func(field string, value any, remedy string) {
		errs = append(errs, fault.InvalidField(field, value, remedy))
	}
	if o.StateDir == "" {
		bad("StateDir", o.StateDir, "name a directory")
	}
	switch bridges := o.Bridge != "" || len(o.Bridges) > 0; {
	case o.User && bridges:
		bad("User", o.User, "choose the user-mode network or bridges, not both")
	case !o.User && !bridges:
		bad("Bridge", o.Bridge, "name a bridge, or set User")
	}
	if o.Bridge != "" && !isInterface(o.Bridge) {
		bad("Bridge", o.Bridge, "an interface has 1 to 15 characters without '/' and spaces")
	}
	for _, physical := range slices.Sorted(maps.Keys(o.Bridges)) {
		if physical == "" || !isInterface(o.Bridges[physical]) {
			bad("Bridges["+physical+"]", o.Bridges[physical], "an interface has 1 to 15 characters without '/' and spaces")
		}
	}
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	space, err := statedir.Open(o.StateDir, true)
	if err != nil {
		return nil, err
	}
	return &Provider{user: o.User, bridge: o.Bridge, bridges: maps.Clone(o.Bridges), ledger: ledger.New(space)}, nil
}

// isInterface tells what Linux takes as the name of an interface.
func isInterface(name string) bool {
	return len(name) > 0 && len(name) <= 15 && name != "." && name != ".." && !strings.ContainsAny(name, "/: \t\n\x00")
}

// Close lets go of the directory.
func (p *Provider) Close() error {
	if p.closed.Swap(true) {
		return nil
	}
	return p.ledger.Close()
}

// binding says how a NIC in the segment is connected, or Invalid where there is no way.
func (p *Provider) binding(s networkdriver.Segment) (networkdriver.Binding, error) {
	if p.user {
		return networkdriver.Binding{User: &networkdriver.User{}}, nil
	}
	bridge := p.bridge
	if s.Physical != "" {
		bridge = p.bridges[s.Physical]
	}
	switch {
	case s.Type == "vlan":
		return networkdriver.Binding{}, fault.New(fault.Invalid, "this back end cannot tag VLAN %d; give the VLAN a bridge and make the network flat", s.ID)
	case bridge == "" && s.Physical != "":
		return networkdriver.Binding{}, fault.New(fault.Invalid, "physical network %q has no bridge; there are bridges for: %s",
			s.Physical, strings.Join(slices.Sorted(maps.Keys(p.bridges)), ", "))
	case bridge == "":
		return networkdriver.Binding{}, fault.New(fault.Invalid, "there is no bridge for %s networks; configure Bridge", s.Type)
	}
	return networkdriver.Binding{Tap: &networkdriver.Tap{Bridge: bridge}}, nil
}

func about(err error, networkID string) error {
	var f *fault.Error
	if errors.As(err, &f) && f.ID == "" {
		return f.About("network", networkID)
	}
	return err
}

// Apply keeps the topology. Invalid when its segment has no bridge.
func (p *Provider) Apply(ctx context.Context, t networkdriver.Topology) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := p.binding(t.Segment); err != nil {
		return about(err, t.NetworkID)
	}
	_, err := p.ledger.Apply(t)
	return err
}

// Change keeps what has changed. Invalid when the segment has no bridge.
func (p *Provider) Change(ctx context.Context, since int64, t networkdriver.Topology, gone []string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := p.binding(t.Segment); err != nil {
		return about(err, t.NetworkID)
	}
	_, err := p.ledger.Change(since, t, gone)
	return err
}

// Remove forgets the network and leaves a tombstone.
func (p *Provider) Remove(ctx context.Context, networkID string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return p.ledger.Remove(networkID)
}

// Bind answers with the user-mode network, or with the bridge of the network's segment.
func (p *Provider) Bind(ctx context.Context, port networkdriver.Port, b networkdriver.Bind) (networkdriver.Binding, error) {
	if err := ctx.Err(); err != nil {
		return networkdriver.Binding{}, err
	}
	segment, err := p.ledger.Bind(port, b)
	if err != nil {
		return networkdriver.Binding{}, err
	}
	binding, err := p.binding(segment)
	return binding, about(err, port.NetworkID)
}

// Unbind forgets the binding and leaves a tombstone.
func (p *Provider) Unbind(ctx context.Context, portID string, b networkdriver.Bind) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return p.ledger.Unbind(portID, b)
}

// Networks lists what was applied, in the order of the ids.
func (p *Provider) Networks(ctx context.Context) ([]networkdriver.NetworkState, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return p.ledger.Networks()
}

// Remember keeps how new a Cloud's store was.
func (p *Provider) Remember(ctx context.Context, cloud string, epoch int64) (newest int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return p.ledger.Remember(cloud, epoch)
}
