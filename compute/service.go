package compute

import (
	"log/slog"
	"time"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/scheduler"
	"github.com/nubecula/cloud/store"
)

// Hypervisor is a host that this process drives.
type Hypervisor struct {
	Driver computedriver.Hypervisor // required
	Zone   string                   // availability zone; "" means DefaultZone
	Ratios scheduler.Ratios         // how many times over it is given out; 0 means the scheduler's default
}

// Options configure a Service.
type Options struct {
	Store     *store.Store
	Engine    *engine.Engine
	CloudID   string               // in the mark of every guest
	Scheduler *scheduler.Scheduler // nil means the default filters and weighers
	// Hypervisors may be none: then every server ends in ERROR.
	Hypervisors []Hypervisor
	Policy      identity.Policy // nil means identity.DefaultPolicy
	Clock       clock.Clock     // nil means the machine's
	Log         *slog.Logger    // nil means none
	// Heartbeat is how often each host is asked; 0 means 10 seconds.
	Heartbeat time.Duration
	// DownAfter is how long a host may be silent before it counts as down; 0 means a minute.
	DownAfter time.Duration
	// Reconcile is how often hosts' guests are compared with the records; 0 means a minute.
	Reconcile time.Duration
	// NoConfigDrive makes config drives only for servers that ask for one.
	NoConfigDrive bool
}

// Service is compute on behalf of one principal. Safe for concurrent use.
type Service struct {
	*core
	who *identity.Principal
}
