package compute

import (
	"context"
	"encoding/json"
	"io"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/internal/serverdata"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/store"
)

// domain ends the name that a guest gives itself, as Nova's default does.
const domain = "novalocal"

func (c *core) mark(serverID string, generation int64) computedriver.Mark {
	return computedriver.Mark{Cloud: c.opt.CloudID, ID: serverID, Generation: generation}
}

// defineGuest makes the guest of a placement on its host, from the records; mend makes it whole around its disk.
func (c *core) defineGuest(ctx context.Context, serverID, hostID string, generation int64, mend bool) error {
	driver, err := c.driver(hostID)
	if err != nil {
		return err
	}
	g, err := c.guest(ctx, serverID, generation)
	if err != nil {
		return err
	}
	g.Epoch, g.Mend = c.opt.Witness.Epoch(instance(hostID)), mend
	return driver.Define(ctx, g)
}

// guest is what a driver needs to know of a server.
func (c *core) guest(ctx context.Context, serverID string, generation int64) (g computedriver.Guest, err error) {
	err = c.store.View(ctx, func(tx *store.Tx) error {
		v, err := servers.Get(tx, serverID)
		if err != nil {
			return err
		}
		seed, err := seeds.Get(tx, serverID)
		if err != nil {
			return err
		}
		g = computedriver.Guest{
			Mark: c.mark(serverID, generation), Name: v.Name, Hostname: v.Hostname, VCPUs: v.Flavor.VCPUs, MemoryMiB: v.Flavor.MemoryMiB,
			Root: computedriver.Disk{SizeGiB: v.Flavor.DiskGiB, Base: c.base(seed.Base)},
		}
		plugged, nics, err := c.dataNICs(tx, v)
		if err != nil {
			return err
		}
		for i, n := range plugged {
			g.NICs = append(g.NICs, computedriver.NIC{PortID: n.PortID, MAC: n.MAC, MTU: nics[i].MTU, Binding: n.Binding})
		}
		if c.opt.NoConfigDrive && !v.ConfigDrive {
			return nil
		}
		g.ConfigDrive, err = configDrive(tx, v, seed, nics)
		return err
	})
	return g, err
}

// base is the image that the root disk starts as; nil is a blank disk.
func (c *core) base(b *imageData) *computedriver.Base {
	if b == nil {
		return nil
	}
	data := c.opt.Image.Data()
	out := &computedriver.Base{
		ID: b.DataID, Format: b.Format, SizeBytes: b.SizeBytes, SHA512: b.SHA512,
		Open: func(ctx context.Context) (io.ReadCloser, error) { return data.Open(ctx, b.DataID, 0) },
	}
	if at, err := data.Locate(context.Background(), b.DataID); err == nil {
		out.Path = at.Path
	}
	return out
}

func configDrive(tx *store.Tx, v *Server, seed *serverSeed, nics []serverdata.NIC) (map[string][]byte, error) {
	s := &serverdata.Server{
		ID: v.ID, Name: v.Name, Hostname: v.Hostname, Domain: domain, ProjectID: v.ProjectID, Zone: v.Zone, LaunchIndex: v.LaunchIndex,
		Metadata: v.Metadata, NICs: nics, Flavor: v.Flavor.Name,
	}
	if v.KeyName != "" {
		s.Key = &serverdata.Key{Name: v.KeyName, Type: string(v.KeyType), Data: seed.PublicKey}
	}
	var err error
	if s.UserData, err = unseal(tx, seed.UserData); err != nil {
		return nil, err
	}
	if s.RandomSeed, err = unseal(tx, seed.Random); err != nil {
		return nil, err
	}
	pass, err := unseal(tx, seed.AdminPass)
	if err != nil {
		return nil, err
	}
	s.AdminPass = string(pass)
	files, err := unseal(tx, seed.Files)
	if err != nil {
		return nil, err
	}
	if files != nil {
		var list []File
		if err := json.Unmarshal(files, &list); err != nil {
			return nil, fault.New(fault.Corrupt, "the files of server %s cannot be read: %w", v.ID, err)
		}
		for _, f := range list {
			s.Files = append(s.Files, serverdata.File(f))
		}
	}
	return serverdata.Tree(s), nil
}

// unseal returns nil for nothing.
func unseal(tx *store.Tx, text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	return tx.Unseal(text)
}

// dataNICs returns the NICs of a server, and describes them as its ports are now. One whose port was deleted since
// the server was built, or given to another device, is left out: the guest can run without.
func (c *core) dataNICs(tx *store.Tx, v *Server) (plugged []NIC, out []serverdata.NIC, err error) {
	if len(v.NICs) == 0 {
		return nil, nil, nil
	}
	net := c.opt.Network.As(identity.System())
	ids := make([]string, len(v.NICs))
	for i, n := range v.NICs {
		ids[i] = n.PortID
	}
	byID, err := net.PortsByID(tx.Context(), ids)
	if err != nil {
		return nil, nil, err
	}
	for _, n := range v.NICs {
		p := byID[n.PortID]
		if p != nil && p.DeviceID != v.ID {
			p = nil
		}
		if p == nil && v.VMState != Building {
			continue
		}
		if p == nil {
			return nil, nil, fault.New(fault.Conflict, "port %s of the server is gone; delete the server and make it anew", n.PortID).About("server", v.ID)
		}
		nw, err := net.GetNetwork(tx.Context(), p.NetworkID)
		if err != nil {
			return nil, nil, err
		}
		d := serverdata.NIC{PortID: p.ID, NetworkID: p.NetworkID, MAC: p.MAC, MTU: nw.MTU, Type: linkType(n.Binding.VIFType()), Tag: n.Tag}
		for _, f := range p.Fixed {
			a, err := dataAddress(tx, net, f)
			if err != nil {
				return nil, nil, err
			}
			d.Addresses = append(d.Addresses, a)
		}
		plugged, out = append(plugged, n), append(out, d)
	}
	return plugged, out, nil
}

// linkType is network_data.json's word for a binding.
func linkType(vif string) string {
	switch vif {
	case "ovs", "bridge", "tap":
		return vif
	}
	return "phy"
}

func dataAddress(tx *store.Tx, net *network.Service, f network.FixedIP) (a serverdata.Address, err error) {
	sub, err := net.GetSubnet(tx.Context(), f.SubnetID)
	if err != nil {
		return a, err
	}
	a = serverdata.Address{Addr: f.Addr, Prefix: sub.CIDR, Gateway: sub.Gateway, DNS: sub.DNS, DHCP: sub.DHCP, Mode: sub.AddressMode}
	for _, r := range sub.Routes {
		a.Routes = append(a.Routes, serverdata.Route{Destination: r.Destination, NextHop: r.NextHop})
	}
	return a, nil
}

// matchesIP reports whether one of the addresses is of a family and matches.
func matchesIP(all []Address, v6 bool, match func(string) bool) bool {
	for _, a := range all {
		if a.Addr.Is6() == v6 && match(a.Addr.String()) {
			return true
		}
	}
	return false
}
