package compute

// VMState is what a server is, between tasks.
type VMState string

const (
	Building VMState = "building"
	Active   VMState = "active"
	Stopped  VMState = "stopped"
	Error    VMState = "error"
	Deleted  VMState = "deleted"
)

// TaskState is what is being done to a server; "" means nothing.
type TaskState string

const (
	NoTask        TaskState = ""
	Scheduling    TaskState = "scheduling"
	Networking    TaskState = "networking"
	Spawning      TaskState = "spawning"
	PoweringOff   TaskState = "powering-off"
	PoweringOn    TaskState = "powering-on"
	Rebooting     TaskState = "rebooting"
	RebootingHard TaskState = "reboot_started_hard"
	Deleting      TaskState = "deleting"
)

// PowerState is Nova's number for whether the guest runs, as it was last seen.
type PowerState int

const (
	PowerNone      PowerState = 0
	PowerRunning   PowerState = 1
	PowerPaused    PowerState = 3
	PowerShutdown  PowerState = 4
	PowerCrashed   PowerState = 6
	PowerSuspended PowerState = 7
)

// Status is the one word that Nova's API shows for a server, in capitals.
type Status string

const (
	StatusBuild      Status = "BUILD"
	StatusActive     Status = "ACTIVE"
	StatusShutoff    Status = "SHUTOFF"
	StatusReboot     Status = "REBOOT"
	StatusHardReboot Status = "HARD_REBOOT"
	StatusError      Status = "ERROR"
	StatusDeleted    Status = "DELETED"
	StatusUnknown    Status = "UNKNOWN"
)

// Status derives the word from the states.
func (s *Server) Status() Status { panic("todo") }
