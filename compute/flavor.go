package compute

import (
	"time"

	"github.com/nubecula/cloud/scheduler"
	"github.com/nubecula/cloud/store"
)

// Flavor is a size of server.
type Flavor struct {
	ID           string            `json:"id"` // free-form, unique
	Name         string            `json:"name"`
	Description  string            `json:"description,omitempty"`
	VCPUs        int               `json:"vcpus"`
	MemoryMiB    int64             `json:"memory_mib"`
	DiskGiB      int64             `json:"disk_gib"`      // root disk; 0 means the image's size
	EphemeralGiB int64             `json:"ephemeral_gib"` // 0 means none
	SwapMiB      int64             `json:"swap_mib"`      // 0 means none
	RxTxFactor   float64           `json:"rxtx_factor"`   // kept for clients; has no effect
	Public       bool              `json:"public"`
	Disabled     bool              `json:"disabled,omitempty"`
	ExtraSpecs   map[string]string `json:"extra_specs,omitempty"`
	Access       []string          `json:"access,omitempty"` // projects that may use it when it is not Public; sorted
	CreatedAt    time.Time         `json:"created_at"`
	UpdatedAt    time.Time         `json:"updated_at,omitzero"`
}

// Need is what a server of the flavor takes of its host.
func (f *Flavor) Need() scheduler.Resources {
	const mibPerGiB = 1024
	return scheduler.Resources{
		VCPUs: int64(f.VCPUs), MemoryMiB: f.MemoryMiB,
		DiskGiB: f.DiskGiB + f.EphemeralGiB + (f.SwapMiB+mibPerGiB-1)/mibPerGiB,
	}
}

var flavors = store.Define(store.Spec[Flavor]{
	Kind: "flavor", Version: 1,
	ID: func(f *Flavor) string { return f.ID },
	Indexes: []store.Index[Flavor]{
		{Name: "name", Unique: true, Keys: func(f *Flavor) []store.Tuple { return []store.Tuple{{f.Name}} }},
	},
})

// CreateFlavor is a request for a flavor.
type CreateFlavor struct {
	ID           string // "" or "auto" means a new UUID
	Name         string
	Description  string
	VCPUs        int
	MemoryMiB    int64
	DiskGiB      int64
	EphemeralGiB int64
	SwapMiB      int64
	RxTxFactor   float64 // 0 means 1.0
	Private      bool    // only projects with access may use it
	Disabled     bool
	ExtraSpecs   map[string]string
}

// FlavorQuery selects flavors.
type FlavorQuery struct {
	Public       *bool // nil means all that the caller may use; false is for administrators
	All          bool  // public and private ones of every project; for administrators, of others ignored
	MinDiskGiB   int64 // 0 means any
	MinMemoryMiB int64 // 0 means any
	SortKey      string
	SortDesc     bool
	Marker       string // id of the last one seen; "" means from the start
	Limit        int    // 0 means 1000
}

// UpdateFlavor changes a flavor; nil leaves as it is.
type UpdateFlavor struct{ Description *string }

// FlavorAccess says that a project may use a private flavor.
type FlavorAccess struct{ FlavorID, ProjectID string }
