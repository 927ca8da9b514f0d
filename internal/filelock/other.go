//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package filelock

import "errors"

func flock(uintptr, bool) error { return errors.ErrUnsupported }
func unlock(uintptr) error      { return errors.ErrUnsupported }
