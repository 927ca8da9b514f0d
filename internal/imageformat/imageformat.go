// Package imageformat tells from the bytes of a disk image what it is, how
// large a disk it holds, and whether it would make whoever opens it read
// other files. It reads a stream once and keeps a bounded part of it.
package imageformat

import (
	"bytes"

	"github.com/nubecula/cloud/fault"
)

// Names of the formats that are recognised; anything else is Raw.
const (
	Raw   = "raw"
	QCOW2 = "qcow2"
	QED   = "qed"
	VMDK  = "vmdk"
	VDI   = "vdi"
	VHD   = "vhd"
	VHDX  = "vhdx"
	ISO   = "iso"
)

const (
	// headBytes decides every format; vhdx alone may want more for its size.
	headBytes = 64 << 10
	// maxBytes is the most that an Inspector ever keeps, for the metadata of vhdx.
	maxBytes = 4 << 20
	// tailBytes is the length of the footer of a fixed vhd.
	tailBytes = 512
)

// Info is what an image is.
type Info struct {
	Format string
	// VirtualBytes is the size of the disk that a guest sees; 0 means that the image does not say.
	VirtualBytes int64
}

// Inspector is an io.Writer that the bytes of an image are written to, from the first to the last.
// The zero value is ready. Once the beginning has shown that an image must not be used, Write fails.
type Inspector struct {
	head    []byte
	tail    []byte
	size    int64
	want    int // bytes of head that are needed, if more than headBytes
	decided bool
	info    Info
	err     error
}

// Write takes the next bytes. Its error is that of Finish, as soon as it is known.
func (i *Inspector) Write(p []byte) (int, error) {
	if i.err != nil {
		return 0, i.err
	}
	i.size += int64(len(p))
	for rest := p; !i.decided && len(rest) > 0; {
		n := min(len(rest), max(i.want, headBytes)-len(i.head))
		i.head = append(i.head, rest[:n]...)
		rest = rest[n:]
		if len(i.head) >= max(i.want, headBytes) {
			i.look(false)
		}
	}
	if len(p) >= tailBytes {
		i.tail = append(i.tail[:0], p[len(p)-tailBytes:]...)
	} else {
		i.tail = append(i.tail, p...)
		i.tail = i.tail[max(0, len(i.tail)-tailBytes):]
	}
	if i.err != nil {
		return 0, i.err
	}
	return len(p), nil
}

// Finish says what the image is once all of it was written. Invalid: it refers to other files, is of a variant
// that no hypervisor here can use, is two formats at once, or its header is damaged; the error says which.
func (i *Inspector) Finish() (Info, error) {
	if i.err == nil && !i.decided {
		i.look(true)
	}
	if i.err != nil {
		return Info{}, i.err
	}
	if i.info.Format == Raw && bytes.HasPrefix(i.tail, []byte("conectix")) && len(i.tail) == tailBytes {
		if i.info, _, i.err = vhd(i.tail); i.err != nil {
			return Info{}, i.err
		}
	}
	if i.info.Format == Raw {
		i.info.VirtualBytes = i.size
	}
	return i.info, nil
}

// look decides on what is there, or wants more; last says that no more will come.
func (i *Inspector) look(last bool) {
	info, more, err := Head(i.head)
	if err == nil && more > len(i.head) {
		if !last {
			i.want = more
			return
		}
		err = damaged(info.Format, "it is shorter than its header")
	}
	i.info, i.err, i.decided, i.head = info, err, true, nil
}

// parser reads one format's header. more is how many bytes of the image it needs to say everything, 0 when it has them.
type parser func(head []byte) (info Info, more int, err error)

type signature struct {
	format string
	offset int
	magic  string
	parse  parser
}

var signatures = []signature{
	{QCOW2, 0, "QFI\xfb", qcow2},
	{QED, 0, "QED\x00", qed},
	{VMDK, 0, "KDMV", vmdk},
	{VMDK, 0, "COWD", func([]byte) (Info, int, error) {
		return Info{}, 0, unusable(VMDK, "it is in the form of ESX's own disks; convert it to streamOptimized or to qcow2")
	}},
	{VMDK, 0, "# Disk DescriptorFile", func([]byte) (Info, int, error) {
		return Info{}, 0, unusable(VMDK, "it is a descriptor that names other files; convert it to streamOptimized or to qcow2")
	}},
	{VDI, 0x40, "\x7f\x10\xda\xbe", vdi},
	{VHD, 0, "conectix", vhd},
	{VHDX, 0, "vhdxfile", vhdx},
	{ISO, 0x8001, "CD001", iso},
}

// Head says what an image is by its first bytes. more > len(head) means that its size needs the first more bytes.
func Head(head []byte) (info Info, more int, err error) {
	var found *signature
	for n := range signatures {
		s := &signatures[n]
		if len(head) < s.offset+len(s.magic) || string(head[s.offset:s.offset+len(s.magic)]) != s.magic {
			continue
		}
		if found != nil {
			return Info{}, 0, fault.New(fault.Invalid, "the image is %s and %s at once: nobody can tell what a guest would see; convert it", found.format, s.format)
		}
		found = s
	}
	if found == nil {
		return Info{Format: Raw}, 0, nil
	}
	info, more, err = found.parse(head)
	info.Format = found.format
	if err == nil && info.VirtualBytes < 0 {
		err = damaged(found.format, "the size of its disk is out of range")
	}
	if err != nil {
		return Info{}, 0, err
	}
	return info, more, nil
}

func damaged(format, why string) error {
	return fault.New(fault.Invalid, "the image has the header of %s, but it is damaged: %s", format, why)
}

func unusable(format, why string) error {
	return fault.New(fault.Invalid, "the image is %s, but cannot be used: %s", format, why)
}
