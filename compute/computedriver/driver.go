// Package computedriver is what a hypervisor must do for Nubecula: one file
// to read, one suite (computetest) to pass.
//
// Vocabulary. A guest is what a hypervisor runs for a server. Its Mark - the
// Cloud it belongs to, the server's id and the placement's generation - is
// written into the guest by Define and read back by Guests, so that the two
// sides can always be compared. A generation is one placement of a server on
// a host; each later placement has a greater one.
//
// Life cycle of a guest on one host:
//
//	absent --Define--> off --Start--> running --Stop--> off --Undefine--> absent
//
// Undefine leaves a tombstone: the greatest generation undefined for that id
// on that host. Define and Start of a generation at or below the tombstone
// are refused with fault.Stale, for ever: a late call can never make a second copy.
//
// A host has at most one guest of an id. Start, Stop, Reboot and
// ConsoleOutput of another generation than the defined one are Stale.
//
// Within a placement the turn orders Start, Stop and Reboot: the host keeps the
// greatest turn that it was called with, and one with a smaller turn is Stale. So
// a call that comes late - its caller was frozen or killed, and others went on - does not undo what came after it.
package computedriver

import (
	"context"
	"io"
	"time"

	"github.com/nubecula/cloud/network/networkdriver"
)

// Hypervisor runs guests on one host. It is safe for concurrent use, also
// from other processes. Ids are chosen by the caller. Repeating a call whose
// effect already holds returns nil.
//
// Errors carry a fault.Code. Unavailable and Timeout: the same call is made
// again later. Exhausted: the guest goes to another host. Stale: a newer
// placement exists, the caller stops. Anything else fails the operation.
type Hypervisor interface {
	// Host describes the host as it is now. It doubles as the heartbeat: an
	// error means that the host does not answer.
	Host(ctx context.Context) (Host, error)
	// Define makes the guest's disks and definition, complete, and leaves it
	// off. If a guest with the same Mark exists, a complete one is left as it
	// is and a torn one is made whole. A guest with the same id and a greater generation: Stale.
	// One with a smaller generation is undefined first. One of another Cloud is left alone: Exists.
	Define(ctx context.Context, g Guest) error
	// Start powers the guest on. NotFound when it is not defined, Stale when its generation differs.
	Start(ctx context.Context, r Ref) error
	// Stop powers the guest off: asks it to shut down, and cuts the power
	// once grace has passed (0 cuts at once). NotFound when it is not defined.
	Stop(ctx context.Context, r Ref, grace time.Duration) error
	// Undefine cuts the power, removes guest, disks, console log and all else,
	// and leaves a tombstone of r.Generation. An absent guest is success and
	// leaves the tombstone too. A guest of a greater generation stays, without error.
	Undefine(ctx context.Context, r Ref) error
	// Guests lists every guest on the host, of whatever owner; those without
	// a readable Mark have an empty one. An error means that the list is not complete.
	Guests(ctx context.Context) ([]GuestState, error)
	// Close releases connections. Guests go on running.
	Close() error
}

// Rebooter is the optional soft reboot. Without it a soft reboot is a Stop with grace and a Start.
type Rebooter interface {
	// Reboot asks the guest's system to restart. It is a request: nil means that the
	// guest was asked. Conflict when the guest is off.
	Reboot(ctx context.Context, r Ref) error
}

// Consoler is the optional serial console log. Without it the console output is Unsupported.
type Consoler interface {
	// ConsoleOutput returns the last bytes, at most max, that the guest wrote to its serial
	// console since it was defined. A guest that wrote nothing gives none. NotFound when it is not defined.
	ConsoleOutput(ctx context.Context, r Ref, max int) ([]byte, error)
}

// Rememberer is the optional memory of how new a Cloud's store was. Without it a store that was restored from an older
// backup is recognised only by what it does not know of.
type Rememberer interface {
	// Remember keeps the greatest epoch that it was ever given for a Cloud, durably and wherever the driver keeps its tombstones,
	// and returns it. Epoch 0 only asks; 0 as the answer means that it knows nothing of that Cloud.
	Remember(ctx context.Context, cloud string, epoch int64) (newest int64, err error)
}

