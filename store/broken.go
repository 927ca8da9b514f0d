package store

import (
	"errors"

	"github.com/nubecula/cloud/fault"
)

// Broken is closed when the driver refuses all work until it is opened again (ErrBroken), as sqlite does after a failed
// fsync. No call of this Store succeeds from then on: end the process with Cause, and let whatever supervises it start it again.
func (s *Store) Broken() <-chan struct{} { return s.broken }

// Cause returns the error that Broken was closed for; nil while the Store works.
func (s *Store) Cause() error {
	if p := s.cause.Load(); p != nil {
		return *p
	}
	return nil
}

// note looks at what the driver said, and marks what it says of a full disk.
func (s *Store) note(err error) error {
	if fault.Is(err, fault.Exhausted) {
		return full{err}
	}
	if err != nil && errors.Is(err, ErrBroken) && s.cause.CompareAndSwap(nil, &err) {
		close(s.broken)
	}
	return err
}

// full is an error that is ErrFull, too, and says nothing more.
type full struct{ error }

func (f full) Is(target error) bool { return target == ErrFull }

func (f full) Unwrap() error { return f.error }
