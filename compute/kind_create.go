package compute

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/network/networkdriver"
	"github.com/nubecula/cloud/scheduler"
	"github.com/nubecula/cloud/store"
)

// createState is the state of server.create.
type createState struct {
	ServerID   string                           `json:"server_id"`
	Exclude    map[string]string                `json:"exclude,omitempty"`    // ids of hosts that failed, and why
	Tried      []tried                          `json:"tried,omitempty"`      // the same for people, the last one too
	HostID     string                           `json:"host_id,omitempty"`    // "" while it is not placed
	Generation int64                            `json:"generation,omitempty"` // of that placement
	Lost       int                              `json:"lost,omitempty"`       // races for a host
	Unsure     string                           `json:"unsure,omitempty"`     // name of a silent host that the guest may run on
	Many       bool                             `json:"many,omitempty"`       // one request made several
	Decision   *scheduler.Decision              `json:"decision,omitempty"`   // between Do and Commit of place
	Bindings   map[string]networkdriver.Binding `json:"bindings,omitempty"`   // by port
}

func (s *createState) instance() string { return instance(s.HostID) }

func (s *createState) ref() computedriver.Ref {
	return computedriver.Ref{ID: s.ServerID, Generation: s.Generation}
}

// maxLost bounds how often one attempt loses the race for every candidate.
const maxLost = 50

// createKind places a server and boots it.
func (c *core) createKind() engine.Kind[createState] {
	return engine.Kind[createState]{
		Name: "server.create", Version: 1,
		Steps: []engine.Step[createState]{
			{Name: "place", Ahead: c.placeAhead, Do: c.pick, Commit: c.place, Undone: c.unplace},
			{Name: "bind", Do: c.plug, Commit: c.bound, Undo: c.unplug, Undone: c.unbound},
			{Name: "define", Instance: (*createState).instance, Limit: bootLimit,
				Do: c.define, Undo: c.undefine, Debt: c.oweGuest},
			{Name: "start", Instance: (*createState).instance, Do: c.startGuest, Commit: c.started, Pivot: true},
		},
		Retreat: c.nextHost,
		Abort:   c.createFailed,
	}
}

// refused is the error of a placement that no host takes, with the decision as its details.
type refused struct {
	error
	d *scheduler.Decision
}

func (r *refused) Unwrap() error { return r.error }

// Details is what the engine keeps with the failure.
func (r *refused) Details() any { return r.d }

// pick asks the scheduler. It has no effect.
func (c *core) pick(ctx context.Context, r *engine.Run[createState]) error {
	if r.State.Unsure != "" {
		return fault.New(fault.Conflict, "host %s stopped answering while it started the server, which may run there: a second copy elsewhere would be unsafe; "+
			"delete the server and make it anew, or declare the host down before", r.State.Unsure)
	}
	var v *Server
	if err := c.store.View(ctx, func(tx *store.Tx) (err error) {
		v, err = servers.Get(tx, r.State.ServerID)
		return err
	}); err != nil {
		return err
	}
	now, err := c.store.Now(ctx)
	if err != nil {
		return err
	}
	d := c.decide(c.snap.p.Load(), v, r, now.Lease)
	refusal := d.Err()
	if refusal == nil {
		r.State.Decision = d
		return nil
	}
	early, err := c.tooEarly(ctx, v, r, now.Lease)
	if err != nil || early {
		return err // place waits
	}
	return &refused{refusal, d}
}

func (c *core) decide(snap *scheduler.Snapshot, v *Server, r *engine.Run[createState], now time.Time) *scheduler.Decision {
	seed := fnv.New64a()
	fmt.Fprintf(seed, "%s %d %d", r.Op.ID, r.Op.Retreats, r.State.Lost)
	req := &scheduler.Request{
		Need: v.Flavor.Need(), Zone: v.RequestedZone, Exclude: r.State.Exclude, Destination: v.RequestedHost,
		Project: v.ProjectID, Hints: v.SchedulerHints, Now: now, Seed: seed.Sum64(),
	}
	if v.ForcedHost != "" {
		req.ForceHosts = []string{v.ForcedHost}
	}
	d := c.scheduler.Pick(snap, req)
	return &d
}

