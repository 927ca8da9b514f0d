package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// again is what to type to see a seed again.
func again(seed uint64) string {
	return fmt.Sprintf("go run ./internal/simulate -seed %d -v", seed)
}

// TestHistories runs the same seeds each time; the command runs new ones.
func TestHistories(t *testing.T) {
	t.Parallel()
	seeds := 25
	if testing.Short() {
		seeds = 10
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			for _, p := range run(t, generate(seed), nil, nil).Problems {
				t.Errorf("%s: %s\nagain: %s", p.Class, p.Text, again(seed))
			}
		})
	}
}

// TestBugsAreFound plants bugs that any few histories meet, and has one of them made shorter. `-bug all` plants the others too.
func TestBugsAreFound(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"no-unbind", "no-claim", "no-quota", "event-gap"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bug := bugNamed(name)
			for seed := range uint64(30) {
				h := generate(seed)
				o := run(t, h, bug, nil)
				if len(o.Problems) == 0 {
					continue
				}
				if name == "no-claim" {
					short := shrink(h, 40, func(h *history) bool { return run(t, h, bug, nil).has(o.Problems[0].Class) })
					require.Less(t, len(short.actions), len(h.actions)/2+1, "%v", short.actions)
				}
				return
			}
			t.Errorf("no history of 30 finds that %s", bug.what)
		})
	}
}

func TestAHistoryIsDecidedByItsSeed(t *testing.T) {
	t.Parallel()
	require.Equal(t, generate(7), generate(7))
	require.NotEqual(t, generate(7).actions, generate(8).actions)
	h := generate(7)
	require.Equal(t, h.actions[2:4], h.only([]int{2, 3}).actions)
	require.Equal(t, h, h.only(h.numbers()))
}

// TestShrinkFindsTheFewThatMatter has a failure that needs three actions of forty.
func TestShrinkFindsTheFewThatMatter(t *testing.T) {
	t.Parallel()
	h := &history{}
	for n := range 40 {
		h.actions = append(h.actions, action{n: n, at: time.Duration(n) * time.Second})
	}
	asked := 0
	short := shrink(h, 200, func(h *history) bool {
		asked++
		have := h.numbers()
		return slices.Contains(have, 3) && slices.Contains(have, 17) && slices.Contains(have, 38)
	})
	require.Equal(t, []int{3, 17, 38}, short.numbers())
	require.Less(t, asked, 100)
	require.Len(t, h.actions, 40, "the history itself stays as it is")
	require.Equal(t, h.numbers(), shrink(h, 5, func(*history) bool { return false }).numbers())
}

// TestTroubleIsNoticed: what the invariants are for is what they see.
func TestTroubleIsNoticed(t *testing.T) {
	t.Parallel()
	h := &history{seed: 1, shape: shape{replicas: 1, hosts: 2, vcpus: 64}, actions: []action{
		{n: 0, at: 0, verb: "server.create", of: -1, k: 1},
		{n: 1, at: time.Second, verb: "server.rename", of: 0},
	}}
	classes := func(spoil func(w *world, s *state)) (out []string) {
		for _, p := range runThen(t, h, nil, nil, spoil).Problems {
			out = append(out, p.Class)
		}
		return out
	}
	require.Empty(t, classes(func(*world, *state) {}))
	require.Equal(t, []string{"lost"}, classes(func(w *world, s *state) { delete(s.things["server"], "made-by-0") }), "a server that is gone")
	require.Equal(t, []string{"lost"}, classes(func(w *world, s *state) { s.text[w.records[0].ids[0]] = "" }), "a write that is gone")
	require.Equal(t, []string{"ghost"}, classes(func(w *world, s *state) { w.records[0].answer = refused }), "a server that nobody was promised")
	require.Equal(t, []string{"state"}, classes(func(w *world, s *state) { s.servers[0].VMState = "error" }), "ERROR without a reason")
	require.Equal(t, []string{"events"}, classes(func(w *world, s *state) { w.seen = slices.Delete(w.seen, 3, 4) })[:1], "an event that a reader missed")
}
