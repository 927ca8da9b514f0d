package serverdata

import (
	"fmt"
	"net/netip"
)

// NetworkData is network_data.json.
type NetworkData struct {
	Links    []Link         `json:"links"`
	Networks []NetworkEntry `json:"networks"`
	Services []Service      `json:"services"`
}

// Link is a NIC.
type Link struct {
	ID   string `json:"id"`
	VIF  string `json:"vif_id"`
	Type string `json:"type"`
	MTU  *int   `json:"mtu"`
	MAC  string `json:"ethernet_mac_address"`
}

// NetworkEntry is one address on a Link.
type NetworkEntry struct {
	ID        string       `json:"id"`
	Type      string       `json:"type"` // "ipv4_dhcp", "ipv4", "ipv6", "ipv6_slaac" ...
	Link      string       `json:"link"`
	NetworkID string       `json:"network_id"`
	Address   string       `json:"ip_address,omitempty"`
	Netmask   string       `json:"netmask,omitempty"`
	Gateway   string       `json:"gateway,omitempty"`
	Routes    []RouteEntry `json:"routes,omitempty"`
	Services  []Service    `json:"services,omitempty"`
}

// RouteEntry is a route; the default one has network and netmask of zeros.
type RouteEntry struct {
	Network string `json:"network"`
	Netmask string `json:"netmask"`
	Gateway string `json:"gateway"`
}

// Service is something that the guest should use: its name servers.
type Service struct {
	Type    string `json:"type"` // "dns"
	Address string `json:"address"`
}

// Network describes the links and addresses of a server.
func Network(s *Server) NetworkData {
	out := NetworkData{Links: []Link{}, Networks: []NetworkEntry{}, Services: []Service{}}
	named := map[netip.Addr]bool{}
	for _, n := range s.NICs {
		link := Link{ID: linkID(n.PortID), VIF: n.PortID, Type: n.Type, MAC: n.MAC}
		if n.MTU > 0 {
			link.MTU = &n.MTU
		}
		if link.Type == "" {
			link.Type = "phy"
		}
		out.Links = append(out.Links, link)
		for _, a := range n.Addresses {
			e := a.entry()
			e.ID, e.Link, e.NetworkID = fmt.Sprintf("network%d", len(out.Networks)), link.ID, n.NetworkID
			out.Networks = append(out.Networks, e)
			for _, d := range a.DNS {
				if !named[d] {
					named[d] = true
					out.Services = append(out.Services, Service{"dns", d.String()})
				}
			}
		}
	}
	return out
}

// linkID is the tap device's name in OpenStack's habit; guests only compare it.
func linkID(portID string) string { return "tap" + portID[:min(11, len(portID))] }

func (a *Address) entry() NetworkEntry {
	if a.Addr.Is4() && a.DHCP {
		return NetworkEntry{Type: "ipv4_dhcp"}
	}
	e := NetworkEntry{Type: "ipv4", Address: a.Addr.String(), Netmask: netmask(a.Prefix)}
	if a.Addr.Is6() {
		e.Type = "ipv6"
		if a.DHCP && a.Mode != "" {
			e.Type = "ipv6_" + a.Mode
		}
	}
	if a.Gateway.IsValid() {
		e.Gateway = a.Gateway.String()
		zero := "0.0.0.0"
		if a.Addr.Is6() {
			zero = "::"
		}
		e.Routes = append(e.Routes, RouteEntry{zero, zero, a.Gateway.String()})
	}
	for _, r := range a.Routes {
		e.Routes = append(e.Routes, RouteEntry{r.Destination.Addr().String(), netmask(r.Destination), r.NextHop.String()})
	}
	for _, d := range a.DNS {
		e.Services = append(e.Services, Service{"dns", d.String()})
	}
	return e
}

// netmask writes a prefix length as an address: 24 as 255.255.255.0.
func netmask(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	mask := make([]byte, p.Addr().BitLen()/8)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	addr, _ := netip.AddrFromSlice(mask)
	return addr.String()
}
