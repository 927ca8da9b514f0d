package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/image"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// state is what is there in the end: names by the kind of thing, and what writes have left.
type state struct {
	servers []*compute.Server
	things  map[string]map[string][]string // ids by kind and name
	text    map[string]string              // what rename has left, by id
	quota   int64
}

// verify says which invariants do not hold once everything has come to rest.
func (w *world) verify(spoil func(w *world, s *state)) {
	for _, l := range w.env.Leaks() {
		w.bad("leak", "%s", l)
	}
	w.env.Check()
	s := w.inTheEnd()
	if spoil != nil {
		spoil(w, s)
	}
	w.states(s)
	for _, a := range w.h.actions {
		if r := w.records[a.n]; r != nil {
			w.promises(s, r)
		}
	}
	w.registers(s)
	w.events()
}

func (w *world) inTheEnd() *state {
	sys := w.env.Cloud.As(identity.System())
	s := &state{things: map[string]map[string][]string{"server": {}, "port": {}, "network": {}, "image": {}}, text: map[string]string{}}
	page, err1 := sys.Compute.ListServers(w.env.Request(0), compute.ServerQuery{AllProjects: true})
	ports, err2 := sys.Network.ListPorts(w.env.Request(0), network.PortFilter{})
	networks, err3 := sys.Network.ListNetworks(w.env.Request(0), network.NetworkFilter{})
	images, _, err4 := sys.Image.List(w.env.Request(0), image.Query{})
	quota, err5 := sys.Compute.GetQuota(w.env.Request(0), w.env.Seeded.ProjectID)
	for _, err := range []error{err1, err2, err3, err4, err5} {
		if err != nil {
			w.bad("broken", "the end cannot be read: %v", err)
			panic(errStop)
		}
	}
	add := func(kind, id, name, text string) {
		s.things[kind][name] = append(s.things[kind][name], id)
		s.text[id] = text
	}
	s.servers = page.Servers
	for _, v := range page.Servers {
		name := v.Name
		if at := strings.LastIndexByte(name, '-'); strings.Count(name, "-") == 3 { // one of several: made-by-7-2
			name = name[:at]
		}
		add("server", v.ID, name, v.Description)
	}
	for _, v := range ports {
		add("port", v.ID, v.Name, v.Description)
	}
	for _, v := range networks {
		add("network", v.ID, v.Name, v.Description)
		if v.Status != network.Active {
			w.bad("state", "network %s (%s) is %s", v.ID, v.Name, v.Status)
		}
	}
	for _, v := range images {
		add("image", v.ID, v.Name, "")
		if v.Status != image.Active && v.Status != image.Queued {
			w.bad("state", "image %s (%s) is %s", v.ID, v.Name, v.Status)
		}
	}
	s.quota = quota["instances"].Limit
	return s
}

// states looks at servers that are in none of the states to stay in, and at what is still owed.
func (w *world) states(s *state) {
	calm := !slices.ContainsFunc(w.h.actions, func(a action) bool {
		return a.driver != "" || strings.Contains("host.down host.lose-power guest.crash guest.power-off network.down image.down "+
			"process.kill process.kill-at-commit process.freeze clock.jump server.cancel host.force-down host.disable", a.verb)
	})
	for _, v := range s.servers {
		switch st := v.Status(); {
		case st == "SHUTOFF" && calm && !w.stopped(v.ID):
			w.bad("state", "server %s (%s) is SHUTOFF, and nobody has stopped it", v.ID, v.Name)
		case st == compute.StatusActive || st == "SHUTOFF":
		case st != compute.StatusError:
			w.bad("state", "server %s (%s) is %s in the end", v.ID, v.Name, st)
		case v.Fault == nil || v.Fault.Message == "":
			w.bad("state", "server %s (%s) is in ERROR without a reason", v.ID, v.Name)
		case calm && !strings.Contains(v.Fault.Message, "No valid host"):
			w.bad("state", "server %s (%s) is in ERROR although nothing was wrong: %s", v.ID, v.Name, v.Fault.Message)
		}
	}
	err := w.env.Cloud.Store().View(w.env.Request(0), func(tx *store.Tx) error {
		want, err := w.env.Cloud.As(identity.System()).Compute.Expected(tx)
		if err == nil {
			for host, marks := range want.Owed {
				w.bad("state", "host %s still owes the removal of %d guests", host, len(marks))
			}
		}
		return err
	})
	if err != nil {
		w.bad("broken", "what is owed cannot be read: %v", err)
	}
}

// stopped reports whether somebody may have stopped a server.
func (w *world) stopped(id string) bool {
	for _, r := range w.records {
		if r.verb == "server.stop" && r.aboutID == id && r.answer != refused && r.answer != impossible {
			return true
		}
	}
	return false
}

