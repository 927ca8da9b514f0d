package engine_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
)

// world is a backend with two effects per job, a and b, and rules that break them.
type world struct {
	mu    sync.Mutex
	has   map[string]bool
	calls []string
	hook  func(call string, n int) error // before the effect
	after func(call string, n int) error
	hang  func(name string) // before effect a of a job
	made  []string          // jobs whose effect a was begun, in order
}

func (w *world) do(call string, effect func()) error {
	w.mu.Lock()
	w.calls = append(w.calls, call)
	n := len(w.calls)
	w.mu.Unlock()
	if w.hook != nil {
		if err := w.hook(call, n); err != nil {
			return err
		}
	}
	w.mu.Lock()
	effect()
	w.mu.Unlock()
	if w.after != nil {
		return w.after(call, n)
	}
	return nil
}

func (w *world) begin(name string) {
	w.mu.Lock()
	w.made = append(w.made, name)
	w.mu.Unlock()
	if w.hang != nil {
		w.hang(name)
	}
}

type job struct {
	Name     string
	Excluded []string
	Place    string
}

// record is the resource that jobs work on.
type record struct {
	ID, Status, Place string
}

var records = store.Define(store.Spec[record]{Kind: "record", Version: 1, ID: func(r *record) string { return r.ID }})

type rig struct {
	t      *testing.T
	w      *world
	db     *memory.Driver
	key    []byte
	clock  *clock.Manual
	shared bool
}

type replica struct {
	*engine.Engine
	s            *store.Store
	make, unmake *engine.Handle[job]
	note         chan struct{}
	clock        *clock.Manual
}

func newRig(t *testing.T, shared bool) *rig {
	c := clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	return &rig{t: t, w: &world{has: map[string]bool{}}, clock: c, key: store.NewKey(), shared: shared,
		db: memory.New(&memory.Options{Clock: c, Shared: shared})}
}

func (r *rig) start(opt engine.Options) *replica {
	s, err := store.New(r.db, store.Options{Key: r.key, Clock: r.clock, Rerun: 1})
	require.NoError(r.t, err)
	opt.Store, opt.Clock = s, r.clock
	e, err := engine.New(opt)
	require.NoError(r.t, err)
	p := &replica{Engine: e, s: s, note: make(chan struct{}, 1), clock: r.clock}
	p.make = engine.Register(e, makeKind(r.w))
	p.unmake = engine.Register(e, unmakeKind(r.w))
	e.OnChange(p.notify)
	require.NoError(r.t, e.Start(context.Background()))
	r.t.Cleanup(func() { e.Kill(); s.Close() })
	return p
}

func (p *replica) notify() {
	select {
	case p.note <- struct{}{}:
	default:
	}
}

func setStatus(tx *store.Tx, id string, f func(*record)) error {
	v, err := records.Get(tx, id)
	if err != nil {
		return err
	}
	f(v)
	return records.Put(tx, v)
}

func makeKind(w *world) engine.Kind[job] {
	return engine.Kind[job]{
		Name: "record.make", Version: 1,
		Steps: []engine.Step[job]{
			{Name: "place",
				Commit: func(tx *store.Tx, r *engine.Run[job]) error {
					for _, p := range []string{"p1", "p2"} {
						if !contains(r.State.Excluded, p) {
							r.State.Place = p
							return setStatus(tx, r.Op.Resource.ID, func(v *record) { v.Place = p })
						}
					}
					return fault.New(fault.Exhausted, "no place left")
				},
				Undone: func(tx *store.Tx, r *engine.Run[job]) error {
					return setStatus(tx, r.Op.Resource.ID, func(v *record) { v.Place = "" })
				}},
			{Name: "a",
				Do: func(ctx context.Context, r *engine.Run[job]) error {
					w.begin(r.State.Name)
					return w.do("a", func() { w.has[r.State.Name+".a."+r.State.Place] = true })
				},
				Undo: func(ctx context.Context, r *engine.Run[job]) error {
					return w.do("undo a", func() { delete(w.has, r.State.Name+".a."+r.State.Place) })
				}},
			{Name: "b", Pivot: true,
				Do: func(ctx context.Context, r *engine.Run[job]) error {
					return w.do("b", func() { w.has[r.State.Name+".b"] = true })
				},
				Undo: func(ctx context.Context, r *engine.Run[job]) error {
					return w.do("undo b", func() { delete(w.has, r.State.Name+".b") })
				}},
			{Name: "tell", Do: func(ctx context.Context, r *engine.Run[job]) error { return w.do("tell", func() {}) }},
		},
		Finish: func(tx *store.Tx, r *engine.Run[job]) error {
			return setStatus(tx, r.Op.Resource.ID, func(v *record) { v.Status = "ready" })
		},
		Abort: func(tx *store.Tx, r *engine.Run[job], f *operation.Failure) error {
			return setStatus(tx, r.Op.Resource.ID, func(v *record) { v.Status = "error" })
		},
		Retreat: func(tx *store.Tx, r *engine.Run[job], f *operation.Failure) (string, error) {
			if f.Code != fault.Exhausted || r.State.Place == "" {
				return "", nil
			}
			r.State.Excluded = append(r.State.Excluded, r.State.Place)
			return "place", nil
		},
	}
}

