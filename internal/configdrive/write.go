package configdrive

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// The two trees of a drive share the files' extents.
const (
	primary = iota // ISO 9660 names with Rock Ridge entries
	joliet
)

type writer struct {
	root *node
	dirs [2][]*node // in path table order: by level, then by parent, then by name
	out  []byte
}

func newWriter(root *node) *writer {
	w := &writer{root: root}
	for t := range w.dirs {
		w.dirs[t] = []*node{root}
		for i := 0; i < len(w.dirs[t]); i++ {
			d := w.dirs[t][i]
			d.in[t].number = uint16(i + 1)
			for _, c := range d.sorted(t) {
				if c.dir {
					w.dirs[t] = append(w.dirs[t], c)
				}
			}
		}
	}
	return w
}

// sorted returns a directory's children in the order of the tree's names.
func (n *node) sorted(t int) []*node {
	if t == primary {
		return n.children
	}
	return slices.SortedFunc(slices.Values(n.children), func(a, b *node) int { return bytes.Compare(a.joliet, b.joliet) })
}

// image lays everything out and writes it: 16 empty sectors, three volume
// descriptors, four path tables, the directories of both trees, the files.
func (w *writer) image(label string) []byte {
	next := uint32(16 + 3)
	var tables [2][2]uint32
	var sizes [2]int
	for t := range tables {
		sizes[t] = len(w.pathTable(t, binary.LittleEndian))
		for order := range tables[t] {
			tables[t][order] = next
			next += sectors(sizes[t])
		}
	}
	for t := range w.dirs {
		for _, d := range w.dirs[t] {
			d.in[t].size = uint32(len(d.records(t)))
			d.in[t].at = next
			next += d.in[t].size / sector
		}
	}
	w.eachFile(func(f *node) {
		f.extent = next
		next += sectors(len(f.data))
	})

	w.out = make([]byte, int(next)*sector)
	for t := range w.dirs {
		copy(w.out[(16+t)*sector:], w.descriptor(t, label, next, sizes[t], tables[t]))
		for order, o := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			w.put(tables[t][order], w.pathTable(t, o))
		}
		for _, d := range w.dirs[t] {
			w.put(d.in[t].at, d.records(t))
		}
	}
	copy(w.out[18*sector:], "\xffCD001\x01")
	w.eachFile(func(f *node) { w.put(f.extent, f.data) })
	return w.out
}

func (w *writer) put(at uint32, b []byte) { copy(w.out[int(at)*sector:], b) }

func (w *writer) eachFile(f func(*node)) {
	for _, d := range w.dirs[primary] {
		for _, c := range d.children {
			if !c.dir {
				f(c)
			}
		}
	}
}

func sectors(size int) uint32 { return uint32((size + sector - 1) / sector) }

// pathTable lists the tree's directories with the numbers of their parents.
func (w *writer) pathTable(t int, o binary.AppendByteOrder) []byte {
	var b []byte
	for _, d := range w.dirs[t] {
		name := d.recordName(t)
		b = append(b, byte(len(name)), 0)
		b = o.AppendUint32(b, d.in[t].at)
		b = o.AppendUint16(b, d.parent.in[t].number)
		b = append(b, name...)
		if len(name)%2 == 1 {
			b = append(b, 0)
		}
	}
	return b
}

// recordName is the identifier in records and path tables; the root's is a zero byte.
func (n *node) recordName(t int) []byte {
	switch {
	case n.parent == n:
		return []byte{0}
	case t == primary:
		return []byte(n.iso)
	}
	return n.joliet
}

// records returns the directory's content, whole sectors: itself, its parent, its children.
func (n *node) records(t int) []byte {
	var b []byte
	add := func(r []byte) {
		if room := sector - len(b)%sector; room < len(r) { // a record never crosses a sector
			b = append(b, make([]byte, room)...)
		}
		b = append(b, r...)
	}
	add(n.record(t, []byte{0}))
	add(n.parent.record(t, []byte{1}))
	for _, c := range n.sorted(t) {
		add(c.record(t, c.recordName(t)))
	}
	return append(b, make([]byte, int(sectors(len(b)))*sector-len(b))...)
}

