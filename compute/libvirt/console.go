//go:build linux

package libvirt

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/statedir"
)

// tail returns the last bytes of a log that virtlogd rotates: path is its newest part, path.0 the one before, and so on.
func tail(path string, max int) ([]byte, error) {
	var out []byte
	for i, part := 0, path; len(out) < max; i++ {
		b, err := lastOf(part, max-len(out))
		if errors.Is(err, fs.ErrNotExist) {
			if i == 0 { // nothing yet, or between two parts
				part = fmt.Sprintf("%s.%d", path, i)
				continue
			}
			break
		}
		if errors.Is(err, fs.ErrPermission) {
			return nil, fault.New(fault.Internal, "the console log belongs to root; run this process as root: %w", err)
		}
		if err != nil {
			return nil, statedir.Explain(part, err)
		}
		out = append(b, out...)
		part = fmt.Sprintf("%s.%d", path, i)
	}
	return out, nil
}

func lastOf(path string, max int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	n := min(info.Size(), int64(max))
	b := make([]byte, n)
	read, err := f.ReadAt(b, info.Size()-n)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b[:read], nil
}
