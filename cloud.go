package cloud

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/image"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/internal/meter"
	"github.com/nubecula/cloud/internal/metered"
	"github.com/nubecula/cloud/internal/request"
	"github.com/nubecula/cloud/internal/witness"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// Cloud is a cloud at work. It is safe for concurrent use; many may live in one process.
type Cloud struct {
	opt      Options
	id       string
	witness  *witness.Witness
	meters   *meter.Meters
	engine   *engine.Engine
	identity *identity.Service
	image    *image.Service
	network  *network.Service
	compute  *compute.Service
	ctx      context.Context
	stop     context.CancelFunc
	once     sync.Once
	closeErr error
}

// New checks opt, opens the services and takes up the work that an earlier
// run left. It returns once each host was asked whether it is there. Errors:
// Invalid names every option that is wrong; otherwise what store or drivers say.
// After an error the drivers are still the caller's to close.
func New(ctx context.Context, opt Options) (*Cloud, error) {
	if err := opt.complete(); err != nil {
		return nil, err
	}
	c := &Cloud{opt: opt, meters: &meter.Meters{}}
	c.ctx, c.stop = context.WithCancel(context.Background())
	if err := c.open(ctx); err != nil {
		c.stop()
		if c.engine != nil {
			c.engine.Kill()
		}
		if c.compute != nil {
			c.compute.Kill() // heartbeats may have begun
		}
		return nil, err
	}
	if !opt.Idle {
		c.tidy()
	}
	return c, nil
}

