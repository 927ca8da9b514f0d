package cloudtest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/store"
)

// drop deletes a document behind the back of the service that keeps it, with none of its index entries.
func drop(kind string, id func(e *Env, s *compute.Server) string) func(*Env, *compute.Server, *store.Tx) error {
	docs := store.Define(store.Spec[struct{}]{Kind: kind, Version: 1, ID: func(*struct{}) string { return "" }})
	return func(e *Env, s *compute.Server, tx *store.Tx) error { return docs.Delete(tx, id(e, s)) }
}

// alter changes a server behind compute's back.
func alter(change func(*compute.Server)) func(*Env, *compute.Server, *store.Tx) error {
	servers := store.Define(store.Spec[compute.Server]{Kind: "server", Version: 1, ID: func(s *compute.Server) string { return s.ID }})
	return func(_ *Env, s *compute.Server, tx *store.Tx) error {
		v, err := servers.Get(tx, s.ID)
		if err != nil {
			return err
		}
		change(v)
		return servers.Put(tx, v)
	}
}

// TestDamage: each kind of damage to the store is found, by its rule, with what it means and what to do.
func TestDamage(t *testing.T) {
	t.Parallel()
	server := func(_ *Env, s *compute.Server) string { return s.ID }
	for name, c := range map[string]struct {
		damage func(*Env, *compute.Server, *store.Tx) error
		words  map[string]string // by rule: what the report must say of it
	}{
		"a server that nobody works on": {alter(func(s *compute.Server) { s.VMState, s.TaskState = compute.Building, compute.Spawning }),
			map[string]string{"server-stuck": "no operation is at work on it"}},
		"a server that lost its host": {alter(func(s *compute.Server) { s.HostID = "" }),
			map[string]string{"server-without-host": "has no host", "claim-left": "where it is not", "store-index": "restore the newest backup"}},
		"a lost seed": {drop("server-seed", server),
			map[string]string{"server-without-seed": "config drive cannot be made again"}},
		"a lost claim": {drop("claim", func(_ *Env, s *compute.Server) string { return s.ID + "/1" }),
			map[string]string{"claim-missing": "without a claim of generation 1", "host-ledger-wrong": "there are 0 with", "store-index": "index host"}},
		"a lost ledger": {drop("host-ledger", func(_ *Env, s *compute.Server) string { return s.HostID }),
			map[string]string{"host-ledger-wrong": "has no ledger"}},
		"a lost server": {drop("server", server),
			map[string]string{"seed-left": "which is not there", "claim-left": "where it is not", "quota-wrong": "instances", "store-index": "surplus entry"}},
		"a lost port": {drop("port", func(_ *Env, s *compute.Server) string { return s.NICs[0].PortID }),
			map[string]string{"address-left": "which does not have it", "quota-wrong": "ports", "store-index": "surplus entry"}},
		"a lost topology": {drop("network_topology", func(e *Env, _ *compute.Server) string { return e.Seeded.NetworkID }),
			map[string]string{"network-reference": "refers to network_topology"}},
		"a lost user": {drop("user", func(e *Env, _ *compute.Server) string { return e.Seeded.UserID }),
			map[string]string{"identity-reference": "does not exist", "store-index": "surplus entry"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := New(t)
			id := e.Boot("vm")
			e.Settle()
			e.Check()
			s := e.Server(id)
			e.must(e.Cloud.Store().Update(e.ctx(), func(tx *store.Tx) error { return c.damage(e, s, tx) }))
			found, err := e.Cloud.Check(e.ctx())
			e.must(err)
			by := map[string][]cloud.Finding{}
			for _, f := range found {
				require.NotEmpty(t, f.Means, f.Rule)
				require.NotEmpty(t, f.Do, f.Rule)
				by[f.Rule] = append(by[f.Rule], f)
			}
			for rule, words := range c.words {
				var text strings.Builder
				e.must(cloud.WriteFindings(&text, by[rule]))
				require.Contains(t, text.String(), words, "rule %s among %v", rule, found)
			}
			for rule := range by {
				require.Contains(t, c.words, rule, "%v", by[rule])
			}
		})
	}
}
