package ledger_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/internal/id"
	"github.com/nubecula/cloud/internal/statedir"
	"github.com/nubecula/cloud/network/internal/ledger"
	"github.com/nubecula/cloud/network/networkdriver"
)

// BenchmarkNetworks lists 100 networks with a thousand bindings each.
func BenchmarkNetworks(b *testing.B) {
	l := ledger.New(statedir.Memory())
	for i := range 100 {
		n := fmt.Sprint("network-", i)
		_, err := l.Apply(networkdriver.Topology{NetworkID: n, Revision: 1})
		require.NoError(b, err)
		for range 1000 {
			_, err := l.Bind(networkdriver.Port{ID: id.Random(), NetworkID: n}, networkdriver.Bind{Host: "host", Generation: 1})
			require.NoError(b, err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		_, err := l.Networks()
		require.NoError(b, err)
	}
}
