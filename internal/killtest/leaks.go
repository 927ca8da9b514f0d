package main

import (
	"context"
	"fmt"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/compute/computedriver"
)

// guests compares every host's guests with the servers.
func (o *opened) guests(ctx context.Context) (name string, looked int, out []string, err error) {
	name = "guests that are leaked, missing or not as their server"
	found := map[string]bool{}
	for host, h := range o.hosts {
		list, err := h.Guests(ctx)
		if err != nil {
			return name, 0, nil, err
		}
		looked += len(list)
		for _, g := range list {
			found[g.Mark.ID] = true
			if why := misfit(g, host, o.servers[g.Mark.ID]); why != "" {
				out = append(out, fmt.Sprintf("guest %s on %s: %s", g.Mark.ID, host, why))
			}
		}
	}
	for id, s := range o.servers {
		if s.HostID != "" && !found[id] {
			out = append(out, fmt.Sprintf("server %s is on %s and has no guest anywhere", id, s.Host))
		}
	}
	return name, looked, out, nil
}

// misfit says why a guest is not what the server wants; "" when it is.
func misfit(g computedriver.GuestState, host string, s *compute.Server) string {
	switch {
	case s == nil:
		return "its server does not exist"
	case s.Host != host || s.Generation != g.Mark.Generation:
		return fmt.Sprintf("generation %d; its server is on %s with generation %d", g.Mark.Generation, s.Host, s.Generation)
	case g.Power == computedriver.Torn:
		return "it is torn"
	case (s.VMState == compute.Active) != (g.Power == computedriver.Running):
		return fmt.Sprintf("it is %s, its server %s", g.Power, s.VMState)
	}
	return ""
}

// bindings compares what the network has with the ports.
func (o *opened) bindings(ctx context.Context) (name string, looked int, out []string, err error) {
	name = "bindings in the network that no port has, or the other way round"
	list, err := o.networks.Networks(ctx)
	bound := map[string]bool{}
	for _, n := range list {
		for id, b := range n.Bindings {
			looked++
			bound[id] = true
			p := o.ports[id]
			if p == nil || p.Binding == nil || p.Binding.Host != b.Host || p.Binding.Generation != b.Generation {
				out = append(out, fmt.Sprintf("port %s is bound to %s with generation %d in the network, and not in its record", id, b.Host, b.Generation))
			}
		}
	}
	for id, p := range o.ports {
		if p.Binding != nil && !bound[id] {
			out = append(out, fmt.Sprintf("port %s is bound to %s in its record, and not in the network", id, p.Binding.Host))
		}
	}
	return name, looked, out, err
}

// devices looks for ports whose server is gone, and those that a server made for itself and nobody has now.
func (o *opened) devices(context.Context) (name string, looked int, out []string, err error) {
	for id, p := range o.ports {
		if p.DeviceID != "" && o.servers[p.DeviceID] == nil || p.DeviceID == "" && p.Name == "" {
			out = append(out, fmt.Sprintf("port %s (%s) belongs to server %q, which does not exist", id, p.Name, p.DeviceID))
		}
	}
	return "ports without their server", len(o.ports), out, nil
}

func (o *opened) files(ctx context.Context) (name string, looked int, out []string, err error) {
	name = "image files that are leaked, torn or missing"
	// An upload that lands behind its deletion is for the sweep, which a running cloud makes every four minutes; it takes
	// only data that the store knows to be deleted, so that anything else is still found here.
	if _, _, err := o.Image.Sweep(ctx); err != nil {
		return name, 0, nil, err
	}
	list, err := o.data.Images(ctx)
	if err != nil {
		return name, 0, nil, err
	}
	out, err = o.Image.Leaks(ctx)
	return name, len(list), out, err
}
