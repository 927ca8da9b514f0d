// Package networkdriver is what a network back end must do for Nubecula: one
// file to read, one suite (networktest) to pass.
//
// A topology is everything that one network should be: its segment, its
// subnets and its ports. The caller hands over the whole of it each time; the
// provider works out what to change. A binding is one port made reachable on
// one host; it is what a hypervisor plugs a guest's NIC into.
package networkdriver

import (
	"context"
	"net/netip"
)

// Provider realises networks. It is safe for concurrent use, also from other
// processes. Ids are chosen by the caller. Repeating a call whose effect already holds returns nil.
//
// Errors carry a fault.Code. Unavailable and Timeout: the same call is made
// again later. Stale: a newer revision was applied before. Anything else fails the operation.
type Provider interface {
	// Apply makes the network look like t and does nothing when it already does. A t.Revision
	// older than the one applied is Stale.
	Apply(ctx context.Context, t Topology) error
	// Remove takes the network away with all its bindings, and leaves a tombstone: a later Apply of
	// that id is Stale. An absent network is success.
	Remove(ctx context.Context, networkID string) error
	// Bind makes the port reachable on the host and says how. The network must have been applied
	// (NotFound otherwise); the port need not be part of the applied topology yet. Binding a port
	// that is bound to another host moves it, unless generation is older than the bound one: Stale.
	Bind(ctx context.Context, p Port, b Bind) (Binding, error)
	// Unbind undoes Bind; a port that is not bound, or is bound with a greater generation, is left as
	// it is, without error. It leaves a tombstone: a later Bind of that port with this generation or an older one is Stale.
	Unbind(ctx context.Context, portID string, b Bind) error
	// Networks lists what the provider holds for this Cloud; an error means that the list is not complete.
	Networks(ctx context.Context) ([]NetworkState, error)
	// Close releases connections. Networks go on working.
	Close() error
}

// Rememberer is the optional memory of how new a Cloud's store was. Without it a store that was restored from an older
// backup is recognised only by what it does not know of.
type Rememberer interface {
	// Remember keeps the greatest epoch that it was ever given for a Cloud, durably and wherever the driver keeps its tombstones,
	// and returns it. Epoch 0 only asks; 0 as the answer means that it knows nothing of that Cloud.
	Remember(ctx context.Context, cloud string, epoch int64) (newest int64, err error)
}

// Changer is a Provider that can be told of changes alone, which costs as much as has changed, however many ports the network
// has. Without it each change hands over the whole Topology.
type Changer interface {
	// Change makes the network look like the topology that it holds with all fields of t but Ports in place of its own, t.Ports added
	// to its ports or in place of those with their ids, and the ports in gone taken away. t.Ports and gone are all that has changed after
	// revision since. Conflict when what the provider holds is not revision since - it has lost something, or the answer of an earlier
	// call was lost, or the store was restored from a backup -: then Apply is called with the whole. Otherwise as Apply.
	Change(ctx context.Context, since int64, t Topology, gone []string) error
}

// Topology is the wanted state of one network.
type Topology struct {
	NetworkID string
	Revision  int64 // grows with every change
	Name      string
	ProjectID string
	MTU       int
	Segment   Segment
	External  bool
	AdminUp   bool
	Subnets   []Subnet
	Ports     []Port
}

// Segment is how the network appears on the wire.
type Segment struct {
	Type     string // "local", "flat", "vlan", "vxlan", "geneve"
	Physical string // physical network's name, for flat and vlan
	ID       int    // VLAN id, VNI; 0 means none
}

// Subnet is one address range of a network.
type Subnet struct {
	ID         string
	CIDR       netip.Prefix
	Gateway    netip.Addr // the zero Addr means none
	DHCP       bool
	DNS        []netip.Addr
	HostRoutes []Route
}

// Route is a static route handed to guests.
type Route struct {
	Destination netip.Prefix `json:"destination"`
	NextHop     netip.Addr   `json:"nexthop"`
}

// Port is a virtual switch port.
type Port struct {
	ID        string
	NetworkID string
	MAC       string
	Fixed     []FixedIP
	DeviceID  string // the server it belongs to; "" means none
	AdminUp   bool
}

// FixedIP is an address that a port has in a subnet.
type FixedIP struct {
	SubnetID string
	Addr     netip.Addr
}

// Bind names one placement of a port.
type Bind struct {
	Host       string // host id, as computedriver.Host.ID
	Generation int64  // of the server's placement
}

// Binding says how a hypervisor connects a NIC: exactly one field is set.
type Binding struct {
	OVS  *OVS  `json:"ovs,omitempty"`
	Tap  *Tap  `json:"tap,omitempty"`
	User *User `json:"user,omitempty"`
}

// VIFType is Neutron's word for the binding: "ovs", "bridge", "tap", "other" or "unbound".
func (b Binding) VIFType() string {
	switch {
	case b.OVS != nil:
		return "ovs"
	case b.Tap != nil && b.Tap.Bridge != "":
		return "bridge"
	case b.Tap != nil:
		return "tap"
	case b.User != nil:
		return "other"
	}
	return "unbound"
}

// OVS is a port of an Open vSwitch bridge.
type OVS struct {
	Bridge      string `json:"bridge"`       // "br-int"
	InterfaceID string `json:"interface_id"` // external_ids:iface-id
}

// Tap is a tap device, in a Linux bridge if Bridge is set.
type Tap struct {
	Bridge string `json:"bridge,omitempty"`
	Device string `json:"device,omitempty"` // "" lets the hypervisor choose
}

// User is QEMU's user-mode network: outgoing connections only, guests cannot reach each other.
type User struct{}

// NetworkState is one line of Networks.
type NetworkState struct {
	NetworkID string
	Revision  int64
	Bindings  map[string]Bind // by port id
}
