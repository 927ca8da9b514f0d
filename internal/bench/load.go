package main

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// result is what a load did.
type result struct {
	n     int           // calls that ended
	took  time.Duration // from the first call's begin to the last one's end
	times []time.Duration
}

// rate is calls a second.
func (r result) rate() float64 { return float64(r.n) / r.took.Seconds() }

// quantile of the calls' durations, in milliseconds.
func (r result) quantile(q float64) float64 {
	if len(r.times) == 0 {
		return 0
	}
	slices.Sort(r.times)
	return ms(r.times[min(len(r.times)-1, int(q*float64(len(r.times))))])
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// load has clients call work again and again for a time, or until they have called limit times together if that
// is not 0, and waits for the last calls. The first error ends it. Each client has called once, unmeasured,
// before: caches and connections are warm.
func load(ctx context.Context, clients int, d time.Duration, limit int64, work func(ctx context.Context, client int) error) (result, error) {
	if err := each(clients, func(i int) error { return work(ctx, i) }); err != nil {
		return result{}, err
	}
	var stop atomic.Bool
	var begun atomic.Int64
	times := make([][]time.Duration, clients)
	began := time.Now()
	err := each(clients, func(i int) error {
		for last := began; last.Sub(began) < d && !stop.Load() && ctx.Err() == nil; {
			if n := begun.Add(1); limit > 0 && n > limit {
				break
			}
			if err := work(ctx, i); err != nil {
				stop.Store(true)
				return err
			}
			now := time.Now()
			times[i] = append(times[i], now.Sub(last))
			last = now
		}
		return ctx.Err()
	})
	r := result{took: time.Since(began), times: slices.Concat(times...)}
	r.n = len(r.times)
	return r, err
}

// each runs f(0) to f(n-1) at once and returns the first error.
func each(n int, f func(i int) error) error {
	var wait sync.WaitGroup
	failed := make(chan error, n)
	for i := range n {
		wait.Go(func() {
			if err := f(i); err != nil {
				failed <- err
			}
		})
	}
	wait.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}
