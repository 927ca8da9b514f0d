// Package configdrive writes config drives: read-only ISO 9660 images that
// a guest finds by their label. Names are kept in full for every reader: by
// Rock Ridge (Linux, BSD) and by Joliet (Windows), with plain ISO 9660 names below them.
//
// The same files always give the same bytes.
package configdrive

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/nubecula/cloud/fault"
)

// Label is what cloud-init and its like look for.
const Label = "config-2"

const (
	sector   = 2048
	maxName  = 64 // UTF-16 units of one path element: Joliet's limit
	maxDepth = 8  // of directories: ISO 9660's limit
)

// Image returns a drive with the label (at most 16 of A-Z, a-z, 0-9, "-", "_", ".") that holds the
// files by their slash-separated path. A name that no drive can hold is Invalid.
func Image(label string, files map[string][]byte) ([]byte, error) {
	if label == "" || len(label) > 16 || strings.Trim(label, labelChars) != "" {
		return nil, fault.InvalidField("label", label, `use 1 to 16 of A-Z, a-z, 0-9, "-", "_", "."`)
	}
	root, err := tree(files)
	if err != nil {
		return nil, err
	}
	return newWriter(root).image(label), nil
}

const labelChars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."

// node is a file or a directory.
type node struct {
	name     string
	iso      string // its plain ISO 9660 name
	joliet   []byte
	dir      bool
	data     []byte
	parent   *node
	children []*node
	extent   uint32    // of a file
	in       [2]extent // of a directory, in each tree
}

// extent is where a directory is, in one of the trees.
type extent struct {
	at, size uint32
	number   uint16 // in the path table
}

// tree checks the names and builds the directories, every list in the order of the plain names.
func tree(files map[string][]byte) (*node, error) {
	root := &node{dir: true}
	root.parent = root
	paths := make([]string, 0, len(files))
	for p := range files {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	for _, p := range paths {
		elements := strings.Split(p, "/")
		if path.Clean("/"+p) != "/"+p || len(elements) > maxDepth {
			return nil, fault.InvalidField("path", p, fmt.Sprintf("use a relative path of at most %d elements", maxDepth))
		}
		at := root
		for i, name := range elements {
			if err := checkName(name); err != nil {
				return nil, err
			}
			next := at.child(name)
			leaf := i == len(elements)-1
			switch {
			case next == nil:
				next = &node{name: name, joliet: ucs2(name), dir: !leaf, parent: at}
				at.children = append(at.children, next)
			case leaf || !next.dir:
				return nil, fault.InvalidField("path", p, "another file has the name of one of its directories")
			}
			at = next
		}
		at.data = files[p]
	}
	root.nameAll()
	return root, nil
}

func (n *node) child(name string) *node {
	i := slices.IndexFunc(n.children, func(c *node) bool { return c.name == name })
	if i < 0 {
		return nil
	}
	return n.children[i]
}

func checkName(name string) error {
	bad := strings.IndexFunc(name, func(r rune) bool { return unicode.IsControl(r) || strings.ContainsRune(`*:;?\`, r) })
	if name == "" || len(utf16.Encode([]rune(name))) > maxName || len(name) > 2*maxName || bad >= 0 || !utf8.ValidString(name) {
		return fault.InvalidField("path", name, fmt.Sprintf(`use 1 to %d printable characters without any of *:;?\`, maxName))
	}
	return nil
}

// nameAll gives each child a plain name of its own: capitals, digits, "_" and one dot.
func (n *node) nameAll() {
	taken := map[string]bool{}
	for _, c := range n.children {
		c.iso = plain(c.name, "", c.dir)
		for i := 1; taken[c.iso]; i++ {
			c.iso = plain(c.name, fmt.Sprintf("_%d", i), c.dir)
		}
		taken[c.iso] = true
		c.nameAll()
	}
	slices.SortFunc(n.children, func(a, b *node) int { return cmp.Compare(a.iso, b.iso) })
}

// plain is the name without what ISO 9660 forbids; suffix makes it different from another.
func plain(name, suffix string, dir bool) string {
	clean := func(s string, max int) string {
		s = strings.Map(func(r rune) rune {
			if r = unicode.ToUpper(r); r > 127 || !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", r) {
				return '_'
			}
			return r
		}, s)
		return s[:min(len(s), max)]
	}
	if dir {
		return clean(name, 30-len(suffix)) + suffix
	}
	ext := path.Ext(name)
	stem := strings.TrimSuffix(name, ext)
	return clean(stem, 20-len(suffix)) + suffix + "." + clean(strings.TrimPrefix(ext, "."), 8) + ";1"
}

// ucs2 is the big-endian UTF-16 of Joliet.
func ucs2(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.BigEndian.AppendUint16(b, u)
	}
	return b
}
