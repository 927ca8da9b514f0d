package libvirt

import (
	"errors"
	"path/filepath"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/id"
)

// Options configures a driver. Only StateDir must be set.
type Options struct {
	// URI of libvirt; "" means "qemu:///system". The driver runs on the machine that it drives: StateDir is
	// the same directory for both.
	URI string
	// StateDir is an absolute path, made when missing; see the package comment for what is in it.
	StateDir string
	// VirtType is "kvm" (also "") or "qemu", which emulates. It is never guessed: a machine can have a
	// /dev/kvm that boots nothing.
	VirtType string
	// Machine is QEMU's machine type; "" means "q35".
	Machine string
	// CPUMode is "host-model", "host-passthrough" (both with kvm only), "maximum", or "" for the right
	// one: host-model with kvm, maximum with qemu.
	CPUMode string

	// HostID is the host's UUID; "" means the one that libvirt reports. Set it where that one
	// changes with each start of libvirtd, as on machines without DMI.
	HostID string
	// VCPUs, MemoryMiB and DiskGiB are what the host offers; 0 means what libvirt reports, and the size
	// of StateDir's file system.
	VCPUs     int
	MemoryMiB int64
	DiskGiB   int64
	// Address is the host's IP for people and migrations; may be empty.
	Address string
	// Traits are for filters to ask for.
	Traits map[string]string

	// QemuImg is the program; "" means "qemu-img".
	QemuImg string
	// Clock measures grace times and pauses between retries; nil means the system's.
	Clock clock.Clock
}

// withDefaults returns the options in full, or all that is wrong with them.
func (o Options) withDefaults() (Options, error) {
	for _, f := range []struct {
		field *string
		value string
	}{{&o.URI, "qemu:///system"}, {&o.VirtType, "kvm"}, {&o.Machine, "q35"}, {&o.QemuImg, "qemu-img"}} {
		if *f.field == "" {
			*f.field = f.value
		}
	}
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.CPUMode == "" {
		o.CPUMode = "maximum"
		if o.VirtType == "kvm" {
			o.CPUMode = "host-model"
		}
	}
	var errs []error
	bad := func(field string, value any, remedy string) {
		errs = append(errs, fault.InvalidField(field, value, remedy))
	}
	if !filepath.IsAbs(o.StateDir) || filepath.Clean(o.StateDir) != o.StateDir {
		bad("StateDir", o.StateDir, "give a clean absolute path; libvirt and QEMU use it too")
	}
	if o.VirtType != "kvm" && o.VirtType != "qemu" {
		bad("VirtType", o.VirtType, `use "kvm", or "qemu" to emulate`)
	}
	switch o.CPUMode {
	case "maximum":
	case "host-model", "host-passthrough":
		if o.VirtType == "qemu" {
			bad("CPUMode", o.CPUMode, `needs VirtType "kvm"; use "maximum"`)
		}
	default:
		bad("CPUMode", o.CPUMode, `use "host-model", "host-passthrough" or "maximum"`)
	}
	if o.HostID != "" && !id.IsUUID(o.HostID) {
		bad("HostID", o.HostID, "use a UUID, or leave it empty for libvirt's")
	}
	for name, v := range map[string]int64{"VCPUs": int64(o.VCPUs), "MemoryMiB": o.MemoryMiB, "DiskGiB": o.DiskGiB} {
		if v < 0 {
			bad(name, v, "use a positive number, or 0 for what libvirt reports")
		}
	}
	return o, errors.Join(errs...)
}
