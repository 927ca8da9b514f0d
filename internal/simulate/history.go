package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// history is all that a seed decides before anything runs. Actions are data, so that some of them can be left out.
type history struct {
	seed    uint64
	shape   shape
	actions []action
}

// shape is what a history runs on.
type shape struct {
	replicas  int  // processes; 1 has the store alone
	hosts     int  // machines
	vcpus     int  // of each host; m1.nano takes 1, four times over
	twice     bool // each closure and each effect runs twice
	slowStore bool // calls of the store take time, so that Updates meet in one commit
	pace      time.Duration
	theme     trouble // the fault that comes again and again
}

// trouble is a call and what becomes of it.
type trouble struct{ driver, method, how string }

// action is one thing that happens at a time of the history.
type action struct {
	n      int           // its number, and the name of what it makes
	at     time.Duration // from the start
	verb   string
	on     int           // which replica or host
	of     int           // the action that made what this one is about; -1 means none
	k      int           // how many, or which
	lasts  time.Duration // how long a trouble lasts
	driver string        // of a fault: whose call
	method string        // of a fault: which call
	how    string        // of a fault: what becomes of it
}

func (a action) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "#%-2d %9s  %s", a.n, a.at.Round(time.Millisecond), a.verb)
	switch {
	case a.driver != "":
		fmt.Fprintf(&b, " %s.%s: %s, %d times", a.driver, a.method, a.how, a.k)
	case strings.HasPrefix(a.verb, "host.") || strings.HasPrefix(a.verb, "guest."):
		fmt.Fprintf(&b, " host-%d", a.on+1)
	default:
		fmt.Fprintf(&b, " by replica %d", a.on+1)
	}
	if a.of >= 0 {
		fmt.Fprintf(&b, ", what #%d made", a.of)
	}
	if a.k != 0 && a.driver == "" {
		fmt.Fprintf(&b, ", %d", a.k)
	}
	if a.how != "" && a.driver == "" {
		fmt.Fprintf(&b, ", %s", a.how)
	}
	if a.lasts > 0 {
		fmt.Fprintf(&b, ", for %s", a.lasts.Round(time.Millisecond))
	}
	return b.String()
}

// choice is a verb and how often it is drawn, relative to others.
type choice struct {
	verb   string
	weight int
	of     string // what kind of thing it is about; "" means none
	makes  string // what kind of thing it makes; "" means none
}

// requests are what clients do.
var requests = []choice{
	{"server.create", 26, "", "server"},
	{"server.create-on-port", 4, "port", "server"},
	{"server.create-on-network", 4, "network", "server"},
	{"server.create-once", 5, "", "server"}, // over HTTP with an Idempotency-Key, sent k times
	{"server.delete", 14, "server", ""},
	{"server.stop", 9, "server", ""},
	{"server.start", 8, "server", ""},
	{"server.reboot", 4, "server", ""},
	{"server.reboot-hard", 4, "server", ""},
	{"server.rename", 5, "server", ""},
	{"server.cancel", 4, "server", ""},
	{"port.create", 5, "", "port"},
	{"port.delete", 4, "port", ""},
	{"port.rename", 2, "port", ""},
	{"network.create", 4, "", "network"}, // with a small subnet
	{"network.delete", 3, "network", ""},
	{"network.rename", 2, "network", ""},
	{"image.create", 3, "", "image"},
	{"image.delete", 2, "image", ""},
	{"quota.set", 3, "", ""},
	{"host.disable", 2, "", ""},
	{"host.enable", 2, "", ""},
	{"host.force-down", 1, "", ""},
	{"host.force-up", 1, "", ""},
}

// troubles are what happens to the world.
var troubles = []choice{
	{"fault", 40, "", ""},
	{"store.fault", 12, "", ""},
	{"host.down", 6, "", ""},
	{"host.lose-power", 3, "", ""},
	{"guest.crash", 3, "", ""},
	{"guest.power-off", 3, "", ""},
	{"network.down", 3, "", ""},
	{"image.down", 2, "", ""},
	{"process.kill", 8, "", ""},
	{"process.kill-at-commit", 10, "", ""},
	{"process.freeze", 10, "", ""},
	{"clock.jump", 3, "", ""},
}

// methods of drivers that a fault may hit.
var methods = []trouble{
	{driver: "host", method: "Define"}, {driver: "host", method: "Define"}, {driver: "host", method: "Define"},
	{driver: "host", method: "Start"}, {driver: "host", method: "Start"}, {driver: "host", method: "Start"},
	{driver: "host", method: "Undefine"}, {driver: "host", method: "Undefine"}, {driver: "host", method: "Stop"},
	{driver: "host", method: "Reboot"}, {driver: "host", method: "Host"}, {driver: "host", method: "Guests"},
	{driver: "network", method: "Bind"}, {driver: "network", method: "Bind"}, {driver: "network", method: "Unbind"}, {driver: "network", method: "Unbind"},
	{driver: "network", method: "Apply"}, {driver: "network", method: "Remove"}, {driver: "network", method: "Networks"},
	{driver: "image", method: "Put"}, {driver: "image", method: "Delete"}, {driver: "image", method: "Open"}, {driver: "image", method: "Images"},
}

