package main

import (
	"errors"
	"hash/fnv"
	"time"

	"github.com/nubecula/cloud/cloudtest"
	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/chaos"
)

// pace makes calls take time, the n-th call of the same name always the same: it decides who meets whom.
func (w *world) pace() func(driver, method, object string) time.Duration {
	s := w.h.shape
	if s.pace == 0 && !s.slowStore {
		return nil
	}
	count := map[string]uint64{}
	return func(driver, method, object string) time.Duration {
		most := s.pace
		if driver == "store" {
			if method != "Commit" && method != "Begin" || !s.slowStore {
				return 0
			}
			most, object = 4*time.Millisecond, "" // a commit's id is by chance
		}
		if most == 0 {
			return 0
		}
		name := driver + "." + method + " " + object
		count[name]++
		d := fnv.New64a()
		var b [16]byte
		for i := range 8 {
			b[i], b[8+i] = byte(w.h.seed>>(8*i)), byte(count[name]>>(8*i))
		}
		d.Write(b[:])
		d.Write([]byte(name))
		x := d.Sum64()
		return time.Duration((x ^ x>>29) % uint64(most))
	}
}

// perform lets an action happen; what takes time goes on beside the history.
func (w *world) perform(a action) {
	replicas := w.env.Replicas()
	on := a.on % len(replicas)
	machine := w.env.Hosts[a.on%len(w.env.Hosts)]
	switch a.verb {
	case "fault":
		w.env.Fail(w.rule(a))
	case "store.fault":
		w.env.Fail(storeRule(a))
	case "host.down":
		machine.SetDown(fault.New(fault.Unavailable, "no route to host"))
		w.clock.AfterFunc(a.lasts, func() { machine.SetDown(nil) })
	case "host.lose-power":
		if err := machine.LosePower(w.clock.Now()); err != nil {
			w.bad("broken", "%s: %v", a, err)
		}
		w.clock.AfterFunc(a.lasts, func() { machine.SetDown(nil) })
	case "guest.crash", "guest.power-off":
		guests, _ := machine.Guests()
		for _, g := range guests {
			if g.Power != computedriver.Running {
				continue
			}
			if a.verb == "guest.crash" {
				machine.Crash(g.Mark.ID, w.clock.Now())
			} else {
				machine.PowerOff(g.Mark.ID, w.clock.Now())
			}
			return
		}
	case "network.down":
		w.env.Networks.SetDown(fault.New(fault.Unavailable, "the provider is away"))
		w.clock.AfterFunc(a.lasts, func() { w.env.Networks.SetDown(nil) })
	case "image.down":
		w.env.Images.SetDown(fault.New(fault.Unavailable, "the image store is away"))
		w.clock.AfterFunc(a.lasts, func() { w.env.Images.SetDown(nil) })
	case "process.kill":
		if !w.buried(on) {
			replicas[on].Kill()
			w.revive(on, a.lasts)
		}
	case "process.kill-at-commit":
		if !w.buried(on) {
			replicas[on].CrashAtCommit(a.k, a.how == "after")
		}
	case "process.freeze":
		replicas[on].Freeze()
		w.clock.AfterFunc(a.lasts, replicas[on].Thaw)
	case "clock.jump":
		w.env.Jump(time.Duration(a.k) * time.Second)
	default:
		w.request(a)
	}
}

// rule is the fault that an action asks for.
func (w *world) rule(a action) inject.Rule {
	r := inject.Rule{Driver: a.driver, Method: a.method, Times: a.k}
	hold := func(d time.Duration) {
		r.Hold = func() { w.pause(d) }
	}
	switch a.how {
	case "lost-reply":
		r.When = inject.After
	case "internal":
		r.Err = fault.New(fault.Internal, "disk on fire")
	case "internal-after":
		r.Err, r.When = fault.New(fault.Internal, "disk on fire"), inject.After
	case "exhausted":
		r.Err = fault.New(fault.Exhausted, "no room")
	case "exhausted-after":
		r.Err, r.When = fault.New(fault.Exhausted, "no room"), inject.After
	case "hang":
		r.Hang = true
	case "hang-after":
		r.Hang, r.When = true, inject.After
	case "slow":
		r.Latency = 20 * time.Second
	case "late": // the call goes on whatever its caller does, and has its effect in the end
		hold(80 * time.Second)
	case "very-late":
		hold(veryLate)
	}
	return r
}

// pause waits whatever happens to the caller.
func (w *world) pause(d time.Duration) {
	over := make(chan struct{})
	w.clock.AfterFunc(d, func() { close(over) })
	<-over
}

func storeRule(a action) inject.Rule {
	r := inject.Rule{Driver: "store", Method: a.method, Times: a.k}
	switch a.how {
	case "conflict":
		r.Err = store.ErrConflict
	case "unknown":
		r.Err = store.ErrUnknown
	case "unknown-after":
		r.Err, r.When = store.ErrUnknown, inject.After
	case "late":
		r.Err = chaos.ErrLate
	case "fenced":
		r.Err = chaos.ErrFenced
	}
	return r
}

func (w *world) buried(replica int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dead[replica]
}

// revive starts a dead process again, after a while.
func (w *world) revive(replica int, after time.Duration) {
	w.mu.Lock()
	w.dead[replica] = true
	w.mu.Unlock()
	r := w.env.Replicas()[replica]
	w.clock.AfterFunc(after, func() {
		for {
			err := r.Restart()
			w.say("replica %d starts: %v", replica+1, errors.Join(err))
			if err == nil {
				break
			}
			w.pause(time.Second)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.dead[replica] = false
	})
}

// heal ends all troubles and waits until everybody has an answer and nothing is under way.
func (w *world) heal() {
	w.say("all troubles end")
	w.env.Faults.Clear()
	for _, r := range w.env.Replicas() {
		r.Thaw()
		if !r.Crashed() {
			r.CrashAtCommit(0, false)
		}
	}
	for _, b := range w.env.Hosts {
		b.SetDown(nil)
	}
	w.env.Networks.SetDown(nil)
	w.env.Images.SetDown(nil)
	w.bury()
	w.until("a process does not start", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, dead := range w.dead {
			if dead {
				return false
			}
		}
		return true
	})
	no := false
	w.env.Do(func() {
		for i := range w.env.Hosts {
			_, err := w.env.Admin().Compute.UpdateHost(w.env.Request(0), cloudtest.HostName(i), compute.UpdateHost{Disabled: &no, ForcedDown: &no})
			if err != nil && !fault.Is(err, fault.NotFound) {
				w.bad("broken", "host-%d cannot be enabled: %v", i+1, err)
			}
		}
	})
	w.until("a client gets no answer", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.waiting == 0
	})
	w.env.Faults.Pace(nil)
	w.env.Advance(healed)
	w.env.Settle()
}

// until lets time pass until something holds; it must within an hour.
func (w *world) until(otherwise string, holds func() bool) {
	end := w.clock.Mono() + time.Hour
	for !holds() {
		if !w.env.Step(end - w.clock.Mono()) {
			w.bad("stuck", "%s", otherwise)
			panic(errStop)
		}
		w.bury()
	}
}
