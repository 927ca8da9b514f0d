package network

import (
	"net/netip"
	"slices"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/ipam"
	"github.com/nubecula/cloud/internal/pattern"
	"github.com/nubecula/cloud/store"
)

// address claims the addresses that a port is to have and releases those that it is not to have any
// more. requested nil means one address of each family that the network has.
func (s *Service) address(tx *store.Tx, n *Network, p *Port, requested *[]FixedRequest) ([]FixedIP, error) {
	a := addressing{c: s.core, tx: tx, n: n, p: p}
	for _, id := range n.Subnets {
		v, err := subnets.Get(tx, id)
		if err != nil {
			return nil, err
		}
		a.subnets = append(a.subnets, v)
	}
	if requested == nil {
		err := a.defaults()
		return a.fixed, err
	}
	var rest []*Subnet
	for _, f := range *requested {
		v, err := a.subnetOf(f)
		if err != nil {
			return nil, err
		}
		if !f.Addr.IsValid() && !v.automatic() {
			rest = append(rest, v)
			continue
		}
		if err := a.named(v, f.Addr); err != nil {
			return nil, err
		}
	}
	for _, v := range rest {
		if err := a.any(v); err != nil {
			return nil, err
		}
	}
	for _, had := range p.Fixed {
		if !slices.Contains(a.fixed, had) {
			if err := releaseAll(tx, p.ID, []FixedIP{had}); err != nil {
				return nil, err
			}
		}
	}
	return a.fixed, nil
}

// addressing chooses the addresses of one port.
type addressing struct {
	c       *core
	tx      *store.Tx
	n       *Network
	p       *Port
	subnets []*Subnet
	fixed   []FixedIP
}

// subnetOf finds the subnet that a request means.
func (a *addressing) subnetOf(f FixedRequest) (*Subnet, error) {
	if f.SubnetID == "" && !f.Addr.IsValid() {
		return nil, fault.InvalidField("fixed_ips", "", "each names a subnet_id, an ip_address, or both")
	}
	for _, v := range a.subnets {
		if f.SubnetID != "" && v.ID != f.SubnetID || f.SubnetID == "" && !v.CIDR.Contains(f.Addr) {
			continue
		}
		if first, last := usable(v.CIDR); f.Addr.IsValid() && (f.Addr.Less(first) || last.Less(f.Addr)) {
			return nil, &fault.Error{Code: fault.Invalid, Kind: "subnet", ID: v.ID, Field: "fixed_ips", Err: AddressOutside,
				Msg: f.Addr.String() + " is not a usable address of " + v.CIDR.String()}
		}
		return v, nil
	}
	if f.SubnetID != "" {
		return nil, &fault.Error{Code: fault.Invalid, Kind: "network", ID: a.n.ID, Field: "fixed_ips", Err: AddressNotOnNetwork,
			Msg: "has no subnet " + f.SubnetID}
	}
	return nil, &fault.Error{Code: fault.Invalid, Kind: "network", ID: a.n.ID, Field: "fixed_ips", Err: AddressNotOnNetwork,
		Msg: "has no subnet with the address " + f.Addr.String()}
}

// named gives the port a certain address; in a subnet where hosts make up their own it is that one.
func (a *addressing) named(v *Subnet, addr netip.Addr) error {
	if v.automatic() {
		own := eui64(v.CIDR, a.p.MAC)
		if addr.IsValid() && addr != own {
			return &fault.Error{Code: fault.Invalid, Kind: "subnet", ID: v.ID, Field: "fixed_ips", Err: AddressOutside,
				Msg: "hosts make up their own addresses there: this port's is " + own.String()}
		}
		addr = own
	}
	want := FixedIP{v.ID, addr}
	if slices.Contains(a.fixed, want) {
		return fault.InvalidField("fixed_ips", addr.String(), "each address once")
	}
	if !slices.Contains(a.p.Fixed, want) {
		if err := a.c.opt.Witness.Allow(); err != nil {
			return err
		}
		err := ipam.Claim(a.tx, v.ID, addr, a.p.ID)
		if fault.Is(err, fault.Exists) {
			return &fault.Error{Code: fault.Conflict, Kind: "network", ID: a.n.ID, Field: "fixed_ips", Err: AddressInUse,
				Msg: "address " + addr.String() + " of subnet " + v.ID + " is in use; choose another or leave it to the subnet"}
		}
		if err != nil {
			return err
		}
	}
	a.fixed = append(a.fixed, want)
	return nil
}

