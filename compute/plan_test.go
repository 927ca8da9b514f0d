package compute

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute/computedriver"
)

// world is a host and a store, made up: what a pass sees, and what its deeds do.
type world struct {
	servers map[string]*fake // that exist
	deleted map[string]fake  // that did
	debts   map[computedriver.Ref]bool
	guests  []computedriver.GuestState
	missed  map[string]expected
	never   map[computedriver.Mark]bool // guests that must never be removed
}

type fake struct {
	expected
	host string
	busy bool
}

const us, here = "us", "here"

func (w *world) sighting(limit int) *sighting {
	s := &sighting{host: here, cloud: us, before: map[string]expected{}, guests: slices.Clone(w.guests), after: map[computedriver.Ref]fate{}, missed: w.missed, limit: limit}
	for id, v := range w.servers {
		if v.host == here {
			e := v.expected
			e.busy = v.busy
			s.before[id] = e
		}
	}
	for _, g := range w.guests {
		if e, ok := s.before[g.Mark.ID]; g.Mark.Cloud != us || ok && e.generation == g.Mark.Generation {
			continue
		}
		f := fate{owed: w.debts[g.Mark.Ref()]}
		if v := w.servers[g.Mark.ID]; v != nil {
			f.exists, f.generation, f.host, f.busy = true, v.generation, v.host, v.busy
		} else if v, ok := w.deleted[g.Mark.ID]; ok {
			f.deleted, f.generation, f.host = true, v.generation, v.host
		}
		s.after[g.Mark.Ref()] = f
	}
	return s
}

// do applies what a plan says, as settle does.
func (w *world) do(p deeds) {
	w.missed = p.missed
	for _, g := range p.follow {
		v := w.servers[g.Mark.ID]
		on := g.Power == computedriver.Running || g.Power == computedriver.Paused
		v.power, v.revision = powers[g.Power], v.revision+1
		switch {
		case v.lost && on, v.state == Stopped && g.Power == computedriver.Running:
			v.lost, v.state = false, Active
		case v.lost, v.state == Active && !on:
			v.lost, v.state = false, Stopped
		}
	}
	for _, l := range p.lose {
		v := w.servers[l.id]
		v.state, v.power, v.lost, v.revision = Error, PowerNone, true, v.revision+1
	}
	for _, dead := range p.remove {
		w.guests = slices.DeleteFunc(w.guests, func(g computedriver.GuestState) bool { return g.Mark == dead.Mark })
	}
}

// generate makes a world up.
func generate(r *rand.Rand) *world {
	w := &world{servers: map[string]*fake{}, deleted: map[string]fake{}, debts: map[computedriver.Ref]bool{}, never: map[computedriver.Mark]bool{}}
	power := func() computedriver.Power {
		return []computedriver.Power{computedriver.Off, computedriver.Running, computedriver.Crashed, computedriver.Paused, computedriver.Torn}[r.IntN(5)]
	}
	add := func(cloud, id string, generation int64) {
		m := computedriver.Mark{Cloud: cloud, ID: id, Generation: generation}
		if slices.ContainsFunc(w.guests, func(g computedriver.GuestState) bool { return g.Mark.ID == id && id != "" }) {
			return // a host has one guest of an id
		}
		w.guests = append(w.guests, computedriver.GuestState{Mark: m, Name: fmt.Sprint("g", len(w.guests)), Power: power()})
		v, gone := w.servers[id], w.deleted[id]
		switch {
		case cloud != us, v == nil && gone.generation == 0: // another's, or unheard of
			w.never[m] = true
		case v != nil:
			// busy, or not over: its own placement, here or elsewhere, or one that was never given out
			w.never[m] = v.busy || generation > v.generation || generation == v.generation && v.host != ""
		default:
			w.never[m] = generation > gone.generation || generation == gone.generation && gone.host != here
		}
	}
	for i := range r.IntN(8) {
		id := fmt.Sprint("server-", i)
		v := fake{expected{int64(1 + r.IntN(3)), int64(r.IntN(9)), []VMState{Building, Active, Stopped, Error}[r.IntN(4)], []PowerState{PowerNone, PowerRunning, PowerShutdown, PowerPaused}[r.IntN(4)], false, false}, []string{here, "there", ""}[r.IntN(3)], r.IntN(4) == 0}
		v.lost = v.state == Error && r.IntN(3) == 0
		if v.host != here && v.host != "" && v.state == Building {
			v.state = Active
		}
		if r.IntN(4) == 0 {
			v.busy = false
			w.deleted[id] = v
		} else {
			w.servers[id] = &v
		}
		if r.IntN(6) == 0 {
			w.debts[computedriver.Ref{ID: id, Generation: int64(1 + r.IntN(4))}] = true
		}
		if r.IntN(4) > 0 {
			add(us, id, int64(1+r.IntN(4)))
		}
	}
	for i := range r.IntN(3) {
		add(us, fmt.Sprint("unheard-of-", i), int64(1+r.IntN(3)))
		add("them", fmt.Sprint("server-", r.IntN(9)), 1)
		add("", "", 0)
	}
	return w
}

