package imageformat

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
)

// size turns an unsigned number of units into bytes, -1 when that is out of range.
func size(n, unit uint64) int64 {
	if n > math.MaxInt64/unit {
		return -1
	}
	return int64(n * unit)
}

// qcow2: big endian. Version 2 has 72 bytes, version 3 at least 104, then extensions.
func qcow2(h []byte) (Info, int, error) {
	const (
		v2, v3      = 72, 104
		extBacking  = 0xe2792aca
		extDataFile = 0x44415441
		bitDataFile = 1 << 2
		known       = 1<<5 - 1 // dirty, corrupt, data file, compression type, extended L2
	)
	if len(h) < v2 {
		return Info{}, v2, nil
	}
	be := binary.BigEndian
	version := be.Uint32(h[4:])
	if version != 2 && version != 3 {
		return Info{}, 0, unusable("qcow", fmt.Sprintf("version %d is not supported; convert it to qcow2", version))
	}
	if be.Uint64(h[8:]) != 0 || be.Uint32(h[16:]) != 0 {
		return Info{}, 0, unusable(QCOW2, "it has a backing file, which could be any file of the host; flatten it with qemu-img convert")
	}
	info := Info{VirtualBytes: size(be.Uint64(h[24:]), 1)}
	at := v2
	if version == 3 {
		if len(h) < v3 {
			return info, v3, nil
		}
		features, length := be.Uint64(h[72:]), be.Uint32(h[100:])
		if features&bitDataFile != 0 {
			return Info{}, 0, unusable(QCOW2, "its data is in another file, which could be any file of the host; convert it with qemu-img convert")
		}
		if features&^known != 0 {
			return Info{}, 0, unusable(QCOW2, fmt.Sprintf("it has features that are not known here (%#x); convert it", features&^known))
		}
		if length < v3 || length > headBytes/2 {
			return Info{}, 0, damaged(QCOW2, fmt.Sprintf("its header claims %d bytes", length))
		}
		at = int(length)
	}
	for at+8 <= len(h) {
		kind, length := be.Uint32(h[at:]), be.Uint32(h[at+4:])
		switch kind {
		case 0:
			return info, 0, nil
		case extBacking, extDataFile:
			return Info{}, 0, unusable(QCOW2, "it names another file; convert it with qemu-img convert")
		}
		if length > headBytes {
			break
		}
		at += 8 + (int(length)+7)&^7
		if at >= headBytes {
			break
		}
	}
	return info, 0, nil
}

// qed: little endian, 64 bytes.
func qed(h []byte) (Info, int, error) {
	if len(h) < 64 {
		return Info{}, 64, nil
	}
	if binary.LittleEndian.Uint64(h[16:])&1 != 0 {
		return Info{}, 0, unusable(QED, "it has a backing file, which could be any file of the host; convert it with qemu-img convert")
	}
	return Info{VirtualBytes: size(binary.LittleEndian.Uint64(h[48:]), 1)}, 0, nil
}

// vmdk: a sparse extent, little endian, sectors of 512 bytes, with its text descriptor embedded.
func vmdk(h []byte) (Info, int, error) {
	const sector = 512
	if len(h) < sector {
		return Info{}, sector, nil
	}
	le := binary.LittleEndian
	info := Info{VirtualBytes: size(le.Uint64(h[12:]), sector)}
	at, length := le.Uint64(h[28:]), le.Uint64(h[36:])
	if at == 0 || length == 0 {
		return Info{}, 0, unusable(VMDK, "it has no descriptor of its own and is part of a set of files; convert it to streamOptimized or to qcow2")
	}
	if at > headBytes/sector/2 || length > headBytes/sector/2 {
		return Info{}, 0, damaged(VMDK, "its descriptor is not at the beginning")
	}
	end := int(at+length) * sector
	if len(h) < end {
		return info, end, nil
	}
	text := string(bytes.TrimRight(h[int(at)*sector:end], "\x00"))
	form := ""
	for _, line := range strings.Split(text, "\n") {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.ToLower(strings.Trim(strings.TrimSpace(value), `"`))
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "createtype":
			form = value
		case "parentfilenamehint":
			return Info{}, 0, unusable(VMDK, "it has a parent, which could be any file of the host; convert it")
		case "parentcid":
			if value != "ffffffff" {
				return Info{}, 0, unusable(VMDK, "it has a parent, which could be any file of the host; convert it")
			}
		}
	}
	if form != "monolithicsparse" && form != "streamoptimized" {
		return Info{}, 0, unusable(VMDK, fmt.Sprintf("its type is %q, whose data may be in other files; convert it to streamOptimized or to qcow2", form))
	}
	return info, 0, nil
}

