package network_test

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/network/fakenetwork"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
	"github.com/nubecula/cloud/store/sqlite"
)

// benched is the service on a database, with an engine that was not started yet.
func benched(b *testing.B, db store.Driver) (*store.Store, *engine.Engine, *network.Service) {
	s, err := store.New(db, store.Options{Key: store.NewKey()})
	require.NoError(b, err)
	e, err := engine.New(engine.Options{Store: s})
	require.NoError(b, err)
	provider, err := fakenetwork.New(fakenetwork.Options{})
	require.NoError(b, err)
	svc, err := network.New(network.Options{Store: s, Engine: e, Provider: provider})
	require.NoError(b, err)
	return s, e, svc
}

// BenchmarkCreatePort measures one port more on a network that has many already, with the provider kept up to date.
func BenchmarkCreatePort(b *testing.B) {
	for _, have := range []int{0, 10_000} {
		b.Run(fmt.Sprint(have, " ports"), func(b *testing.B) {
			ctx := context.Background()
			s, e, svc := benched(b, memory.New(nil))
			svc = svc.As(member("alice", "a", "member"))
			n, err := svc.CreateNetwork(ctx, network.CreateNetwork{})
			require.NoError(b, err)
			_, err = svc.CreateSubnet(ctx, network.CreateSubnet{NetworkID: n.ID, CIDR: netip.MustParsePrefix("10.0.0.0/8")})
			require.NoError(b, err)
			port := func() {
				_, err := svc.CreatePort(ctx, network.CreatePort{NetworkID: n.ID})
				require.NoError(b, err)
			}
			for range have {
				port()
			}
			require.NoError(b, e.Start(ctx))
			b.ReportAllocs()
			for b.Loop() {
				port()
			}
			require.NoError(b, e.Close(10*time.Second))
			require.NoError(b, s.Close())
		})
	}
}

// BenchmarkReconcile measures a round over 20 networks with a thousand bound ports each, of which nine tenths of the time are pauses.
func BenchmarkReconcile(b *testing.B) {
	const networks, ports = 20, 1000
	ctx := context.Background()
	db, err := sqlite.Open(filepath.Join(b.TempDir(), "db"), nil)
	require.NoError(b, err)
	s, e, svc := benched(b, db)
	alice := svc.As(member("alice", "a", "member"))
	for range networks {
		n, err := alice.CreateNetwork(ctx, network.CreateNetwork{})
		require.NoError(b, err)
		_, err = alice.CreateSubnet(ctx, network.CreateSubnet{NetworkID: n.ID, CIDR: netip.MustParsePrefix("10.0.0.0/16")})
		require.NoError(b, err)
		for range ports {
			p, err := alice.CreatePort(ctx, network.CreatePort{NetworkID: n.ID, DeviceID: "server", DeviceOwner: "compute:nova"})
			require.NoError(b, err)
			vif, err := svc.Plug(ctx, p.ID, "host", 1)
			require.NoError(b, err)
			require.NoError(b, s.Update(ctx, func(tx *store.Tx) error { return svc.Bound(tx, p.ID, p.DeviceID, "host", 1, vif) }))
		}
	}
	require.NoError(b, e.Start(ctx))
	require.NoError(b, svc.Reconcile(ctx))
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, svc.Reconcile(ctx))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/networks/ports, "ns/port")
	require.NoError(b, e.Close(10*time.Second))
	require.NoError(b, s.Close())
}
