package main

import "slices"

// shrink leaves actions out of a history as long as what is left still fails in the same way, and returns the
// shortest it found (delta debugging). fails runs a history; it is asked at most budget times.
func shrink(h *history, budget int, fails func(h *history) bool) *history {
	best := h
	for pieces := 2; len(best.actions) > 1 && budget > 0; {
		pieces = min(pieces, len(best.actions))
		shorter := false
		for i := 0; i < pieces && budget > 0; i++ {
			from, to := i*len(best.actions)/pieces, (i+1)*len(best.actions)/pieces
			try := *best
			try.actions = slices.Delete(slices.Clone(best.actions), from, to)
			budget--
			if fails(&try) {
				best, shorter = &try, true
				break
			}
		}
		switch {
		case shorter:
			pieces = max(2, pieces-1)
		case pieces == len(best.actions):
			return best
		default:
			pieces *= 2
		}
	}
	return best
}

// only returns a history with the actions of these numbers alone.
func (h *history) only(numbers []int) *history {
	if numbers == nil {
		return h
	}
	out := *h
	out.actions = nil
	for _, a := range h.actions {
		if slices.Contains(numbers, a.n) {
			out.actions = append(out.actions, a)
		}
	}
	return &out
}

// numbers are what only takes.
func (h *history) numbers() (out []int) {
	for _, a := range h.actions {
		out = append(out, a.n)
	}
	return out
}
