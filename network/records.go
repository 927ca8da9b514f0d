package network

import (
	"encoding/json"
	"net/netip"
	"time"

	"github.com/nubecula/cloud/network/networkdriver"
	"github.com/nubecula/cloud/store"
)

// States of networks and ports.
const (
	Active = "ACTIVE" // the provider has it; a port is bound and up
	Build  = "BUILD"  // the provider does not have it yet
	Down   = "DOWN"   // a port that is not bound, or not up
	Failed = "ERROR"  // the provider refuses it
)

// Network is an isolated layer 2 segment.
type Network struct {
	ID                string                `json:"id"`
	ProjectID         string                `json:"project_id"`
	Name              string                `json:"name"`
	Description       string                `json:"description"`
	AdminUp           bool                  `json:"admin_up"`
	Shared            bool                  `json:"shared"`
	External          bool                  `json:"external"`
	Default           bool                  `json:"default"` // the external network that is used when none is named
	MTU               int                   `json:"mtu"`     // bytes
	Segment           networkdriver.Segment `json:"segment"`
	PortSecurity      bool                  `json:"port_security"` // default for its ports
	DNSDomain         string                `json:"dns_domain,omitempty"`
	AvailabilityZones []string              `json:"availability_zones,omitempty"` // asked for
	Subnets           []string              `json:"subnets,omitempty"`            // ids, oldest first
	Tags              []string              `json:"tags,omitempty"`               // sorted
	Status            string                `json:"status"`
	Revision          int64                 `json:"revision"` // counts changes, from 1
	CreatedAt         time.Time             `json:"created_at"`
	UpdatedAt         time.Time             `json:"updated_at"`
}

// Subnet is an address range of a network.
type Subnet struct {
	ID          string       `json:"id"`
	ProjectID   string       `json:"project_id"`
	NetworkID   string       `json:"network_id"`
	Name        string       `json:"name"`
	Description string       `json:"description"`
	CIDR        netip.Prefix `json:"cidr"`
	Gateway     netip.Addr   `json:"gateway"` // the zero Addr means none
	Pools       []Pool       `json:"pools"`   // addresses are given out from these
	DNS         []netip.Addr `json:"dns,omitempty"`
	Routes      []Route      `json:"routes,omitempty"`
	DHCP        bool         `json:"dhcp"`
	RAMode      string       `json:"ra_mode,omitempty"`      // IPv6: "", slaac, dhcpv6-stateful, dhcpv6-stateless
	AddressMode string       `json:"address_mode,omitempty"` // IPv6: as RAMode
	Tags        []string     `json:"tags,omitempty"`         // sorted
	Revision    int64        `json:"revision"`
	CreatedAt   time.Time    `json:"created_at"`
	UpdatedAt   time.Time    `json:"updated_at"`
}

// Pool is a run of addresses, both ends included.
type Pool struct {
	Start netip.Addr `json:"start"`
	End   netip.Addr `json:"end"`
}

// Route is a static route handed to guests.
type Route = networkdriver.Route

// FixedIP is an address that a port has in a subnet.
type FixedIP struct {
	SubnetID string     `json:"subnet_id"`
	Addr     netip.Addr `json:"addr"`
}

// AddressPair is an address that a port may also send from.
type AddressPair struct {
	IP  string `json:"ip_address"` // an address or a CIDR
	MAC string `json:"mac_address"`
}

// Port is where a guest's NIC meets a network.
type Port struct {
	ID             string          `json:"id"`
	ProjectID      string          `json:"project_id"`
	NetworkID      string          `json:"network_id"`
	Name           string          `json:"name"`
	Description    string          `json:"description"`
	MAC            string          `json:"mac"` // lower-case, with colons
	Fixed          []FixedIP       `json:"fixed,omitempty"`
	DeviceID       string          `json:"device_id"`    // the server it belongs to; "" means none
	DeviceOwner    string          `json:"device_owner"` // "compute:nova"
	AdminUp        bool            `json:"admin_up"`
	SecurityGroups []string        `json:"security_groups,omitempty"` // ids
	AddressPairs   []AddressPair   `json:"address_pairs,omitempty"`
	PortSecurity   bool            `json:"port_security"`
	DNSName        string          `json:"dns_name,omitempty"`
	VNICType       string          `json:"vnic_type"`         // "normal"
	Profile        json.RawMessage `json:"profile,omitempty"` // an object of the client's
	Host           string          `json:"host,omitempty"`    // where it is bound, or asked to be bound
	Binding        *Binding        `json:"binding,omitempty"` // nil: not bound
	Tags           []string        `json:"tags,omitempty"`    // sorted
	Status         string          `json:"status"`
	Revision       int64           `json:"revision"`
	Moved          int64           `json:"moved,omitempty"` // revision of the network's topology in which the port changed last
	CreatedAt      time.Time       `json:"created_at"`
	UpdatedAt      time.Time       `json:"updated_at"`
}

