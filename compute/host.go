package compute

import (
	"time"

	"github.com/nubecula/cloud/scheduler"
	"github.com/nubecula/cloud/store"
)

// Host is a hypervisor host: what its driver reports, what operators decided, and what is given out.
type Host struct {
	ID        string            `json:"id"` // as the driver names the machine; also Nova's hypervisor and service id
	Name      string            `json:"name"`
	Type      string            `json:"type"`
	Version   int64             `json:"version"`
	Arch      string            `json:"arch"`
	VCPUs     int               `json:"vcpus"`
	MemoryMiB int64             `json:"memory_mib"`
	DiskGiB   int64             `json:"disk_gib"`
	Address   string            `json:"address,omitempty"`
	Traits    map[string]string `json:"traits,omitempty"`

	Zone           string           `json:"zone"`
	Ratios         scheduler.Ratios `json:"ratios"`
	Disabled       bool             `json:"disabled,omitempty"` // by an operator: takes no new servers
	DisabledReason string           `json:"disabled_reason,omitempty"`
	ForcedDown     bool             `json:"forced_down,omitempty"` // an operator says that it does not work
	Gone           time.Time        `json:"gone,omitzero"`         // since when an operator says that it never comes back; zero: nobody does

	Heartbeat time.Time `json:"heartbeat,omitzero"` // of its last answer, by the store's lease clock
	SeenAt    time.Time `json:"seen_at,omitzero"`   // the same, by the wall clock
	Run       string    `json:"run,omitempty"`      // the run of the replica that heard it
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`

	// Up, Answers, Used and Servers are read from elsewhere; they are not stored.
	Up      bool                `json:"-"`
	Answers bool                `json:"-"` // as Up, whatever operators say
	Used    scheduler.Resources `json:"-"` // claimed by servers
	Servers int                 `json:"-"` // with a claim on it
}

var hosts = store.Define(store.Spec[Host]{
	Kind: "host", Version: 1,
	ID: func(h *Host) string { return h.ID },
	Indexes: []store.Index[Host]{
		{Name: "name", Keys: func(h *Host) []store.Tuple { return []store.Tuple{{h.Name}} }},
		{Name: "gone", Keys: func(h *Host) []store.Tuple {
			if h.Gone.IsZero() {
				return nil
			}
			return []store.Tuple{{h.ID}}
		}},
	},
})

// UpdateHost changes what operators decide of a host; nil leaves as it is.
type UpdateHost struct {
	Disabled       *bool
	DisabledReason *string
	ForcedDown     *bool
}

// Zone is an availability zone.
type Zone struct {
	Name      string
	Available bool    // it has a host that is up and enabled
	Hosts     []*Host // for administrators
}

// DefaultZone is the availability zone of hosts whose Options name none.
const DefaultZone = "nova"
