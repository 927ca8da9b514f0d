package inject_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/internal/clock"
)

var errMine = errors.New("mine")

func newPlan(seed uint64) (*inject.Plan, *clock.Manual) {
	m := clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	return inject.NewPlan(m, seed), m
}

// hits makes n calls and says, by a letter each, what came of it: "." success, "x" a fault without the
// effect, "X" one after it.
func hits(t *testing.T, p *inject.Plan, n int, driver, method, object string) string {
	t.Helper()
	var out []byte
	for range n {
		ran := false
		err := p.Run(t.Context(), driver, method, object, func() error { ran = true; return nil })
		switch {
		case err == nil && ran:
			out = append(out, '.')
		case err != nil && ran:
			out = append(out, 'X')
		case err != nil:
			out = append(out, 'x')
		default:
			t.Fatal("no effect and no error")
		}
	}
	return string(out)
}

func TestRules(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rule inject.Rule
		want string
	}{
		"each call":          {inject.Rule{}, "xxxxxx"},
		"third call":         {inject.Rule{Nth: 3}, "..x..."},
		"first two":          {inject.Rule{Times: 2}, "xx...."},
		"third, once":        {inject.Rule{Nth: 3, Times: 1}, "..x..."},
		"from the third on":  {inject.Rule{From: 3}, "..xxxx"},
		"two from the third": {inject.Rule{From: 3, Times: 2}, "..xx.."},
		"after the effect":   {inject.Rule{When: inject.After, Nth: 2}, ".X...."},
		"with an error":      {inject.Rule{Err: errMine, Nth: 1}, "x....."},
		"other driver":       {inject.Rule{Driver: "host-2"}, "......"},
		"other method":       {inject.Rule{Method: "Stop"}, "......"},
		"other object":       {inject.Rule{Object: "b"}, "......"},
		"all three match":    {inject.Rule{Driver: "host-1", Method: "Start", Object: "a"}, "xxxxxx"},
		"one does not match": {inject.Rule{Driver: "host-1", Method: "Start", Object: "b"}, "......"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, _ := newPlan(1)
			p.Fail(c.rule)
			require.Equal(t, c.want, hits(t, p, 6, "host-1", "Start", "a"))
		})
	}
}

func TestNilPlan(t *testing.T) {
	t.Parallel()
	var p *inject.Plan
	require.NoError(t, p.Run(t.Context(), "d", "m", "o", func() error { return nil }))
	require.ErrorIs(t, p.Run(t.Context(), "d", "m", "o", func() error { return errMine }), errMine)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, p.Run(ctx, "d", "m", "o", func() error { panic("called") }), context.Canceled)
}

func TestErrors(t *testing.T) {
	t.Parallel()
	p, _ := newPlan(1)
	p.Fail(inject.Rule{Object: "plain"})
	p.Fail(inject.Rule{Object: "mine", Err: errMine})
	p.Fail(inject.Rule{Object: "after", Err: errMine, When: inject.After})
	run := func(object string, effect error) error {
		return p.Run(t.Context(), "host-1", "Start", object, func() error { return effect })
	}
	err := run("plain", nil)
	require.Equal(t, fault.Unavailable, fault.CodeOf(err))
	require.ErrorContains(t, err, "host-1.Start")
	require.ErrorIs(t, run("mine", nil), errMine)
	own := errors.New("its own")
	require.ErrorIs(t, run("after", own), own, "an effect that failed has no reply to lose")
	require.ErrorIs(t, run("after", nil), errMine)
}

// Nth counts the calls that the rule's driver, method and object match, not others.
func TestNthCountsItsOwnCalls(t *testing.T) {
	t.Parallel()
	p, _ := newPlan(1)
	p.Fail(inject.Rule{Method: "Start", Nth: 2})
	require.Equal(t, ".", hits(t, p, 1, "host-1", "Start", "a"))
	require.Equal(t, "....", hits(t, p, 4, "host-1", "Stop", "a"))
	require.Equal(t, "x.", hits(t, p, 2, "host-2", "Start", "b"))
}

func TestFirstRuleDecides(t *testing.T) {
	t.Parallel()
	p, _ := newPlan(1)
	second := errors.New("second")
	remove := p.Fail(inject.Rule{Err: errMine})
	p.Fail(inject.Rule{Err: second, Times: 1})
	run := func() error {
		return p.Run(t.Context(), "d", "m", "o", func() error { return nil })
	}
	require.ErrorIs(t, run(), errMine)
	require.ErrorIs(t, run(), errMine)
	remove()
	remove() // again is harmless
	require.ErrorIs(t, run(), second, "a rule that was not the first has hits left")
	require.NoError(t, run())
	p.Fail(inject.Rule{})
	p.Clear()
	require.NoError(t, run())
	require.Len(t, p.Calls(), 5, "the log stays")
}

