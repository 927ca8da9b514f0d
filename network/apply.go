package network

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/network/networkdriver"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// applyForever is the number of attempts against a provider that is away: nothing is lost by waiting.
const applyForever = 1 << 30

// operations are the handles of the kinds that this package registers.
type operations struct {
	apply  *engine.Handle[applyState]
	remove *engine.Handle[removeState]
}

// applyState is the state of network.apply.
type applyState struct {
	NetworkID string   `json:"network_id"`
	Revision  int64    `json:"revision,omitempty"` // that the provider was given
	Refused   *refusal `json:"refused,omitempty"`  // what it said to that
	Paid      []string `json:"paid,omitempty"`     // ports that were unbound
	// Took is how long the last pass was at work.
	Took time.Duration `json:"took,omitempty"`
}

// refusal is an answer of the provider that the same topology will get again.
type refusal struct {
	Code    fault.Code `json:"code"`
	Message string     `json:"message"`
}

// removeState is the state of network.remove.
type removeState struct {
	NetworkID string `json:"network_id"`
}

// register adds the kinds of operations to the engine.
//
// network.apply makes the provider look like the store. It may wait behind another of its kind, which
// is used when that one is about to end without having seen the latest change.
func (c *core) register(e *engine.Engine) error {
	c.ops.apply = engine.Register(e, engine.Kind[applyState]{
		Name: "network.apply", Version: 1, Preempts: []string{"network.apply"},
		Steps: []engine.Step[applyState]{{
			Name: "apply", Attempts: applyForever,
			Do:     c.doApply,
			Commit: c.commitApply,
		}},
		Abort: c.abortApply,
	})
	c.ops.remove = engine.Register(e, engine.Kind[removeState]{
		Name: "network.remove", Version: 1, Preempts: []string{"*"}, Forward: true,
		Steps: []engine.Step[removeState]{{
			Name: "remove",
			Do: func(ctx context.Context, r *engine.Run[removeState]) error {
				if err := c.mayRemove(ctx); err != nil {
					return err
				}
				return c.provider.Remove(ctx, r.State.NetworkID)
			},
			Commit: func(tx *store.Tx, r *engine.Run[removeState]) error {
				return erase(tx, r.State.NetworkID)
			},
		}},
	})
	return nil
}

func resource(networkID string) operation.Resource {
	return operation.Resource{Kind: "network", ID: networkID}
}

// burst is how long changes of a network are gathered before the provider is told. It need not hear of a new
// network's first ones late, and no port waits for it to be bound.
const burst = 100 * time.Millisecond

// moved notes that the topology of a network has changed and sees to it that the provider learns of it.
func (s *Service) moved(tx *store.Tx, n *Network) error {
	_, err := s.movedTo(tx, n)
	return err
}

// movedTo is moved, and returns the revision in which the network is as it will be after this transaction.
func (s *Service) movedTo(tx *store.Tx, n *Network) (revision int64, err error) {
	t, err := topologies.Get(tx, n.ID)
	if err != nil {
		return 0, err
	}
	t.Wanted++
	if err := topologies.Put(tx, t); err != nil {
		return 0, err
	}
	active, err := operation.Active(tx, resource(n.ID))
	if err != nil || active != nil && active.State == operation.Running {
		return t.Wanted, err // its Commit sees the new revision
	}
	req := s.request(n)
	if t.Applied > 0 {
		req.Delay = burst
	}
	_, err = s.ops.apply.Submit(tx, req, applyState{NetworkID: n.ID})
	return t.Wanted, err
}

// movedPort is moved for a port that is about to be written.
func (s *Service) movedPort(tx *store.Tx, n *Network, p *Port) (err error) {
	p.Moved, err = s.movedTo(tx, n)
	return err
}

// lost is moved for a port that is being deleted.
func (s *Service) lost(tx *store.Tx, n *Network, p *Port) error {
	revision, err := s.movedTo(tx, n)
	if err != nil {
		return err
	}
	return losses.Put(tx, &loss{PortID: p.ID, NetworkID: n.ID, Revision: revision})
}

// learned drops what the provider need not be told any more.
func learned(tx *store.Tx, networkID string, revision int64) error {
	old, err := losses.List(tx, store.Query[loss]{Index: "network", Prefix: store.Tuple{networkID}, To: store.Tuple{revision + 1}})
	for _, l := range old {
		if err == nil {
			err = losses.Delete(tx, l.PortID)
		}
	}
	return err
}