var faultKinds = []string{"unavailable", "lost-reply", "internal", "internal-after", "exhausted", "exhausted-after", "hang", "hang-after", "slow",
	"late", "late", "very-late", "very-late"}

var storeFaults = []string{"conflict", "unknown", "unknown-after", "late", "fenced", "unavailable-begin"}

// generate draws the history of a seed.
func generate(seed uint64) *history {
	r := rand.New(rand.NewPCG(seed, 0x5eed))
	h := &history{seed: seed, shape: shape{
		replicas:  1 + r.IntN(3),
		hosts:     1 + r.IntN(3),
		vcpus:     []int{1, 2, 64}[r.IntN(3)],
		twice:     r.IntN(8) == 0,
		slowStore: r.IntN(3) == 0,
		pace:      []time.Duration{0, 5 * time.Millisecond, 200 * time.Millisecond, 3 * time.Second}[r.IntN(4)],
	}}
	h.shape.theme = h.draw(r)
	trouble := []float64{0, 0.15, 0.3, 0.45}[r.IntN(4)]
	made := map[string][]int{}
	at := time.Duration(0)
	for n := range 8 + r.IntN(25) {
		switch x := r.Float64(); {
		case x < 0.55:
			at += time.Duration(r.Int64N(int64(30 * time.Millisecond)))
		case x < 0.9:
			at += time.Duration(r.Int64N(int64(3 * time.Second)))
		default:
			at += 5*time.Second + time.Duration(r.Int64N(int64(40*time.Second)))
		}
		a := action{n: n, at: at, of: -1, on: r.IntN(6)}
		if r.Float64() < trouble {
			h.trouble(r, &a)
		} else {
			ask(r, &a, made)
		}
		h.actions = append(h.actions, a)
	}
	return h
}

func pick(r *rand.Rand, from []choice) choice {
	sum := 0
	for _, c := range from {
		sum += c.weight
	}
	x := r.IntN(sum)
	for _, c := range from {
		if x -= c.weight; x < 0 {
			return c
		}
	}
	return from[0]
}

func ask(r *rand.Rand, a *action, made map[string][]int) {
	c := pick(r, requests)
	for c.of != "" && len(made[c.of]) == 0 {
		c = pick(r, requests)
	}
	a.verb = c.verb
	if c.of != "" {
		list := made[c.of]
		a.of = list[len(list)-1-min(r.IntN(len(list)), r.IntN(len(list)))] // rather a new one
	}
	if c.makes != "" {
		made[c.makes] = append(made[c.makes], a.n)
	}
	switch c.verb {
	case "server.create":
		a.k = max(1, r.IntN(6)-2)
	case "server.create-once":
		a.k = 2 + r.IntN(3)
	case "quota.set":
		a.k = r.IntN(12)
	}
}

func (h *history) trouble(r *rand.Rand, a *action) {
	c := pick(r, troubles)
	a.verb, a.lasts = c.verb, time.Duration(r.Int64N(int64(100*time.Second)))
	switch c.verb {
	case "fault":
		t := h.shape.theme
		if r.IntN(2) == 0 {
			t = h.draw(r)
		}
		a.driver, a.method, a.how, a.k, a.lasts = t.driver, t.method, t.how, 1+r.IntN(4), 0
		if r.IntN(4) == 0 {
			a.k = 12 // more than an operation has patience for
		}
	case "store.fault":
		a.driver, a.method, a.how, a.k, a.lasts = "store", "Commit", storeFaults[r.IntN(len(storeFaults))], 1+r.IntN(3), 0
		if a.how == "unavailable-begin" {
			a.method = "Begin"
		}
	case "process.kill-at-commit", "guest.crash", "guest.power-off":
		a.lasts = 0
		if c.verb != "process.kill-at-commit" {
			break
		}
		a.k = 1 + r.IntN(8)
		a.how = []string{"before", "after"}[r.IntN(2)]
	case "process.kill":
		a.lasts /= 4
	case "clock.jump":
		a.k = []int{-3600, -30, 30, 3600}[r.IntN(4)] // seconds
		a.lasts = 0
	}
}

// draw draws a fault of a driver.
func (h *history) draw(r *rand.Rand) trouble {
	t := methods[r.IntN(len(methods))]
	t.how = faultKinds[r.IntN(len(faultKinds))]
	if t.driver == "host" {
		t.driver = fmt.Sprintf("host-%d", 1+r.IntN(h.shape.hosts))
	}
	return t
}
