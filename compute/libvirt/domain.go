package libvirt

import (
	"fmt"
	"net"
	"strings"
	"unicode"

	"libvirt.org/go/libvirtxml"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/id"
)

// files are the paths that a domain refers to.
type files struct {
	root    string
	config  string // "" means no config drive
	console string
}

// checkRef finds a Ref that can name no guest, and keeps its id out of file names.
func checkRef(r computedriver.Ref) error {
	if !id.IsUUID(r.ID) || strings.ToLower(r.ID) != r.ID || len(r.ID) != 36 {
		return fault.InvalidField("ID", r.ID, "use a UUID in lower case")
	}
	if r.Generation <= 0 {
		return fault.InvalidField("Generation", r.Generation, "generations start at 1")
	}
	return nil
}

// checkGuest finds what no host could run.
func checkGuest(g computedriver.Guest) error {
	if err := checkRef(g.Mark.Ref()); err != nil {
		return err
	}
	switch {
	case g.Mark.Cloud == "":
		return fault.InvalidField("Cloud", "", "say whose guest it is")
	case g.VCPUs <= 0:
		return fault.InvalidField("VCPUs", g.VCPUs, "use 1 or more")
	case g.MemoryMiB <= 0:
		return fault.InvalidField("MemoryMiB", g.MemoryMiB, "use 1 or more")
	case g.Root.SizeGiB < 0 || g.Root.SizeGiB == 0 && g.Root.Base == nil:
		return fault.InvalidField("Root.SizeGiB", g.Root.SizeGiB, "a blank disk needs a size")
	}
	return nil
}

// domainXML describes the guest to libvirt. arch is the host's.
func (o Options) domainXML(g computedriver.Guest, arch string, f files) (string, error) {
	mark, err := markXML(g.Mark, g.Epoch, g.Name)
	if err != nil {
		return "", err
	}
	d := libvirtxml.Domain{
		Type:     o.VirtType,
		Name:     domainName(g.Mark.ID),
		UUID:     g.Mark.ID,
		Title:    oneLine(g.Name),
		Metadata: &libvirtxml.DomainMetadata{XML: mark},
		Memory:   &libvirtxml.DomainMemory{Value: uint(g.MemoryMiB), Unit: "MiB"},
		VCPU:     &libvirtxml.DomainVCPU{Value: uint(g.VCPUs)},
		// cloud-init takes the product's name for the sign that this is an OpenStack cloud
		SysInfo: []libvirtxml.DomainSysInfo{{SMBIOS: &libvirtxml.DomainSysInfoSMBIOS{
			System: &libvirtxml.DomainSysInfoSystem{Entry: []libvirtxml.DomainSysInfoEntry{
				{Name: "manufacturer", Value: "Nubecula"},
				{Name: "product", Value: "OpenStack Compute"},
				{Name: "serial", Value: g.Mark.ID},
				{Name: "uuid", Value: g.Mark.ID},
			}},
		}}},
		OS: &libvirtxml.DomainOS{
			Type:        &libvirtxml.DomainOSType{Arch: arch, Machine: o.Machine, Type: "hvm"},
			BootDevices: []libvirtxml.DomainBootDevice{{Dev: "hd"}},
			SMBios:      &libvirtxml.DomainSMBios{Mode: "sysinfo"},
		},
		Features: &libvirtxml.DomainFeatureList{
			ACPI: &libvirtxml.DomainFeature{}, // shutdown and reboot press its power button
			APIC: &libvirtxml.DomainFeatureAPIC{},
		},
		CPU:        &libvirtxml.DomainCPU{Mode: o.CPUMode},
		Clock:      o.clockXML(),
		OnPoweroff: "destroy",
		OnReboot:   "restart",
		OnCrash:    "destroy",
		Devices:    &libvirtxml.DomainDeviceList{},
	}
	dev := d.Devices
	dev.Disks = append(dev.Disks, diskXML(f.root, "qcow2", "vda", false))
	if f.config != "" {
		// a virtio disk, not a cdrom: the kernels of cloud images often have no driver for IDE or SATA
		dev.Disks = append(dev.Disks, diskXML(f.config, "raw", "vdb", true))
	}
	for _, nic := range g.NICs {
		i, err := nicXML(nic)
		if err != nil {
			return "", err
		}
		dev.Interfaces = append(dev.Interfaces, i)
	}
	port := uint(0)
	dev.Serials = []libvirtxml.DomainSerial{{
		Source: &libvirtxml.DomainChardevSource{Pty: &libvirtxml.DomainChardevSourcePty{}},
		Target: &libvirtxml.DomainSerialTarget{Port: &port},
		Log:    &libvirtxml.DomainChardevLog{File: f.console, Append: "on"},
	}}
	dev.Controllers = []libvirtxml.DomainController{{Type: "usb", Model: "none"}}
	dev.RNGs = []libvirtxml.DomainRNG{{
		Model:   "virtio",
		Backend: &libvirtxml.DomainRNGBackend{Random: &libvirtxml.DomainRNGBackendRandom{Device: "/dev/urandom"}},
	}}
	return d.Marshal()
}