// placeAhead places a server in the transaction that creates it, if it is the only one: the scheduler does not see what others
// of the same transaction take. Whatever else than success is left to the step.
func (c *core) placeAhead(tx *store.Tx, r *engine.Run[createState]) (bool, error) {
	if r.State.Many {
		return false, nil
	}
	v, err := servers.Get(tx, r.State.ServerID)
	if err != nil {
		return false, err
	}
	r.State.Decision = c.decide(c.snap.p.Load(), v, r, tx.LeaseNow())
	if r.State.Decision.Err() != nil {
		return false, nil
	}
	err = c.place(tx, r)
	return r.State.HostID != "", err
}

// place claims the first candidate that still has room. If none has, or it is too early to tell, the step runs again.
func (c *core) place(tx *store.Tx, r *engine.Run[createState]) error {
	v, err := servers.Get(tx, r.State.ServerID)
	if err != nil {
		return err
	}
	d := r.State.Decision
	if d == nil {
		pause := c.untilHeard(tx)
		r.Log.Warn("hosts that might take the server have not answered since this process started; it is placed once they do, "+
			"or refused if they count as down by then", "again_after", pause, "down_after", c.opt.DownAfter)
		r.AgainAfter(pause)
		return nil
	}
	generation, err := nextGeneration(tx, v)
	if err != nil {
		return err
	}
	h, err := c.takeFirst(tx, d, v.ForcedHost != "", claim{ServerID: v.ID, Generation: generation, Need: v.Flavor.Need()})
	if err != nil {
		return err
	}
	if h != nil {
		r.Note("decision", d)
		r.State.HostID, r.State.Generation, r.State.Decision, r.State.Lost = h.ID, generation, nil, 0
		v.HostID, v.Host, v.Zone, v.Generation = h.ID, h.Name, h.Zone, generation
		v.move(Networking, Scheduling)
		host := h.Name
		tx.OnCommit(func() {
			r.Log.Info("server placed", "host", host, "generation", generation, "hosts", d.Hosts, "passed", d.Passed)
		})
		return put(tx, v)
	}
	if r.State.Lost++; r.State.Lost > maxLost {
		return fault.New(fault.Unavailable, "the race for a host was lost %d times", r.State.Lost)
	}
	r.State.Decision = nil
	r.Again()
	return nil
}

// portGeneration is the newest generation in which a port that a user brought was used. A port may go
// from server to server, and what is done for an old one must stay older than what is done for the next.
type portGeneration struct {
	PortID     string `json:"port_id"`
	Generation int64  `json:"generation"`
}

var portGenerations = store.Define(store.Spec[portGeneration]{
	Kind: "port-generation", Version: 1,
	ID: func(p *portGeneration) string { return p.PortID },
})

// nextGeneration is above every generation of the server and of its ports.
func nextGeneration(tx *store.Tx, v *Server) (int64, error) {
	next := v.Generation + 1
	for _, n := range v.NICs {
		if n.Ours {
			continue
		}
		p, err := portGenerations.Get(tx, n.PortID)
		if err == nil {
			next = max(next, p.Generation+1)
		} else if !fault.Is(err, fault.NotFound) {
			return 0, err
		}
	}
	for _, n := range v.NICs {
		if !n.Ours {
			if err := portGenerations.Put(tx, &portGeneration{n.PortID, next}); err != nil {
				return 0, err
			}
		}
	}
	return next, nil
}

// unplace gives the claim back, unless a debt still needs it.
func (c *core) unplace(tx *store.Tx, r *engine.Run[createState]) error {
	if r.State.HostID == "" {
		return nil
	}
	d, err := debts.Get(tx, placementID(r.State.ServerID, r.State.Generation))
	if fault.Is(err, fault.NotFound) || err == nil && d.Orphan {
		err = c.release(tx, r.State.ServerID, r.State.Generation)
	}
	if err != nil {
		return err
	}
	r.State.HostID, r.State.Generation, r.State.Bindings = "", 0, nil
	return change(tx, r.State.ServerID, func(v *Server) error {
		v.HostID, v.Host, v.Zone = "", "", ""
		v.move(Scheduling, Networking, Spawning)
		return nil
	})
}

