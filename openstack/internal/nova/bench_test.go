package nova

import (
	"testing"

	"github.com/nubecula/cloud/openstack/internal/rest"
)

// BenchmarkShowServers renders a page of 1,000 servers as an administrator sees them, on one processor.
func BenchmarkShowServers(b *testing.B) {
	views := &serverViews{r: at(newest)}
	v := &serverView{Server: testServer(), r: views.r, hosts: true, listed: true}
	var doc rest.Doc
	var out []byte
	for b.Loop() {
		out = out[:0]
		for range 1000 {
			doc = views.write(doc[:0], v)
			out = doc.Append(out)
		}
	}
}
