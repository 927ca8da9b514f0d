package metrics

import (
	"context"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/internal/lease"
	"github.com/nubecula/cloud/internal/meter"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// scrape is one collection.
type scrape struct {
	ch chan<- prometheus.Metric
	d  *descriptions
}

func (s *scrape) counter(d *prometheus.Desc, n int64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func (s *scrape) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s *scrape) timer(d *prometheus.Desc, t *meter.Timer, labels ...string) {
	count, sum, atMost := t.Read()
	buckets := make(map[float64]uint64, len(atMost))
	for i, bound := range meter.Bounds() {
		buckets[bound.Seconds()] = uint64(atMost[i])
	}
	s.ch <- prometheus.MustNewConstHistogram(d, uint64(count), sum.Seconds(), buckets, labels...)
}

// meters tells what was counted and timed while the cloud worked.
func (s *scrape) meters(m *meter.Meters) {
	m.Requests.Each(func(r meter.Request, n int64) {
		s.counter(s.d.requests, n, r.Service, r.Route.Route, strconv.Itoa(r.Status))
	})
	m.Latency.Each(func(r meter.Route, t *meter.Timer) { s.timer(s.d.requestSeconds, t, r.Service, r.Route) })
	m.EachQueue(func(sort string, q *meter.Queue) {
		waiting, running := q.Waiting.Load(), q.Running.Load()
		s.gauge(s.d.slots, float64(q.Slots.Load()), sort)
		s.gauge(s.d.here, float64(waiting), sort, "waiting")
		s.gauge(s.d.here, float64(running), sort, "running")
		s.gauge(s.d.here, float64(max(0, q.Here.Load()-waiting-running)), sort, "open") // they are not read at one instant
		for i, reason := range meter.Refusals() {
			s.counter(s.d.refused, q.Refused[i].Load(), sort, reason)
		}
	})
	m.Ended.Each(func(e meter.Ended, n int64) { s.counter(s.d.ended, n, e.Kind, e.State) })
	m.Steps.Each(func(p meter.Step, t *meter.Timer) {
		s.timer(s.d.stepSeconds, t, p.Kind, p.Step, map[bool]string{false: "do", true: "undo"}[p.Undo], p.Code)
	})
	m.Calls.Each(func(c meter.Call, t *meter.Timer) { s.timer(s.d.calls, t, c.Driver, c.Method, c.Code) })
}

func (s *scrape) store(st *store.Stats) {
	s.counter(s.d.updates, st.Updates.Load())
	s.counter(s.d.commits, st.Commits.Load())
	s.counter(s.d.conflicts, st.Conflicts.Load())
	s.counter(s.d.unknown, st.Unknown.Load())
	s.counter(s.d.events, st.Events.Load())
	s.timer(s.d.commitSecond, &st.CommitTime)
}

func (s *scrape) engine(e *engine.Engine) {
	l := e.Load()
	s.gauge(s.d.queued, float64(l.Queued))
	s.gauge(s.d.running, float64(l.Running))
	s.gauge(s.d.waiting, float64(l.Waiting))
	s.gauge(s.d.abandoned, float64(l.Abandoned))
}

// under is what is told of operations under way, and sum of hosts in one state.
type (
	under struct{ kind, state, step string }
	sum   struct{ hosts, vcpus, memory, disk, usedVCPUs, usedMemory, usedDisk int64 }
)

// records tells what is in the store; all of it or, when that cannot be read, nothing.
func (s *scrape) records(ctx context.Context, c *cloud.Cloud) {
	operations, replicas := map[under]int{}, 0
	err := c.Store().View(ctx, func(tx *store.Tx) error {
		for _, index := range []string{"active", "pending"} {
			for op, err := range operation.Collection.Each(tx, store.Query[operation.Operation]{Index: index}) {
				if err != nil {
					return err
				}
				operations[under{op.Kind, string(op.State), op.Step()}]++
			}
		}
		for l, err := range lease.Collection.Each(tx, store.Query[lease.Lease]{}) {
			if err != nil {
				return err
			}
			if tx.LeaseNow().Before(l.Until) {
				replicas++
			}
		}
		return nil
	})
	hosts, err2 := c.As(identity.System()).Compute.ListHosts(ctx)
	if err != nil || err2 != nil {
		s.gauge(s.d.failed, 1)
		return
	}
	s.gauge(s.d.failed, 0)
	s.gauge(s.d.replicas, float64(replicas))
	for u, n := range operations {
		s.gauge(s.d.operations, float64(n), u.kind, u.state, u.step)
	}
	byState := map[string]*sum{"up": {}, "disabled": {}, "down": {}, "gone": {}}
	for _, h := range hosts {
		state := "up"
		if !h.Gone.IsZero() && !h.Answers {
			state = "gone"
		} else if !h.Up {
			state = "down"
		} else if h.Disabled {
			state = "disabled"
		}
		t := byState[state]
		t.hosts++
		t.vcpus += int64(h.VCPUs)
		t.memory += h.MemoryMiB << 20
		t.disk += h.DiskGiB << 30
		t.usedVCPUs += int64(h.Used.VCPUs)
		t.usedMemory += h.Used.MemoryMiB << 20
		t.usedDisk += h.Used.DiskGiB << 30
	}
	for state, t := range byState {
		for d, v := range map[*prometheus.Desc]int64{s.d.hosts: t.hosts, s.d.vcpus: t.vcpus, s.d.vcpusUsed: t.usedVCPUs, s.d.memory: t.memory,
			s.d.memoryUsed: t.usedMemory, s.d.disk: t.disk, s.d.diskUsed: t.usedDisk} {
			s.gauge(d, float64(v), state)
		}
	}
}
