package meter_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/internal/meter"
)

func TestTimer(t *testing.T) {
	t.Parallel()
	var m meter.Meters
	k := meter.Step{Kind: "server.create", Step: "define", Code: "ok"}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for _, d := range []time.Duration{0, time.Millisecond, 1001 * time.Microsecond, time.Hour} {
				m.AddStep(k, d)
			}
		})
	}
	all.Wait()
	seen := 0
	m.Steps.Each(func(got meter.Step, timer *meter.Timer) {
		seen++
		require.Equal(t, k, got)
		count, sum, atMost := timer.Read()
		require.EqualValues(t, 32, count)
		require.Equal(t, 8*(2001*time.Microsecond+time.Hour), sum)
		require.EqualValues(t, []int64{8, 16, 24}, atMost[:3])
		require.EqualValues(t, 24, atMost[len(atMost)-1])
	})
	require.Equal(t, 1, seen)
	var none *meter.Meters
	none.AddStep(k, 0)
	none.AddEnded("a", "b")
	none.AddRequest(meter.Route{}, 200, 0)
}

func BenchmarkAddStep(b *testing.B) {
	var m meter.Meters
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.AddStep(meter.Step{Kind: "server.create", Step: "define", Code: "ok"}, 3*time.Millisecond)
		}
	})
}
