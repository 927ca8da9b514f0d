package statedir

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// swap puts the file tmp in the place of path; the old file, if there is one, may stay as tmp.
func swap(tmp, path string) error {
	for {
		err := unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EINTR):
			return os.Rename(tmp, path) // there is no old one, or the file system cannot exchange
		}
	}
}
