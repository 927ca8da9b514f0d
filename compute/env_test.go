package compute_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/compute/fakecompute"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/image"
	"github.com/nubecula/cloud/image/fakeimage"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/network/fakenetwork"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
)

// config is what a test wants of its env. The zero value is three large hosts.
type config struct {
	hosts   int // 0 means 3, -1 none
	host    fakecompute.Options
	once    bool // closures and effects run once
	options func(*compute.Options)
}

// env is the compute service with everything below it, in memory.
type env struct {
	t      testing.TB
	ctx    context.Context
	cfg    config
	clock  *clock.Manual
	db     store.Driver
	key    []byte
	store  *store.Store
	engine *engine.Engine
	faults *inject.Plan
	hosts  []*fakecompute.Backend
	nets   *fakenetwork.Backend
	images *fakeimage.Backend
	image  *image.Service
	net    *network.Service
	svc    *compute.Service // of nobody
	admin  *compute.Service
	alice  *compute.Service // member of project "a"
	bob    *compute.Service // member of project "b"
	change chan struct{}
	log    *buffer

	networkID, imageID string // of project "a", with a subnet; public
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func who(user, project string, roles ...string) *identity.Principal {
	return &identity.Principal{UserID: user, ProjectID: project, Roles: roles}
}

func alice() *identity.Principal { return who("alice", "a", "member", "reader") }

func newEnv(t testing.TB, cfg ...config) *env {
	t.Helper()
	e := &env{t: t, ctx: context.Background(), clock: clock.NewManual(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)),
		change: make(chan struct{}, 1), key: store.NewKey(), log: &buffer{}}
	if len(cfg) > 0 {
		e.cfg = cfg[0]
	}
	if e.cfg.hosts == 0 {
		e.cfg.hosts = 3
	}
	e.clock.OnSleep(e.poke)
	e.faults = inject.NewPlan(e.clock, 1)
	for range max(0, e.cfg.hosts) {
		e.hosts = append(e.hosts, fakecompute.NewBackend())
	}
	e.nets, e.images = fakenetwork.NewBackend(), fakeimage.NewBackend()
	e.db = memory.New(&memory.Options{Clock: e.clock})
	e.start()
	t.Cleanup(func() {
		e.svc.Close()
		require.NoError(t, e.engine.Close(10*time.Second))
		require.NoError(t, e.store.Close())
	})
	n, err := e.net.As(alice()).CreateNetwork(e.ctx, network.CreateNetwork{Name: "private"})
	require.NoError(t, err)
	_, err = e.net.As(alice()).CreateSubnet(e.ctx, network.CreateSubnet{NetworkID: n.ID, CIDR: netip.MustParsePrefix("10.0.0.0/16")})
	require.NoError(t, err)
	e.networkID = n.ID
	admin := e.image.As(who("root", "admin", "admin"))
	i, err := admin.Create(e.ctx, image.CreateRequest{Name: "tiny", Visibility: image.Public, DiskFormat: "raw", ContainerFormat: "bare"})
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		_, err := admin.Upload(e.ctx, i.ID, image.UploadRequest{Body: bytes.NewReader(make([]byte, 4096))})
		done <- err
	}()
	require.NoError(t, <-done)
	e.imageID = i.ID
	for _, f := range []compute.CreateFlavor{
		{ID: "1", Name: "small", VCPUs: 1, MemoryMiB: 512, DiskGiB: 1},
		{ID: "2", Name: "large", VCPUs: 8, MemoryMiB: 8192, DiskGiB: 80},
		{ID: "3", Name: "huge", VCPUs: 512, MemoryMiB: 1 << 20, DiskGiB: 1},
	} {
		_, err := e.admin.CreateFlavor(e.ctx, f)
		require.NoError(t, err)
	}
	e.settle()
	return e
}