// promises compares what a client was told with what is there.
func (w *world) promises(s *state, r *record) {
	kind, verb, _ := strings.Cut(r.verb, ".")
	switch {
	case strings.HasPrefix(verb, "create"):
		have, want := s.things[kind][name(r.n)], max(1, len(r.ids))
		if r.verb == "server.create-once" {
			want = 1
			for _, b := range r.bodies {
				if b != r.bodies[0] {
					w.bad("twice", "%s got two answers: %s and %s", r.action, r.bodies[0], b)
				}
			}
			if len(have) > 1 {
				w.bad("twice", "%s, sent %d times with one key, made %d servers", r.action, r.k, len(have))
			}
		}
		deleted := w.deleted(r.n)
		switch {
		case r.answer == acknowledged && !deleted && len(have) != want:
			w.bad("lost", "%s was acknowledged and made %d, there are %d", r.action, want, len(have))
		case (r.answer == refused || r.answer == impossible) && len(have) > 0:
			w.bad("ghost", "%s was refused (%v), and there is %v", r.action, r.err, have)
		case len(have) > max(1, r.k, want):
			w.bad("twice", "%s asked for %d, there are %d", r.action, max(1, r.k), len(have))
		}
	case verb == "delete" && (r.answer == acknowledged || r.answer == refused && fault.Is(r.err, fault.NotFound)):
		for _, ids := range s.things[kind] {
			if slices.Contains(ids, r.aboutID) {
				w.bad("lost", "%s was %s (%v), and %s is still there", r.action, r.answer, r.err, r.aboutID)
			}
		}
	}
}

// deleted reports whether somebody may have deleted what an action has made.
func (w *world) deleted(n int) bool {
	for _, r := range w.records {
		if r.of == n && strings.HasSuffix(r.verb, ".delete") && (r.answer == acknowledged || r.answer == unknown) {
			return true
		}
	}
	// A port that a user brought goes its own way; what was made on it or for it stays.
	return false
}

// registers checks what was written again and again: the last value that was acknowledged, or one of those that
// were written at the same time, or whose fate nobody knows.
func (w *world) registers(s *state) {
	writes := map[string][]*record{}
	for _, a := range w.h.actions {
		r := w.records[a.n]
		switch {
		case r == nil || r.answer == refused || r.answer == impossible:
		case strings.HasSuffix(r.verb, ".rename"):
			writes[r.aboutID] = append(writes[r.aboutID], r)
		case r.verb == "quota.set":
			writes["quota"] = append(writes["quota"], r)
		}
	}
	for what, all := range writes {
		got, there := s.text[what]
		if what == "quota" {
			got, there = fmt.Sprint(s.quota), true
		}
		if !there {
			continue // it was deleted
		}
		value := func(r *record) string {
			if what == "quota" {
				return fmt.Sprint(r.k)
			}
			return name(r.n)
		}
		written := slices.ContainsFunc(all, func(r *record) bool { return r.answer == acknowledged })
		ok := !written && (got == "" || what == "quota" || got == name(all[0].of)) // as it was made
		for _, r := range all {
			later := slices.ContainsFunc(all, func(o *record) bool { return o.answer == acknowledged && o.began > r.ended })
			ok = ok || got == value(r) && (r.answer == unknown || !later)
		}
		if !ok {
			w.bad("lost", "%s of %s was written by %v; it is %q", all[0].verb, what, names(all), got)
		}
	}
}

func names(all []*record) (out []string) {
	for _, r := range all {
		out = append(out, fmt.Sprintf("#%d (%s)", r.n, r.answer))
	}
	return out
}

// events are numbered from 1 without a gap, the same whenever they are read, and tell of each end once.
func (w *world) events() {
	w.listen()
	all := w.eventsAfter(0)
	if len(all) != len(w.seen) {
		w.bad("events", "who read with a cursor has seen %d events of %d", len(w.seen), len(all))
	}
	ends := map[string]int{}
	deaths := map[string]int{}
	for i, e := range all {
		if e.Seq != int64(i+1) {
			w.bad("events", "event %d has the number %d", i+1, e.Seq)
			break
		}
		if i > 0 && e.Time.Before(all[i-1].Time) {
			w.bad("events", "event %d is older than the one before it", i+1)
		}
		if i < len(w.seen) && (w.seen[i].Type != e.Type || w.seen[i].ID != e.ID) {
			w.bad("events", "event %d was read as %s of %s, then as %s of %s", i+1, w.seen[i].Type, w.seen[i].ID, e.Type, e.ID)
		}
		switch {
		case strings.HasPrefix(e.Type, "operation."):
			ends[e.OperationID]++
		case e.Type == "compute.instance.delete.end":
			deaths[e.ID]++
		}
	}
	for id, n := range deaths {
		if n > 1 {
			w.bad("events", "server %s was deleted %d times", id, n)
		}
	}
	w.ends(ends)
}

// ends compares the events that end operations with the operations.
func (w *world) ends(told map[string]int) {
	err := w.env.Look(func(s *store.Store) error {
		return s.View(w.env.Request(0), func(tx *store.Tx) error {
			for op, err := range operation.Collection.Each(tx, store.Query[operation.Operation]{}) {
				if err != nil {
					return err
				}
				if told[op.ID] != 1 {
					w.bad("events", "operation %s (%s) ended as %s, %d events say so", op.ID, op.Kind, op.State, told[op.ID])
				}
			}
			return nil
		})
	})
	if err != nil {
		w.bad("broken", "the operations cannot be read: %v", err)
	}
}

// trace is a digest of what happened in what order.
func (w *world) trace() string {
	h := sha256.New()
	for _, e := range w.seen {
		fmt.Fprintln(h, e.Seq, e.Time, e.Type, e.ID)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
