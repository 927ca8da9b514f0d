//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package sqlite

import (
	"os"

	"github.com/nubecula/cloud/fault"
)

// lock refuses: without flock two processes could write one file.
func lock(path string) (*os.File, error) {
	return nil, fault.New(fault.Unsupported, "%s: the sqlite store needs flock, which this system does not have", path)
}