// start makes the services on the store, with drivers of the same backends.
func (e *env) start() {
	t, extra := e.t, 1
	if e.cfg.once {
		extra = 0
	}
	var err error
	log := slog.New(slog.NewJSONHandler(e.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	e.store, err = store.New(e.db, store.Options{Key: e.key, Clock: e.clock, Rerun: extra})
	require.NoError(t, err)
	e.engine, err = engine.New(engine.Options{Store: e.store, Clock: e.clock, Twice: !e.cfg.once, Log: log})
	require.NoError(t, err)
	provider, err := fakenetwork.New(fakenetwork.Options{Backend: e.nets, Faults: e.faults})
	require.NoError(t, err)
	data, err := fakeimage.New(fakeimage.Options{Backend: e.images, Faults: e.faults})
	require.NoError(t, err)
	e.image, err = image.New(image.Options{Store: e.store, Engine: e.engine, Data: data, Clock: e.clock})
	require.NoError(t, err)
	e.net, err = network.New(network.Options{Store: e.store, Engine: e.engine, Provider: provider, Clock: e.clock})
	require.NoError(t, err)
	opt := compute.Options{Store: e.store, Engine: e.engine, CloudID: "cloud-1", Image: e.image, Network: e.net, Clock: e.clock, Log: log}
	for i, b := range e.hosts {
		h := e.cfg.host
		h.Name, h.Backend, h.Faults, h.Clock = hostName(i), b, e.faults, e.clock
		driver, err := fakecompute.New(h)
		require.NoError(t, err)
		opt.Hypervisors = append(opt.Hypervisors, compute.Hypervisor{Driver: driver})
	}
	if e.cfg.options != nil {
		e.cfg.options(&opt)
	}
	e.svc, err = compute.New(opt)
	require.NoError(t, err)
	e.admin = e.svc.As(who("root", "admin", "admin", "member", "reader"))
	e.alice = e.svc.As(alice())
	e.bob = e.svc.As(who("bob", "b", "member", "reader"))
	e.engine.OnChange(e.poke)
	e.svc.OnChange(e.poke)
	require.NoError(t, e.svc.Start(e.ctx))
	require.NoError(t, e.engine.Start(e.ctx))
}

func hostName(i int) string { return fmt.Sprintf("host-%d", i+1) }

func (e *env) poke() {
	select {
	case e.change <- struct{}{}:
	default:
	}
}

// rest lets everything come to rest without moving the clock.
func (e *env) rest() {
	for {
		load := e.engine.Load()
		if load.Queued == 0 && load.Running+e.svc.Busy() <= max(0, e.clock.Sleepers()-load.Abandoned) {
			return
		}
		<-e.change
	}
}

// settle lets every operation end, moving the clock for those that wait.
func (e *env) settle() {
	e.t.Helper()
	for range 100000 {
		e.rest()
		active := e.active()
		if len(active) == 0 {
			e.clock.Advance(time.Millisecond) // so that what comes next is later
			return
		}
		e.clock.Advance(time.Second)
	}
	for _, op := range e.active() {
		e.t.Logf("%s of %s %s at %s: %+v", op.Kind, op.Resource.Kind, op.Resource.ID, op.Step(), op.LastError)
	}
	e.t.Fatal("operations do not end")
}

// advance moves the clock in steps, letting everything come to rest after each.
func (e *env) advance(d time.Duration) {
	for ; d > 0; d -= time.Second {
		e.rest()
		e.clock.Advance(time.Second)
	}
	e.rest()
}

func (e *env) active() (out []*operation.Operation) {
	require.NoError(e.t, e.store.View(e.ctx, func(tx *store.Tx) (err error) {
		out, err = operation.Collection.List(tx, store.Query[operation.Operation]{Filter: func(o *operation.Operation) bool { return !o.State.Ended() }})
		return err
	}))
	return out
}

// sound checks that all that is counted equals its recount and that the hosts have what they should and nothing else.
func (e *env) sound() {
	e.t.Helper()
	var want *compute.Expected
	require.NoError(e.t, e.store.View(e.ctx, func(tx *store.Tx) error {
		lines, err := e.svc.Check(tx)
		require.NoError(e.t, err)
		require.Empty(e.t, lines)
		lines, err = e.net.Check(tx)
		require.NoError(e.t, err)
		require.Empty(e.t, lines)
		want, err = e.svc.Expected(tx)
		return err
	}))
	for i, b := range e.hosts {
		h := e.host(i)
		guests, err := b.Guests()
		require.NoError(e.t, err)
		var have []computedriver.Mark
		for _, g := range guests {
			have = append(have, g.Mark)
		}
		require.ElementsMatch(e.t, append(want.Guests[h.ID], want.Owed[h.ID]...), have, "guests of %s", h.Name)
	}
}

func (e *env) host(i int) *compute.Host {
	e.t.Helper()
	h, err := e.admin.GetHost(e.ctx, hostName(i))
	require.NoError(e.t, err)
	return h
}

func (e *env) request(name string) compute.CreateServer {
	return compute.CreateServer{Name: name, FlavorID: "1", ImageID: e.imageID}
}

func (e *env) create(req compute.CreateServer) *compute.Server {
	e.t.Helper()
	c, err := e.alice.CreateServer(e.ctx, req)
	require.NoError(e.t, err)
	return c.Servers[0]
}

// boot creates a server and lets it become what it becomes.
func (e *env) boot(name string) *compute.Server {
	e.t.Helper()
	v := e.create(e.request(name))
	e.settle()
	return e.get(v.ID)
}

// during runs f while the next call of a hypervisor about a server waits.
func (e *env) during(id string, f func()) {
	release := make(chan struct{})
	e.faults.Fail(inject.Rule{Object: id, Times: 1, Hold: func() { <-release }})
	defer close(release)
	f()
}

func (e *env) get(id string) *compute.Server {
	e.t.Helper()
	v, err := e.admin.GetServer(e.ctx, id)
	require.NoError(e.t, err)
	return v
}