func unmakeKind(w *world) engine.Kind[job] {
	return engine.Kind[job]{
		Name: "record.unmake", Version: 1, Forward: true, Preempts: []string{"*"},
		Steps: []engine.Step[job]{{Name: "clear", Do: func(ctx context.Context, r *engine.Run[job]) error {
			return w.do("clear", func() {
				for _, x := range []string{".a.p1", ".a.p2", ".b"} {
					delete(w.has, r.State.Name+x)
				}
			})
		}}},
		Finish: func(tx *store.Tx, r *engine.Run[job]) error { return records.Delete(tx, r.Op.Resource.ID) },
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func (p *replica) submit(t *testing.T, id string) *operation.Operation {
	var op *operation.Operation
	require.NoError(t, p.s.Update(context.Background(), func(tx *store.Tx) (err error) {
		if err := records.Insert(tx, &record{ID: id, Status: "new"}); err != nil {
			return err
		}
		op, err = p.make.Submit(tx, engine.Request{Resource: operation.Resource{Kind: "record", ID: id}}, job{Name: id})
		return err
	}))
	return op
}

// settle moves time until nothing is left to do anywhere.
func settle(t *testing.T, c *clock.Manual, ps ...*replica) {
	c.OnSleep(func() {
		for _, p := range ps {
			p.notify()
		}
	})
	for range 10000 {
		waiting, idle := 0, true
		var queued, running, abandoned int
		for _, p := range ps {
			l := p.Load()
			queued, running, waiting, abandoned = queued+l.Queued, running+l.Running, waiting+l.Waiting, abandoned+l.Abandoned
		}
		idle = queued == 0 && running <= c.Sleepers()-abandoned
		if !idle {
			select {
			case <-ps[0].note:
			case <-ps[len(ps)-1].note:
			}
			continue
		}
		active := 0
		require.NoError(t, ps[0].s.View(context.Background(), func(tx *store.Tx) error {
			all, err := operation.Collection.List(tx, store.Query[operation.Operation]{Index: "owner"})
			active = len(all)
			return err
		}))
		if active == 0 && running == 0 {
			return
		}
		d, ok := c.Next()
		require.True(t, ok, "operations are active and nothing waits")
		c.Advance(d)
	}
	t.Fatal("operations do not end")
}

func (r *rig) status(p *replica, id string) string {
	status := "absent"
	require.NoError(r.t, p.s.View(context.Background(), func(tx *store.Tx) error {
		v, err := records.Get(tx, id)
		if err == nil {
			status = v.Status + v.Place
		}
		return nil
	}))
	return status
}

func (r *rig) held() string {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	return fmt.Sprint(r.w.has)
}

// consistent says that the record and the world tell the same story.
func (r *rig) consistent(p *replica, id string) {
	r.t.Helper()
	switch st := r.status(p, id); st {
	case "readyp1", "readyp2":
		require.Equal(r.t, fmt.Sprint(map[string]bool{id + ".a." + st[5:]: true, id + ".b": true}), r.held())
	case "error", "absent":
		require.Equal(r.t, "map[]", r.held())
	default:
		r.t.Fatalf("stuck in %s", st)
	}
}

func TestSuccess(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	p := r.start(engine.Options{Twice: true})
	op := p.submit(t, "x")
	settle(t, r.clock, p)
	r.consistent(p, "x")
	op, err := operation.Get(context.Background(), p.s, op.ID)
	require.NoError(t, err)
	require.Equal(t, operation.Done, op.State)
	require.NoError(t, op.Err())
}

func TestRetreatTakesTheNextPlace(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	r.w.hook = func(call string, n int) error {
		if call == "b" && !r.w.has["x.a.p2"] {
			return fault.New(fault.Exhausted, "full")
		}
		return nil
	}
	p := r.start(engine.Options{})
	p.submit(t, "x")
	settle(t, r.clock, p)
	require.Equal(t, "readyp2", r.status(p, "x"))
	r.consistent(p, "x")
}

// TestFullStoreIsWaitedFor: a step whose effect wrote to a full store has not failed, however often, and no other place is tried.
func TestFullStoreIsWaitedFor(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	times, undone := 0, false
	r.w.hook = func(call string, n int) error {
		times++
		undone = undone || call == "undo a"
		if call == "a" && times <= 30 && !undone {
			return &fault.Error{Code: fault.Exhausted, Msg: "its disk is full", Err: store.ErrFull}
		}
		return nil
	}
	p := r.start(engine.Options{})
	p.submit(t, "x")
	settle(t, r.clock, p)
	require.Equal(t, "readyp1", r.status(p, "x"))
	require.False(t, undone)
	require.Greater(t, times, 30)
	r.consistent(p, "x")
}

// Every call of a driver fails once: before its effect, after it, for good, or not at all but too late.
func TestEachCallFails(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 3; n++ {
		for name, err := range map[string]error{"unavailable": fault.New(fault.Unavailable, "gone"), "internal": errors.New("boom"),
			"exhausted": fault.New(fault.Exhausted, "full")} {
			for _, when := range []string{"before", "after"} {
				t.Run(fmt.Sprint(n, name, when), func(t *testing.T) {
					t.Parallel()
					r := newRig(t, false)
					hook := func(_ string, at int) error {
						if at == n {
							return err
						}
						return nil
					}
					if when == "before" {
						r.w.hook = hook
					} else {
						r.w.after = hook
					}
					p := r.start(engine.Options{Twice: true})
					p.submit(t, "x")
					settle(t, r.clock, p)
					r.consistent(p, "x")
				})
			}
		}
	}
}

func TestCrashAtEachCall(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 3; n++ {
		for _, when := range []string{"before", "after"} {
			t.Run(fmt.Sprint(n, when), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, false)
				died := make(chan struct{})
				var p *replica
				hook := func(_ string, at int) error {
					if at == n {
						p.Kill()
						close(died)
						return errors.New("the caller is dead")
					}
					return nil
				}
				if when == "before" {
					r.w.hook = hook
				} else {
					r.w.after = hook
				}
				p = r.start(engine.Options{})
				p.submit(t, "x")
				<-died
				q := r.start(engine.Options{})
				settle(t, r.clock, q)
				require.Equal(t, "readyp1", r.status(q, "x"))
				r.consistent(q, "x")
			})
		}
	}
}