// vdi: little endian.
func vdi(h []byte) (Info, int, error) {
	if len(h) < 0x178 {
		return Info{}, 0x178, nil
	}
	if kind := binary.LittleEndian.Uint32(h[0x4c:]); kind != 1 && kind != 2 {
		return Info{}, 0, unusable(VDI, fmt.Sprintf("type %d needs another file; convert it", kind))
	}
	return Info{VirtualBytes: size(binary.LittleEndian.Uint64(h[0x170:]), 1)}, 0, nil
}

// vhd: a footer of 512 bytes, big endian, of which growing disks have a copy at the beginning.
func vhd(h []byte) (Info, int, error) {
	if len(h) < tailBytes {
		return Info{}, tailBytes, nil
	}
	if kind := binary.BigEndian.Uint32(h[60:]); kind != 2 && kind != 3 {
		return Info{}, 0, unusable(VHD, fmt.Sprintf("disk type %d needs another file; convert it", kind))
	}
	return Info{Format: VHD, VirtualBytes: size(binary.BigEndian.Uint64(h[48:]), 1)}, 0, nil
}

// iso: the primary volume descriptor in sector 16, numbers in both orders.
func iso(h []byte) (Info, int, error) {
	const pvd = 0x8000
	if len(h) < pvd+2048 {
		return Info{}, pvd + 2048, nil
	}
	blocks := binary.LittleEndian.Uint32(h[pvd+80:])
	block := binary.LittleEndian.Uint16(h[pvd+128:])
	return Info{VirtualBytes: size(uint64(blocks), max(1, uint64(block)))}, 0, nil
}

// Identifiers of vhdx, in their order on disk.
const (
	vhdxMetadata   = "\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e"
	vhdxParameters = "\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b"
	vhdxDiskSize   = "\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8"
)

// vhdx: little endian; a region table at 192 KiB says where the metadata is.
func vhdx(h []byte) (Info, int, error) {
	const table, tableBytes = 192 << 10, 64 << 10
	if len(h) < table+tableBytes {
		return Info{}, table + tableBytes, nil
	}
	le := binary.LittleEndian
	t := h[table : table+tableBytes]
	count := le.Uint32(t[8:])
	if string(t[:4]) != "regi" || count > 2047 {
		return Info{}, 0, damaged(VHDX, "it has no table of regions")
	}
	for n := range int(count) {
		e := t[16+32*n:]
		if string(e[:16]) != vhdxMetadata {
			continue
		}
		at := le.Uint64(e[16:])
		if at > maxBytes-tableBytes*2 || at < 1<<20 {
			return Info{}, 0, unusable(VHDX, "its metadata is too far from the beginning; convert it")
		}
		if end := int(at) + 2*tableBytes; len(h) < end {
			return Info{}, end, nil
		}
		return vhdxItems(h[at : int(at)+2*tableBytes])
	}
	return Info{}, 0, damaged(VHDX, "it has no metadata")
}

// vhdxItems reads the metadata region: a table, and items that it points to.
func vhdxItems(m []byte) (info Info, more int, err error) {
	le := binary.LittleEndian
	count := int(le.Uint16(m[10:]))
	if string(m[:8]) != "metadata" || count > 2047 {
		return Info{}, 0, damaged(VHDX, "its metadata cannot be read")
	}
	parameters := false
	for n := range count {
		e := m[32+32*n:]
		at := uint64(le.Uint32(e[16:]))
		if at+8 > uint64(len(m)) {
			continue
		}
		switch string(e[:16]) {
		case vhdxParameters:
			parameters = true
			if le.Uint32(m[at+4:])&2 != 0 {
				return Info{}, 0, unusable(VHDX, "it has a parent, which could be any file of the host; convert it")
			}
		case vhdxDiskSize:
			info.VirtualBytes = size(le.Uint64(m[at:]), 1)
		}
	}
	if !parameters || info.VirtualBytes == 0 {
		return Info{}, 0, damaged(VHDX, "its metadata lacks the size or the parameters of the disk")
	}
	return info, 0, nil
}
