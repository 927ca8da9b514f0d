package compute

import (
	"slices"

	"github.com/nubecula/cloud/fault"
)

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
	RebootingHard TaskState = "rebooting_hard"
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

// states is the table of states: the word for each, and what may be asked of a server in it.
// During a task only what the task's row names may be asked; delete always may.
var states = []struct {
	state  VMState
	status Status
	allows []verb
	tasks  map[TaskState]during
}{
	{Building, StatusBuild, nil, nil},
	{Active, StatusActive, []verb{doStop, doReboot, doHardReboot, doPlug}, map[TaskState]during{
		Rebooting:     {StatusReboot, []verb{doHardReboot}},
		RebootingHard: {StatusHardReboot, nil},
	}},
	{Stopped, StatusShutoff, []verb{doStart, doHardReboot, doPlug}, map[TaskState]during{
		RebootingHard: {StatusHardReboot, nil},
	}},
	{Error, StatusError, []verb{doStop, doHardReboot}, map[TaskState]during{
		RebootingHard: {StatusHardReboot, nil},
	}},
	{Deleted, StatusDeleted, nil, nil},
}

type during struct {
	status Status
	allows []verb
}

// verb is something that can be asked of a server and that its state may forbid, by Nova's name for it.
type verb string

const (
	doStart      verb = "start"
	doStop       verb = "stop"
	doReboot     verb = "reboot"
	doHardReboot verb = "reboot hard"
	doPlug       verb = "attach_interface"
)

// moves is how a server gets from state to state. Whatever is not here cannot happen.
var moves = []struct {
	from VMState
	by   string
	to   VMState
}{
	{"", "create", Building},
	{Building, "create ends", Active},
	{Building, "create fails", Error},
	{Active, "stop", Stopped},
	{Active, "guest went off", Stopped},
	{Stopped, "guest was started", Active},
	{Active, "guest is lost", Error},
	{Stopped, "guest is lost", Error},
	{Error, "guest is back", Active},
	{Error, "guest is back", Stopped},
	{Stopped, "start", Active},
	{Stopped, "hard reboot", Active},
	{Error, "hard reboot", Active},
	{Error, "stop", Stopped},
	{Building, "delete", Deleted},
	{Active, "delete", Deleted},
	{Stopped, "delete", Deleted},
	{Error, "delete", Deleted},
	{Active, "reset-state", Error},
	{Stopped, "reset-state", Error},
	{Stopped, "reset-state", Active},
	{Error, "reset-state", Active},
}

// Status derives the word from the states.
func (s *Server) Status() Status {
	for _, row := range states {
		if row.state == s.VMState {
			if d, ok := row.tasks[s.TaskState]; ok {
				return d.status
			}
			return row.status
		}
	}
	return StatusUnknown
}

// allow returns a Conflict that names the state when it forbids v.
func (s *Server) allow(v verb) error {
	for _, row := range states {
		if row.state != s.VMState {
			continue
		}
		if s.TaskState != NoTask {
			if slices.Contains(row.tasks[s.TaskState].allows, v) {
				return nil
			}
			return s.conflict("cannot '%s' instance %s while it is in task_state %s; wait until that has ended", v, s.ID, s.TaskState)
		}
		if slices.Contains(row.allows, v) {
			return nil
		}
	}
	return s.conflict("cannot '%s' instance %s while it is in vm_state %s", v, s.ID, s.VMState)
}

func (s *Server) conflict(format string, args ...any) error {
	return fault.New(fault.Conflict, format, args...).About("server", s.ID)
}
