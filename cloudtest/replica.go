package cloudtest

import (
	"sync"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/compute/fakecompute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/image/fakeimage"
	"github.com/nubecula/cloud/network/fakenetwork"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/chaos"
)

// Replica is one process of the cloud: a Cloud with connections of its own to the store and to the drivers' back
// ends. What a process is can be killed, frozen and started again, while the others go on.
type Replica struct {
	e     *Env
	mu    sync.Mutex
	inner store.Driver
	cloud *cloud.Cloud // nil until it has started
	db    *chaos.Driver
	life  *life
}

// Replicas returns the processes of the cloud. The first is the one that Env.Cloud, Kill, Crash and Restart mean.
func (e *Env) Replicas() []*Replica { return e.replicas }

// life is one run of a process, between its start and its death.
type life struct {
	mu     sync.Mutex
	thaw   chan struct{} // closed at the end of the frost; nil when there is none
	killed bool
}

// pass is where the calls of a process go through. A transaction that holds the database's lock is not stopped in
// the middle: a database ends such a one by itself.
func (l *life) pass(driver, method string, after bool) error {
	if driver == "store" && (method == "Apply" || after == (method == "Begin")) && method != "Resolve" {
		return nil
	}
	for {
		l.mu.Lock()
		thaw, killed := l.thaw, l.killed
		l.mu.Unlock()
		switch {
		case killed:
			return fault.New(fault.Unavailable, "the process is dead")
		case thaw == nil:
			return nil
		}
		<-thaw
	}
}

func (l *life) freeze() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.thaw == nil && !l.killed {
		l.thaw = make(chan struct{})
	}
}

func (l *life) goOn(dead bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.killed = l.killed || dead
	if l.thaw != nil {
		close(l.thaw)
		l.thaw = nil
	}
}

// start makes the process. After an error it is as dead as after Kill.
func (r *Replica) start() error {
	e := r.e
	l := &life{}
	faults := e.Faults.Through(l.pass)
	r.mu.Lock()
	r.life, r.cloud, r.db = l, nil, chaos.New(r.inner, &chaos.Options{Faults: faults})
	db := r.db
	r.mu.Unlock()
	opt := store.Options{Key: e.key, Clock: e.clock, Rerun: 1}
	if e.opt.Once {
		opt.Rerun = 0
	}
	if e.opt.Bubble {
		opt.Seed = e.ids.draw
	}
	s, err := store.New(db, opt)
	if err != nil {
		return err
	}
	c, err := e.compose(s, faults)
	if err != nil {
		db.Crash()
		l.goOn(true)
		go s.Close()
		return err
	}
	r.mu.Lock()
	r.cloud = c
	r.mu.Unlock()
	c.Engine().OnChange(e.poke)
	c.As(nil).Compute.OnChange(e.poke)
	if r == e.main {
		e.Cloud = c
	}
	if db.Crashed() { // while it started
		c.Kill()
		return fault.New(fault.Unavailable, "the process died while it started")
	}
	return nil
}

// compose puts a Cloud on a store and connections to the back ends.
func (e *Env) compose(s *store.Store, faults *inject.Plan) (*cloud.Cloud, error) {
	network, err := fakenetwork.New(fakenetwork.Options{Backend: e.Networks, Faults: faults})
	if err != nil {
		return nil, err
	}
	images, err := fakeimage.New(fakeimage.Options{Backend: e.Images, Faults: faults})
	if err != nil {
		return nil, err
	}
	o := cloud.Options{Store: s, Network: network, Images: images, Log: e.opt.Log, Clock: e.clock, PasswordCost: 4, Twice: !e.opt.Once}
	for i, backend := range e.Hosts {
		h := e.opt.Host
		h.Name, h.Backend, h.Faults, h.Clock = HostName(i), backend, faults, e.clock
		if e.opt.Bubble {
			h.ID = e.ids.uuid(h.Name)
		}
		driver, err := fakecompute.New(h)
		if err != nil {
			return nil, err
		}
		o.Hypervisors = append(o.Hypervisors, compute.Hypervisor{Driver: driver})
	}
	if e.opt.Cloud != nil {
		e.opt.Cloud(&o)
	}
	return cloud.New(e.ctx(), o)
}

// Cloud returns the Cloud of the process; nil while it starts. A dead one's answers are errors.
func (r *Replica) Cloud() *cloud.Cloud {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cloud
}

// Admin and Demo return the services of this process, as Env.Admin and Env.Demo do.
func (r *Replica) Admin() *cloud.Client { return r.e.admin(r.Cloud()) }

// Demo returns the services of this process on behalf of the user demo.
func (r *Replica) Demo() *cloud.Client { return r.e.demo(r.Cloud()) }

func (r *Replica) driver() *chaos.Driver {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.db
}

// Crashed reports whether the process is dead.
func (r *Replica) Crashed() bool { return r.driver().Crashed() }

// CrashAtCommit is Env.CrashAtCommit for this process.
func (r *Replica) CrashAtCommit(n int, after bool) {
	when := chaos.Before
	if after {
		when = chaos.After
	}
	r.driver().CrashAt(n, when)
}

// Kill ends the process at this instant, as kill -9 would. It also ends one that has crashed at a commit.
func (r *Replica) Kill() {
	r.mu.Lock()
	c, db, l := r.cloud, r.db, r.life // Restart may come as soon as the store has crashed
	r.mu.Unlock()
	db.Crash()
	if c != nil {
		c.Kill()
	}
	l.goOn(true)
}

// Restart starts the process again on what it has left. In a bubble it may wait for the clock.
func (r *Replica) Restart() error {
	r.Kill()
	if c := r.Cloud(); c != nil && r.e.opt.Bubble {
		go c.Store().Close()
	} else if c != nil {
		c.Store().Close()
	}
	if again, ok := r.inner.(chaos.Restarter); ok {
		inner, err := again.Restart()
		if err != nil {
			return err
		}
		r.mu.Lock()
		r.inner = inner
		r.mu.Unlock()
	} else {
		return fault.New(fault.Unsupported, "cloudtest: %T cannot be restarted", r.inner)
	}
	return r.start()
}

// Freeze stops the process as SIGSTOP does: no call of it reaches store or drivers, and no answer reaches it.
func (r *Replica) Freeze() { r.lives().freeze() }

// Thaw ends Freeze.
func (r *Replica) Thaw() { r.lives().goOn(false) }

func (r *Replica) lives() *life {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.life
}

func (r *Replica) end() {
	r.mu.Lock()
	c, db, l := r.cloud, r.db, r.life
	r.mu.Unlock()
	if l == nil {
		return
	}
	l.goOn(false)
	switch {
	case c != nil && r.e.opt.Bubble:
		c.Kill()
		go c.Store().Close()
	case c != nil:
		c.Kill()
		c.Store().Close()
	case db != nil:
		db.Crash()
	}
}