// removed has the provider forget a network that has just been deleted.
func (s *Service) removed(tx *store.Tx, n *Network) error {
	t, err := topologies.Get(tx, n.ID)
	if err != nil {
		return err
	}
	t.Removed = true
	if err := topologies.Put(tx, t); err != nil {
		return err
	}
	_, err = s.ops.remove.Submit(tx, s.request(n), removeState{NetworkID: n.ID})
	return err
}

func (s *Service) request(n *Network) engine.Request {
	req := engine.Request{Resource: resource(n.ID), ProjectID: n.ProjectID}
	if s.who != nil {
		req.UserID = s.who.UserID
	}
	return req
}

// erase drops what is kept of a removed network.
func erase(tx *store.Tx, networkID string) error {
	owed, err := debts.List(tx, store.Query[debt]{Index: "network", Prefix: store.Tuple{networkID}})
	if err != nil {
		return err
	}
	for _, d := range owed {
		if err := pay(tx, d.PortID); err != nil {
			return err
		}
	}
	if err := learned(tx, networkID, math.MaxInt64-1); err != nil {
		return err
	}
	return topologies.Delete(tx, networkID)
}

// doApply unbinds the ports that are gone and hands the provider the topology of the network.
func (c *core) doApply(ctx context.Context, r *engine.Run[applyState]) error {
	start := c.opt.Clock.Mono()
	defer func() { r.State.Took = c.opt.Clock.Mono() - start }()
	r.State.Paid, r.State.Refused = nil, nil
	var owed []*debt
	if err := c.store.View(ctx, func(tx *store.Tx) (err error) {
		owed, err = debts.List(tx, store.Query[debt]{Index: "network", Prefix: store.Tuple{r.State.NetworkID}})
		return err
	}); err != nil {
		return err
	}
	if len(owed) > 0 && c.mayRemove(ctx) != nil { // the topology is applied all the same
		owed = nil
	}
	for _, d := range owed {
		if err := c.provider.Unbind(ctx, d.PortID, networkdriver.Bind{Host: d.Host, Generation: d.Gen}); err != nil {
			return err
		}
		r.State.Paid = append(r.State.Paid, d.PortID)
	}
	var err error
	r.State.Revision, err = c.change(ctx, r.State.NetworkID)
	if err == nil {
		return nil
	}
	switch code := fault.CodeOf(err); code {
	case fault.Unavailable, fault.Timeout, fault.Canceled:
		return err
	case fault.Invalid, fault.Denied, fault.NotFound, fault.Unsupported, fault.Stale, fault.TooLarge:
		r.State.Refused = &refusal{code, err.Error()}
		return nil
	}
	return fault.New(fault.Unavailable, "the provider failed: %w", err) // which says nothing against trying again
}

// commitApply records what the provider has, and goes round again when more has changed meanwhile. What the
// provider refuses ends the operation only if nothing has changed since.
func (c *core) commitApply(tx *store.Tx, r *engine.Run[applyState]) error {
	for _, id := range r.State.Paid {
		if err := pay(tx, id); err != nil {
			return err
		}
	}
	t, err := topologies.Get(tx, r.State.NetworkID)
	if err != nil {
		return err
	}
	if no := r.State.Refused; no != nil {
		if t.Wanted > r.State.Revision {
			r.AgainAfter(pause(r.State.Took))
			return nil
		}
		return &fault.Error{Code: no.Code, Kind: "network", ID: r.State.NetworkID,
			Msg: sprint("the provider refuses revision %d; the next change of the network is tried again: %s", r.State.Revision, no.Message)}
	}
	if t.Applied < r.State.Revision || !t.Known {
		t.Applied, t.Known = max(t.Applied, r.State.Revision), true
		if err := topologies.Put(tx, t); err != nil {
			return err
		}
		if err := learned(tx, t.NetworkID, t.Applied); err != nil {
			return err
		}
	}
	if err := setStatus(tx, r.State.NetworkID, Active); err != nil {
		return err
	}
	if t.Wanted > r.State.Revision {
		r.AgainAfter(pause(r.State.Took))
	}
	return nil
}

