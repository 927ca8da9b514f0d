package compute

import (
	"net/netip"
	"time"

	"github.com/nubecula/cloud/network/networkdriver"
	"github.com/nubecula/cloud/store"
)

// Server is a virtual machine as its project sees it. What only
// administrators should see (Host, HostID, Generation ...) is in it too; views leave it out.
type Server struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Hostname    string `json:"hostname"` // what the guest calls itself
	Description string `json:"description,omitempty"`
	ProjectID   string `json:"project_id"`
	UserID      string `json:"user_id"`

	ImageID string  `json:"image_id,omitempty"` // "" means a blank disk
	Flavor  Flavor  `json:"flavor"`             // as it was when the server was made
	KeyName string  `json:"key_name,omitempty"` // "" means none
	KeyType KeyType `json:"key_type,omitempty"`

	Metadata map[string]string `json:"metadata,omitempty"`
	Tags     []string          `json:"tags,omitempty"` // sorted

	VMState    VMState    `json:"vm_state"`
	TaskState  TaskState  `json:"task_state,omitempty"` // "" means none
	PowerState PowerState `json:"power_state"`
	Fault      *Fault     `json:"fault,omitempty"` // the newest failure; shown while in ERROR
	// Lost says that the server is in ERROR because its guest is not on its host, or half of it is not.
	Lost     bool `json:"lost,omitempty"`
	Progress int  `json:"progress,omitempty"`

	Locked       bool   `json:"locked,omitempty"`
	LockedBy     string `json:"locked_by,omitempty"` // "owner" or "admin"
	LockedReason string `json:"locked_reason,omitempty"`

	RequestedZone  string              `json:"requested_zone,omitempty"` // "" means any
	ForcedHost     string              `json:"forced_host,omitempty"`    // an administrator's "az:host": past some filters
	RequestedHost  string              `json:"requested_host,omitempty"` // an administrator's choice that must pass every filter
	Zone           string              `json:"zone,omitempty"`           // of the host; "" while there is none
	HostID         string              `json:"host_id,omitempty"`        // "" while it has no host
	Host           string              `json:"host,omitempty"`           // the host's name
	Generation     int64               `json:"generation"`               // of the newest placement; 0 means none yet
	Turn           int64               `json:"turn,omitempty"`           // the last that a start, stop or reboot was given
	SchedulerHints map[string][]string `json:"scheduler_hints,omitempty"`

	NICs           []NIC    `json:"nics,omitempty"` // in the guest's order
	SecurityGroups []string `json:"security_groups,omitempty"`
	ConfigDrive    bool     `json:"config_drive,omitempty"` // whether the user asked for one
	RootDevice     string   `json:"root_device,omitempty"`  // "/dev/vda"
	ReservationID  string   `json:"reservation_id,omitempty"`
	DiskConfig     string   `json:"disk_config,omitempty"` // "AUTO" or "MANUAL", kept for clients; "" means MANUAL
	// AccessIPv4 and AccessIPv6 are how its owner says that it is reached; kept for clients, the zero Addr means none.
	AccessIPv4  netip.Addr `json:"access_ipv4,omitzero"`
	AccessIPv6  netip.Addr `json:"access_ipv6,omitzero"`
	LaunchIndex int        `json:"launch_index,omitempty"` // within a multiple create

	Counted      bool      `json:"counted,omitempty"` // it is in the quota ledger
	CreatedAt    time.Time `json:"created_at"`
	UpdatedAt    time.Time `json:"updated_at"`
	LaunchedAt   time.Time `json:"launched_at,omitzero"`
	TerminatedAt time.Time `json:"terminated_at,omitzero"`

	// Addresses are read from the ports when the server is; they are not stored.
	Addresses []Address `json:"-"`
	// GroupNames are the names of its ports' security groups, sorted; read as Addresses are.
	GroupNames []string `json:"-"`
	// HostStatus is "UP", "DOWN", "MAINTENANCE" (disabled), "UNKNOWN" or "" without a host; not stored.
	HostStatus string `json:"-"`
	// DeletedAt is set for a server that is no more; not stored.
	DeletedAt time.Time `json:"-"`
}

// NIC is a server's use of a port.
type NIC struct {
	PortID    string                `json:"port_id"`
	NetworkID string                `json:"network_id"`
	MAC       string                `json:"mac"`
	Tag       string                `json:"tag,omitempty"`
	Ours      bool                  `json:"ours,omitempty"` // made for this server, and deleted with it
	Binding   networkdriver.Binding `json:"binding,omitzero"`
}

// Address is one address of a server.
type Address struct {
	NetworkID string
	Network   string // name
	PortID    string
	MAC       string
	Addr      netip.Addr
	Type      string // "fixed" or "floating"
}

// Fault is why a server is in ERROR.
type Fault struct {
	Code    int       `json:"code"` // as an HTTP status: 500
	Message string    `json:"message"`
	Details string    `json:"details,omitempty"` // for administrators
	Created time.Time `json:"created"`
}

// serverSeed is what a guest is told when it boots, and made from. It is apart from the server, so that
// lists do not read it.
type serverSeed struct {
	ServerID  string     `json:"server_id"`
	UserData  string     `json:"user_data,omitempty"`  // sealed; as the guest sees it, not base64
	Files     string     `json:"files,omitempty"`      // sealed JSON of []File
	AdminPass string     `json:"admin_pass,omitempty"` // sealed
	Random    string     `json:"random,omitempty"`     // sealed bytes for the guest's entropy pool
	PublicKey string     `json:"public_key,omitempty"`
	Base      *imageData `json:"base,omitempty"` // nil means a blank disk
}

// imageData is an image's data as it was when the server was made.
type imageData struct {
	DataID    string `json:"data_id"`
	Format    string `json:"format"`
	SizeBytes int64  `json:"size_bytes"`
	SHA512    string `json:"sha512"`
}

var servers = store.Define(store.Spec[Server]{
	Kind: "server", Version: 1, Tombstones: true,
	ID: func(s *Server) string { return s.ID },
	Indexes: []store.Index[Server]{
		{Name: "project", Keys: func(s *Server) []store.Tuple { return []store.Tuple{{s.ProjectID, s.CreatedAt}} }},
		{Name: "created", Keys: func(s *Server) []store.Tuple { return []store.Tuple{{s.CreatedAt}} }},
		{Name: "host", Keys: func(s *Server) []store.Tuple {
			if s.HostID == "" {
				return nil
			}
			return []store.Tuple{{s.HostID}}
		}},
	},
})

var seeds = store.Define(store.Spec[serverSeed]{
	Kind: "server-seed", Version: 1,
	ID: func(s *serverSeed) string { return s.ServerID },
})
