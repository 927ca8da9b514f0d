package simbackend

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/network/networkdriver"
)

// Tally is what happened to the guests of one server, over all its placements: effects, not calls.
type Tally struct {
	Placements int `json:"placements"` // defined, on whatever host
	Starts     int `json:"starts"`
	Stops      int `json:"stops"`
	Undefines  int `json:"undefines"`
	Reboots    int `json:"reboots"` // soft ones; each call that succeeded counts
}

// Report is what a Server has seen since it began.
type Report struct {
	Calls      int              `json:"calls"`  // of drivers, heartbeats and listings included
	Faults     int              `json:"faults"` // calls that a rule made fail
	Late       int              `json:"late"`   // effects whose caller was gone by then
	Effects    map[string]int   `json:"effects"`
	Servers    map[string]Tally `json:"servers"` // by id
	Violations []string         `json:"violations"`
}

// ledger counts effects. Its own idea of guests and tombstones comes from the calls alone.
type ledger struct {
	mu         sync.Mutex
	effects    map[string]int
	late       int
	placements map[computedriver.Ref]*placed
	tallies    map[string]*Tally
	running    map[string]map[string]int64 // generation by server and host
	turns      map[computedriver.Ref]int64 // the greatest that had an effect, by placement
	graves     map[[2]string]int64         // greatest generation undefined, by host and server
	newest     map[string]int64            // greatest generation defined anywhere, by server
	unbound    map[string]int64            // greatest generation unbound, by port
	removed    map[string]bool             // networks
	violations []string
}

// placed is one placement.
type placed struct {
	mark    computedriver.Mark
	host    string
	defines int
}

func newLedger() *ledger {
	return &ledger{effects: map[string]int{}, placements: map[computedriver.Ref]*placed{}, tallies: map[string]*Tally{},
		running: map[string]map[string]int64{}, turns: map[computedriver.Ref]int64{}, graves: map[[2]string]int64{}, newest: map[string]int64{},
		unbound: map[string]int64{}, removed: map[string]bool{}}
}

func (l *ledger) violation(format string, args ...any) {
	l.violations = append(l.violations, fmt.Sprintf(format, args...))
}

func (l *ledger) tally(id string) *Tally {
	t := l.tallies[id]
	if t == nil {
		t = &Tally{}
		l.tallies[id] = t
	}
	return t
}

// defined: a guest was made on a host, in place of an older placement if there was one.
func (l *ledger) defined(host string, m computedriver.Mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.effects["Define"]++
	r := m.Ref()
	l.behindTombstone(host, r, "Define")
	p := l.placements[r]
	if p == nil {
		p = &placed{mark: m, host: host}
		l.placements[r] = p
		l.tally(m.ID).Placements++
	}
	p.defines++
	switch {
	case p.mark.Cloud != m.Cloud:
		l.violation("server %s generation %d was defined for cloud %s and for cloud %s", m.ID, m.Generation, p.mark.Cloud, m.Cloud)
	case p.host != host:
		l.violation("server %s generation %d was defined on %s and on %s: one placement, two hosts", m.ID, m.Generation, p.host, host)
	case p.defines > 1:
		l.violation("server %s generation %d was defined %d times on %s", m.ID, m.Generation, p.defines, host)
	}
	if n := l.newest[m.ID]; n > m.Generation {
		l.violation("server %s generation %d was defined on %s after generation %d", m.ID, m.Generation, host, n)
	}
	l.newest[m.ID] = max(l.newest[m.ID], m.Generation)
	delete(l.running[m.ID], host)
}

// started: a guest that was off runs.
func (l *ledger) started(host string, r computedriver.Ref) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.effects["Start"]++
	l.tally(r.ID).Starts++
	l.behindTombstone(host, r, "Start")
	r = l.inTurn(host, r, "Start")
	if p := l.placements[r]; p == nil || p.host != host {
		l.violation("server %s generation %d was started on %s, where it was not defined", r.ID, r.Generation, host)
	}
	on := l.running[r.ID]
	if on == nil {
		on = map[string]int64{}
		l.running[r.ID] = on
	}
	on[host] = r.Generation
	if len(on) > 1 {
		l.violation("server %s runs %d times: generation by host %v", r.ID, len(on), on)
	}
}

// stopped: a guest that ran is off.
func (l *ledger) stopped(host string, r computedriver.Ref) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.effects["Stop"]++
	l.tally(r.ID).Stops++
	l.inTurn(host, r, "Stop")
	delete(l.running[r.ID], host)
}

func (l *ledger) rebooted(host string, r computedriver.Ref) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.effects["Reboot"]++
	l.tally(r.ID).Reboots++
	l.inTurn(host, r, "Reboot")
}

// inTurn notes the turn of an effect and returns the placement.
func (l *ledger) inTurn(host string, r computedriver.Ref, what string) computedriver.Ref {
	turn := r.Turn
	r.Turn = 0
	if last := l.turns[r]; last > turn {
		l.violation("%s of server %s generation %d on %s in turn %d, after turn %d", what, r.ID, r.Generation, host, turn, last)
	}
	l.turns[r] = max(l.turns[r], turn)
	return r
}

// undefined: the tombstone is there; effect says whether a guest went.
func (l *ledger) undefined(host string, r computedriver.Ref, effect bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := [2]string{host, r.ID}
	l.graves[at] = max(l.graves[at], r.Generation)
	if effect {
		l.effects["Undefine"]++
		l.tally(r.ID).Undefines++
		delete(l.running[r.ID], host)
	}
}

func (l *ledger) behindTombstone(host string, r computedriver.Ref, what string) {
	if g := l.graves[[2]string{host, r.ID}]; g >= r.Generation {
		l.violation("%s of server %s generation %d on %s behind the tombstone of generation %d", what, r.ID, r.Generation, host, g)
	}
}

// bound: a call of Bind succeeded.
func (l *ledger) bound(port string, b networkdriver.Bind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.effects["Bind"]++
	if g := l.unbound[port]; g >= b.Generation {
		l.violation("port %s was bound to %s with generation %d behind the tombstone of generation %d", port, b.Host, b.Generation, g)
	}
}

func (l *ledger) unbind(port string, b networkdriver.Bind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.effects["Unbind"]++
	l.unbound[port] = max(l.unbound[port], b.Generation)
}

// applied: a call of Apply succeeded.
func (l *ledger) applied(network string) { l.made("Apply", network) }

// changed: a call of Change succeeded.
func (l *ledger) changed(network string) { l.made("Change", network) }

func (l *ledger) made(effect, network string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.effects[effect]++
	if l.removed[network] {
		l.violation("%s of network %s behind its tombstone", effect, network)
	}
}

func (l *ledger) remove(network string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.effects["Remove"]++
	l.removed[network] = true
}

func (l *ledger) count(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.effects[what]++
}

func (l *ledger) cameLate() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.late++
}

func (l *ledger) report() Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := Report{Late: l.late, Effects: maps.Clone(l.effects), Servers: map[string]Tally{}, Violations: slices.Clone(l.violations)}
	for id, t := range l.tallies {
		r.Servers[id] = *t
	}
	return r
}
