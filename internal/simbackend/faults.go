package simbackend

import (
	"time"

	"github.com/nubecula/cloud/fault/inject"
)

// Rule is a fault of the backend, as SetFaults sends it: see inject.Rule. Empty matching fields match everything.
type Rule struct {
	Driver  string        `json:"driver,omitempty"` // a host's name, "network", "image"
	Method  string        `json:"method,omitempty"`
	Object  string        `json:"object,omitempty"`
	Times   int           `json:"times,omitempty"`  // 0 means without end
	Chance  float64       `json:"chance,omitempty"` // 0 means 1
	Latency time.Duration `json:"latency,omitempty"`
	Fail    bool          `json:"fail,omitempty"`  // with fault.Unavailable
	After   bool          `json:"after,omitempty"` // the effect happens, its answer is lost
}

func (r Rule) inject() inject.Rule {
	out := inject.Rule{Driver: r.Driver, Method: r.Method, Object: r.Object, Times: r.Times, Chance: r.Chance, Latency: r.Latency}
	if r.Fail {
		out.Err = errInjected()
	}
	if r.After {
		out.When = inject.After
	}
	return out
}

// Rough are the rules of a bad day: one call in fifty fails without effect, one in fifty loses its
// answer, one in four takes 10 ms, some 150 ms, and one in a hundred so long that its caller may have died meanwhile.
func Rough() []Rule {
	return []Rule{
		{Chance: 0.02, Fail: true},
		{Chance: 0.02, Fail: true, After: true},
		{Chance: 0.01, Latency: 1500 * time.Millisecond},
		{Chance: 0.04, Latency: 150 * time.Millisecond},
		{Chance: 0.25, Latency: 10 * time.Millisecond},
	}
}
