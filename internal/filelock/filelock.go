// Package filelock locks open files against other processes and against
// other opens of the same file. The kernel lets go of the lock when the file
// is closed or its process dies, however it dies.
package filelock

import (
	"errors"
	"os"
	"syscall"
)

// Lock waits until f is locked exclusively.
func Lock(f *os.File) error { return retry(func() error { return flock(f.Fd(), true) }) }

// TryLock locks f exclusively if nobody else holds it, and says whether it did.
func TryLock(f *os.File) (bool, error) {
	err := retry(func() error { return flock(f.Fd(), false) })
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// Unlock lets go of f.
func Unlock(f *os.File) error { return retry(func() error { return unlock(f.Fd()) }) }

// Close lets go of f, locked or not, and closes it. To close it alone lets go of it late when the process is just starting a
// child: until that runs its program, it holds f open as well.
func Close(f *os.File) error {
	_ = Unlock(f)
	return f.Close()
}

func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
