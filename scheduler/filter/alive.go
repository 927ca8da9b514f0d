package filter

import (
	"time"

	"github.com/nubecula/cloud/scheduler"
)

// Alive refuses hosts that are down, disabled, or not heard of for longer
// than grace. A grace of 0 means 60 s, which is Nova's service_down_time.
func Alive(grace time.Duration) scheduler.Filter {
	if grace <= 0 {
		grace = time.Minute
	}
	return alive{grace}
}

type alive struct{ grace time.Duration }

func (alive) Name() string { return "alive" }

func (f alive) Keep(s *scheduler.Snapshot, r *scheduler.Request, m scheduler.Mask) {
	forced := len(r.ForceHosts) > 0
	for k := range m {
		m[k] &= s.Up(k)
		if !forced {
			m[k] &= s.Enabled(k)
		}
		if r.Now.IsZero() || m[k] == 0 {
			continue
		}
		oldest := r.Now.Add(-f.grace).UnixNano()
		beats := s.Heartbeats(k)
		var keep uint64
		for i := range beats {
			if beats[i] >= oldest {
				keep |= 1 << i
			}
		}
		m[k] &= keep
	}
}

func (f alive) Reason(h *scheduler.Host, r *scheduler.Request) string {
	switch {
	case h.Down:
		return because("down", h.DownReason)
	case h.Disabled && len(r.ForceHosts) == 0:
		return because("disabled", h.DisabledReason)
	}
	return "no heartbeat for " + r.Now.Sub(h.Heartbeat).Round(time.Second).String() + ", at most " + f.grace.String() + " allowed"
}

func because(state, reason string) string {
	if reason == "" {
		return state + ", no reason given"
	}
	return state + ": " + reason
}
