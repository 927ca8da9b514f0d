package filter

import (
	"strconv"
	"strings"

	"github.com/nubecula/cloud/scheduler"
)

// VCPU refuses hosts without enough vCPUs.
func VCPU() scheduler.Filter { return capacity{"vcpu", scheduler.CPU, "vCPUs", ""} }

// RAM refuses hosts without enough memory.
func RAM() scheduler.Filter { return capacity{"ram", scheduler.RAM, "MiB", " memory"} }

// Disk refuses hosts without enough disk space.
func Disk() scheduler.Filter { return capacity{"disk", scheduler.Disk, "GiB", " disk"} }

// capacity lets a host pass that has what is needed: total times allocation
// ratio less what is used, and never more than the total for one server.
type capacity struct {
	name       string
	of         scheduler.Resource
	unit, noun string
}

func (f capacity) Name() string { return f.name }

func (f capacity) Keep(s *scheduler.Snapshot, r *scheduler.Request, m scheduler.Mask) {
	need := r.Need.Get(f.of)
	if need <= 0 {
		return
	}
	for k := range m {
		if m[k] == 0 {
			continue
		}
		room := s.Room(k, f.of)
		var keep uint64
		for i := range room {
			if room[i] >= need {
				keep |= 1 << i
			}
		}
		m[k] &= keep
	}
}

func (f capacity) Reason(h *scheduler.Host, r *scheduler.Request) string {
	text := make([]byte, 0, 160)
	amount := func(before string, n int64) {
		text = append(append(strconv.AppendInt(append(text, before...), n, 10), ' '), f.unit...)
	}
	need, total, free := r.Need.Get(f.of), h.Total.Get(f.of), h.Free(f.of)
	amount("needs ", need)
	text = append(text, f.noun...)
	if need <= free {
		amount(", the whole host has ", total)
		return string(append(text, ": a server may not overcommit against itself"...))
	}
	amount(", ", total)
	text = append(append(text, " x "...), ratio(h.Ratio.Get(f.of))...)
	amount(" allocation ratio - ", h.Used.Get(f.of))
	amount(" used = ", free)
	return string(append(text, " free"...))
}

// ratio writes 1 as "1.0", so that nobody takes it for an amount.
func ratio(v float64) string {
	text := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}
