package nova

import (
	"testing"

	"github.com/nubecula/cloud/openstack/internal/rest"
)

// BenchmarkShowServers renders a page of 1,000 servers as an administrator sees them.
func BenchmarkShowServers(b *testing.B) {
	server, r := testServer(), at(newest)
	for b.Loop() {
		list := make([]rest.Doc, 1000)
		for i := range list {
			v := &serverView{Server: server, r: r, hosts: true, listed: true}
			list[i] = write(write(make(rest.Doc, 0, len(serverFields)+len(moreServerFields)), serverFields, v, newest), moreServerFields, v, newest)
		}
		rest.Encode(list)
	}
}
