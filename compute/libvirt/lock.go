//go:build linux

package libvirt

import (
	"context"
	"errors"
	"os"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/filelock"
	"github.com/nubecula/cloud/internal/statedir"
)

// lock takes the lock of that name, which only one call of all processes has at a time. The kernel
// drops it when a process dies. The returned function gives it back.
func (s state) lock(ctx context.Context, name string) (unlock func(), err error) {
	path := s.path("locks", name)
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, statedir.Explain(path, err)
		}
		taken := make(chan error, 1)
		go func() { taken <- filelock.Lock(f) }()
		select {
		case err = <-taken:
		case <-ctx.Done():
			go func() { <-taken; filelock.Close(f) }() // gives it back should it come late
			return nil, ended(ctx)
		}
		if err != nil {
			f.Close()
			return nil, statedir.Explain(path, err)
		}
		// whoever had it has removed the file: what we have locked may be a file that is gone
		if same(f, path) {
			return func() {
				_ = os.Remove(path)
				filelock.Close(f)
			}, nil
		}
		filelock.Close(f)
	}
}

func same(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}

// ended is the error of a call whose context has ended.
func ended(ctx context.Context) error {
	cause := context.Cause(ctx)
	code := fault.Canceled
	if errors.Is(cause, context.DeadlineExceeded) || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		code = fault.Timeout
	}
	return fault.New(code, "gave up: %w", cause)
}
