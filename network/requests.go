package network

import (
	"encoding/json"
	"net/netip"

	"github.com/nubecula/cloud/network/networkdriver"
)

// CreateNetwork asks for a network. Zero values take defaults.
type CreateNetwork struct {
	ProjectID         string // "" means the principal's
	Name              string
	Description       string
	AdminUp           *bool                 // nil means true
	Shared            bool                  // administrators only
	External          bool                  // administrators only
	Default           bool                  // administrators only
	Segment           networkdriver.Segment // administrators only; zero fields are chosen
	MTU               int                   // bytes; 0 means what the segment can carry
	PortSecurity      *bool                 // nil means true
	DNSDomain         string
	AvailabilityZones []string
	Tags              []string
}

// UpdateNetwork changes the fields that are not nil.
type UpdateNetwork struct {
	ID           string
	IfRevision   *int64 // Conflict with reason RevisionMismatch when the network is at another one
	Name         *string
	Description  *string
	AdminUp      *bool
	Shared       *bool
	External     *bool
	Default      *bool
	Segment      *networkdriver.Segment // cannot change; equal to what it is, or Invalid
	MTU          *int
	PortSecurity *bool
	DNSDomain    *string
	Tags         *[]string
}

// CreateSubnet asks for a subnet of a network.
type CreateSubnet struct {
	ProjectID   string // "" means the principal's
	NetworkID   string
	Name        string
	Description string
	CIDR        netip.Prefix
	Gateway     *netip.Addr // nil means the first address, the zero Addr means none
	Pools       []Pool      // nil means all but the gateway
	DNS         []netip.Addr
	Routes      []Route
	DHCP        *bool // nil means true
	RAMode      string
	AddressMode string
	Tags        []string
}

// UpdateSubnet changes the fields that are not nil.
type UpdateSubnet struct {
	ID          string
	IfRevision  *int64
	Name        *string
	Description *string
	Gateway     *netip.Addr // the zero Addr means none
	Pools       *[]Pool
	DNS         *[]netip.Addr
	Routes      *[]Route
	DHCP        *bool
	Tags        *[]string
}

// FixedRequest asks for one address: in a subnet, or a given one, or both.
type FixedRequest struct {
	SubnetID string     // "" means the subnet that has Addr
	Addr     netip.Addr // the zero Addr means any
}

// CreatePort asks for a port on a network.
type CreatePort struct {
	ProjectID      string // "" means the principal's
	NetworkID      string
	Name           string
	Description    string
	MAC            string          // "" means one is chosen
	Fixed          *[]FixedRequest // nil means an address of each family that the network has
	DeviceID       string
	DeviceOwner    string
	AdminUp        *bool     // nil means true
	SecurityGroups *[]string // ids; nil means the project's default group
	AddressPairs   []AddressPair
	PortSecurity   *bool // nil means what the network says
	DNSName        string
	VNICType       string          // "" means "normal"
	Profile        json.RawMessage // administrators only
	Host           string          // administrators only
	Tags           []string
}

// UpdatePort changes the fields that are not nil.
type UpdatePort struct {
	ID             string
	IfRevision     *int64
	Name           *string
	Description    *string
	MAC            *string         // Conflict while the port is bound
	Fixed          *[]FixedRequest // the whole list; addresses it repeats are kept
	DeviceID       *string
	DeviceOwner    *string
	AdminUp        *bool
	SecurityGroups *[]string
	AddressPairs   *[]AddressPair
	PortSecurity   *bool
	DNSName        *string
	VNICType       *string
	Profile        *json.RawMessage
	Host           *string
	Tags           *[]string
}

// CreateSecurityGroup asks for a security group; it begins with rules that admit everything outward.
type CreateSecurityGroup struct {
	ProjectID   string // "" means the principal's
	Name        string
	Description string
	Stateless   bool
	Tags        []string
}

// UpdateSecurityGroup changes the fields that are not nil.
type UpdateSecurityGroup struct {
	ID          string
	IfRevision  *int64
	Name        *string // the default group keeps its name
	Description *string
	Stateful    *bool
	Tags        *[]string
}

// CreateSecurityGroupRule asks for a rule. Zero fields admit any.
type CreateSecurityGroupRule struct {
	ProjectID     string // "" means the group's
	GroupID       string
	Description   string
	Direction     string // "ingress", "egress"
	EtherType     string // "" means "IPv4"
	Protocol      string
	PortMin       *int
	PortMax       *int
	RemoteCIDR    string
	RemoteGroupID string
}

// NetworkFilter selects networks. Zero fields select all; Keep has the last word.
type NetworkFilter struct {
	IDs       []string
	ProjectID string
	Names     []string
	Keep      func(*Network) bool
}

// SubnetFilter selects subnets.
type SubnetFilter struct {
	IDs        []string
	ProjectID  string
	NetworkIDs []string
	Names      []string
	Keep       func(*Subnet) bool
}

// PortFilter selects ports.
type PortFilter struct {
	IDs        []string
	ProjectID  string
	NetworkIDs []string
	DeviceIDs  []string
	Addrs      []netip.Addr // with one of these addresses
	Names      []string
	Keep       func(*Port) bool
}

// SecurityGroupFilter selects security groups.
type SecurityGroupFilter struct {
	IDs       []string
	ProjectID string
	Names     []string
	Keep      func(*SecurityGroup) bool
}

// SecurityGroupRuleFilter selects rules.
type SecurityGroupRuleFilter struct {
	IDs       []string
	ProjectID string
	GroupIDs  []string
	Keep      func(*SecurityGroupRule) bool
}
