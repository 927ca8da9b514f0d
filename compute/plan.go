package compute

import (
	"cmp"
	"slices"

	"github.com/nubecula/cloud/compute/computedriver"
)

// What to do about the guests of a host is decided here, from what was seen and nothing else: no store, no driver, no
// clock. doc/design/080-reconcile.md has the table.

// verdict is what a guest, or the lack of one, is to this Cloud.
type verdict string

const (
	asRecorded verdict = "as recorded" // nothing to do
	busy       verdict = "busy"        // an operation is at work on the server
	drifted    verdict = "drifted"     // it is switched on or off and its server says otherwise
	torn       verdict = "torn"        // only half of it is there
	missing    verdict = "missing"     // its server says that it is here
	orphan     verdict = "orphan"      // a placement that the store knows to be over
	owed       verdict = "owed"        // the same, and its removal is a debt already
	unknown    verdict = "unknown"     // it bears this Cloud's mark, and the store never heard of that placement
	foreign    verdict = "foreign"     // it bears another mark, or none
)

// verdicts says what is done in each case.
var verdicts = []struct {
	verdict      verdict
	when, action string
}{
	{asRecorded, "the guest is as its server says", "nothing"},
	{busy, "an operation is at work on the server, or it was written since it was read", "nothing; the next pass looks again"},
	{drifted, "the guest is off and the server ACTIVE, or it runs and the server is SHUTOFF, or a guest that was lost is back", "the server's state follows the guest, with an event; the guest is left as it is"},
	{torn, "half of the guest is there, in two complete listings", "the server goes to ERROR; a hard reboot makes the guest whole around its disk"},
	{missing, "the guest is not there, in two complete listings", "the server goes to ERROR; it comes back by itself when its guest does"},
	{orphan, "the store knows that the placement is over: the server has a newer one, or none, or is deleted", "the guest is removed, unless there are too many in one pass"},
	{owed, "the same, and its removal is a debt already", "the debt is paid"},
	{unknown, "this Cloud's mark, and the store does not know that server or has not given out that generation", "alarm; never touched without an operator's word"},
	{foreign, "another Cloud's mark, or none", "never touched; told once"},
}

// expected is a server as it was recorded before the host was asked.
type expected struct {
	generation int64
	revision   int64
	state      VMState
	power      PowerState
	lost       bool // it is in ERROR because its guest was lost
	busy       bool
}

// fate is what the store says, after the host was asked, of a placement that is not in the records of the host.
type fate struct {
	exists     bool // the server does
	deleted    bool // it did
	generation int64
	host       string
	busy       bool
	owed       bool // the placement is a debt
}

// sighting is one look at a host.
type sighting struct {
	host   string
	cloud  string
	before map[string]expected // its servers, read before the host was asked
	guests []computedriver.GuestState
	after  map[computedriver.Ref]fate // of guests under our mark that are not in before, read after the host was asked
	missed map[string]expected        // what the last complete listing lacked
	limit  int                        // the most that one pass removes, or declares lost
}

// deeds are what to do.
type deeds struct {
	follow  []computedriver.GuestState // records that follow their guests
	lose    []loss                     // servers whose guests are lost
	remove  []computedriver.GuestState // guests whose placements are over
	unknown []computedriver.GuestState
	foreign []computedriver.GuestState
	missed  map[string]expected // for the next look
	braked  []string            // why something of the above was left out: what would have been done, in words
	spared  struct {            // what the brake left out
		remove []computedriver.GuestState
		lose   []loss
	}
}

// loss is a server without a whole guest.
type loss struct {
	id   string
	torn bool
}

// judge says what a listed guest is.
func (s *sighting) judge(g computedriver.GuestState) verdict {
	if g.Mark.Cloud != s.cloud || g.Mark.ID == "" {
		return foreign
	}
	if e, ok := s.before[g.Mark.ID]; ok && e.generation == g.Mark.Generation {
		switch {
		case e.busy:
			return busy
		case g.Power == computedriver.Torn:
			return torn
		case e.follows(g.Power):
			return drifted
		}
		return asRecorded
	}
	f := s.after[g.Mark.Ref()]
	switch {
	case f.owed:
		return owed
	case !f.exists && !f.deleted, g.Mark.Generation > f.generation:
		return unknown
	case f.busy, f.exists && g.Mark.Generation == f.generation && f.host == s.host:
		return busy // it was placed here since the records were read
	case f.exists && g.Mark.Generation == f.generation && f.host != "", f.deleted && g.Mark.Generation == f.generation && f.host != s.host:
		return unknown // one generation is one placement, and that is on another host
	}
	return orphan
}

// follows reports whether the record has to change for a guest in that state.
func (e expected) follows(p computedriver.Power) bool {
	on := p == computedriver.Running || p == computedriver.Paused
	return e.power != powers[p] || e.state == Active && !on || e.state == Stopped && p == computedriver.Running || e.lost
}

// plan is pure.
func (s *sighting) plan() deeds {
	p := deeds{missed: map[string]expected{}}
	whole := map[string]bool{}
	half := map[string]bool{}
	for _, g := range s.guests {
		switch v := s.judge(g); v {
		case foreign:
			p.foreign = append(p.foreign, g)
		case unknown:
			p.unknown = append(p.unknown, g)
		case orphan:
			p.remove = append(p.remove, g)
		case drifted:
			p.follow = append(p.follow, g)
			whole[g.Mark.ID] = true
		case asRecorded, busy:
			whole[g.Mark.ID] = true
		case torn:
			half[g.Mark.ID] = true
		}
	}
	for id, e := range s.before {
		if whole[id] || e.busy || e.lost || e.state == Building {
			continue
		}
		if was, ok := s.missed[id]; !ok || was.generation != e.generation || was.revision != e.revision {
			p.missed[id] = e
			continue
		}
		p.missed[id] = e // until the record says so
		p.lose = append(p.lose, loss{id, half[id]})
	}
	slices.SortFunc(p.lose, func(a, b loss) int { return cmp.Compare(a.id, b.id) })
	if len(p.remove) > s.limit {
		p.spared.remove, p.remove = p.remove, nil
		p.braked = append(p.braked, "too many guests to remove in one pass")
	}
	if len(p.lose) > s.limit {
		p.spared.lose, p.lose = p.lose, nil
		p.braked = append(p.braked, "too many guests missing in one pass")
	}
	return p
}
