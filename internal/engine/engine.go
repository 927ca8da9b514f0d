// Package engine carries out operations: durable sequences of steps that
// survive the death of the process at any instant.
//
// The rules, and where they are kept:
//   - The intent is durable before the effect: the transaction that records the result of one step moves the
//     cursor to the next (advance). Undo starts with the step under way, since it may have happened (fail).
//   - The direction is durable before the first Undo (fail), and past the pivot there is only forward.
//   - An operation has one owner, by a conditional write (claim); each later write checks owner and epoch
//     (mine), so a worker that was frozen while others took over changes nothing.
//   - One operation is at work on a resource; one more may wait for it, when its kind pre-empts (submit).
//   - Calls of drivers run outside transactions, in a goroutine of their own under a time limit (call).
package engine

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/id"
	"github.com/nubecula/cloud/internal/lease"
	"github.com/nubecula/cloud/internal/meter"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// Options configure an Engine.
type Options struct {
	Store *store.Store // required
	Clock clock.Clock  // nil means the machine's
	Log   *slog.Logger // nil discards
	// Workers is how many operations are at work at once. 0 means 64.
	Workers int
	// Lease is how long this replica may be silent before others take over. 0 means 15 s.
	Lease time.Duration
	// Holds reports whether this replica has a driver instance. nil means all.
	Holds func(instance string) bool
	// Down reports whether a driver instance was declared down: nobody waits for it. nil means none. Both are called in transactions.
	Down func(tx *store.Tx, instance string) bool
	// Meters counts and times steps. nil does not.
	Meters *meter.Meters
	// Twice runs each Do and Undo twice, to find those that are not idempotent. For tests.
	Twice bool
}

// Engine carries out operations. Several may share a store, one in each replica.
type Engine struct {
	opt   Options
	s     *store.Store
	owner string
	kinds map[string]*kind
	ctx   context.Context
	stop  context.CancelFunc

	mu      sync.Mutex
	tasks   map[string]*task
	ready   ready
	running int
	// abandoned counts calls that were left behind and have not returned.
	abandoned int
	changed   func()
	thaw      chan struct{} // not nil while frozen
	timers    map[*func()]struct{}
	workers   sync.WaitGroup
}

// task is what this process knows of one operation it is to work on.
type task struct {
	id      string
	project string // that waits for its turn
	local   any
	queued  bool
	active  bool               // a worker has it
	again   bool               // look once more when the worker is done
	cancel  context.CancelFunc // ends the call of a driver under way
	wake    func()             // stops the timer it waits for
}

