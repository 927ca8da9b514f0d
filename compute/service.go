package compute

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/image"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/internal/id"
	"github.com/nubecula/cloud/internal/quota"
	"github.com/nubecula/cloud/internal/request"
	"github.com/nubecula/cloud/internal/witness"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/scheduler"
	"github.com/nubecula/cloud/scheduler/filter"
	"github.com/nubecula/cloud/scheduler/weigh"
	"github.com/nubecula/cloud/store"
)

// Hypervisor is a host that this process drives.
type Hypervisor struct {
	Driver computedriver.Hypervisor // required; it stays the caller's to close
	Zone   string                   // availability zone; "" means DefaultZone
	Ratios scheduler.Ratios         // how many times over it is given out; 0 means the scheduler's default
}

// Options configure a Service.
type Options struct {
	// Store holds the data. Required.
	Store *store.Store
	// Engine runs the operations. Required; New registers kinds with it and sets its instances, so it must not have been started.
	Engine *engine.Engine
	// CloudID goes into the mark of every guest. Required.
	CloudID string
	// Image and Network are the services that servers use. Required.
	Image   *image.Service
	Network *network.Service
	// Hypervisors that this process drives; may be none.
	Hypervisors []Hypervisor
	// Scheduler picks hosts. nil means the usual filters and weighers.
	Scheduler *scheduler.Scheduler
	// Identity, if set, is asked in place of Policy, so that a role that was just removed counts.
	Identity *identity.Service
	// Policy decides who may do what. nil means identity.DefaultPolicy.
	Policy identity.Policy
	// Clock times heartbeats. nil means the machine's.
	Clock clock.Clock
	// Log receives what operations do; never user data, passwords or keys. nil means nowhere.
	Log *slog.Logger
	// Heartbeat is how often each host is asked whether it is there. 0 means 10 s.
	Heartbeat time.Duration
	// DownAfter is how long a host may be silent before it counts as down. 0 means 60 s.
	DownAfter time.Duration
	// Reconcile is how often guests are compared with the records. 0 means 60 s.
	Reconcile time.Duration
	// StopGrace is how long a guest may take to shut down before its power is cut. 0 means 60 s.
	StopGrace time.Duration
	// MaxAttempts is how many hosts a server is tried on. 0 means 3.
	MaxAttempts int
	// Brake is how many guests of one host a pass of the reconciliation may remove, or declare lost: when there are more, it does
	// neither and says so. 0 means 10.
	Brake int
	// Witness tells whether the store is the newest that the drivers have seen. nil takes it for that.
	Witness *witness.Witness
	// NoConfigDrive gives a config drive only to servers that ask for one; by default every server has
	// one, since there is no metadata service.
	NoConfigDrive bool
}

// Service is compute on behalf of one principal. It is safe for concurrent use.
//
// Methods are part of the transaction that their ctx carries, if it does (store.Tx.Context), except
// ConsoleOutput, which calls a driver. Besides the codes they name they return NotFound for what the
// principal may not see, and Denied for what he sees but may not do.
type Service struct {
	*core
	who *identity.Principal
}

// core is what the Services of all principals share.
type core struct {
	opt       Options
	store     *store.Store
	policy    identity.Policy
	clock     clock.Clock
	log       *slog.Logger
	book      *quota.Book
	scheduler *scheduler.Scheduler
	ops       operations
	run       string // id of this run, in the heartbeats it records

	snap  snapshot
	hyper hypervisors

	loops struct {
		ctx     context.Context
		cancel  context.CancelFunc
		busy    atomic.Int64
		changed atomic.Pointer[func()]
		wait    sync.WaitGroup
		mu      sync.Mutex
		stops   []*loop
	}
}

// New returns a Service that acts for nobody; take one for somebody with As. Start sets it to work. It takes an
// engine that only this module has: a program gets the Service from cloud.New.
func New(opt Options) (*Service, error) {
	if err := opt.complete(); err != nil {
		return nil, err
	}
	c := &core{opt: opt, store: opt.Store, policy: opt.Policy, clock: opt.Clock, log: opt.Log, book: newBook(), scheduler: opt.Scheduler, run: id.Random()}
	c.loops.ctx, c.loops.cancel = context.WithCancel(context.Background())
	c.hyper.byID, c.hyper.looks = map[string]*hypervisor{}, map[string]*look{}
	c.hyper.reading = make(chan struct{}, 1)
	c.register(opt.Engine)
	opt.Engine.SetInstances(c.holds, c.down)
	return &Service{core: c}, nil
}

