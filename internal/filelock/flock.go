//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package filelock

import "syscall"

func flock(fd uintptr, wait bool) error {
	how := syscall.LOCK_EX
	if !wait {
		how |= syscall.LOCK_NB
	}
	return syscall.Flock(int(fd), how)
}

func unlock(fd uintptr) error { return syscall.Flock(int(fd), syscall.LOCK_UN) }