// New returns an engine that accepts kinds; Start sets it to work.
func New(opt Options) (*Engine, error) {
	if opt.Store == nil {
		return nil, fault.InvalidField("Store", nil, "an engine needs a store")
	}
	if opt.Clock == nil {
		opt.Clock = clock.System()
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Workers == 0 {
		opt.Workers = 64
	}
	if opt.Lease == 0 {
		opt.Lease = 15 * time.Second
	}
	if opt.Holds == nil {
		opt.Holds = func(string) bool { return true }
	}
	if opt.Down == nil {
		opt.Down = func(*store.Tx, string) bool { return false }
	}
	e := &Engine{opt: opt, s: opt.Store, owner: id.Random(), kinds: map[string]*kind{}, tasks: map[string]*task{}, ready: newReady(), changed: func() {}, timers: map[*func()]struct{}{}}
	e.ctx, e.stop = context.WithCancel(context.Background())
	return e, nil
}

// SetInstances sets Options.Holds and Down, for services that are made after the engine. Before Start.
func (e *Engine) SetInstances(holds func(instance string) bool, down func(tx *store.Tx, instance string) bool) {
	e.opt.Holds, e.opt.Down = holds, down
}

// Start takes up what earlier runs left and begins to work.
func (e *Engine) Start(ctx context.Context) error {
	if err := lease.Renew(ctx, e.s, e.owner, e.opt.Lease); err != nil {
		return err
	}
	e.every(e.opt.Lease/3, e.renew)
	e.every(e.opt.Lease/2, func() { e.adopt(e.ctx) })
	return e.adopt(ctx)
}

// Close stops the workers, waits for those that return within grace, and gives the lease back.
// What was under way goes on at the next Start, here or elsewhere.
func (e *Engine) Close(grace time.Duration) error {
	e.Kill()
	idle := make(chan struct{})
	go func() { e.workers.Wait(); close(idle) }()
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	select {
	case <-idle:
	case <-ctx.Done():
		return fault.New(fault.Timeout, "operations were still calling drivers after %s; they go on at the next start", grace)
	}
	return lease.End(ctx, e.s, e.owner)
}

// Kill stops without a word to the store, as the death of the process would. For tests; Close uses it too.
func (e *Engine) Kill() {
	e.stop()
	e.mu.Lock()
	defer e.mu.Unlock()
	for f := range e.timers {
		(*f)()
	}
	clear(e.timers)
	for _, t := range e.tasks {
		if t.wake != nil {
			t.wake()
		}
	}
}

// Done is closed when this process works on operations no more: by Close or Kill.
func (e *Engine) Done() <-chan struct{} { return e.ctx.Done() }

// every calls f again and again, d apart, until Close.
func (e *Engine) every(d time.Duration, f func()) {
	var stop func()
	var arm func()
	key := &stop
	arm = func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.ctx.Err() != nil {
			return
		}
		stop = e.opt.Clock.AfterFunc(d, func() { f(); arm() })
		e.timers[key] = struct{}{}
	}
	arm()
}

func (e *Engine) renew() {
	if e.frozen() != nil {
		return
	}
	if err := lease.Renew(e.ctx, e.s, e.owner, e.opt.Lease); err != nil && e.ctx.Err() == nil {
		e.opt.Log.Error("the lease of this replica could not be renewed; other replicas take over its operations unless a later try succeeds: check the database",
			"replica", e.owner, "lease", e.opt.Lease, "error", err)
	}
}

// adopt queues every operation that this replica may work on: its own, and those whose owner is gone.
func (e *Engine) adopt(ctx context.Context) error {
	if e.frozen() != nil {
		return nil
	}
	var found []*operation.Operation
	err := e.s.View(ctx, func(tx *store.Tx) error {
		alive := map[string]bool{}
		for op, err := range operation.Collection.Each(tx, store.Query[operation.Operation]{Index: "owner"}) {
			if err != nil {
				return err
			}
			if _, known := alive[op.Owner]; !known {
				if alive[op.Owner], err = e.ownerAlive(tx, op.Owner); err != nil {
					return err
				}
			}
			if op.Owner == e.owner || !alive[op.Owner] && e.mayRun(tx, op.Instance) {
				found = append(found, &operation.Operation{ID: op.ID, ProjectID: op.ProjectID})
			}
		}
		return nil
	})
	for _, op := range found {
		e.enqueue(op, nil)
	}
	return err
}

// ownerAlive reports whether an owner still works. In an exclusive store only this engine does.
func (e *Engine) ownerAlive(tx *store.Tx, owner string) (bool, error) {
	if owner == e.owner {
		return true, nil
	}
	if owner == "" || e.s.Exclusive() {
		return false, nil
	}
	return lease.Alive(tx, owner)
}

func (e *Engine) mayRun(tx *store.Tx, instance string) bool {
	return instance == "" || e.opt.Holds(instance) || e.opt.Down(tx, instance)
}

// enqueue has a worker look at an operation as soon as one is free.
func (e *Engine) enqueue(op *operation.Operation, local any) {
	e.mu.Lock()
	t := e.tasks[op.ID]
	if t == nil {
		t = &task{id: op.ID, project: op.ProjectID}
		e.tasks[op.ID] = t
	}
	if local != nil {
		t.local = local
	}
	if t.active {
		t.again = true
	} else if !t.queued {
		if t.wake != nil {
			t.wake()
			t.wake = nil
		}
		t.queued = true
		e.ready.add(t)
	}
	e.mu.Unlock()
	e.dispatch()
}

