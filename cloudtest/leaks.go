package cloudtest

import (
	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/network"
)

// Leaks compares what the drivers' back ends hold with the records, once
// everything has settled, and names each difference: guests of no server,
// servers without their guest, networks, bindings, ports and image data that
// belong to nothing. None is what it should return.
func (e *Env) Leaks() []string {
	e.t.Helper()
	sys := e.Cloud.As(identity.System())
	var out []string
	servers := map[string]*compute.Server{}
	for marker := ""; ; {
		page, err := sys.Compute.ListServers(e.ctx(), compute.ServerQuery{AllProjects: true, Marker: marker})
		e.must(err)
		for _, s := range page.Servers {
			servers[s.ID] = s
			marker = s.ID
		}
		if !page.More {
			break
		}
	}
	e.leakedGuests(&out, servers)
	e.leakedNetworks(&out, sys.Network, servers)
	leaked, err := sys.Image.Leaks(e.ctx())
	e.must(err)
	return append(out, leaked...)
}

func (e *Env) leakedGuests(out *[]string, servers map[string]*compute.Server) {
	found := map[string]bool{}
	for i, h := range e.Hosts {
		guests, err := h.Guests()
		e.must(err)
		for _, g := range guests {
			s := servers[g.Mark.ID]
			switch {
			case g.Mark.Cloud != e.Cloud.ID():
			case s == nil:
				line(out, "%s has guest %s of a server that does not exist", HostName(i), g.Mark.ID)
			case s.Host != HostName(i) || s.Generation != g.Mark.Generation:
				line(out, "%s has guest %s of generation %d; the server is on %q with generation %d", HostName(i), g.Mark.ID, g.Mark.Generation, s.Host, s.Generation)
			case g.Power == computedriver.Torn:
				line(out, "%s has a torn guest %s", HostName(i), g.Mark.ID)
			case s.VMState == compute.Active && g.Power != computedriver.Running, s.VMState == compute.Stopped && g.Power == computedriver.Running:
				line(out, "server %s is %s, its guest is %s", s.ID, s.VMState, g.Power)
			default:
				found[s.ID] = true
			}
		}
	}
	for id, s := range servers {
		if !found[id] && (s.VMState == compute.Active || s.VMState == compute.Stopped) {
			line(out, "server %s is %s on %s and has no guest there", id, s.VMState, s.Host)
		}
		if s.TaskState != "" || s.VMState == compute.Building {
			line(out, "server %s is stuck: %s, task %q", id, s.VMState, s.TaskState)
		}
	}
}

func (e *Env) leakedNetworks(out *[]string, sys *network.Service, servers map[string]*compute.Server) {
	ports := map[string]*network.Port{}
	list, err := sys.ListPorts(e.ctx(), network.PortFilter{})
	e.must(err)
	for _, p := range list {
		ports[p.ID] = p
		if p.DeviceID != "" && servers[p.DeviceID] == nil {
			line(out, "port %s belongs to server %s, which does not exist", p.ID, p.DeviceID)
		}
	}
	networks, err := sys.ListNetworks(e.ctx(), network.NetworkFilter{})
	e.must(err)
	known := map[string]bool{}
	for _, n := range networks {
		known[n.ID] = true
	}
	held, err := e.Networks.Networks()
	e.must(err)
	for _, n := range held {
		if !known[n.NetworkID] {
			line(out, "the provider has network %s, which does not exist", n.NetworkID)
		}
		for id, b := range n.Bindings {
			p := ports[id]
			if p == nil || p.Binding == nil || p.Binding.Host != b.Host || p.Binding.Generation != b.Generation {
				line(out, "the provider has port %s bound to %s with generation %d; no port is", id, b.Host, b.Generation)
			}
		}
		for id, p := range ports {
			if _, bound := n.Bindings[id]; p.NetworkID == n.NetworkID && p.Binding != nil && !bound {
				line(out, "port %s is bound to %s with generation %d, not at the provider", id, p.Binding.Host, p.Binding.Generation)
			}
		}
		delete(known, n.NetworkID)
	}
	for id := range known {
		line(out, "network %s is not at the provider", id)
	}
}