// Binding is how and where a port is reachable.
type Binding struct {
	Host       string                `json:"host"`
	Generation int64                 `json:"generation"` // of the server's placement
	VIF        networkdriver.Binding `json:"vif"`
}

// SecurityGroup is a set of rules for the traffic of ports. Stored and shown; not yet enforced by the providers.
type SecurityGroup struct {
	ID          string    `json:"id"`
	ProjectID   string    `json:"project_id"`
	Name        string    `json:"name"`
	Description string    `json:"description"`
	Stateful    bool      `json:"stateful"`
	Default     bool      `json:"default"` // the one of its project that ports get
	Tags        []string  `json:"tags,omitempty"`
	Revision    int64     `json:"revision"`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
	// Rules is filled when a group is read.
	Rules []*SecurityGroupRule `json:"-"`
}

// SecurityGroupRule admits some traffic. Zero fields admit any.
type SecurityGroupRule struct {
	ID            string    `json:"id"`
	ProjectID     string    `json:"project_id"`
	GroupID       string    `json:"group_id"`
	Description   string    `json:"description"`
	Direction     string    `json:"direction"`          // "ingress", "egress"
	EtherType     string    `json:"ether_type"`         // "IPv4", "IPv6"
	Protocol      string    `json:"protocol,omitempty"` // a name or a number
	PortMin       *int      `json:"port_min,omitempty"` // or the ICMP type
	PortMax       *int      `json:"port_max,omitempty"` // or the ICMP code
	RemoteCIDR    string    `json:"remote_cidr,omitempty"`
	RemoteGroupID string    `json:"remote_group_id,omitempty"`
	Tags          []string  `json:"tags,omitempty"`
	Revision      int64     `json:"revision"`
	CreatedAt     time.Time `json:"created_at"`
	UpdatedAt     time.Time `json:"updated_at"`
}

// topology tells how far the provider is behind. It is apart from the network,
// since every port moves it.
type topology struct {
	NetworkID string `json:"network_id"`
	Wanted    int64  `json:"wanted"`            // counts changes
	Applied   int64  `json:"applied"`           // the newest that the provider has
	Known     bool   `json:"known,omitempty"`   // it was given all of Applied, and each port tells when it moved: what changed since is known
	Removed   bool   `json:"removed,omitempty"` // the network is deleted; the provider is to remove it
}

// debt is a binding of a port that is gone from the store but not yet from the
// provider; its addresses are kept until it is paid.
type debt struct {
	PortID    string    `json:"port_id"`
	NetworkID string    `json:"network_id"`
	Host      string    `json:"host"`
	Gen       int64     `json:"generation"`
	Fixed     []FixedIP `json:"fixed,omitempty"`
}

// loss is a port that is gone, of which the provider is to be told.
type loss struct {
	PortID    string `json:"port_id"`
	NetworkID string `json:"network_id"`
	Revision  int64  `json:"revision"` // of the topology that lacks it
}

// unchanged is the upgrade from version 1 of a kind that has got another field.
var unchanged = map[int]func([]byte) ([]byte, error){1: func(body []byte) ([]byte, error) { return body, nil }}