// plug makes the server's ports reachable on its host.
func (c *core) plug(ctx context.Context, r *engine.Run[createState]) error {
	nics, err := c.nics(ctx, r.State.ServerID)
	if err != nil {
		return err
	}
	r.State.Bindings = map[string]networkdriver.Binding{}
	for _, n := range nics {
		b, err := c.opt.Network.Plug(ctx, n.PortID, r.State.HostID, r.State.Generation)
		if err != nil {
			return err
		}
		r.State.Bindings[n.PortID] = b
	}
	return nil
}

func (c *core) nics(ctx context.Context, serverID string) (nics []NIC, err error) {
	err = c.store.View(ctx, func(tx *store.Tx) error {
		v, err := servers.Get(tx, serverID)
		if err == nil {
			nics = v.NICs
		}
		return err
	})
	return nics, err
}

func (c *core) bound(tx *store.Tx, r *engine.Run[createState]) error {
	return change(tx, r.State.ServerID, func(v *Server) error {
		for i := range v.NICs {
			n := &v.NICs[i]
			n.Binding = r.State.Bindings[n.PortID]
			if err := c.opt.Network.Bound(tx, n.PortID, v.ID, r.State.HostID, r.State.Generation, n.Binding); err != nil {
				return err
			}
		}
		v.move(Spawning, Networking)
		return nil
	})
}

func (c *core) unplug(ctx context.Context, r *engine.Run[createState]) error {
	nics, err := c.nics(ctx, r.State.ServerID)
	if err != nil {
		return err
	}
	return c.unplugAll(ctx, nics, r.State.HostID, r.State.Generation)
}

func (c *core) unplugAll(ctx context.Context, nics []NIC, hostID string, generation int64) error {
	for _, n := range nics {
		if err := c.opt.Network.Unplug(ctx, n.PortID, hostID, generation); err != nil {
			return err
		}
	}
	return nil
}

func (c *core) unbound(tx *store.Tx, r *engine.Run[createState]) error {
	return change(tx, r.State.ServerID, func(v *Server) error {
		for i := range v.NICs {
			v.NICs[i].Binding = networkdriver.Binding{}
		}
		return c.unboundAll(tx, v.NICs, r.State.Generation)
	})
}

func (c *core) unboundAll(tx *store.Tx, nics []NIC, generation int64) error {
	for _, n := range nics {
		if err := c.opt.Network.Unbound(tx, n.PortID, generation); err != nil {
			return err
		}
	}
	return nil
}

// define makes the guest.
func (c *core) define(ctx context.Context, r *engine.Run[createState]) error {
	return c.defineGuest(ctx, r.State.ServerID, r.State.HostID, r.State.Generation, false)
}

func (c *core) undefine(ctx context.Context, r *engine.Run[createState]) error {
	if err := c.opt.Witness.Allow(); err != nil {
		return err
	}
	driver, err := c.driver(r.State.HostID)
	if err != nil {
		return err
	}
	return driver.Undefine(ctx, r.State.ref())
}

// oweGuest leaves a guest on a host that is down to be removed later. If it may have been started there, and nobody has
// said that the host is dead but its silence, the server must not be started elsewhere.
func (c *core) oweGuest(tx *store.Tx, r *engine.Run[createState]) error {
	if f := r.Op.Failure; f != nil && f.Step == "start" {
		h, err := hosts.Get(tx, r.State.HostID)
		if err != nil {
			return err
		}
		if !h.ForcedDown {
			r.State.Unsure = h.Name
		}
	}
	free, err := c.free(tx, r.State.HostID)
	if err != nil {
		return err
	}
	return owe(tx, &debt{ServerID: r.State.ServerID, Generation: r.State.Generation, HostID: r.State.HostID, ProjectID: r.Op.ProjectID, Orphan: free})
}

func (c *core) startGuest(ctx context.Context, r *engine.Run[createState]) error {
	driver, err := c.driver(r.State.HostID)
	if err != nil {
		return err
	}
	return driver.Start(ctx, r.State.ref())
}

func (c *core) started(tx *store.Tx, r *engine.Run[createState]) error {
	return change(tx, r.State.ServerID, func(v *Server) error {
		v.VMState, v.PowerState, v.LaunchedAt, v.Fault = Active, PowerRunning, tx.Now(), nil
		v.move(NoTask, Scheduling, Networking, Spawning)
		emitFor(tx, r.Op, v, "create.end")
		return nil
	})
}
