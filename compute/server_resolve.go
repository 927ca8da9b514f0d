package compute

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/image"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/store"
)

// resolve looks up what a request names: flavor, image, key. What is not there is a fault of the request.
func (s *Service) resolve(tx *store.Tx, p *plan, v *Server, seed *serverSeed) error {
	f, err := s.flavor(tx, p.FlavorID)
	if err == nil && f.Disabled {
		err = fault.Missing("flavor", p.FlavorID)
	}
	if err != nil {
		return named("flavorRef", err)
	}
	v.Flavor = *f
	v.Flavor.Access = nil
	if p.KeyName != "" {
		k, err := keypairs.Get(tx, s.who.UserID+"/"+p.KeyName)
		if fault.Is(err, fault.NotFound) {
			err = fault.Missing("keypair", p.KeyName)
		}
		if err != nil {
			return named("key_name", err)
		}
		v.KeyType, seed.PublicKey = k.Type, k.PublicKey
	}
	if p.ImageID == "" {
		return nil
	}
	i, err := s.opt.Image.As(s.who).Get(tx.Context(), p.ImageID)
	if err != nil {
		return named("imageRef", err)
	}
	if err := suits(i, f); err != nil {
		return err
	}
	v.ImageID = i.ID
	seed.Base = &imageData{DataID: i.DataID, Format: i.Format, SizeBytes: i.SizeBytes, SHA512: i.SHA512}
	return nil
}

// suits is Invalid when an image cannot boot in a flavor.
func suits(i *image.Image, f *Flavor) error {
	const gib = 1 << 30
	bad := func(format string, args ...any) error {
		return &fault.Error{Code: fault.Invalid, Kind: "image", ID: i.ID, Field: "imageRef", Msg: fmt.Sprintf(format, args...)}
	}
	switch {
	case i.Status != image.Active:
		return bad("is %s, not active; wait for its upload or reactivate it", i.Status)
	case i.MinRAMMiB > f.MemoryMiB:
		return bad("needs %d MiB of memory, flavor %s has %d; use a larger flavor", i.MinRAMMiB, f.ID, f.MemoryMiB)
	case f.DiskGiB > 0 && i.MinDiskGiB > f.DiskGiB:
		return bad("needs a disk of %d GiB, flavor %s has %d; use a larger flavor", i.MinDiskGiB, f.ID, f.DiskGiB)
	case f.DiskGiB > 0 && max(i.VirtualBytes, i.SizeBytes) > f.DiskGiB*gib:
		return bad("is a disk of %d bytes, flavor %s has %d GiB; use a larger flavor", max(i.VirtualBytes, i.SizeBytes), f.ID, f.DiskGiB)
	}
	return nil
}

// named turns a thing that is not there into a fault of the request's field that names it.
func named(field string, err error) error {
	if fault.Is(err, fault.NotFound) {
		return &fault.Error{Code: fault.Invalid, Field: field, Err: err}
	}
	return err
}

// seal keeps what a guest is told.
func (d *serverSeed) seal(tx *store.Tx, p *plan) error {
	if p.UserData != nil {
		d.UserData = tx.Seal(p.UserData)
	}
	if len(p.Files) > 0 {
		body, err := json.Marshal(p.Files)
		if err != nil {
			return fault.New(fault.Internal, "files cannot be kept: %w", err)
		}
		d.Files = tx.Seal(body)
	}
	d.AdminPass = tx.Seal([]byte(p.AdminPass))
	d.Random = tx.Seal(tx.NewBytes(512))
	return nil
}

// wantedNetworks is what a request asks for, with "auto" resolved.
func (s *Service) wantedNetworks(tx *store.Tx, p *plan) ([]Network, error) {
	if !p.Auto {
		return p.Networks, nil
	}
	all, err := s.opt.Network.As(s.who).ListNetworks(tx.Context(), network.NetworkFilter{Keep: func(n *network.Network) bool {
		return (n.ProjectID == s.project() || n.Shared) && !n.External
	}})
	switch {
	case err != nil || len(all) == 0:
		return nil, err
	case len(all) > 1:
		return nil, fault.New(fault.Conflict, "multiple possible networks found, use a Network ID to be more specific: project %s can use %d networks", s.project(), len(all))
	}
	return []Network{{NetworkID: all[0].ID}}, nil
}

