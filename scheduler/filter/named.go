package filter

import (
	"slices"
	"strings"

	"github.com/nubecula/cloud/scheduler"
)

// Zone refuses hosts of another availability zone than the one asked for.
func Zone() scheduler.Filter { return zone{} }

type zone struct{}

func (zone) Name() string { return "zone" }

func (zone) Keep(s *scheduler.Snapshot, r *scheduler.Request, m scheduler.Mask) {
	if r.Zone == "" || len(r.ForceHosts) > 0 {
		return
	}
	for k := range m {
		if m[k] == 0 {
			continue
		}
		zones := s.Zones(k)
		var keep uint64
		for i := range zones {
			if zones[i] == r.Zone {
				keep |= 1 << i
			}
		}
		m[k] &= keep
	}
}

func (zone) Reason(h *scheduler.Host, r *scheduler.Request) string {
	if h.Zone == "" {
		return "in no availability zone, " + r.Zone + " is asked for"
	}
	return "in availability zone " + h.Zone + ", " + r.Zone + " is asked for"
}

// Exclude refuses the hosts that the request excludes.
func Exclude() scheduler.Filter { return exclude{} }

type exclude struct{}

func (exclude) Name() string { return "exclude" }

func (exclude) Keep(s *scheduler.Snapshot, r *scheduler.Request, m scheduler.Mask) {
	for id := range r.Exclude {
		if p, ok := s.Position(id); ok {
			m.Remove(p)
		}
	}
}

func (exclude) Reason(h *scheduler.Host, r *scheduler.Request) string {
	return because("excluded", r.Exclude[h.ID])
}

// Destination refuses every host but the requested destination and the forced hosts.
func Destination() scheduler.Filter { return destination{} }

type destination struct{}

func (destination) Name() string { return "destination" }

func (destination) Keep(s *scheduler.Snapshot, r *scheduler.Request, m scheduler.Mask) {
	if r.Destination == "" && len(r.ForceHosts) == 0 {
		return
	}
	for p := range m.All() {
		h := s.Host(p)
		if !wanted(h, r) || !forced(h, r) {
			m.Remove(p)
		}
	}
}

func (destination) Reason(h *scheduler.Host, r *scheduler.Request) string {
	if !wanted(h, r) {
		return "not the requested host " + r.Destination
	}
	return "not among the forced hosts " + strings.Join(r.ForceHosts, ", ")
}

func wanted(h *scheduler.Host, r *scheduler.Request) bool {
	return r.Destination == "" || r.Destination == h.ID || r.Destination == h.Name
}

func forced(h *scheduler.Host, r *scheduler.Request) bool {
	return len(r.ForceHosts) == 0 || slices.Contains(r.ForceHosts, h.ID) || slices.Contains(r.ForceHosts, h.Label())
}