// Watcher is the optional source of hints. Without it changes are seen at the next reconciliation.
type Watcher interface {
	// Watch calls f for each change of a guest until ctx ends, and returns ctx's error. Hints may be
	// lost, repeated or late: Guests is the truth. f must return quickly.
	Watch(ctx context.Context, f func(Hint)) error
}

// As finds an optional interface in h or in what h wraps (Unwrap() Hypervisor).
func As[T any](h Hypervisor) (T, bool) {
	for h != nil {
		if t, ok := h.(T); ok {
			return t, true
		}
		u, ok := h.(interface{ Unwrap() Hypervisor })
		if !ok {
			break
		}
		h = u.Unwrap()
	}
	var zero T
	return zero, false
}

// Mark says whose guest it is. The zero Mark is nobody's.
type Mark struct {
	Cloud      string // id of the Cloud that made it
	ID         string // the server's UUID
	Generation int64  // of the placement, from 1
}

// Ref names one placement of one guest.
type Ref struct {
	ID         string
	Generation int64
	Turn       int64 // of Start, Stop and Reboot, which grows with each operation; the others ignore it. 0 is the smallest
}

// Ref returns the Mark without its Cloud, for turn 0.
func (m Mark) Ref() Ref { return Ref{ID: m.ID, Generation: m.Generation} }

// Host is a hypervisor host: facts, no verbs.
type Host struct {
	ID        string            // stable UUID of the machine, never its name
	Name      string            // host name, for people
	Type      string            // hypervisor type as Nova names it: "QEMU", "fake"
	Version   int64             // of the hypervisor: major*1000000 + minor*1000 + micro
	Arch      string            // "x86_64"
	VCPUs     int               // physical CPUs offered, before any overcommit
	MemoryMiB int64             // memory offered, before any overcommit
	DiskGiB   int64             // disk space for guests' local disks
	Address   string            // IP for people and migrations; may be empty
	Traits    map[string]string // anything a filter may ask for
}

// Guest is everything Define needs.
type Guest struct {
	Mark      Mark
	Epoch     int64  // of the Cloud's store when the guest was defined; Guests tells it, nothing depends on it. 0 means unknown
	Name      string // for people; not unique
	Hostname  string
	VCPUs     int
	MemoryMiB int64
	Root      Disk
	NICs      []NIC
	// Mend says that the guest was defined before and has written to its disks: a disk that is not there is NotFound,
	// and nothing is made. What else is missing of the guest is made anew.
	Mend bool
	// ConfigDrive holds the files of the config drive by path ("openstack/latest/meta_data.json");
	// nil means no drive. The drive's label is config-2.
	ConfigDrive map[string][]byte
}

// Disk is a local disk that lives and dies with the guest.
type Disk struct {
	SizeGiB int64 // 0 means the size of Base
	Base    *Base // nil means a blank disk
}

// Base is an image that a disk starts as. The same ID always has the same bytes, so a host may cache it.
type Base struct {
	ID        string
	Format    string // "raw", "qcow2", "iso"
	SizeBytes int64
	SHA512    string // hex; a copy is verified against it; "" means unknown
	// Path is a local file with these bytes, or "" where there is none.
	Path string
	// Open streams the bytes from the start; the caller closes it. It is never nil.
	Open func(ctx context.Context) (io.ReadCloser, error)
}

// NIC connects the guest to a port.
type NIC struct {
	PortID  string
	MAC     string // "fa:16:3e:.."
	MTU     int    // 0 means the network's default
	Binding networkdriver.Binding
}

// Power is whether a guest runs.
type Power string

const (
	Off     Power = "off"
	Running Power = "running"
	Crashed Power = "crashed" // off, and not because anybody asked
	Paused  Power = "paused"
	Torn    Power = "torn" // half defined, by a call that broke off; Define or Undefine mends it
)

// GuestState is one line of Guests.
type GuestState struct {
	Mark  Mark
	Epoch int64 // that Define was given; 0 means unknown
	Name  string
	Power Power
}

// Hint says that something about a guest may have changed.
type Hint struct {
	ID   string
	What string // "started", "stopped", "crashed", "defined", "undefined", "reconnected" (with an empty ID: look at everything)
}
