package statedir

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// swap puts the file tmp in the place of path. A rename over an existing file makes ext4 write the new one to the disk at once, so
// that a power cut finds one of the two, and takes ten times as long; to exchange the two and remove the old one does not.
func swap(tmp, path string) error {
	err := unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE)
	for errors.Is(err, unix.EINTR) {
		err = unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE)
	}
	if err == nil {
		return os.Remove(tmp)
	}
	return os.Rename(tmp, path) // there is no old one, or the file system cannot exchange
}
