package network

// Reason is the cause of many errors of this package: it says more exactly than the fault.Code what
// was wrong, for clients that know these words. Find it with errors.As.
type Reason string

// Error is empty: the error around a Reason says it all.
func (r Reason) Error() string { return "" }

// The reasons.
const (
	NetworkInUse           Reason = "network in use"
	SubnetInUse            Reason = "subnet in use"
	SegmentInUse           Reason = "segment in use"
	SegmentsExhausted      Reason = "no segment left"
	SubnetOverlap          Reason = "subnet overlaps"
	GatewayInPool          Reason = "gateway in allocation pool"
	PoolInvalid            Reason = "allocation pool invalid"
	PoolsOverlap           Reason = "allocation pools overlap"
	PoolOutside            Reason = "allocation pool outside of subnet"
	GatewayInUse           Reason = "gateway address in use"
	AddressInUse           Reason = "address in use"
	AddressNotOnNetwork    Reason = "address not on network"
	AddressOutside         Reason = "address outside of subnet"
	NoAddressLeft          Reason = "no address left"
	MACInUse               Reason = "mac address in use"
	PortBound              Reason = "port is bound"
	PortInUse              Reason = "port belongs to a device"
	GroupInUse             Reason = "security group in use"
	DefaultGroupExists     Reason = "default security group exists"
	DefaultGroupFixed      Reason = "default security group cannot be removed"
	RuleExists             Reason = "rule exists"
	RuleInvalid            Reason = "rule invalid"
	PairsNeedPortSecurity  Reason = "address pairs need port security"
	GroupsNeedPortSecurity Reason = "security groups need port security"
	RevisionMismatch       Reason = "revision mismatch"
	SharedInUse            Reason = "shared network in use"
)
