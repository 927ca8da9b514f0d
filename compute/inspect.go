package compute

import (
	"context"
	"slices"
	"strings"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/internal/finding"
	"github.com/nubecula/cloud/store"
)

// What Inspect finds on the hosts.
var (
	hostSilent = finding.Rule{Name: "host-not-compared",
		Means: "nobody knows what the host holds: its servers are shown as they were last seen",
		Do:    "see that the host and its daemon run and that this program reaches them; then inspect again"}
	guestUnknown = finding.Rule{Name: "guest-unknown", Removable: true,
		Means: "the guest was made for a server that this store never heard of, or for a newer placement of it: the store was restored from an older backup, or damaged. It may be a user's running server",
		Do:    "restore a newer backup if there is one; otherwise save what the guest holds and have it removed (Cloud.AcceptRemoval)"}
	guestOrphan = finding.Rule{Name: "guest-orphan", Removable: true,
		Means: "the guest is left of a placement that is over; nobody can reach it through the API and it takes room on its host",
		Do:    "nothing: the next pass removes it. If the log says that there were too many, see that they may go, and have them removed (Cloud.AcceptRemoval)"}
	guestOwed = finding.Rule{Name: "guest-owed",
		Means: "the guest is to be removed; its host did not answer when that was asked, or the store is held",
		Do:    "nothing: it goes when the host answers, or when the store is accepted"}
	guestForeign = finding.Rule{Name: "guest-foreign",
		Means: "it is not this cloud's and is left alone; what it uses of the host is not counted, so servers may find less room than the scheduler thinks",
		Do:    "give the cloud a host of its own, or offer less of this one. If it is another cloud's and should be this one's, the program runs with the wrong store"}
	guestTorn = finding.Rule{Name: "guest-torn",
		Means: "half of the guest is gone; it cannot run as it is",
		Do:    "reboot the server --hard: that makes it whole around its disk, if that is there"}
	guestMissing = finding.Rule{Name: "guest-missing",
		Means: "the server's guest and disk are not on the host that should have them; the server is in ERROR, or will be when the next listing lacks it too",
		Do:    "mount the host's storage, or bring the guest back from the host's own backup: the server comes back by itself. Otherwise delete the server. If many are missing, the driver may be connected to the wrong host; Cloud.AcceptLoss says that it is right"}
	guestDrifted = finding.Rule{Name: "guest-drifted",
		Means: "somebody or something switched the guest on or off behind the cloud's back",
		Do:    "nothing: the server's state follows with the next pass"}
)

// Inspect asks every host what it holds and compares that with the store. It changes nothing. Operations under way are no
// finding. A host that does not answer is one.
func (s *Service) Inspect(ctx context.Context) ([]finding.Finding, error) {
	if err := s.allowed(ctx, "compute:host:list"); err != nil {
		return nil, err
	}
	var all []*Host
	if err := s.store.View(ctx, func(tx *store.Tx) (err error) {
		all, err = s.allHosts(tx)
		return err
	}); err != nil {
		return nil, err
	}
	l := &finding.List{Service: "compute"}
	for _, h := range all {
		n := len(l.Found)
		seen, err := s.see(ctx, h.ID)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil && !h.Gone.IsZero() {
			continue // nobody waits for its answer
		}
		if err != nil {
			l.Add(hostSilent, "host", h.ID, "host %s (%s) could not be asked: %v", h.Name, h.ID, err)
		} else {
			seen.explain(l, h.Name)
		}
		for i := n; i < len(l.Found); i++ {
			l.Found[i].Where = h.ID
		}
	}
	return l.Found, nil
}

// allowed asks the policy about something that concerns hosts.
func (s *Service) allowed(ctx context.Context, action string) error {
	return s.view(ctx, func(tx *store.Tx) error { return s.check(tx, action, identity.Target{Kind: "host"}) })
}

// explain adds a finding for everything that is not as it should be.
func (s *sighting) explain(l *finding.List, host string) {
	there := map[string]bool{}
	for _, g := range s.guests {
		m := g.Mark
		v := s.judge(g)
		e := s.before[m.ID]
		switch v {
		case asRecorded, busy, drifted, torn:
			there[m.ID] = true
		}
		switch v {
		case unknown:
			l.Add(guestUnknown, "guest", m.ID, "host %s has guest %s (%s, %s) of generation %d, which this store does not know%s", host, m.ID, g.Name, g.Power, m.Generation, s.butKnows(m))
		case orphan:
			l.Add(guestOrphan, "guest", m.ID, "host %s has guest %s (%s, %s) of generation %d, which is over", host, m.ID, g.Name, g.Power, m.Generation)
		case owed:
			l.Add(guestOwed, "guest", m.ID, "host %s is still to be rid of guest %s (%s, %s) of generation %d", host, m.ID, g.Name, g.Power, m.Generation)
		case foreign:
			whose := "bears no cloud's mark"
			if m.Cloud != "" {
				whose = "belongs to cloud " + m.Cloud
			}
			l.Add(guestForeign, "guest", m.ID, "host %s has guest %s (%s), which %s", host, g.Name, g.Power, whose)
		case torn:
			l.Add(guestTorn, "server", m.ID, "half of the guest of server %s (%s) is gone from host %s", m.ID, e.state, host)
		case drifted:
			l.Add(guestDrifted, "server", m.ID, "server %s is %s, its guest on host %s is %s", m.ID, e.state, host, g.Power)
		}
	}
	var gone []string
	for id, e := range s.before {
		if !there[id] && !e.busy && e.state != Building {
			gone = append(gone, id)
		}
	}
	slices.SortFunc(gone, strings.Compare)
	for _, id := range gone {
		l.Add(guestMissing, "server", id, "server %s is %s on host %s and has no guest of generation %d there", id, s.before[id].state, host, s.before[id].generation)
	}
}

// butKnows tells what the store knows instead.
func (s *sighting) butKnows(m computedriver.Mark) string {
	f := s.after[m.Ref()]
	switch {
	case f.exists:
		return "; it knows the server on another host, or in an older generation"
	case f.deleted:
		return "; it knows the server as deleted in an older generation"
	}
	return ""
}
