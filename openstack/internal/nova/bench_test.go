package nova

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkShowServers renders a page of 1,000 servers as an administrator sees them.
func BenchmarkShowServers(b *testing.B) {
	server, r := testServer(), at(newest)
	for b.Loop() {
		list := make([]object, 1000)
		for i := range list {
			v := &serverView{Server: server, r: r, hosts: true, listed: true}
			list[i] = show(show(make(object, len(serverFields)+len(moreServerFields)), serverFields, v, newest), moreServerFields, v, newest)
		}
		_, err := json.Marshal(list)
		require.NoError(b, err)
	}
}