// when is the date of everything: 1 January 2000, UTC. A real one would make equal drives differ.
var when = [7]byte{100, 1, 1}

// record returns a directory record under the name, with Rock Ridge entries in the primary tree.
func (n *node) record(t int, name []byte) []byte {
	at, size, flags := n.extent, uint32(len(n.data)), byte(0)
	if n.dir {
		at, size, flags = n.in[t].at, n.in[t].size, 2
	}
	b := []byte{0, 0}
	b = both32(b, at)
	b = both32(b, size)
	b = append(b, when[:]...)
	b = append(b, flags, 0, 0)
	b = both16(b, 1)
	b = append(b, byte(len(name)))
	b = append(b, name...)
	if len(b)%2 == 1 {
		b = append(b, 0)
	}
	if t == primary {
		b = n.rockRidge(b, name)
		if len(b)%2 == 1 {
			b = append(b, 0)
		}
	}
	b[0] = byte(len(b))
	return b
}

// rockRidge appends owner, mode and the true name. The root's own record starts with what says
// that Rock Ridge is in use.
func (n *node) rockRidge(b, name []byte) []byte {
	self := name[0] == 0
	special := len(name) == 1 && name[0] < 2 // "." and ".."
	if self && n.parent == n {
		b = append(b, 'S', 'P', 7, 1, 0xbe, 0xef, 0)
	}
	mode, links := uint32(0o100444), uint32(1)
	if n.dir {
		mode, links = 0o040555, 2
	}
	b = append(b, 'P', 'X', 36, 1)
	for _, v := range []uint32{mode, links, 0, 0} {
		b = both32(b, v)
	}
	if !special {
		b = append(b, 'N', 'M', byte(5+len(n.name)), 1, 0)
		b = append(b, n.name...)
	}
	if self && n.parent == n {
		const extension = "RRIP_1991A"
		b = append(b, 'E', 'R', byte(8+len(extension)), 1, byte(len(extension)), 0, 0, 1)
		b = append(b, extension...)
	}
	return b
}

// descriptor returns the tree's volume descriptor.
func (w *writer) descriptor(t int, label string, total uint32, tableSize int, tables [2]uint32) []byte {
	text := func(s string, size int) []byte {
		pad := []byte(" ")
		b := []byte(s)
		if t == joliet {
			pad, b = ucs2(" "), ucs2(s)
		}
		return append(b, bytes.Repeat(pad, size)...)[:size]
	}
	b := []byte{1, 'C', 'D', '0', '0', '1', 1, 0}
	if t == joliet {
		b[0] = 2
	}
	b = append(b, text("", 32)...)
	b = append(b, text(label, 32)...)
	b = append(b, make([]byte, 8)...)
	b = both32(b, total)
	escapes := make([]byte, 32)
	if t == joliet {
		copy(escapes, "%/E") // UCS-2, level 3
	}
	b = append(b, escapes...)
	b = both16(b, 1)
	b = both16(b, 1)
	b = both16(b, sector)
	b = both32(b, uint32(tableSize))
	b = binary.LittleEndian.AppendUint32(b, tables[0])
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, tables[1])
	b = append(b, 0, 0, 0, 0)
	root := w.root.record(t, []byte{0})[:34] // without Rock Ridge
	root[0] = 34
	b = append(b, root...)
	for _, size := range []int{128, 128, 128, 128, 37, 37, 37} {
		b = append(b, text("", size)...)
	}
	for range 4 { // dates, not given
		b = append(b, "0000000000000000\x00"...)
	}
	return append(b, 1)
}

// both16 and both32 append a number in both byte orders, as ISO 9660 wants them.
func both16(b []byte, v uint16) []byte {
	return binary.BigEndian.AppendUint16(binary.LittleEndian.AppendUint16(b, v), v)
}

func both32(b []byte, v uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, v), v)
}
