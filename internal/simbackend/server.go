package simbackend

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"sync"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/compute/fakecompute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/image/fakeimage"
	"github.com/nubecula/cloud/image/imagedriver"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/network/fakenetwork"
	"github.com/nubecula/cloud/network/networkdriver"
)

// Options configure a Server; nil is fine.
type Options struct {
	Seed  uint64      // of the faults' dice
	Clock clock.Clock // for latencies; nil means the machine's
}

// Server is the simulated backend.
type Server struct {
	faults  *inject.Plan
	ledger  *ledger
	network *fakenetwork.Provider
	images  *fakeimage.Store
	mux     *http.ServeMux

	effect sync.Mutex // one effect at a time, with its entry in the ledger

	mu    sync.Mutex
	hosts map[string]*host // by name, made at the first call
}

// host is a simulated machine.
type host struct {
	name  string
	fake  *fakecompute.Hypervisor
	mu    sync.Mutex
	known map[string]bool // images that it has copied
}

func errInjected() error {
	return fault.New(fault.Unavailable, "a fault was injected into the simulated backend")
}

// NewServer returns an empty backend; Serve or Handler puts it to work.
func NewServer(o *Options) (*Server, error) {
	if o == nil {
		o = &Options{}
	}
	s := &Server{faults: inject.NewPlan(o.Clock, o.Seed), ledger: newLedger(), mux: http.NewServeMux(), hosts: map[string]*host{}}
	var err error
	if s.network, err = fakenetwork.New(fakenetwork.Options{}); err != nil {
		return nil, err
	}
	if s.images, err = fakeimage.New(fakeimage.Options{}); err != nil {
		return nil, err
	}
	s.serveHosts()
	s.serveNetwork()
	s.serveImages()
	s.mux.HandleFunc("POST /control/faults", s.setFaults)
	s.mux.HandleFunc("POST /control/report", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Report(), nil) })
	return s, nil
}

// Serve answers on a listener until it is closed.
func (s *Server) Serve(l net.Listener) error { return http.Serve(l, s.mux) }

// Report returns what happened so far.
func (s *Server) Report() Report {
	r := s.ledger.report()
	for _, c := range s.faults.Calls() {
		r.Calls++
		if c.Err != nil {
			r.Faults++
		}
	}
	return r
}

func (s *Server) setFaults(w http.ResponseWriter, r *http.Request) {
	rules, err := arguments[[]Rule](r)
	if err == nil {
		s.faults.Clear()
		for _, rule := range rules {
			s.faults.Fail(rule.inject())
		}
	}
	answer(w, struct{}{}, err)
}

func (s *Server) host(name string) (*host, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.hosts[name]; h != nil {
		return h, nil
	}
	fake, err := fakecompute.New(fakecompute.Options{Name: name})
	if err != nil {
		return nil, err
	}
	h := &host{name: name, fake: fake, known: map[string]bool{}}
	s.hosts[name] = h
	return h, nil
}

// run is one call: latency and faults, and the effect, which the end of the caller does not stop.
func (s *Server) run(r *http.Request, driver, method, object string, effect func(ctx context.Context) error) error {
	ctx := context.WithoutCancel(r.Context())
	return s.faults.Run(ctx, driver, method, object, func() error {
		if r.Context().Err() != nil {
			s.ledger.cameLate()
		}
		return effect(ctx)
	})
}

// once is run with the effect under the lock that keeps ledger and fakes in step.
func (s *Server) once(r *http.Request, driver, method, object string, effect func(ctx context.Context) error) error {
	return s.run(r, driver, method, object, func(ctx context.Context) error {
		s.effect.Lock()
		defer s.effect.Unlock()
		return effect(ctx)
	})
}

// arguments decodes the body of a call, to its end, so that the Server learns when the caller goes.
func arguments[T any](r *http.Request) (v T, err error) {
	d := json.NewDecoder(r.Body)
	if err = d.Decode(&v); err == nil {
		_, _ = d.Token()
	}
	if err != nil {
		err = fault.New(fault.Invalid, "arguments of %s: %w", r.URL.Path, err)
	}
	return v, err
}

// handle registers a call whose arguments are an A and whose answer is a B.
func handle[A, B any](s *Server, pattern string, f func(r *http.Request, a A) (B, error)) {
	s.mux.HandleFunc("POST "+pattern, func(w http.ResponseWriter, r *http.Request) {
		var b B
		a, err := arguments[A](r)
		if err == nil {
			b, err = f(r, a)
		}
		answer(w, b, err)
	})
}

type none struct{}

var (
	_ computedriver.Hypervisor = (*Hypervisor)(nil)
	_ computedriver.Rebooter   = (*Hypervisor)(nil)
	_ computedriver.Consoler   = (*Hypervisor)(nil)
	_ computedriver.Rememberer = (*Hypervisor)(nil)
	_ computedriver.Watcher    = (*Hypervisor)(nil)
	_ networkdriver.Provider   = (*Provider)(nil)
	_ networkdriver.Rememberer = (*Provider)(nil)
	_ networkdriver.Changer    = (*Provider)(nil)
	_ imagedriver.Store        = (*Store)(nil)
	_ imagedriver.Rememberer   = (*Store)(nil)
)
