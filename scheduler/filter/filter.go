// Package filter holds the usual filters of a scheduler. Each is in its own
// file with the text of its refusals.
package filter

import "github.com/nubecula/cloud/scheduler"

// Default returns the usual filters in their usual order: what was asked for
// by name first, then the host's state, then its capacity.
func Default() []scheduler.Filter {
	return []scheduler.Filter{Destination(), Exclude(), Alive(0), Zone(), VCPU(), RAM(), Disk()}
}

// Func makes a filter of a function that returns why h may not take r, or ""
// when it may. It is called for every host that is left: for a filter that
// refuses many of ten thousand hosts write a scheduler.Filter.
func Func(name string, reason func(h *scheduler.Host, r *scheduler.Request) string) scheduler.Filter {
	return fn{name, reason}
}

type fn struct {
	name   string
	reason func(h *scheduler.Host, r *scheduler.Request) string
}

func (f fn) Name() string { return f.name }

func (f fn) Keep(s *scheduler.Snapshot, r *scheduler.Request, m scheduler.Mask) {
	for p := range m.All() {
		if f.reason(s.Host(p), r) != "" {
			m.Remove(p)
		}
	}
}

func (f fn) Reason(h *scheduler.Host, r *scheduler.Request) string { return f.reason(h, r) }
