package clock

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestManualRunsTimersInOrder(t *testing.T) {
	t.Parallel()
	m := NewManual(start)
	var got []string
	note := func(s string) func() { return func() { got = append(got, s+" "+m.Mono().String()) } }
	m.AfterFunc(2*time.Second, note("b"))
	m.AfterFunc(time.Second, func() {
		note("a")()
		m.AfterFunc(500*time.Millisecond, note("from a")) // falls due inside the same Advance
	})
	m.AfterFunc(2*time.Second, note("c"))
	stop := m.AfterFunc(2*time.Second, note("stopped"))
	stop()
	stop()
	next, ok := m.Next()
	require.True(t, ok)
	require.Equal(t, time.Second, next)
	m.Advance(3 * time.Second)
	require.Equal(t, []string{"a 1s", "from a 1.5s", "b 2s", "c 2s"}, got)
	require.Equal(t, start.Add(3*time.Second), m.Now())
	_, ok = m.Next()
	require.False(t, ok)
}

func TestManualJumpMovesNoTimer(t *testing.T) {
	t.Parallel()
	m := NewManual(start)
	m.AfterFunc(time.Second, func() { t.Error("a jump of the wall clock fired a timer") })
	m.Jump(-time.Hour)
	m.Jump(25 * time.Hour)
	require.Equal(t, start.Add(24*time.Hour), m.Now())
	require.Zero(t, m.Mono())
}

func TestManualSleep(t *testing.T) {
	t.Parallel()
	m := NewManual(start)
	entered := make(chan struct{}, 2)
	m.OnSleep(func() { entered <- struct{}{} })
	done := make(chan error, 2)
	go func() { done <- m.Sleep(context.Background(), time.Minute) }()
	<-entered
	require.Equal(t, 1, m.Sleepers())
	m.Advance(59 * time.Second)
	require.Equal(t, 1, m.Sleepers())
	m.Advance(time.Second)
	require.Zero(t, m.Sleepers(), "who is woken counts as at work at once")
	require.NoError(t, <-done)

	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- m.Sleep(ctx, -1) }()
	<-entered
	m.Advance(time.Hour)
	require.Equal(t, 1, m.Sleepers())
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	require.Zero(t, m.Sleepers())
}

func TestWithTimeout(t *testing.T) {
	t.Parallel()
	m := NewManual(start)
	ctx, cancel := WithTimeout(context.Background(), m, time.Second)
	defer cancel()
	m.Advance(time.Second - 1)
	require.NoError(t, ctx.Err())
	m.Advance(1)
	require.Error(t, ctx.Err())
	require.Equal(t, context.DeadlineExceeded, context.Cause(ctx))

	ctx, cancel = WithTimeout(context.Background(), m, time.Second)
	cancel()
	_, waiting := m.Next()
	require.False(t, waiting, "a timeout that was ended leaves no timer")
	require.False(t, errors.Is(context.Cause(ctx), context.DeadlineExceeded))
}

func TestSystem(t *testing.T) {
	t.Parallel()
	c := System()
	before := c.Mono()
	require.NoError(t, c.Sleep(context.Background(), time.Millisecond))
	require.GreaterOrEqual(t, c.Mono()-before, time.Millisecond)
	require.Equal(t, time.UTC, c.Now().Location())
	fired := make(chan struct{})
	c.AfterFunc(0, func() { close(fired) })
	<-fired
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, c.Sleep(ctx, time.Hour), context.Canceled)
	require.ErrorIs(t, c.Sleep(ctx, -1), context.Canceled)
}
