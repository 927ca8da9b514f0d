package fakecompute

import (
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"unsafe"

	"github.com/nubecula/cloud/fault"
)

// files are those of a config drive by path, in base64. Most are there once for each version of OpenStack's tree, in one buffer:
// the first path has it, the others "=" and that path.
type files map[string]string

func keepFiles(given map[string][]byte) files {
	if given == nil {
		return nil
	}
	type buffer struct {
		data *byte
		n    int
	}
	kept, first := make(files, len(given)), map[buffer]string{}
	for _, path := range slices.Sorted(maps.Keys(given)) {
		data := given[path]
		b := buffer{unsafe.SliceData(data), len(data)}
		if at, ok := first[b]; ok {
			kept[path] = "=" + at
			continue
		}
		first[b] = path
		kept[path] = base64.StdEncoding.EncodeToString(data)
	}
	return kept
}

// all returns each file in a buffer of its own.
func (f files) all() (map[string][]byte, error) {
	if f == nil {
		return nil, nil
	}
	out := make(map[string][]byte, len(f))
	for path := range f {
		data, _, err := f.file(path)
		if err != nil {
			return nil, err
		}
		out[path] = data
	}
	return out, nil
}

// file returns a file, and whether there is one. Corrupt: what was kept is damaged.
func (f files) file(path string) (data []byte, found bool, err error) {
	text, found := f[path]
	if at, elsewhere := strings.CutPrefix(text, "="); elsewhere {
		text, found = f[at]
	}
	if data, err = base64.StdEncoding.DecodeString(text); err != nil {
		err = fault.New(fault.Corrupt, "file %q of the config drive: %w", path, err)
	}
	return data, found, err
}
