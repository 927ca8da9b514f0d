package network_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/network/fakenetwork"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
)

// BenchmarkCreatePort measures one port more on a network that has many already, with the provider kept up to date.
func BenchmarkCreatePort(b *testing.B) {
	for _, have := range []int{0, 10_000} {
		b.Run(fmt.Sprint(have, " ports"), func(b *testing.B) {
			ctx := context.Background()
			s, err := store.New(memory.New(nil), store.Options{Key: store.NewKey()})
			require.NoError(b, err)
			e, err := engine.New(engine.Options{Store: s})
			require.NoError(b, err)
			provider, err := fakenetwork.New(fakenetwork.Options{})
			require.NoError(b, err)
			svc, err := network.New(network.Options{Store: s, Engine: e, Provider: provider})
			require.NoError(b, err)
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