// TestPlan: over generated worlds, a plan removes nothing but placements that the store knows to be over, touches nothing
// that is busy, keeps within its limit, and leaves nothing to do after a few passes.
func TestPlan(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4000) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := generate(r)
		limit := 1 + r.IntN(4)
		fail := func(format string, args ...any) {
			t.Helper()
			t.Fatalf("seed %d: "+format, append([]any{seed}, args...)...)
		}
		for pass := range 5 {
			s := w.sighting(limit)
			p := s.plan()
			for _, g := range p.remove {
				if w.never[g.Mark] || w.debts[g.Mark.Ref()] {
					fail("pass %d removes %+v", pass, g)
				}
			}
			for _, g := range p.follow {
				if w.servers[g.Mark.ID].busy || w.servers[g.Mark.ID].generation != g.Mark.Generation {
					fail("pass %d follows %+v", pass, g)
				}
			}
			for _, l := range p.lose {
				v := w.servers[l.id]
				if _, twice := s.missed[l.id]; v.busy || v.state == Building || !twice {
					fail("pass %d loses %s: %+v", pass, l.id, v)
				}
			}
			if len(p.remove) > limit || len(p.lose) > limit {
				fail("pass %d does %d and %d of at most %d", pass, len(p.remove), len(p.lose), limit)
			}
			if n := len(p.spared.remove); n > 0 && (n <= limit || len(p.remove) > 0) {
				fail("pass %d spares %d of at most %d", pass, n, limit)
			}
			if pass > 2 && len(p.follow)+len(p.lose)+len(p.remove) > 0 {
				fail("pass %d still does %+v", pass, p)
			}
			w.do(p)
		}
		for id, v := range w.servers { // what is not busy, not braked and here is as its guest
			if v.host != here || v.busy || v.state == Building || len(w.sighting(limit).plan().spared.lose) > 0 {
				continue
			}
			at := slices.IndexFunc(w.guests, func(g computedriver.GuestState) bool {
				return g.Mark == computedriver.Mark{Cloud: us, ID: id, Generation: v.generation}
			})
			switch {
			case at < 0 || w.guests[at].Power == computedriver.Torn:
				if !v.lost {
					fail("server %s is %+v and has no whole guest", id, v)
				}
			case v.lost, v.power != powers[w.guests[at].Power], v.state == Active && v.power == PowerShutdown, v.state == Stopped && v.power == PowerRunning:
				fail("server %s is %+v, its guest %s", id, v, w.guests[at].Power)
			}
		}
	}
}

// TestMissingOnce: a guest that one listing lacks, and the next has, was never missing; nor is one whose server was written in between.
func TestMissingOnce(t *testing.T) {
	t.Parallel()
	e := expected{generation: 1, revision: 7, state: Active, power: PowerRunning}
	s := &sighting{host: here, cloud: us, before: map[string]expected{"a": e}, limit: 1}
	p := s.plan()
	require.Empty(t, p.lose)
	guest := computedriver.GuestState{Mark: computedriver.Mark{Cloud: us, ID: "a", Generation: 1}, Power: computedriver.Running}
	back := &sighting{host: here, cloud: us, before: s.before, guests: []computedriver.GuestState{guest}, missed: p.missed, limit: 1}
	require.Empty(t, back.plan().missed)
	written := e
	written.revision++
	again := &sighting{host: here, cloud: us, before: map[string]expected{"a": written}, missed: p.missed, limit: 1}
	require.Empty(t, again.plan().lose)
	lost := &sighting{host: here, cloud: us, before: s.before, missed: p.missed, limit: 1}
	require.Equal(t, []loss{{"a", false}}, lost.plan().lose)
}

// table draws the verdicts as the design note shows them.
func table() string {
	var b strings.Builder
	b.WriteString("| what | when | what is done |\n|---|---|---|\n")
	for _, v := range verdicts {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", v.verdict, v.when, v.action)
	}
	return b.String()
}

// TestVerdictsAreDocumented keeps the table of the design note true.
func TestVerdictsAreDocumented(t *testing.T) {
	t.Parallel()
	const note = "../doc/design/080-reconcile.md"
	body, err := os.ReadFile(note)
	require.NoError(t, err)
	if *rewriteStates {
		from := strings.Index(string(body), "| what | when |")
		to := from + strings.Index(string(body[from:]), "\n\n") + 1
		require.NoError(t, os.WriteFile(note, []byte(string(body[:from])+table()+string(body[to:])), 0o644))
		return
	}
	require.Contains(t, string(body), table(), "go test ./compute -run Documented -rewrite-states accepts the change")
}
