// Package cloudtest is a whole cloud for a test: every service over a store
// in memory and fake drivers, on a clock that the test holds, with faults and
// crashes on demand.
//
//	env := cloudtest.New(t)
//	id := env.Boot("web")
//	env.Settle()
//	require.Equal(t, compute.StatusActive, env.Server(id).Status())
//
// Environments share nothing; hundreds may run at once in one binary. Nothing sleeps: time moves in Settle and Advance.
package cloudtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/compute/fakecompute"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/image/fakeimage"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/network/fakenetwork"
	"github.com/nubecula/cloud/openstack"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
)

// Passwords of the users that every environment has.
const (
	AdminPassword = "admin-password"
	DemoPassword  = "demo-password"
)

// Options change an environment. The zero value of each field is fine.
type Options struct {
	// Hosts is how many fake hosts there are. 0 means 3; -1 means none.
	Hosts int
	// Host is a template for each of them; Name, Backend, Faults and Clock are set.
	Host fakecompute.Options
	// Database is what the store is kept in. nil means memory.
	Database store.Driver
	// Wrap puts something around the database. nil changes nothing.
	Wrap func(store.Driver) store.Driver
	// Seed of everything that is left to chance. 0 means 1.
	Seed uint64
	// Shared lets a second process work on the same store; see TakeOver.
	Shared bool
	// Replicas is how many processes work on the store; see Env.Replicas. 0 means 1. More need Bubble, and make it Shared.
	Replicas int
	// Bubble says that the test runs in a bubble of testing/synctest. Waiting is then left to synctest.Wait, which
	// sees every goroutine, and timers fire one at a time, each once all is quiet: with the same Seed the
	// same happens in the same order, also the ids. Env.Do runs what may wait for the clock.
	Bubble bool
	// Once runs closures, effects and undos once, as a program does; the default runs each closure of a
	// transaction and each effect twice, to find those that must not be.
	Once bool
	// Log receives the Cloud's log. nil means the test's output, at level Warn.
	Log *slog.Logger
	// Cloud changes the Cloud's options before it starts. nil changes nothing.
	Cloud func(*cloud.Options)
}

// Env is a cloud in a test, with what it runs on. Its methods fail the test on an error.
type Env struct {
	// Cloud is the one at work; another after Crash and Restart.
	Cloud *cloud.Cloud
	// Faults decides which calls of drivers fail: drivers are named "host-1"..., "network", "image" and "store".
	Faults *inject.Plan
	// Hosts are the machines behind the fake hypervisors, Networks and Images what is behind the other
	// drivers. They survive a crash.
	Hosts    []*fakecompute.Backend
	Networks *fakenetwork.Backend
	Images   *fakeimage.Backend
	// Seeded is what a new environment has: project demo, networks, an image.
	Seeded *cloud.Seeded

	t     testing.TB
	opt   Options
	clock *clock.Manual
	key   []byte
	wake  chan struct{}
	ids   drawer

	replicas []*Replica
	main     *Replica // whose Cloud is Env.Cloud
	frozen   int      // calls of drivers that a frozen process holds

	mu      sync.Mutex
	server  *httptest.Server
	handles http.Handler // of served
	served  *cloud.Cloud
}

