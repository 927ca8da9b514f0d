package scheduler

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/nubecula/cloud/fault"
)

// Decision is the outcome of one Pick, of bounded size whatever the number of
// hosts, fit to be stored as JSON with the work it was made for.
type Decision struct {
	Hosts      int         `json:"hosts"`                // how many were considered
	Passed     int         `json:"passed"`               // how many no filter refused
	Candidates []Candidate `json:"candidates,omitempty"` // the best of those, best first
	Counts     []Count     `json:"counts,omitempty"`     // exact, in the order of the filters; filters that refused nobody are left out
	Refused    []Group     `json:"refused,omitempty"`    // refusals with their reasons, in the order of the filters
	Omitted    int         `json:"omitted,omitempty"`    // refused hosts that are in Counts but in no Group, to keep this small
}

// Candidate is a host that may take the request.
type Candidate struct {
	ID     string  `json:"id"`
	Name   string  `json:"name,omitempty"`
	Weight float64 `json:"weight"` // comparable within one Decision only
}

// Count is how many hosts one filter refused.
type Count struct {
	Filter  string `json:"filter"`
	Refused int    `json:"refused"`
}

// Refusal is why one host was refused: by the first filter that removed it.
type Refusal struct {
	HostID string `json:"host_id"`
	Host   string `json:"host"` // name, or the id of a host without one
	Filter string `json:"filter"`
	Reason string `json:"reason"`
}

// Group is the refusals of one filter for one reason.
type Group struct {
	Filter string   `json:"filter"`
	Reason string   `json:"reason"`
	Hosts  []string `json:"hosts"` // as in Refusal.Host; the first few
	Count  int      `json:"count"` // of the explained hosts refused so
}

const (
	explainedBeside = 16    // refusals of one filter that are explained although a host was found
	explainedAlone  = 1_000 // and when none was
	groupHosts      = 5     // names kept in a Group
	reasonBytes     = 300   // of one reason
	errorLines      = 5     // groups named in the text of Err
	errorHosts      = 3     // names in a line of Err
)

// refusals yields refused hosts with the filter that refused them, at most perFilter of each.
func (sc *Scheduler) refusals(s *Snapshot, r *Request, t *table, perFilter int) iter.Seq[Refusal] {
	return func(yield func(Refusal) bool) {
		var gone Mask
		for i, f := range sc.opts.Filters {
			gone = append(gone[:0], t.masks[i]...)
			for k, kept := range t.masks[i+1] {
				gone[k] &^= kept
			}
			n := 0
			for p := range gone.All() {
				if n++; n > perFilter {
					break
				}
				h := s.Host(p)
				reason := f.Reason(h, r)
				if reason == "" {
					reason = "no reason given"
				}
				if !yield(Refusal{HostID: h.ID, Host: h.Label(), Filter: f.Name(), Reason: shorten(reason)}) {
					return
				}
			}
		}
	}
}

// explain groups refusals by reason, with at most reasons different ones of one filter.
func (d *Decision) explain(refusals iter.Seq[Refusal], reasons int) {
	d.Omitted = d.Hosts - d.Passed
	if d.Omitted == 0 {
		return
	}
	type key struct{ filter, reason string }
	at := make(map[key]int)
	groups := make(map[string]int) // by filter
	for r := range refusals {
		k := key{r.Filter, r.Reason}
		i, ok := at[k]
		if !ok {
			if groups[r.Filter] == reasons {
				continue
			}
			groups[r.Filter]++
			i = len(d.Refused)
			at[k] = i
			d.Refused = append(d.Refused, Group{Filter: r.Filter, Reason: r.Reason})
		}
		g := &d.Refused[i]
		g.Count++
		d.Omitted--
		if len(g.Hosts) < groupHosts {
			g.Hosts = append(g.Hosts, r.Host)
		}
	}
}

// Err returns nil when there is a candidate, else an Exhausted error: how many
// hosts each filter refused, and the reasons of a few. It starts with Nova's
// own words, capital letter and all, because its clients look for them.
func (d *Decision) Err() error {
	if len(d.Candidates) > 0 {
		return nil
	}
	if d.Hosts == 0 {
		return fault.New(fault.Exhausted, "No valid host was found: there are no hosts")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "No valid host was found: all of %d refused (", d.Hosts)
	for i, c := range d.Counts {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %d", c.Filter, c.Refused)
	}
	b.WriteString(")")
	told := 0
	for _, g := range d.nearest() {
		names := g.Hosts[:min(errorHosts, len(g.Hosts))]
		b.WriteString("; " + strings.Join(names, ", "))
		if more := g.Count - len(names); more > 0 {
			b.WriteString(" and " + strconv.Itoa(more) + " more")
		}
		b.WriteString(": " + g.Filter + ": " + g.Reason)
		told += g.Count
	}
	if rest := d.Hosts - told; rest > 0 {
		fmt.Fprintf(&b, "; and %d hosts more", rest)
	}
	return &fault.Error{Code: fault.Exhausted, Msg: b.String()}
}

// nearest returns the groups that Err names: near misses first, which are those that came
// farthest through the filters, and one group of each filter before the second of any.
func (d *Decision) nearest() []Group {
	var first, rest []Group
	for i := len(d.Counts) - 1; i >= 0; i-- {
		of := slices.DeleteFunc(slices.Clone(d.Refused), func(g Group) bool { return g.Filter != d.Counts[i].Filter })
		if len(of) > 0 {
			first, rest = append(first, of[0]), append(rest, of[1:]...)
		}
	}
	all := append(first, rest...)
	return all[:min(errorLines, len(all))]
}

// shorten cuts a text that others wrote, such as a driver's error, at a rune.
func shorten(text string) string {
	if len(text) <= reasonBytes {
		return text
	}
	cut := reasonBytes
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "..."
}