// pause keeps a network of many ports, whose passes are long, from being applied all the time: a pass
// may take a fifth of it, and gathers a burst of changes. Ports are bound without waiting for a pass.
func pause(took time.Duration) time.Duration { return max(burst, min(4*took, 5*time.Second)) }

// abortApply marks the network that the provider refuses; the next change of it tries again.
func (c *core) abortApply(tx *store.Tx, r *engine.Run[applyState], f *operation.Failure) error {
	if f.Code == fault.Canceled {
		return nil
	}
	return setStatus(tx, r.State.NetworkID, Failed)
}

// setStatus changes the status of a network that still exists.
func setStatus(tx *store.Tx, networkID, status string) error {
	n, err := networks.Get(tx, networkID)
	if fault.Is(err, fault.NotFound) || err == nil && n.Status == status {
		return nil
	}
	if err != nil {
		return err
	}
	n.Status = status
	return networks.Put(tx, n)
}

// apply hands the provider the topology of a network as it is now, and returns its revision.
func (c *core) apply(ctx context.Context, networkID string) (int64, error) {
	var t networkdriver.Topology
	err := c.store.View(ctx, func(tx *store.Tx) (err error) {
		t, err = c.topology(tx, networkID)
		return err
	})
	if err != nil {
		return 0, err
	}
	return t.Revision, c.provider.Apply(ctx, t)
}

// change hands the provider what has changed of a network since the revision that it was given last, if it can take that, or
// else the whole.
func (c *core) change(ctx context.Context, networkID string) (int64, error) {
	changer, ok := c.provider.(networkdriver.Changer)
	if !ok {
		return c.apply(ctx, networkID)
	}
	var t networkdriver.Topology
	var since int64
	var gone []string
	if err := c.store.View(ctx, func(tx *store.Tx) error {
		top, err := topologies.Get(tx, networkID)
		if err != nil || !top.Known {
			return err
		}
		since = top.Applied
		if t, err = c.head(tx, networkID); err != nil {
			return err
		}
		for p, err := range ports.Each(tx, store.Query[Port]{Index: "moved", Prefix: store.Tuple{networkID}, From: store.Tuple{since + 1}}) {
			if err != nil {
				return err
			}
			t.Ports = append(t.Ports, p.driver())
		}
		for l, err := range losses.Each(tx, store.Query[loss]{Index: "network", Prefix: store.Tuple{networkID}, From: store.Tuple{since + 1}}) {
			if err != nil {
				return err
			}
			gone = append(gone, l.PortID)
		}
		return nil
	}); err != nil {
		return 0, err
	}
	if since == 0 {
		return c.apply(ctx, networkID)
	}
	err := changer.Change(ctx, since, t, gone)
	if fault.Is(err, fault.Conflict) { // it has lost something
		return c.apply(ctx, networkID)
	}
	return t.Revision, err
}

// topology collects what the provider must know of a network.
func (c *core) topology(tx *store.Tx, networkID string) (t networkdriver.Topology, err error) {
	if t, err = c.head(tx, networkID); err != nil {
		return t, err
	}
	for p, err := range ports.Each(tx, store.Query[Port]{Index: "network", Prefix: store.Tuple{networkID}}) {
		if err != nil {
			return t, err
		}
		t.Ports = append(t.Ports, p.driver())
	}
	return t, nil
}

// head is the topology of a network without its ports.
func (c *core) head(tx *store.Tx, networkID string) (t networkdriver.Topology, err error) {
	n, err1 := networks.Get(tx, networkID)
	top, err2 := topologies.Get(tx, networkID)
	if err := errors.Join(err1, err2); err != nil {
		return t, err
	}
	t = networkdriver.Topology{NetworkID: n.ID, Revision: top.Wanted, Name: n.Name, ProjectID: n.ProjectID, MTU: n.MTU,
		Segment: n.Segment, External: n.External, AdminUp: n.AdminUp}
	for _, id := range n.Subnets {
		v, err := subnets.Get(tx, id)
		if err != nil {
			return t, err
		}
		t.Subnets = append(t.Subnets, networkdriver.Subnet{ID: v.ID, CIDR: v.CIDR, Gateway: v.Gateway, DHCP: v.DHCP, DNS: v.DNS, HostRoutes: v.Routes})
	}
	return t, nil
}