// New returns a cloud that is ready: an administrator, a project demo with a
// user, flavors, an image and networks. It ends with the test.
func New(t testing.TB, opts ...Options) *Env {
	t.Helper()
	e := &Env{t: t, key: store.NewKey(), wake: make(chan struct{}, 1), clock: clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))}
	if len(opts) > 0 {
		e.opt = opts[0]
	}
	switch {
	case e.opt.Hosts == 0:
		e.opt.Hosts = 3
	case e.opt.Hosts < 0:
		e.opt.Hosts = 0
	}
	if e.opt.Seed == 0 {
		e.opt.Seed = 1
	}
	if e.opt.Log == nil {
		e.opt.Log = slog.New(slog.NewTextHandler(writer{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	e.ids.seed = e.opt.Seed
	e.Faults = inject.NewPlan(e.clock, e.opt.Seed)
	e.clock.OnSleep(e.poke)
	for range e.opt.Hosts {
		e.Hosts = append(e.Hosts, fakecompute.NewBackend())
	}
	e.Networks, e.Images = fakenetwork.NewBackend(), fakeimage.NewBackend()
	if e.opt.Database == nil {
		e.opt.Database = memory.New(&memory.Options{Clock: e.clock, Shared: e.opt.Shared || e.opt.Replicas > 1})
	}
	if e.opt.Wrap != nil {
		e.opt.Database = e.opt.Wrap(e.opt.Database)
	}
	for range max(1, e.opt.Replicas) {
		e.replicas = append(e.replicas, &Replica{e: e, inner: e.opt.Database})
	}
	e.main = e.replicas[0]
	t.Cleanup(e.end)
	for _, r := range e.replicas {
		e.must(r.start())
	}
	var err error
	e.Seeded, err = e.Cloud.Seed(e.ctx(), cloud.Seed{AdminPassword: AdminPassword, UserPassword: DemoPassword, ImageName: "tiny", Image: tiny})
	e.must(err)
	e.Settle()
	return e
}

// tiny is the data of the image "tiny": 64 KiB of zeros.
func tiny() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(make([]byte, 64<<10))), nil }

// writer sends log lines to the test's output, while it runs.
type writer struct{ t testing.TB }

func (w writer) Write(p []byte) (int, error) {
	w.t.Logf("%s", bytes.TrimRight(p, "\n"))
	return len(p), nil
}

// HostName returns the name of the i-th fake host, from 0: "host-1".
func HostName(i int) string { return fmt.Sprintf("host-%d", i+1) }

func (e *Env) end() {
	e.mu.Lock()
	if e.server != nil {
		e.server.Close()
	}
	e.mu.Unlock()
	for _, r := range e.replicas {
		r.end()
	}
	if e.opt.Bubble {
		e.drain()
	}
}

func (e *Env) ctx() context.Context { return context.Background() }

func (e *Env) must(err error) {
	if err != nil {
		e.t.Helper()
		e.t.Fatal(err)
	}
}

// Admin returns the services on behalf of the administrator.
func (e *Env) Admin() *cloud.Client { return e.admin(e.Cloud) }

func (e *Env) admin(c *cloud.Cloud) *cloud.Client {
	return c.As(&identity.Principal{UserID: "admin", UserName: "admin", ProjectID: e.Seeded.AdminProjectID, ProjectName: "admin",
		Roles: []string{identity.RoleAdmin, identity.RoleManager, identity.RoleMember, identity.RoleReader}})
}

// Demo returns the services on behalf of the user demo in the project demo.
func (e *Env) Demo() *cloud.Client { return e.demo(e.Cloud) }

func (e *Env) demo(c *cloud.Cloud) *cloud.Client {
	return c.As(&identity.Principal{UserID: e.Seeded.UserID, UserName: "demo", UserDomainID: identity.DefaultDomainID,
		ProjectID: e.Seeded.ProjectID, ProjectName: "demo", ProjectDomainID: identity.DefaultDomainID, Roles: []string{identity.RoleMember, identity.RoleReader}})
}

// Small is a request for a server: flavor m1.nano, the image tiny, a NIC on the network private.
func (e *Env) Small(name string) compute.CreateServer {
	return compute.CreateServer{Name: name, FlavorID: "42", ImageID: e.Seeded.ImageID, Networks: []compute.Network{{NetworkID: e.Seeded.NetworkID}}}
}

// Boot asks, as the user demo, for a Small server and returns its id. Settle lets it arrive.
func (e *Env) Boot(name string) string {
	e.t.Helper()
	created, err := e.Demo().Compute.CreateServer(e.ctx(), e.Small(name))
	e.must(err)
	return created.Servers[0].ID
}

// Server returns a server as the administrator sees it.
func (e *Env) Server(id string) *compute.Server {
	e.t.Helper()
	s, err := e.Admin().Compute.GetServer(e.ctx(), id)
	e.must(err)
	return s
}

// Fail adds a rule to Faults and returns what removes it.
func (e *Env) Fail(r inject.Rule) (remove func()) { return e.Faults.Fail(r) }

// URL returns the base address of the OpenStack APIs, served on the loopback
// interface from the first call on; OS_AUTH_URL is URL() + "/v3". It goes on
// serving, with the new Cloud, after a crash. The clock stands still meanwhile:
// a client that polls needs another goroutine in Settle.
func (e *Env) URL() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.server == nil {
		e.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.handler().ServeHTTP(w, r) }))
	}
	return e.server.URL
}

// handler returns the APIs of the Cloud that is at work now.
func (e *Env) handler() http.Handler {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.served != e.Cloud {
		e.served, e.handles = e.Cloud, openstack.Handler(e.Cloud, nil)
	}
	return e.handles
}
