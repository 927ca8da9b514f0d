package compute

import (
	"net/netip"
	"time"
)

// CreateServer is a request for one server or several alike.
type CreateServer struct {
	Name        string
	Hostname    string // "" derives one from Name
	Description string
	ImageID     string // "" means a blank root disk
	FlavorID    string
	KeyName     string // of the caller's key pairs; "" means none

	// Networks are the NICs, in order. Empty, with neither Auto nor None set, means Auto.
	Networks []Network
	// Auto takes the only network that the project can use; with none the server has no NIC,
	// with several it is a Conflict.
	Auto bool
	// None gives the server no NIC.
	None bool
	// SecurityGroups, by name or id, for the ports made for the server; empty means "default".
	SecurityGroups []string

	UserData    []byte // plain, not base64; at most 65535 bytes in base64
	Metadata    map[string]string
	Files       []File
	Tags        []string
	ConfigDrive bool
	AdminPass   string // "" makes one

	DiskConfig             string     // "AUTO" or "MANUAL"; kept, has no effect
	AccessIPv4, AccessIPv6 netip.Addr // kept for clients; the zero Addr means none

	Zone           string              // availability zone, or "zone:host" or "zone:host:node" for administrators; "" means any
	Host           string              // the only host, by name or id, which must pass the filters; for administrators
	SchedulerHints map[string][]string // kept; for filters that know them

	MinCount, MaxCount int    // 0 means 1, or the other one
	ReservationID      string // "" makes one
}

// Network asks for one NIC: a network, or a port that exists.
type Network struct {
	NetworkID string     // "" with PortID
	PortID    string     // "" makes a port
	FixedIP   netip.Addr // of the new port; the zero Addr means any
	Tag       string
}

// File is put into the guest by way of the config drive.
type File struct {
	Path     string `json:"path"`
	Contents []byte `json:"contents"` // plain, not base64
}

// Created is the answer to CreateServer.
type Created struct {
	Servers       []*Server // at least MinCount
	ReservationID string
	AdminPass     string // said once; only the config drive knows it after that
}

// ServerQuery selects servers. Every field that is not zero must match.
type ServerQuery struct {
	AllProjects bool   // for administrators
	ProjectID   string // with AllProjects
	UserID      string
	IDs         []string

	Name        string // regular expression, found anywhere, as Nova does it
	Hostname    string // regular expression
	Description string // regular expression
	IP, IP6     string // regular expressions on fixed addresses
	Status      []Status
	VMState     VMState
	TaskState   TaskState
	PowerState  *PowerState
	FlavorID    string
	ImageID     string
	KeyName     string
	Host        string // name
	HostID      string // the driver's host id
	Zone        string
	Reservation string
	ConfigDrive *bool
	Locked      *bool
	LaunchIndex *int
	Metadata    map[string]string

	Tags       []string // has all of them
	TagsAny    []string // has one of them
	NotTags    []string // has not all of them
	NotTagsAny []string // has none of them

	ChangedSince  time.Time // brings deleted servers too
	ChangedBefore time.Time
	CreatedSince  time.Time
	CreatedBefore time.Time
	Deleted       bool // only servers that are no more; for administrators

	Sort   []SortKey // empty means created_at, then id, both descending
	Marker string    // id of the last server seen; Invalid when there is none. "" means from the start
	Limit  int       // 0 means 1000, the most
	Brief  bool      // leave Addresses and HostStatus out
}

// SortKey orders a list by a field, as Nova names it: "created_at", "display_name", "uuid", "vm_state" ...
type SortKey struct {
	Key  string
	Desc bool
}

// ServerPage is a part of a list.
type ServerPage struct {
	Servers []*Server
	More    bool // there is more after the last one
}

// UpdateServer changes a server's record; nil leaves as it is.
type UpdateServer struct {
	Name        *string
	Description *string
	Hostname    *string
	DiskConfig  *string
	AccessIPv4  *netip.Addr
	AccessIPv6  *netip.Addr
}

// Reboot says how.
type Reboot string

const (
	Soft Reboot = "SOFT"
	Hard Reboot = "HARD"
)

// Interface is a server's NIC with its port as it is now.
type Interface struct {
	NIC
	PortState string // "ACTIVE", "DOWN", "BUILD"
	FixedIPs  []FixedIP
}

// FixedIP is an address in a subnet.
type FixedIP struct {
	SubnetID string
	Addr     netip.Addr
}

// AttachInterface asks for another NIC.
type AttachInterface struct {
	Network
	FixedIPs []netip.Addr
}

// Action is one thing that was done to a server: an operation as Nova shows it.
type Action struct {
	Name      string // "create", "start", "stop", "reboot", "delete"
	ServerID  string
	ProjectID string
	UserID    string
	RequestID string
	StartedAt time.Time
	UpdatedAt time.Time
	Message   string // "Error" when it failed, else ""
	Events    []ActionEvent
}

// ActionEvent is one step of an Action.
type ActionEvent struct {
	Name       string // "compute_define"
	StartedAt  time.Time
	FinishedAt time.Time // zero while it is under way
	Result     string    // "Success", "Error" or ""
	Details    string    // why it failed; for administrators
	Host       string
	HostID     string
}