// complete sets defaults and names all that is missing.
func (o *Options) complete() error {
	var errs []error
	if o.Store == nil {
		errs = append(errs, fault.InvalidField("Store", nil, "open one, for example with sqlite.Open and store.New"))
	}
	if o.Network == nil {
		errs = append(errs, fault.InvalidField("Network", nil, "give a networkdriver.Provider, for example hostnet.New"))
	}
	if o.Images == nil {
		errs = append(errs, fault.InvalidField("Images", nil, "give an imagedriver.Store, for example fileimage.New"))
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Log = slog.New(request.Handler(o.Log.Handler()))
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.Policy == nil {
		o.Policy = identity.DefaultPolicy()
	}
	if o.Retention == 0 {
		o.Retention = 7 * 24 * time.Hour
	}
	return errors.Join(errs...)
}

func (c *Cloud) open(ctx context.Context) (err error) {
	o := &c.opt
	if err := o.Store.Prepare(ctx, collections()...); err != nil {
		return err
	}
	if kept := o.Store.Kept(); kept != "" {
		o.Log.WarnContext(ctx, "the store is upgraded, and the older version of this program cannot use it any more; restore the copy to go back to it, delete the copy once that is out of the question", "copy", kept)
	}
	if c.id, err = cloudID(ctx, o.Store); err != nil {
		return err
	}
	if c.witness, err = witness.New(ctx, o.Store, c.id, o.Log); err != nil {
		return err
	}
	c.engine, err = engine.New(engine.Options{Store: o.Store, Clock: o.Clock, Log: o.Log, Workers: o.Workers, Lease: o.Lease, Meters: c.meters, Twice: o.Twice})
	if err != nil {
		return err
	}
	c.identity, err = identity.New(identity.Options{Store: o.Store, Clock: o.Clock, Policy: o.Policy, Log: o.Log,
		TokenLifetime: o.TokenLifetime, PasswordCost: o.PasswordCost})
	if err != nil {
		return err
	}
	c.image, err = image.New(image.Options{Store: o.Store, Engine: c.engine, Data: metered.Images(o.Images, c.meters, o.Clock), Witness: c.witness, Brake: o.Brake, Identity: c.identity, Policy: o.Policy, Clock: o.Clock, Log: o.Log})
	if err != nil {
		return err
	}
	c.network, err = network.New(network.Options{Store: o.Store, Engine: c.engine, Provider: metered.Provider(o.Network, c.meters, o.Clock), Witness: c.witness, Brake: o.Brake, Identity: c.identity, Policy: o.Policy, Clock: o.Clock, Log: o.Log})
	if err != nil {
		return err
	}
	c.compute, err = compute.New(compute.Options{Store: o.Store, Engine: c.engine, CloudID: c.id, Witness: c.witness, Brake: o.Brake, Image: c.image, Network: c.network,
		Scheduler: o.Scheduler, Hypervisors: c.hypervisors(), Identity: c.identity, Policy: o.Policy, Clock: o.Clock, Log: o.Log,
		Heartbeat: o.Heartbeat, DownAfter: o.DownAfter, NoConfigDrive: o.NoConfigDrive})
	if err != nil {
		return err
	}
	if o.Idle {
		return nil
	}
	met := make(chan struct{})
	go func() {
		defer close(met)
		c.meet(ctx)
	}()
	err = c.compute.Start(ctx)
	<-met // before anything is done there
	if err != nil {
		return err
	}
	return c.engine.Start(ctx)
}

// hypervisors are those of the Options, each with its calls counted.
func (c *Cloud) hypervisors() []compute.Hypervisor {
	out := slices.Clone(c.opt.Hypervisors)
	for i := range out {
		if out[i].Driver != nil {
			out[i].Driver = metered.Hypervisor(out[i].Driver, c.meters, c.opt.Clock)
		}
	}
	return out
}

// ID returns the Cloud's id, chosen at its first start and kept in its store; it marks everything drivers hold for it.
func (c *Cloud) ID() string { return c.id }

// Close stops taking up work and closes store and drivers. Guests go on running; operations
// under way go on at the next New. It returns the errors of all it closed.
func (c *Cloud) Close() error {
	c.once.Do(func() {
		c.stop()
		errs := []error{c.compute.Close(), c.engine.Close(5 * time.Second), c.opt.Store.Close(), c.opt.Network.Close(), c.opt.Images.Close()}
		for _, h := range c.opt.Hypervisors {
			errs = append(errs, h.Driver.Close())
		}
		c.closeErr = errors.Join(errs...)
	})
	return c.closeErr
}

// Client is the services on behalf of one principal.
type Client struct {
	Identity *identity.Service
	Image    *image.Service
	Network  *network.Service
	Compute  *compute.Service
}

// As returns the services on behalf of p. It is cheap; p was authenticated by
// Identity, or is identity.System() for the embedding program's own work.
func (c *Cloud) As(p *identity.Principal) *Client {
	return &Client{c.identity.As(p), c.image.As(p), c.network.As(p), c.compute.As(p)}
}

// Update runs fn in one transaction: every call of a service made with fn's
// context, and every read and write of tx, is committed together or not at
// all. fn may run more than once: it must not call drivers or send anything.
func (c *Cloud) Update(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error {
	return c.opt.Store.Update(ctx, func(tx *store.Tx) error { return fn(tx.Context(), tx) })
}

// Events yields what happens from a cursor on - 0 is the oldest event that is
// kept - and waits for more until ctx ends. Gone as an error: that cursor is too old, list again.
func (c *Cloud) Events(ctx context.Context, after int64) iter.Seq2[event.Event, error] {
	return event.Subscribe(ctx, c.opt.Store, after)
}

// Store returns the store, for rows of the embedding program's own.
func (c *Cloud) Store() *store.Store { return c.opt.Store }

// Clock returns the Cloud's clock.
func (c *Cloud) Clock() store.Clock { return c.opt.Clock }

// Log returns the Cloud's log.
func (c *Cloud) Log() *slog.Logger { return c.opt.Log }

// Meters is for this module's own packages: package metrics tells what it counts.
func (c *Cloud) Meters() *meter.Meters { return c.meters }

// Engine is for this module's own packages.
func (c *Cloud) Engine() *engine.Engine { return c.engine }

// Kill stops the Cloud as the death of its process would: nothing is said to store or drivers, which
// stay open. For tests.
func (c *Cloud) Kill() {
	c.once.Do(func() {
		c.stop()
		c.engine.Kill()
		c.compute.Kill()
	})
}

// every calls f again and again, d apart, until Close.
func (c *Cloud) every(d time.Duration, f func()) {
	c.opt.Clock.AfterFunc(d, func() {
		if c.ctx.Err() == nil {
			f()
			c.every(d, f)
		}
	})
}

// tidy drops, every hour, what is older than the retention time, and compares, every few minutes, image data
// and networks with what their drivers hold.
func (c *Cloud) tidy() {
	c.every(time.Hour, func() {
		if err := c.prune(c.ctx); err != nil && c.ctx.Err() == nil {
			c.opt.Log.Warn("old operations and events could not be dropped; it is tried again in an hour", "error", err)
		}
	})
	reconcile := func() {
		if err := c.network.As(identity.System()).Reconcile(c.ctx); err != nil && c.ctx.Err() == nil {
			c.opt.Log.Warn("the networks could not be compared with the network provider; it is tried again in 4 minutes", "error", err)
		}
	}
	c.opt.Clock.AfterFunc(time.Second, func() { // whoever calls first after a start does not share the machine with it
		if c.ctx.Err() != nil {
			return
		}
		reconcile()
		c.every(4*time.Minute, reconcile) // one round at a time: that of a million servers takes minutes
	})
	c.every(4*time.Minute, func() {
		if _, _, err := c.image.Sweep(c.ctx); err != nil && c.ctx.Err() == nil {
			c.opt.Log.Warn("image data could not be compared with the images; it is tried again in 4 minutes", "error", err)
		}
		c.meet(c.ctx)
	})
}

// meet compares the store with what the network provider and the image store remember of it. The hosts' drivers are met by compute.
func (c *Cloud) meet(ctx context.Context) {
	ctx, cancel := clock.WithTimeout(ctx, c.opt.Clock, 10*time.Second)
	defer cancel()
	failed := func(name string, err error) {
		if c.ctx.Err() == nil {
			c.opt.Log.WarnContext(ctx, "a driver could not be asked how new a store it has seen; nothing is deleted there before it answers", "driver", name, "error", err)
		}
	}
	met := map[string]*witness.Meeting{}
	for name, d := range map[string]any{network.Driver: c.opt.Network, image.Driver: c.opt.Images} {
		m, err := c.witness.Ask(ctx, name, d)
		if err != nil {
			failed(name, err)
			continue
		}
		met[name] = m
	}
	compared := c.witness.Compare(ctx, slices.Collect(maps.Values(met))...)
	for name, m := range met {
		err := compared
		if err == nil {
			err = c.witness.Tell(ctx, m)
		}
		if err != nil {
			failed(name, err)
		}
	}
}

func (c *Cloud) prune(ctx context.Context) error {
	now, err := c.opt.Store.Now(ctx)
	if err != nil {
		return err
	}
	before := now.Wall.Add(-c.opt.Retention)
	return errors.Join(c.engine.Prune(ctx, before), c.opt.Store.Prune(ctx, before))
}

// Wait returns once no operation is at work on a resource: nil when the newest one succeeded, its failure otherwise.
func (c *Cloud) Wait(ctx context.Context, r operation.Resource) error {
	var op *operation.Operation
	err := c.opt.Store.View(ctx, func(tx *store.Tx) error {
		all, err := operation.Of(tx, r)
		if err == nil && len(all) > 0 {
			op = all[0]
		}
		return err
	})
	if err != nil || op == nil {
		return err
	}
	if op, err = operation.Wait(ctx, c.opt.Store, op.ID); err != nil {
		return err
	}
	return op.Err()
}