// any gives the port an address of a subnet: one that it had, or the next that is free.
func (a *addressing) any(v *Subnet) error {
	for _, had := range a.p.Fixed {
		if had.SubnetID == v.ID && !slices.Contains(a.fixed, had) {
			a.fixed = append(a.fixed, had)
			return nil
		}
	}
	if err := a.c.opt.Witness.Allow(); err != nil {
		return err
	}
	addr, err := ipam.Next(a.tx, v.ID, a.p.ID)
	if fault.Is(err, fault.Exhausted) {
		return a.exhausted([]*Subnet{v})
	}
	if err != nil {
		return err
	}
	a.fixed = append(a.fixed, FixedIP{v.ID, addr})
	return nil
}

func (a *addressing) exhausted(of []*Subnet) error {
	text := ""
	for _, v := range of {
		used, err := ipam.Used(a.tx, v.ID)
		if err != nil {
			return err
		}
		text += sprint("; subnet %s (%s) has %d in use", v.ID, v.CIDR, used)
	}
	return &fault.Error{Code: fault.Exhausted, Kind: "network", ID: a.n.ID, Err: NoAddressLeft,
		Msg: "has no free address" + text + "; delete ports, widen the allocation pools or add a subnet"}
}

// defaults gives the port an IPv4 address, and of IPv6 those that hosts make up, or else one more.
func (a *addressing) defaults() error {
	var four, six, automatic []*Subnet
	for _, v := range a.subnets {
		switch {
		case v.automatic():
			automatic = append(automatic, v)
		case v.CIDR.Addr().Is4():
			four = append(four, v)
		default:
			six = append(six, v)
		}
	}
	if len(automatic) > 0 {
		six = nil
	}
	for _, family := range [][]*Subnet{four, six} {
		if len(family) == 0 {
			continue
		}
		found := false
		for _, v := range family {
			err := a.any(v)
			if found = err == nil; found {
				break
			}
			if !fault.Is(err, fault.Exhausted) {
				return err
			}
		}
		if !found {
			return a.exhausted(family)
		}
	}
	for _, v := range automatic {
		if err := a.named(v, netip.Addr{}); err != nil {
			return err
		}
	}
	return nil
}