// makeNICs makes the ports of a server, and claims those that the caller brought.
func (s *Service) makeNICs(tx *store.Tx, v *Server, wanted []Network) ([]NIC, error) {
	net := s.opt.Network.As(s.who)
	zone := v.RequestedZone
	if zone == "" {
		zone = DefaultZone
	}
	owner := "compute:" + zone
	groups, err := s.groups(tx, v)
	if err != nil {
		return nil, err
	}
	var nics []NIC
	for i, w := range wanted {
		field := fmt.Sprintf("networks[%d]", i)
		if w.PortID != "" {
			p, err := net.ClaimPort(tx.Context(), w.PortID, v.ID, owner)
			if err != nil {
				return nil, named(field, err)
			}
			if w.NetworkID != "" && p.NetworkID != w.NetworkID {
				return nil, fault.InvalidField(field, w.NetworkID, "port "+p.ID+" is on network "+p.NetworkID)
			}
			nics = append(nics, NIC{PortID: p.ID, NetworkID: p.NetworkID, MAC: p.MAC, Tag: w.Tag})
			continue
		}
		req := network.CreatePort{ProjectID: v.ProjectID, NetworkID: w.NetworkID, DeviceID: v.ID, DeviceOwner: owner, SecurityGroups: groups}
		if w.FixedIP.IsValid() {
			req.Fixed = &[]network.FixedRequest{{Addr: w.FixedIP}}
		}
		p, err := net.CreatePort(tx.Context(), req)
		if err != nil {
			return nil, named(field, err)
		}
		nics = append(nics, NIC{PortID: p.ID, NetworkID: p.NetworkID, MAC: p.MAC, Tag: w.Tag, Ours: true})
	}
	return nics, nil
}

// groups are the ids of the security groups that a server's new ports get; nil means the default one.
func (s *Service) groups(tx *store.Tx, v *Server) (*[]string, error) {
	if len(v.SecurityGroups) == 0 {
		return nil, nil
	}
	net := s.opt.Network.As(s.who)
	var ids []string
	for _, name := range v.SecurityGroups {
		if name == "default" {
			g, err := net.DefaultSecurityGroup(tx.Context(), v.ProjectID)
			if err != nil {
				return nil, err
			}
			ids = append(ids, g.ID)
			continue
		}
		found, err := net.ListSecurityGroups(tx.Context(), network.SecurityGroupFilter{Keep: func(g *network.SecurityGroup) bool {
			return g.ID == name || g.Name == name && g.ProjectID == v.ProjectID
		}})
		switch {
		case err != nil:
			return nil, err
		case len(found) == 0:
			return nil, named("security_groups", fault.Missing("security group", name))
		case len(found) > 1:
			return nil, fault.New(fault.Conflict, "%d security groups of project %s are named %q; use an id", len(found), v.ProjectID, name)
		}
		ids = append(ids, found[0].ID)
	}
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	return &ids, nil
}

// hasZone reports whether a host is in an availability zone, by the scheduler's view of the hosts.
func (c *core) hasZone(zone string) bool {
	snap := c.snap.p.Load()
	for p := range snap.Len() {
		if snap.Host(p).Zone == zone {
			return true
		}
	}
	return false
}

// hostname makes a host name of a server's name, as Nova does: in lower case, '_', '.' and space as
// '-', the rest dropped; "server-<id>" when nothing is left.
func hostname(name, id string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-':
			b.WriteRune(r)
		case r == '_' || r == ' ' || r == '.':
			b.WriteByte('-')
		}
	}
	out := strings.Trim(b.String(), "-")
	if len(out) > 63 {
		out = strings.Trim(out[:63], "-")
	}
	if out == "" {
		return "server-" + id
	}
	return out
}

func validHostname(name string) bool {
	if len(name) > 255 {
		return false
	}
	for _, label := range strings.Split(name, ".") {
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, r := range label {
			if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-') {
				return false
			}
		}
	}
	return true
}

// password makes an administrator's password of twelve characters that are hard to confuse, from random bytes.
func password(random func(n int) []byte) string {
	const letters = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz" // without 0, 1, I, O, l
	b := make([]byte, 0, 12)
	for len(b) < cap(b) {
		for _, x := range random(64) {
			if int(x) < 256/len(letters)*len(letters) && len(b) < cap(b) {
				b = append(b, letters[int(x)%len(letters)])
			}
		}
	}
	return string(b)
}