func TestDeletePreempts(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	entered := make(chan struct{})
	r.w.hook = func(call string, n int) error {
		if call == "a" {
			close(entered)
			return r.clock.Sleep(context.Background(), time.Second)
		}
		return nil
	}
	p := r.start(engine.Options{})
	first := p.submit(t, "x")
	<-entered
	var second, again *operation.Operation
	submit := func(h *engine.Handle[job]) (op *operation.Operation, err error) {
		err = p.s.Update(context.Background(), func(tx *store.Tx) (err error) {
			op, err = h.Submit(tx, engine.Request{Resource: first.Resource}, job{Name: "x"})
			return err
		})
		return op, err
	}
	_, err := submit(p.make)
	require.Equal(t, fault.Conflict, fault.CodeOf(err))
	second, err = submit(p.unmake)
	require.NoError(t, err)
	require.Equal(t, operation.Pending, second.State)
	again, err = submit(p.unmake)
	require.NoError(t, err)
	require.Equal(t, second.ID, again.ID)
	settle(t, r.clock, p)
	require.Equal(t, "absent", r.status(p, "x"))
	r.consistent(p, "x")
	first, err = operation.Get(context.Background(), p.s, first.ID)
	require.NoError(t, err)
	require.Equal(t, operation.Canceled, first.State)
}

func TestCancel(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	entered := make(chan struct{})
	r.w.hook = func(call string, n int) error {
		if call == "a" {
			close(entered)
			return r.clock.Sleep(context.Background(), time.Second)
		}
		return nil
	}
	p := r.start(engine.Options{})
	op := p.submit(t, "x")
	<-entered
	cancel := func() error {
		return p.s.Update(context.Background(), func(tx *store.Tx) error { return p.Cancel(tx, op.ID, "user me") })
	}
	require.NoError(t, cancel())
	settle(t, r.clock, p)
	require.Equal(t, "error", r.status(p, "x"))
	r.consistent(p, "x")
	ended, err := operation.Get(context.Background(), p.s, op.ID)
	require.NoError(t, err)
	require.Equal(t, operation.Canceled, ended.State)
	require.Equal(t, fault.Conflict, fault.CodeOf(cancel()), "it has ended")
}

// A frozen replica wakes up after another has finished its work.
func TestFrozenPastItsLease(t *testing.T) {
	t.Parallel()
	r := newRig(t, true)
	frozen, wake := make(chan struct{}), make(chan struct{})
	r.w.hook = func(call string, n int) error {
		if call == "a" && n == 1 {
			close(frozen)
			<-wake
		}
		return nil
	}
	p := r.start(engine.Options{})
	p.submit(t, "x")
	<-frozen
	p.Freeze()
	q := r.start(engine.Options{})
	r.clock.Advance(time.Minute)
	settle(t, r.clock, q)
	require.Equal(t, "readyp1", r.status(q, "x"))
	p.Thaw()
	close(wake)
	settle(t, r.clock, p, q)
	r.consistent(q, "x")
}