// complete sets defaults and reports everything that is wrong at once.
func (o *Options) complete() error {
	if o.Policy == nil {
		o.Policy = identity.DefaultPolicy()
	}
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	setDefault(&o.Heartbeat, 10*time.Second)
	setDefault(&o.DownAfter, time.Minute)
	setDefault(&o.Reconcile, time.Minute)
	setDefault(&o.StopGrace, time.Minute)
	setDefault(&o.MaxAttempts, 3)
	setDefault(&o.Brake, 10)
	var errs []error
	need := func(ok bool, field string, value any, remedy string) {
		if !ok {
			errs = append(errs, fault.InvalidField(field, value, remedy))
		}
	}
	need(o.Store != nil, "Store", nil, "compute needs a store")
	need(o.Engine != nil, "Engine", nil, "compute needs an engine")
	need(o.Image != nil, "Image", nil, "compute needs an image service")
	need(o.Network != nil, "Network", nil, "compute needs a network service")
	need(o.CloudID != "", "CloudID", o.CloudID, "compute needs the id of the Cloud, to mark its guests")
	need(o.Heartbeat > 0 && o.Reconcile > 0, "Heartbeat", o.Heartbeat.String(), "intervals must be positive")
	need(o.DownAfter > o.Heartbeat, "DownAfter", o.DownAfter.String(), "it must be longer than Heartbeat")
	need(o.StopGrace > 0, "StopGrace", o.StopGrace.String(), "it must be positive")
	need(o.Brake > 0, "Brake", o.Brake, "it must be positive")
	need(o.MaxAttempts > 0, "MaxAttempts", o.MaxAttempts, "it must be positive")
	for i := range o.Hypervisors {
		h, field := &o.Hypervisors[i], fmt.Sprintf("Hypervisors[%d]", i)
		need(h.Driver != nil, field+".Driver", nil, "must not be nil")
		need(!strings.ContainsAny(h.Zone, ":/"), field+".Zone", h.Zone, "an availability zone has neither ':' nor '/'")
		setDefault(&h.Zone, DefaultZone)
	}
	if o.Scheduler == nil {
		filters := filter.Default()
		for i, f := range filters {
			if f.Name() == filter.Alive(0).Name() {
				filters[i] = filter.Alive(o.DownAfter)
			}
		}
		sched, err := scheduler.New(&scheduler.Options{Filters: filters, Weighers: weigh.Default()})
		errs = append(errs, err)
		o.Scheduler = sched
	}
	return errors.Join(errs...)
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// As returns the Service on behalf of p; nil may do nothing.
func (s *Service) As(p *identity.Principal) *Service { return &Service{s.core, p} }

// Principal returns on whose behalf the Service acts; nil means nobody.
func (s *Service) Principal() *identity.Principal { return s.who }

// May reports whether the principal may do an action to a thing of a project, such as
// "compute:server:get_host". A view leaves out what he may not see.
func (s *Service) May(action, projectID string) bool {
	return s.policy.Check(s.who, action, identity.Target{ProjectID: projectID}) == nil
}

func (s *Service) check(tx *store.Tx, action string, t identity.Target) error {
	if s.opt.Identity != nil {
		return s.opt.Identity.Authorize(tx, s.who, action, t)
	}
	return s.policy.Check(s.who, action, t)
}

// admin reports whether the principal may see and do what belongs to the cloud rather than to a project.
func (s *Service) admin() bool { return s.who.IsAdmin() }

// project is the project that the principal acts in; "" for none.
func (s *Service) project() string {
	if s.who == nil {
		return ""
	}
	return s.who.ProjectID
}

func (s *Service) view(ctx context.Context, fn func(tx *store.Tx) error) error {
	return s.store.View(ctx, fn)
}

func (s *Service) update(ctx context.Context, fn func(tx *store.Tx) error) error {
	return s.store.Update(ctx, fn)
}

// emit tells of a change, by Nova's name of its notification: "compute.instance.create.end".
func (s *Service) emit(tx *store.Tx, kind, of, id, projectID string, data any) {
	e := event.Event{Type: kind, Kind: of, ID: id, ProjectID: projectID, RequestID: request.ID(tx.Context())}
	if s.who != nil {
		e.UserID = s.who.UserID
	}
	if data != nil {
		e.Data, _ = json.Marshal(data)
	}
	tx.Emit(e)
}

// server reads a server and asks the policy for an action on it.
func (s *Service) server(tx *store.Tx, action, id string) (*Server, error) {
	v, err := servers.Get(tx, id)
	if err != nil {
		return nil, err
	}
	return v, s.check(tx, action, v.target())
}

func (s *Server) target() identity.Target {
	return identity.Target{Kind: "server", ID: s.ID, ProjectID: s.ProjectID, UserID: s.UserID}
}