var (
	networks = store.Define(store.Spec[Network]{
		Kind: "network", Version: 1, Tombstones: true,
		ID: networkID,
		Indexes: []store.Index[Network]{
			{Name: "project", Keys: func(v *Network) []store.Tuple { return []store.Tuple{{v.ProjectID, v.CreatedAt}} }},
			{Name: "public", Keys: func(v *Network) []store.Tuple {
				if !v.Shared && !v.External {
					return nil
				}
				return []store.Tuple{{v.CreatedAt}}
			}},
			{Name: "segment", Unique: true, Keys: func(v *Network) []store.Tuple {
				if v.Segment.Type == "local" {
					return nil
				}
				return []store.Tuple{{v.Segment.Type, v.Segment.Physical, v.Segment.ID}}
			}},
		},
	})
	subnets = store.Define(store.Spec[Subnet]{
		Kind: "subnet", Version: 1, Tombstones: true,
		ID: func(v *Subnet) string { return v.ID },
		Indexes: []store.Index[Subnet]{
			{Name: "project", Keys: func(v *Subnet) []store.Tuple { return []store.Tuple{{v.ProjectID, v.CreatedAt}} }},
			{Name: "network", Keys: func(v *Subnet) []store.Tuple { return []store.Tuple{{v.NetworkID, v.CreatedAt}} }},
		},
	})
	ports = store.Define(store.Spec[Port]{
		Kind: "port", Version: 2, Upgrade: unchanged, Tombstones: true, // 2 added Moved
		ID: func(v *Port) string { return v.ID },
		Indexes: []store.Index[Port]{
			{Name: "project", Keys: func(v *Port) []store.Tuple { return []store.Tuple{{v.ProjectID, v.CreatedAt}} }},
			{Name: "network", Keys: func(v *Port) []store.Tuple { return []store.Tuple{{v.NetworkID, v.CreatedAt}} }},
			{Name: "moved", Keys: func(v *Port) []store.Tuple { return []store.Tuple{{v.NetworkID, v.Moved}} }},
			{Name: "mac_address", Unique: true, Keys: func(v *Port) []store.Tuple { return []store.Tuple{{v.NetworkID, v.MAC}} }},
			{Name: "device", Keys: func(v *Port) []store.Tuple {
				if v.DeviceID == "" {
					return nil
				}
				return []store.Tuple{{v.DeviceID, v.CreatedAt}}
			}},
			{Name: "security_group", Keys: func(v *Port) []store.Tuple {
				out := make([]store.Tuple, len(v.SecurityGroups))
				for i, g := range v.SecurityGroups {
					out[i] = store.Tuple{g}
				}
				return out
			}},
			{Name: "address", Keys: func(v *Port) []store.Tuple {
				out := make([]store.Tuple, len(v.Fixed))
				for i, f := range v.Fixed {
					out[i] = store.Tuple{f.Addr.String(), f.SubnetID}
				}
				return out
			}},
		},
	})
	groups = store.Define(store.Spec[SecurityGroup]{
		Kind: "security_group", Version: 1, Tombstones: true,
		ID: func(v *SecurityGroup) string { return v.ID },
		Indexes: []store.Index[SecurityGroup]{
			{Name: "project", Keys: func(v *SecurityGroup) []store.Tuple { return []store.Tuple{{v.ProjectID, v.CreatedAt}} }},
			{Name: "default", Unique: true, Keys: func(v *SecurityGroup) []store.Tuple {
				if !v.Default {
					return nil
				}
				return []store.Tuple{{v.ProjectID}}
			}},
		},
	})
	rules = store.Define(store.Spec[SecurityGroupRule]{
		Kind: "security_group_rule", Version: 1,
		ID: func(v *SecurityGroupRule) string { return v.ID },
		Indexes: []store.Index[SecurityGroupRule]{
			{Name: "project", Keys: func(v *SecurityGroupRule) []store.Tuple { return []store.Tuple{{v.ProjectID, v.CreatedAt}} }},
			{Name: "group", Keys: func(v *SecurityGroupRule) []store.Tuple { return []store.Tuple{{v.GroupID, v.CreatedAt}} }},
			{Name: "remote", Keys: func(v *SecurityGroupRule) []store.Tuple {
				if v.RemoteGroupID == "" {
					return nil
				}
				return []store.Tuple{{v.RemoteGroupID}}
			}},
		},
	})
	topologies = store.Define(store.Spec[topology]{
		Kind: "network_topology", Version: 2, Upgrade: unchanged, // 2 added Known
		ID: func(v *topology) string { return v.NetworkID },
	})
	losses = store.Define(store.Spec[loss]{
		Kind: "port_loss", Version: 1,
		ID: func(v *loss) string { return v.PortID },
		Indexes: []store.Index[loss]{
			{Name: "network", Keys: func(v *loss) []store.Tuple { return []store.Tuple{{v.NetworkID, v.Revision}} }},
		},
	})
	debts = store.Define(store.Spec[debt]{
		Kind: "port_debt", Version: 1,
		ID: func(v *debt) string { return v.PortID },
		Indexes: []store.Index[debt]{
			{Name: "network", Keys: func(v *debt) []store.Tuple { return []store.Tuple{{v.NetworkID}} }},
		},
	})
)