// clockXML: guests keep UTC, and under KVM their missed ticks are made up for.
func (o Options) clockXML() *libvirtxml.DomainClock {
	c := &libvirtxml.DomainClock{Offset: "utc"}
	if o.VirtType == "kvm" {
		c.Timer = []libvirtxml.DomainTimer{
			{Name: "rtc", TickPolicy: "catchup"},
			{Name: "pit", TickPolicy: "delay"},
			{Name: "hpet", Present: "no"},
		}
	}
	return c
}

func diskXML(file, format, dev string, readOnly bool) libvirtxml.DomainDisk {
	d := libvirtxml.DomainDisk{
		Device: "disk",
		Driver: &libvirtxml.DomainDiskDriver{Name: "qemu", Type: format},
		Source: &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: file}},
		Target: &libvirtxml.DomainDiskTarget{Dev: dev, Bus: "virtio"},
	}
	if readOnly {
		d.ReadOnly = &libvirtxml.DomainDiskReadOnly{}
	} else {
		d.Driver.Discard = "unmap"
	}
	return d
}

func nicXML(nic computedriver.NIC) (libvirtxml.DomainInterface, error) {
	var none libvirtxml.DomainInterface
	if _, err := net.ParseMAC(nic.MAC); err != nil {
		return none, fault.InvalidField("NIC.MAC", nic.MAC, "use six bytes in hex with colons")
	}
	i := libvirtxml.DomainInterface{
		MAC:    &libvirtxml.DomainInterfaceMAC{Address: nic.MAC},
		Model:  &libvirtxml.DomainInterfaceModel{Type: "virtio"},
		Source: &libvirtxml.DomainInterfaceSource{},
	}
	if id.IsUUID(nic.PortID) {
		i.Alias = &libvirtxml.DomainAlias{Name: "ua-port-" + nic.PortID} // for finding it again
	}
	switch b := nic.Binding; {
	case b.OVS != nil:
		i.Source.Bridge = &libvirtxml.DomainInterfaceSourceBridge{Bridge: b.OVS.Bridge}
		i.VirtualPort = &libvirtxml.DomainInterfaceVirtualPort{Params: &libvirtxml.DomainInterfaceVirtualPortParams{
			OpenVSwitch: &libvirtxml.DomainInterfaceVirtualPortParamsOpenVSwitch{InterfaceID: b.OVS.InterfaceID},
		}}
	case b.Tap != nil && b.Tap.Bridge != "":
		i.Source.Bridge = &libvirtxml.DomainInterfaceSourceBridge{Bridge: b.Tap.Bridge}
		if b.Tap.Device != "" {
			i.Target = &libvirtxml.DomainInterfaceTarget{Dev: b.Tap.Device}
		}
	case b.Tap != nil && b.Tap.Device != "": // somebody else made it
		i.Source.Ethernet = &libvirtxml.DomainInterfaceSourceEthernet{}
		i.Target = &libvirtxml.DomainInterfaceTarget{Dev: b.Tap.Device, Managed: "no"}
	case b.User != nil:
		i.Source.User = &libvirtxml.DomainInterfaceSourceUser{}
	default:
		return none, fault.InvalidField("NIC.Binding", fmt.Sprintf("port %s: %+v", nic.PortID, b),
			"set OVS, User, or Tap with a bridge or a device")
	}
	if nic.MTU > 0 && nic.Binding.User == nil {
		i.MTU = &libvirtxml.DomainInterfaceMTU{Size: uint(nic.MTU)}
	}
	return i, nil
}

// oneLine is text as libvirt wants a title.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}