// dispatch gives ready tasks to workers while there are free ones.
func (e *Engine) dispatch() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for e.running < e.opt.Workers && e.ctx.Err() == nil {
		t := e.ready.take(e.share())
		if t == nil {
			break
		}
		t.queued, t.active, t.again = false, true, false
		e.running++
		e.workers.Add(1)
		go e.work(t)
	}
	e.changed()
}

// work runs a task until it ends or has to wait.
func (e *Engine) work(t *task) {
	defer e.workers.Done()
	wait, keep := e.run(t)
	e.mu.Lock()
	t.active = false
	e.running--
	e.ready.done(t)
	again := t.again && e.ctx.Err() == nil
	switch {
	case !keep && !again:
		delete(e.tasks, t.id)
	case wait > 0 && !again && e.ctx.Err() == nil:
		t.wake = e.opt.Clock.AfterFunc(wait, func() { e.enqueue(t.operation(), nil) })
	}
	e.mu.Unlock()
	if again {
		e.enqueue(t.operation(), nil)
	}
	e.dispatch()
}

// operation names the task's operation, for enqueue.
func (t *task) operation() *operation.Operation {
	return &operation.Operation{ID: t.id, ProjectID: t.project}
}

// interrupt tells the worker of an operation, if it is here, that it was cancelled.
func (e *Engine) interrupt(op *operation.Operation) {
	e.mu.Lock()
	t := e.tasks[op.ID]
	if t != nil && t.cancel != nil {
		t.cancel()
	}
	e.mu.Unlock()
	if t != nil {
		e.enqueue(op, nil)
	}
}

// Load is what an engine is doing.
type Load struct {
	Queued    int // operations that wait for a worker
	Running   int // operations that a worker has
	Waiting   int // operations that wait for their time
	Abandoned int // calls of drivers that were left behind and have not returned
}

// Load returns what the engine is doing now.
func (e *Engine) Load() Load {
	e.mu.Lock()
	defer e.mu.Unlock()
	return Load{e.ready.size, e.running, len(e.tasks) - e.ready.size - e.running, e.abandoned}
}

// OnChange has f called whenever the answer of Load may have changed. f must not use the engine. For tests.
func (e *Engine) OnChange(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.changed = f
}

// Freeze stops renewals and holds every write of this engine until Thaw, as SIGSTOP would. For tests.
func (e *Engine) Freeze() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.thaw == nil {
		e.thaw = make(chan struct{})
	}
}

// Thaw ends Freeze.
func (e *Engine) Thaw() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.thaw != nil {
		close(e.thaw)
		e.thaw = nil
	}
}

func (e *Engine) frozen() chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.thaw
}

// Prune drops ended operations that are older than t.
func (e *Engine) Prune(ctx context.Context, before time.Time) error {
	for {
		n := 0
		err := e.s.Update(ctx, func(tx *store.Tx) error {
			old, err := operation.Collection.List(tx, store.Query[operation.Operation]{Index: "ended", To: store.Tuple{before}, Limit: 256})
			n = len(old)
			for _, o := range old {
				if err == nil {
					err = operation.Collection.Delete(tx, o.ID)
				}
			}
			return err
		})
		if err != nil || n < 256 {
			return err
		}
	}
}

// Kinds returns the name, version and steps of each registered kind, sorted by name: what rows in the store refer to.
func (e *Engine) Kinds() []string {
	var out []string
	for _, k := range e.kinds {
		out = append(out, fmt.Sprintf("%s %d: %s", k.name, k.version, strings.Join(k.names, ", ")))
	}
	slices.Sort(out)
	return out
}
