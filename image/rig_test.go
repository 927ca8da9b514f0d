package image_test

import (
	"bytes"
	"context"
	"io"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/image"
	"github.com/nubecula/cloud/image/fakeimage"
	"github.com/nubecula/cloud/image/imagedriver"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
)

// rig is an image service over a fake store that outlives its processes.
type rig struct {
	t    *testing.T
	ctx  context.Context
	plan *inject.Plan
	data *fakeimage.Backend
	db   *memory.Driver
	key  []byte
	max  int64
	// uploads at once; 0 means the default
	uploads int
	store   *store.Store
	engine  *engine.Engine
	svc     *image.Service
	puts    sync.WaitGroup // of every process
}

// counted tells when the last Put has returned.
type counted struct {
	imagedriver.Store
	puts *sync.WaitGroup
}

func (c counted) Put(ctx context.Context, id string, data io.Reader) (int64, error) {
	c.puts.Add(1)
	defer c.puts.Done()
	return c.Store.Put(ctx, id, data)
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, ctx: t.Context(), plan: inject.NewPlan(clock.System(), 1), data: fakeimage.NewBackend(),
		db: memory.New(nil), key: store.NewKey(), max: 1 << 20}
	var err error
	r.store, err = store.New(r.db, store.Options{Key: r.key, Rerun: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.store.Close()) })
	r.start()
	t.Cleanup(func() { r.engine.Kill() })
	return r
}

// start begins a process, which takes up what an earlier one left.
func (r *rig) start() {
	drv, err := fakeimage.New(fakeimage.Options{Backend: r.data, Faults: r.plan})
	require.NoError(r.t, err)
	r.engine, err = engine.New(engine.Options{Store: r.store, Twice: true})
	require.NoError(r.t, err)
	r.svc, err = image.New(image.Options{Store: r.store, Engine: r.engine, Data: counted{drv, &r.puts}, MaxBytes: r.max, MaxUploads: r.uploads})
	require.NoError(r.t, err)
	require.NoError(r.t, r.engine.Start(context.Background()))
}

// settle waits until no operation is at work, and checks that everything is consistent then.
func (r *rig) settle() {
	r.t.Helper()
	for {
		changed, busy := r.store.Changed(), ""
		require.NoError(r.t, r.store.View(r.ctx, func(tx *store.Tx) error {
			for op, err := range operation.Collection.Each(tx, store.Query[operation.Operation]{}) {
				require.NoError(r.t, err)
				if !op.State.Ended() {
					busy = op.ID
				}
			}
			return nil
		}))
		if busy == "" {
			break
		}
		select {
		case <-changed:
		case <-r.ctx.Done():
			require.FailNow(r.t, "operation does not end", busy)
		}
	}
	require.NoError(r.t, r.store.View(r.ctx, func(tx *store.Tx) error {
		findings, err := r.svc.Check(tx)
		require.Empty(r.t, findings)
		return err
	}))
	leaks, err := r.svc.Leaks(r.ctx)
	require.NoError(r.t, err)
	require.Empty(r.t, leaks)
}

func member(project string) *identity.Principal {
	return &identity.Principal{UserID: "u-" + project, ProjectID: project, Roles: []string{identity.RoleMember, identity.RoleReader}}
}

func admin() *identity.Principal {
	return &identity.Principal{UserID: "boss", ProjectID: "hq", Roles: []string{identity.RoleAdmin, identity.RoleMember, identity.RoleReader}}
}

func (r *rig) as(project string) *image.Service { return r.svc.As(member(project)) }

// create makes an image of project p in raw and bare.
func (r *rig) create(change func(*image.CreateRequest)) *image.Image {
	r.t.Helper()
	req := image.CreateRequest{Name: "img", DiskFormat: "raw", ContainerFormat: "bare"}
	if change != nil {
		change(&req)
	}
	i, err := r.as("p").Create(r.ctx, req)
	require.NoError(r.t, err)
	return i
}

func (r *rig) upload(id string, data []byte) error {
	_, err := r.as("p").Upload(r.ctx, id, image.UploadRequest{Body: bytes.NewReader(data)})
	return err
}

func (r *rig) get(id string) *image.Image {
	r.t.Helper()
	i, err := r.as("p").Get(r.ctx, id)
	require.NoError(r.t, err)
	return i
}

// gate is a body that waits in the middle: it says when it is read, and goes on with what it is given.
type gate struct {
	first   []byte
	reading chan struct{}
	more    chan []byte // closed: the end
	err     error       // instead of the end
}

func newGate(first string) *gate {
	return &gate{first: []byte(first), reading: make(chan struct{}, 1), more: make(chan []byte)}
}

func (g *gate) Read(p []byte) (int, error) {
	if len(g.first) > 0 {
		n := copy(p, g.first)
		g.first = g.first[n:]
		return n, nil
	}
	select {
	case g.reading <- struct{}{}:
	default:
	}
	more, ok := <-g.more
	if !ok {
		if g.err != nil {
			return 0, g.err
		}
		return 0, io.EOF
	}
	return copy(p, more), nil
}
