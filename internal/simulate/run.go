package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/cloudtest"
	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/compute/fakecompute"
	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/store"
)

// Times of the simulated clouds. They are longer than a program's where that only saves heartbeats.
const (
	heartbeat = 20 * time.Second
	downAfter = time.Minute
	leaseTime = 15 * time.Second
	veryLate  = 150 * time.Second                         // how long a call may go on that nobody waits for
	healed    = veryLate + 4*time.Minute + 30*time.Second // every loop comes round after the last late effect
)

// problem is something that an invariant does not allow. Class tells problems apart that have little in common.
type problem struct{ Class, Text string }

// outcome is what became of a history.
type outcome struct {
	Problems []problem
	Trace    string // digest of everything that happened, to see whether a replay is one
}

func (o *outcome) has(class string) bool {
	return slices.ContainsFunc(o.Problems, func(p problem) bool { return p.Class == class })
}

// world is a history at work.
type world struct {
	h     *history
	env   *cloudtest.Env
	bug   *bug
	clock clock.Clock
	begun time.Duration
	say   func(format string, args ...any) // the story, when somebody listens

	mu       sync.Mutex
	records  map[int]*record
	problems []problem
	seen     []event.Event // by one who listened all the time
	waiting  int           // clients that wait for an answer
	dead     map[int]bool  // replicas that are going to be started again
	token    string        // of the user demo
}

// run lets a history happen in a bubble of its own and says what is wrong afterwards. tell may be nil.
func run(t *testing.T, h *history, bug *bug, tell func(string)) *outcome {
	return runThen(t, h, bug, tell, nil)
}

// runThen is run with something that spoils what is found in the end, before it is judged.
func runThen(t *testing.T, h *history, bug *bug, tell func(string), spoil func(w *world, s *state)) (out *outcome) {
	out = &outcome{}
	synctest.Test(t, func(t *testing.T) {
		w := &world{h: h, bug: bug, records: map[int]*record{}, dead: map[int]bool{}, say: func(string, ...any) {}}
		p := &probe{TB: t, w: w}
		defer func() {
			p.cleanup()
			out.Problems = w.problems
		}()
		defer func() {
			if x := recover(); x != nil && x != errStop {
				w.bad("panic", "%v", x)
			}
		}()
		w.start(p, tell)
		w.play()
		w.heal()
		w.verify(spoil)
		out.Trace = w.trace()
	})
	return out
}

// probe is the testing.TB of an environment: what it calls a failure is a problem of the history.
type probe struct {
	testing.TB
	w    *world
	mu   sync.Mutex
	ends []func()
}

// errStop is panicked with to leave a history that cannot go on.
const errStop = stopped("the history cannot go on")

type stopped string

func (p *probe) Helper()                   {}
func (p *probe) Log(args ...any)           {}
func (p *probe) Logf(string, ...any)       {}
func (p *probe) Failed() bool              { return len(p.w.problems) > 0 }
func (p *probe) FailNow()                  { panic(errStop) }
func (p *probe) Error(args ...any)         { p.Errorf("%s", fmt.Sprint(args...)) }
func (p *probe) Fatal(args ...any)         { p.Errorf("%s", fmt.Sprint(args...)); p.FailNow() }
func (p *probe) Fatalf(f string, a ...any) { p.Errorf(f, a...); p.FailNow() }
func (p *probe) Cleanup(f func())          { p.mu.Lock(); defer p.mu.Unlock(); p.ends = append(p.ends, f) }

func (p *probe) Errorf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	class := "broken"
	for _, c := range []struct{ mark, class string }{{"leak:", "leak"}, {"check:", "check"}, {"do not end", "stuck"}, {"does not return", "stuck"}} {
		if strings.Contains(text, c.mark) {
			class = c.class
		}
	}
	p.w.bad(class, "%s", text)
}

func (p *probe) cleanup() {
	for _, f := range slices.Backward(p.ends) {
		f()
	}
}

func (w *world) bad(class, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.problems = append(w.problems, problem{class, fmt.Sprintf(format, args...)})
}

