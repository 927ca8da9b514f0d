package compute

import (
	"slices"
	"strings"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/finding"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/scheduler"
	"github.com/nubecula/cloud/store"
)

// Collections lists the kinds of documents that this package keeps. The quota ledger is network's and
// ours together, and network lists it.
func Collections() []store.AnyCollection {
	return []store.AnyCollection{servers, seeds, flavors, keypairs, hosts, ledgers, claims, debts, portGenerations}
}

// audit collects what Check finds.
type audit struct {
	c      *core
	tx     *store.Tx
	counts map[string]map[string]int64 // of quota, by project and resource
	finding.List
}

// Check recounts everything and returns what is not as it should be: quota, what is given out of each host,
// references, and servers whose state nobody is working on.
func (s *Service) Check(tx *store.Tx) ([]finding.Finding, error) {
	a := &audit{c: s.core, tx: tx, counts: map[string]map[string]int64{}, List: finding.List{Service: "compute"}}
	for _, part := range []func() error{a.servers, a.seeds, a.claims, a.debts} {
		if err := part(); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(a.Found, func(x, y finding.Finding) int { return strings.Compare(x.Text, y.Text) })
	lines, err := s.book.Verify(tx, a.counts)
	a.Lines(finding.QuotaWrong, "quota", "", lines)
	return a.Found, err
}

func (a *audit) servers() error {
	for v, err := range servers.Each(a.tx, store.Query[Server]{}) {
		if err != nil {
			return err
		}
		if v.Counted {
			if a.counts[v.ProjectID] == nil {
				a.counts[v.ProjectID] = map[string]int64{}
			}
			for name, n := range v.Flavor.counts(1) {
				a.counts[v.ProjectID][name] += n
			}
		}
		if err := a.server(v); err != nil {
			return err
		}
	}
	return nil
}

func (a *audit) server(v *Server) error {
	if ok, err := seeds.Has(a.tx, v.ID); err != nil || !ok {
		a.Add(serverWithoutSeed, "server", v.ID, "server %s has no seed", v.ID)
		return err
	}
	op, err := operation.Active(a.tx, resource(v.ID))
	if err != nil {
		return err
	}
	if op == nil && (v.TaskState != NoTask || v.VMState == Building) {
		a.Add(serverStuck, "server", v.ID, "server %s is in vm_state %s, task_state %q, and no operation is at work on it", v.ID, v.VMState, v.TaskState)
	}
	if op == nil && (v.VMState == Active || v.VMState == Stopped) && v.HostID == "" {
		a.Add(serverWithoutHost, "server", v.ID, "server %s is in vm_state %s and has no host", v.ID, v.VMState)
	}
	if v.HostID == "" {
		return nil
	}
	c, err := claims.Get(a.tx, placementID(v.ID, v.Generation))
	switch {
	case fault.Is(err, fault.NotFound):
		if op == nil {
			a.Add(claimMissing, "server", v.ID, "server %s is on host %s without a claim of generation %d", v.ID, v.HostID, v.Generation)
		}
		return nil
	case err != nil:
		return err
	case c.HostID != v.HostID:
		a.Add(claimMissing, "server", v.ID, "server %s is on host %s, its claim on %s", v.ID, v.HostID, c.HostID)
	}
	return nil
}

func (a *audit) seeds() error {
	for d, err := range seeds.Each(a.tx, store.Query[serverSeed]{}) {
		if err != nil {
			return err
		}
		if ok, err := servers.Has(a.tx, d.ServerID); err != nil || !ok {
			a.Add(seedLeft, "server-seed", d.ServerID, "seed of server %s, which is not there", d.ServerID)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *audit) claims() error {
	want := map[string]*ledger{}
	for c, err := range claims.Each(a.tx, store.Query[claim]{}) {
		if err != nil {
			return err
		}
		l := want[c.HostID]
		if l == nil {
			l = &ledger{HostID: c.HostID}
			want[c.HostID] = l
		}
		l.Used = plus(l.Used, c.Need)
		l.Servers++
		owed, err := debts.Has(a.tx, placementID(c.ServerID, c.Generation))
		if err != nil {
			return err
		}
		v, err := servers.Get(a.tx, c.ServerID)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		if !owed && (v == nil || v.Generation != c.Generation || v.HostID != c.HostID) {
			a.Add(claimLeft, "claim", placementID(c.ServerID, c.Generation), "claim of server %s, generation %d, on host %s, where it is not", c.ServerID, c.Generation, c.HostID)
		}
	}
	for l, err := range ledgers.Each(a.tx, store.Query[ledger]{}) {
		if err != nil {
			return err
		}
		w := want[l.HostID]
		if w == nil {
			w = &ledger{HostID: l.HostID}
		}
		if *l != *w {
			a.Add(ledgerWrong, "host", l.HostID, "ledger of host %s says %d servers with %+v, there are %d with %+v", l.HostID, l.Servers, l.Used, w.Servers, w.Used)
		}
		delete(want, l.HostID)
	}
	for id, w := range want {
		a.Add(ledgerWrong, "host", id, "host %s has no ledger, there are %d servers with %+v", id, w.Servers, w.Used)
	}
	return nil
}

func plus(a, b scheduler.Resources) scheduler.Resources {
	return scheduler.Resources{VCPUs: a.VCPUs + b.VCPUs, MemoryMiB: a.MemoryMiB + b.MemoryMiB, DiskGiB: a.DiskGiB + b.DiskGiB}
}

func (a *audit) debts() error {
	for d, err := range debts.Each(a.tx, store.Query[debt]{}) {
		if err != nil {
			return err
		}
		if ok, err := claims.Has(a.tx, placementID(d.ServerID, d.Generation)); err != nil || !ok && !d.Orphan {
			a.Add(debtWithoutClaim, "guest-debt", placementID(d.ServerID, d.Generation), "debt of server %s, generation %d, on host %s without a claim", d.ServerID, d.Generation, d.HostID)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// Expected is what should be on the hosts once nothing is under way: by host id the marks of all guests,
// and of those whose removal is still owed.
type Expected struct {
	Guests map[string][]computedriver.Mark
	Owed   map[string][]computedriver.Mark
}

// Expected returns what should be on the hosts; what else drivers list under this Cloud's mark is a leak.
func (s *Service) Expected(tx *store.Tx) (*Expected, error) {
	out := &Expected{Guests: map[string][]computedriver.Mark{}, Owed: map[string][]computedriver.Mark{}}
	for v, err := range servers.Each(tx, store.Query[Server]{}) {
		if err != nil {
			return nil, err
		}
		if v.HostID != "" {
			out.Guests[v.HostID] = append(out.Guests[v.HostID], s.mark(v.ID, v.Generation))
		}
	}
	for d, err := range debts.Each(tx, store.Query[debt]{}) {
		if err != nil {
			return nil, err
		}
		out.Owed[d.HostID] = append(out.Owed[d.HostID], s.mark(d.ServerID, d.Generation))
	}
	return out, nil
}