// Chance draws from the plan's seed: the same seed and calls give the same faults.
func TestChance(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) string {
		p, _ := newPlan(seed)
		p.Fail(inject.Rule{Chance: 0.25})
		return hits(t, p, 2000, "d", "m", "o")
	}
	one := run(1)
	require.Equal(t, one, run(1))
	require.NotEqual(t, one, run(2))
	n := 0
	for _, c := range one {
		if c == 'x' {
			n++
		}
	}
	require.InDelta(t, 500, n, 100)

	p, _ := newPlan(1)
	p.Fail(inject.Rule{Chance: 0.5, Times: 3})
	n = 0
	for _, c := range hits(t, p, 100, "d", "m", "o") {
		if c == 'x' {
			n++
		}
	}
	require.Equal(t, 3, n, "calls that chance spares do not use up Times")
}

// asleep returns when n goroutines sleep on the clock.
func asleep(m *clock.Manual, n int) {
	for m.Sleepers() < n {
		runtime.Gosched()
	}
}

func TestLatency(t *testing.T) {
	t.Parallel()
	p, m := newPlan(1)
	p.Fail(inject.Rule{Object: "slow", Latency: time.Minute})
	p.Fail(inject.Rule{Object: "slow and broken", Latency: time.Minute, Err: errMine})
	for object, want := range map[string]error{"slow": nil, "slow and broken": errMine} {
		began := m.Mono()
		var at time.Duration
		done := make(chan error)
		go func() {
			done <- p.Run(t.Context(), "d", "m", object, func() error { at = m.Mono(); return nil })
		}()
		asleep(m, 1)
		m.Advance(59 * time.Second)
		select {
		case err := <-done:
			t.Fatalf("%s ended a second early: %v", object, err)
		default:
		}
		m.Advance(time.Second)
		require.Equal(t, want, <-done)
		if want == nil {
			require.Equal(t, began+time.Minute, at, "the effect comes after the wait")
		} else {
			require.Zero(t, at)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx, "d", "m", "slow", func() error { panic("called") }) }()
	asleep(m, 1)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
}

func TestHang(t *testing.T) {
	t.Parallel()
	for _, when := range []inject.When{inject.Before, inject.After} {
		p, m := newPlan(1)
		p.Fail(inject.Rule{Hang: true, When: when})
		ctx, cancel := context.WithCancel(t.Context())
		ran := false
		done := make(chan error)
		go func() { done <- p.Run(ctx, "d", "m", "o", func() error { ran = true; return nil }) }()
		asleep(m, 1)
		m.Advance(1000 * time.Hour)
		select {
		case err := <-done:
			t.Fatalf("it came back by itself: %v", err)
		default:
		}
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		require.Equal(t, when == inject.After, ran)
	}
}

func TestDo(t *testing.T) {
	t.Parallel()
	p, _ := newPlan(1)
	var order []string
	p.Fail(inject.Rule{Nth: 2, When: inject.After, Do: func() { order = append(order, "do") }})
	for range 3 {
		err := p.Run(t.Context(), "d", "m", "o", func() error { order = append(order, "effect"); return nil })
		order = append(order, fmt.Sprint(err != nil))
	}
	require.Equal(t, []string{"effect", "false", "effect", "do", "true", "effect", "false"}, order)
}

func TestCalls(t *testing.T) {
	t.Parallel()
	p, _ := newPlan(1)
	p.Fail(inject.Rule{Object: "b", Err: errMine})
	hits(t, p, 1, "host-1", "Start", "a")
	hits(t, p, 1, "host-1", "Stop", "b")
	require.Equal(t, []inject.Call{
		{Driver: "host-1", Method: "Start", Object: "a"},
		{Driver: "host-1", Method: "Stop", Object: "b", Err: errMine},
	}, p.Calls())
	require.Equal(t, "host-1.Stop(b)", p.Calls()[1].String())
}

func TestConcurrent(t *testing.T) {
	t.Parallel()
	p, _ := newPlan(1)
	p.Fail(inject.Rule{Times: 10})
	var wg sync.WaitGroup
	errs := make(chan error, 100)
	for range 100 {
		wg.Go(func() { errs <- p.Run(t.Context(), "d", "m", "o", func() error { return nil }) })
	}
	wg.Wait()
	close(errs)
	failed := 0
	for err := range errs {
		if err != nil {
			failed++
		}
	}
	require.Equal(t, 10, failed)
	require.Len(t, p.Calls(), 100)
}