// start makes the cloud that the history is about.
func (w *world) start(p *probe, tell func(string)) {
	s := w.h.shape
	opt := cloudtest.Options{
		Hosts: s.hosts, Host: fakecompute.Options{VCPUs: s.vcpus, MemoryMiB: 1 << 20, DiskGiB: 1 << 20}, Seed: w.h.seed + 1,
		Replicas: s.replicas, Bubble: true, Once: !s.twice, Log: slog.New(&journal{w: w}),
		Cloud: func(o *cloud.Options) {
			o.Heartbeat, o.DownAfter, o.Lease = heartbeat, downAfter, leaseTime
			if w.bug != nil && w.bug.cloud != nil {
				w.bug.cloud(o)
			}
		},
	}
	if w.bug != nil {
		opt.Wrap = w.bug.database
	}
	w.env = cloudtest.New(p, opt)
	w.clock = w.env.Cloud.Clock()
	w.begun = w.clock.Mono()
	if tell != nil {
		w.say = func(format string, args ...any) {
			tell(fmt.Sprintf("%9s  ", (w.clock.Mono()-w.begun).Round(time.Millisecond)) + fmt.Sprintf(format, args...))
		}
	}
	if slices.ContainsFunc(w.h.actions, func(a action) bool { return a.verb == "server.create-once" }) {
		w.token = w.env.DemoToken()
	}
	w.watch(p)
	w.env.Faults.Pace(w.pace())
}

// watch listens to the machines, for a second copy of a guest, and to the events.
func (w *world) watch(p *probe) {
	ctx, cancel := context.WithCancel(context.Background())
	p.Cleanup(cancel)
	for i, b := range w.env.Hosts {
		eye, err := fakecompute.New(fakecompute.Options{ID: fmt.Sprintf("00000000-0000-4000-8000-00000000000%d", i), Backend: b, Clock: w.clock})
		if err != nil {
			p.Fatal(err)
		}
		go eye.Watch(ctx, func(hint computedriver.Hint) {
			w.say("host-%d: guest %s %s", i+1, short(hint.ID), hint.What)
			if hint.What == "started" {
				w.alone(i, hint.ID)
			}
		})
	}
	synctest.Wait()
}

// alone reports when a guest runs on a second machine while it runs on this one.
func (w *world) alone(here int, id string) {
	if !w.runs(here, id) {
		return
	}
	for i := range w.env.Hosts {
		if i != here && w.runs(i, id) && w.runs(here, id) {
			w.bad("two copies", "guest %s runs on host-%d and on host-%d", id, here+1, i+1)
		}
	}
}

func (w *world) runs(host int, id string) bool {
	guests, err := w.env.Hosts[host].Guests()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(guests, func(g computedriver.GuestState) bool {
		return g.Mark.ID == id && g.Power == computedriver.Running
	})
}

func short(id string) string { return id[:min(8, len(id))] }

// play performs the actions, each at its time.
func (w *world) play() {
	for _, a := range w.h.actions {
		w.passTo(a.at)
		w.listen()
		w.say("%s", a)
		w.perform(a)
	}
	w.passTo(w.clock.Mono() - w.begun + 2*time.Second)
}

// passTo moves the clock to a time of the history.
func (w *world) passTo(at time.Duration) {
	end := w.begun + at
	for w.env.Step(end - w.clock.Mono()) {
		w.bury()
	}
	if left := end - w.clock.Mono(); left > 0 {
		w.env.Advance(left)
	}
}

// bury ends the processes whose store has crashed at a commit, and starts them again a little later.
func (w *world) bury() {
	for i, r := range w.env.Replicas() {
		if r.Cloud() != nil && r.Crashed() && !w.buried(i) {
			w.say("replica %d is dead", i+1)
			r.Kill()
			w.revive(i, 3*time.Second)
		}
	}
}

// listen reads the events that are new, as somebody with a cursor does.
func (w *world) listen() {
	after := int64(0)
	if len(w.seen) > 0 {
		after = w.seen[len(w.seen)-1].Seq
	}
	w.seen = append(w.seen, w.eventsAfter(after)...)
}

func (w *world) eventsAfter(after int64) (all []event.Event) {
	err := w.env.Look(func(s *store.Store) error {
		for {
			next, err := s.Events(context.Background(), after, 0)
			if err != nil || len(next) == 0 {
				return err
			}
			all = append(all, next...)
			after = next[len(next)-1].Seq
		}
	})
	if err != nil {
		w.bad("broken", "the events cannot be read: %v", err)
	}
	return all
}
