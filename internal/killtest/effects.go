package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/nubecula/cloud/internal/simbackend"
)

// effects asks the backend what was done to the guests, and compares it with what the answers promised.
func effects(ctx context.Context, w *world, want map[string]object) error {
	rep, err := w.control.Report(ctx)
	if err != nil {
		return err
	}
	r := w.record
	total := 0
	for _, n := range rep.Effects {
		total += n
	}
	r.add("calls of drivers", rep.Calls)
	r.add("calls of drivers that were made to fail", rep.Faults)
	for _, what := range []string{"Apply", "Change", "Remember"} {
		r.add("effects in the backend: "+what, rep.Effects[what])
	}
	r.add("effects that came after their caller had gone", rep.Late)
	r.checked("effects in the backend: second copies, behind a tombstone, done twice", total, rep.Violations)
	r.mu.Lock()
	owed := maps.Clone(r.owed)
	r.mu.Unlock()
	wrong, again := misdone(owed, rep.Servers, func(id string) bool { return want[id].state != "" })
	r.add("soft reboots asked for again, since the answer was lost", again)
	r.checked("starts, stops and reboots of guests that no action, or one twice, has made", len(rep.Servers), wrong)
	return nil
}

// misdone compares effects by server with what acknowledged actions owe. A server that was deleted may have been
// spared some. A soft reboot has no memory of its own: one whose answer is lost is asked for again.
func misdone(owed, did map[string]simbackend.Tally, there func(id string) bool) (out []string, again int) {
	for _, id := range slices.Sorted(maps.Keys(did)) {
		o, d := owed[id], did[id]
		moved := max(0, d.Placements-1) // each placement after the first starts the guest anew
		switch {
		case d.Starts > o.Starts+moved || d.Stops > o.Stops:
			out = append(out, fmt.Sprintf("server %s was started %d times and stopped %d times in %d placements; owed were %d and %d",
				id, d.Starts, d.Stops, d.Placements, o.Starts, o.Stops))
		case there(id) && (d.Starts < o.Starts || d.Stops < o.Stops || d.Reboots < o.Reboots):
			out = append(out, fmt.Sprintf("server %s was started %d, stopped %d, rebooted %d times; acknowledged were %d, %d, %d",
				id, d.Starts, d.Stops, d.Reboots, o.Starts, o.Stops, o.Reboots))
		case d.Reboots > 0 && o.Reboots == 0:
			out = append(out, fmt.Sprintf("server %s was rebooted %d times, and nobody had asked", id, d.Reboots))
		}
		again += max(0, d.Reboots-o.Reboots)
	}
	return out, again
}