// eui64 is the address that a host with a MAC makes up in a /64.
func eui64(p netip.Prefix, mac string) netip.Addr {
	m := macBytes(mac)
	b := p.Masked().Addr().As16()
	copy(b[8:], []byte{m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
	return netip.AddrFrom16(b)
}

// chooseMAC returns the address asked for, if it is free on the network, or one that is.
func (s *Service) chooseMAC(tx *store.Tx, networkID, asked string) (string, error) {
	if asked != "" {
		mac, ok := parseMAC(asked)
		if !ok {
			return "", fault.InvalidField("mac_address", asked, "it is a unicast address such as fa:16:3e:01:02:03")
		}
		free, err := macFree(tx, networkID, mac)
		if err == nil && !free {
			err = &fault.Error{Code: fault.Conflict, Kind: "network", ID: networkID, Field: "mac_address", Err: MACInUse,
				Msg: "has a port with the address " + mac + " already; choose another"}
		}
		return mac, err
	}
	for range 64 {
		mac := formatMAC(append(s.macs[:], tx.NewBytes(3)...))
		if free, err := macFree(tx, networkID, mac); err != nil || free {
			return mac, err
		}
	}
	return "", &fault.Error{Code: fault.Exhausted, Kind: "network", ID: networkID, Err: NoAddressLeft, Msg: "has hardly a free MAC address left; delete ports"}
}

func macFree(tx *store.Tx, networkID, mac string) (bool, error) {
	_, err := ports.Find(tx, "mac_address", networkID, mac)
	if fault.Is(err, fault.NotFound) {
		return true, nil
	}
	return false, err
}

// changeMAC gives a port another MAC, and the addresses that follow from it.
func (s *Service) changeMAC(tx *store.Tx, p *Port, asked *string) error {
	if asked == nil {
		return nil
	}
	if mac, ok := parseMAC(*asked); ok && mac == p.MAC {
		return nil
	}
	if p.Binding != nil {
		return &fault.Error{Code: fault.Conflict, Kind: "port", ID: p.ID, Field: "mac_address", Err: PortBound,
			Msg: "is bound to host " + p.Binding.Host + "; detach it before its address changes"}
	}
	mac, err := s.chooseMAC(tx, p.NetworkID, *asked)
	if err != nil {
		return err
	}
	p.MAC = mac
	for i, f := range p.Fixed {
		v, err := subnets.Get(tx, f.SubnetID)
		if err != nil {
			return err
		}
		if !v.automatic() {
			continue
		}
		if err := releaseAll(tx, p.ID, []FixedIP{f}); err != nil {
			return err
		}
		p.Fixed[i].Addr = eui64(v.CIDR, mac)
		if err := ipam.Claim(tx, v.ID, p.Fixed[i].Addr, p.ID); err != nil {
			return err
		}
	}
	return nil
}

var hostName = pattern.New(`^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*\.?$`)

const maxPairs = 10

// validPort checks what the request says of the port itself.
func validPort(p *Port) error {
	if err := validTexts("port", p.Name, p.Description, p.Tags); err != nil {
		return err
	}
	for _, f := range []struct{ name, text string }{{"device_id", p.DeviceID}, {"device_owner", p.DeviceOwner}} {
		if len(f.text) > maxText {
			return fault.InvalidField(f.name, sprint("%.20s...", f.text), sprint("at most %d characters", maxText))
		}
	}
	if !slices.Contains([]string{"normal", "direct", "macvtap", "baremetal", "direct-physical", "virtio-forwarder", "smart-nic", "vdpa", "accelerator-direct", "accelerator-direct-physical", "remote-managed"}, p.VNICType) {
		return fault.InvalidField("binding:vnic_type", p.VNICType, "it is normal, or one of Neutron's other types")
	}
	if p.DNSName != "" && !hostName.MatchString(p.DNSName) {
		return fault.InvalidField("dns_name", p.DNSName, "it is a host name")
	}
	if len(p.AddressPairs) > maxPairs {
		return fault.InvalidField("allowed_address_pairs", len(p.AddressPairs), sprint("at most %d", maxPairs))
	}
	if len(p.AddressPairs) > 0 && !p.PortSecurity {
		return &fault.Error{Code: fault.Conflict, Kind: "port", ID: p.ID, Err: PairsNeedPortSecurity, Msg: "address pairs need port security; switch that on"}
	}
	if len(p.SecurityGroups) > 0 && !p.PortSecurity {
		return &fault.Error{Code: fault.Conflict, Kind: "port", ID: p.ID, Err: GroupsNeedPortSecurity,
			Msg: "has security groups, which need port security; take them away or leave it on"}
	}
	for i := range p.AddressPairs {
		pair := &p.AddressPairs[i]
		if _, err := netip.ParseAddr(pair.IP); err != nil {
			if _, err := netip.ParsePrefix(pair.IP); err != nil {
				return fault.InvalidField("allowed_address_pairs", pair.IP, "ip_address is an address or a range such as 10.0.0.0/24")
			}
		}
		if pair.MAC == "" {
			pair.MAC = p.MAC
		}
		mac, ok := parseMAC(pair.MAC)
		if !ok {
			return fault.InvalidField("allowed_address_pairs", pair.MAC, "mac_address is a unicast address such as fa:16:3e:01:02:03")
		}
		pair.MAC = mac
		if slices.Contains(p.AddressPairs[:i], *pair) {
			return &fault.Error{Code: fault.Invalid, Kind: "port", Field: "allowed_address_pairs", Msg: pair.IP + " with " + pair.MAC + " is there twice"}
		}
	}
	return nil
}
