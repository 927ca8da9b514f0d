package rest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/meter"
)

func newPool(k clock.Clock, slots, share, each, all int) *pool {
	return &pool{clock: k, slots: slots, share: share, each: each, all: all, owners: map[string]*owner{}, meter: &meter.Queue{}}
}

// numbers are what the meters tell of a pool: here, waiting, running.
func numbers(p *pool) [3]int64 {
	return [3]int64{p.meter.Here.Load(), p.meter.Waiting.Load(), p.meter.Running.Load()}
}

func testClock() *clock.Manual { return clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) }

func statusOf(err error) int {
	var se *statusError
	if !errors.As(err, &se) {
		return 0
	}
	return se.status
}

// put puts a call in line without waiting for its turn.
func (p *pool) put(t *testing.T, who string) *ticket {
	tk, err := p.enter(who)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	p.mu.Lock()
	before := len(tk.o.line)
	p.mu.Unlock()
	in := make(chan struct{})
	go func() {
		_ = tk.wait(ctx, time.Hour)
		close(in)
	}()
	for {
		p.mu.Lock()
		there := tk.slot || len(tk.o.line) > before
		p.mu.Unlock()
		if there {
			return tk
		}
		select {
		case <-in:
			return tk
		default: // the goroutine has not come to it yet
			runtime.Gosched()
		}
	}
}

func TestOwnersTakeTurns(t *testing.T) {
	t.Parallel()
	p := newPool(testClock(), 1, 1, 100, 100)
	at := p.put(t, "a")
	waiting := map[*ticket]string{}
	for _, who := range []string{"a", "a", "a", "b", "b", "c", "a"} {
		waiting[p.put(t, who)] = who
	}
	order := "a"
	for len(waiting) > 0 {
		at.yield()
		at.leave()
		at.leave()
		at = nil
		for tk, who := range waiting {
			select {
			case <-tk.turn:
				require.Nil(t, at, "one slot, two calls")
				at = tk
				order += who
				delete(waiting, tk)
			default:
			}
		}
		require.NotNil(t, at)
	}
	require.Equal(t, "aabcabaa", order)
	at.leave()
	require.Empty(t, p.owners)
	require.Zero(t, p.tickets+p.working+len(p.turns))
	require.Equal(t, [3]int64{}, numbers(p), "and its numbers with it")
}

func TestPoolRefuses(t *testing.T) {
	t.Parallel()
	p := newPool(testClock(), 1, 1, 3, 5)
	var held []*ticket
	for _, who := range []string{"a", "a", "a", "b", "b"} {
		tk, err := p.enter(who)
		require.NoError(t, err)
		held = append(held, tk)
	}
	_, err := p.enter("a")
	require.Equal(t, 429, statusOf(err), "its own are too many")
	_, err = p.enter("c")
	require.Equal(t, 503, statusOf(err), "all together are too many")
	require.Contains(t, err.Error(), "nothing has happened")
	held[3].leave()
	_, err = p.enter("a")
	require.Equal(t, 429, statusOf(err))
	_, err = p.enter("c")
	require.NoError(t, err)
	require.EqualValues(t, 2, p.meter.Refused[meter.OwnersLimit].Load())
	require.EqualValues(t, 1, p.meter.Refused[meter.AllLimit].Load())
	require.Equal(t, [3]int64{5, 0, 0}, numbers(p))
}

func TestPatience(t *testing.T) {
	t.Parallel()
	k := testClock()
	p := newPool(k, 1, 1, 10, 10)
	first := p.put(t, "a")
	second, err := p.enter("b")
	require.NoError(t, err)
	failed := make(chan error)
	go func() { failed <- second.wait(t.Context(), 10*time.Second) }()
	for {
		p.mu.Lock()
		in := len(p.turns) == 1
		p.mu.Unlock()
		if _, armed := k.Next(); in && armed {
			break
		}
		runtime.Gosched()
	}
	require.Equal(t, [3]int64{2, 1, 1}, numbers(p))
	k.Advance(10 * time.Second)
	require.Equal(t, 503, statusOf(<-failed))
	require.Equal(t, [3]int64{2, 0, 1}, numbers(p))
	second.leave()
	first.yield()
	require.Zero(t, p.working+len(p.turns), "who has given up is in no line")
	first.leave()
	require.Empty(t, p.owners)
	require.EqualValues(t, 1, p.meter.Refused[meter.Patience].Load())

	held := p.put(t, "a")
	gone, leave := context.WithCancel(t.Context())
	leave()
	third, err := p.enter("b")
	require.NoError(t, err)
	require.Error(t, third.wait(gone, time.Hour))
	require.EqualValues(t, 1, p.meter.Refused[meter.Left].Load())
	late, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	require.Error(t, third.wait(late, time.Hour))
	require.EqualValues(t, 2, p.meter.Refused[meter.Patience].Load(), "its own time was over")
	third.leave()
	held.leave()
	require.Equal(t, [3]int64{}, numbers(p))
}

func TestShare(t *testing.T) {
	t.Parallel()
	p := newPool(testClock(), 4, 2, 10, 10)
	var a []*ticket
	for range 3 {
		a = append(a, p.put(t, "a"))
	}
	b := p.put(t, "b")
	has := func(tk *ticket) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return tk.slot
	}
	require.Equal(t, []bool{true, true, false, true}, []bool{has(a[0]), has(a[1]), has(a[2]), has(b)}, "half for one, what is left for others")
	a[0].leave()
	require.True(t, has(a[2]))
}

// TestPoolNeverOverfull: whatever order calls come, give up and leave in, the slots and bounds hold and all of it comes to rest.
func TestPoolNeverOverfull(t *testing.T) {
	t.Parallel()
	p := newPool(clock.System(), 3, 2, 8, 20)
	var calls sync.WaitGroup
	var mu sync.Mutex
	at := map[string]int{}
	for i := range 200 {
		calls.Go(func() {
			who := fmt.Sprint(i % 4)
			tk, err := p.enter(who)
			if err != nil {
				return
			}
			defer tk.leave()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if rand.IntN(4) == 0 {
				cancel()
			}
			if tk.wait(ctx, time.Minute) != nil {
				return
			}
			mu.Lock()
			at[who]++
			at["all"]++
			if at[who] > 2 || at["all"] > 3 {
				t.Errorf("at work: %v", at)
			}
			mu.Unlock()
			for range rand.IntN(3) {
				runtime.Gosched()
			}
			mu.Lock()
			at[who]--
			at["all"]--
			mu.Unlock()
			tk.yield()
		})
	}
	calls.Wait()
	require.Empty(t, p.owners)
	require.Zero(t, p.tickets+p.working+len(p.turns))
	require.Equal(t, [3]int64{}, numbers(p), "and its numbers with it")
}
