package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/nubecula/cloud/internal/simbackend"
)

// object is a server, port or image, as a client expects it or as it was found.
type object struct {
	kind, id, name string
	state          string // "ACTIVE", "queued" ...; "" means that it is not there
	sum            string // of an image's data; "" means none
	actions        string // done to a server, in order of their names: "create 1, stop 2"
}

// gone is the object after its deletion.
func (o object) gone() object {
	o.state = ""
	return o
}

// record is what the clients were answered, and what was wrong. It is safe for concurrent use.
type record struct {
	out io.Writer // problems are written here at once

	mu       sync.Mutex
	want     map[string]object           // by id, as of the last acknowledged answer
	actions  map[string]map[string]int   // acknowledged ones, by server and name
	owed     map[string]simbackend.Tally // what they must do to the guest, by server
	counts   map[string]int
	checks   []check
	problems int

	disturbed int             // times; of the goroutine that does it
	takeovers []time.Duration // until others finished what a killed replica had begun
}

// check is a line of the table: how much was looked at, and how much of it was wrong.
type check struct {
	name        string
	looked, bad int
}

func newRecord(out io.Writer) *record {
	return &record{out: out, want: map[string]object{}, actions: map[string]map[string]int{}, owed: map[string]simbackend.Tally{}, counts: map[string]int{}}
}

// expect keeps what an answer promised.
func (r *record) expect(o object) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.want[o.id] = o
}

// acted keeps that an action on a server was acknowledged.
func (r *record) acted(id, action string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.actions[id] == nil {
		r.actions[id] = map[string]int{}
	}
	r.actions[id][action]++
}

// owe keeps what an acknowledged action must do to the guest, once.
func (r *record) owe(id string, t simbackend.Tally) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sum := r.owed[id]
	sum.Starts += t.Starts
	sum.Stops += t.Stops
	sum.Reboots += t.Reboots
	r.owed[id] = sum
}

// expected returns what must be there, and what must be gone, by id.
func (r *record) expected() map[string]object {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := maps.Clone(r.want)
	for id, a := range r.actions {
		o := out[id]
		o.actions = listed(a)
		out[id] = o
	}
	return out
}

func (r *record) count(what string) { r.add(what, 1) }

func (r *record) add(what string, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[what] += n
}

// took keeps how long a takeover was.
func (r *record) took(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.takeovers = append(r.takeovers, d)
}

// times returns how often something was counted.
func (r *record) times(what string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts[what]
}

func (r *record) problem(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problems++
	fmt.Fprintf(r.out, "PROBLEM "+format+"\n", args...)
}

func (r *record) problemCount() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.problems
}

// checked adds a line to the table and each finding to the problems.
func (r *record) checked(name string, looked int, findings []string) {
	for _, f := range findings {
		r.problem("%s: %s", name, f)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checks = append(r.checks, check{name, looked, len(findings)})
}

func (r *record) print(w io.Writer, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "\nDONE\tTIMES")
	for _, name := range slices.Sorted(maps.Keys(r.counts)) {
		fmt.Fprintf(tw, "%s\t%d\n", name, r.counts[name])
	}
	fmt.Fprintln(tw, "\nCHECKED\tLOOKED AT\tWRONG")
	for _, c := range r.checks {
		fmt.Fprintf(tw, "%s\t%d\t%d\n", c.name, c.looked, c.bad)
	}
	tw.Flush()
	if len(r.takeovers) > 0 {
		slices.Sort(r.takeovers)
		fmt.Fprintf(w, "\nfrom the death of a replica until another had booted its server: %.1f to %.1f s, median %.1f s, at a lease of %s\n",
			r.takeovers[0].Seconds(), r.takeovers[len(r.takeovers)-1].Seconds(), r.takeovers[len(r.takeovers)/2].Seconds(), lease)
	}
	fmt.Fprintf(w, "\n%d problems in %.0f s\n", r.problems, took.Seconds())
}

// summary is the record in one line of the table of modes.
func (r *record) summary(m mode, took time.Duration) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	writes, looked := 0, 0
	for _, a := range r.actions {
		for _, n := range a {
			writes += n
		}
	}
	for _, what := range []string{"ports made", "ports deleted", "images uploaded", "images deleted"} {
		writes += r.counts[what]
	}
	for _, c := range r.checks {
		looked += c.looked
	}
	return fmt.Sprintf("%s\t%s\t%d\t%d\t%d\t%d\t%.0f", m.name, m.what, r.disturbed, writes, looked, r.problems, took.Seconds())
}

// listed writes counts in the order of their names.
func listed(counts map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, counts[name]))
	}
	return strings.Join(parts, ", ")
}

// lost names what was acknowledged and is not so.
func lost(want, got map[string]object) (out []string) {
	for _, id := range slices.Sorted(maps.Keys(want)) {
		w, g := want[id], got[id]
		switch {
		case w.state != g.state:
			out = append(out, fmt.Sprintf("%s %s (%s) must be %s and is %s", w.kind, id, w.name, stateName(w.state), stateName(g.state)))
		case w.state != "" && w.sum != g.sum:
			out = append(out, fmt.Sprintf("%s %s (%s) has data with checksum %q, uploaded was %q", w.kind, id, w.name, g.sum, w.sum))
		}
	}
	return out
}

func stateName(s string) string {
	if s == "" {
		return "gone"
	}
	return s
}

// doubled names effects that no answer told of: objects of no client, one name twice, actions done too often or never.
func doubled(want, got map[string]object) (out []string) {
	names := map[string]string{}
	for _, id := range slices.Sorted(maps.Keys(got)) {
		g := got[id]
		if w, ok := want[id]; !ok && g.state != "" {
			out = append(out, fmt.Sprintf("%s %s (%s) was made, and no client was told", g.kind, id, g.name))
		} else if ok && w.actions != g.actions {
			out = append(out, fmt.Sprintf("%s %s (%s) has the actions %s; acknowledged were %s", g.kind, id, g.name, g.actions, w.actions))
		}
		if g.state == "" {
			continue
		}
		if first := names[g.kind+g.name]; first != "" {
			out = append(out, fmt.Sprintf("%s %s exists twice: %s and %s", g.kind, g.name, first, id))
		}
		names[g.kind+g.name] = id
	}
	return out
}
