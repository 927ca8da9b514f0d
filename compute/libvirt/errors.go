//go:build libvirt && linux

package libvirt

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"libvirt.org/go/libvirt"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/statedir"
)

// codes says what a caller may conclude from an error of libvirt; those not listed are Internal.
var codes = map[libvirt.ErrorNumber]fault.Code{
	libvirt.ERR_NO_DOMAIN:            fault.NotFound,
	libvirt.ERR_DOM_EXIST:            fault.Exists,
	libvirt.ERR_OPERATION_INVALID:    fault.Conflict,
	libvirt.ERR_OPERATION_TIMEOUT:    fault.Timeout, // another call holds the domain
	libvirt.ERR_NO_MEMORY:            fault.Exhausted,
	libvirt.ERR_NO_CONNECT:           fault.Unavailable,
	libvirt.ERR_INVALID_CONN:         fault.Unavailable,
	libvirt.ERR_NO_SUPPORT:           fault.Unsupported,
	libvirt.ERR_CONFIG_UNSUPPORTED:   fault.Unsupported,
	libvirt.ERR_ARGUMENT_UNSUPPORTED: fault.Unsupported,
	libvirt.ERR_OPERATION_ABORTED:    fault.Unavailable,
}

// about makes an error one of the driver's: with a code, and about the guest.
func (d *Driver) about(err error, op, id string) error {
	if err == nil {
		return nil
	}
	var e *fault.Error
	var l libvirt.Error
	var file *fs.PathError
	switch {
	case errors.As(err, &e): // it has its code
		c := *e
		e = &c
	case errors.As(err, &l):
		code, remedy := d.codeOf(l)
		e = &fault.Error{Code: code, Msg: "libvirt: " + l.Message + remedy}
	case errors.As(err, &file):
		return d.about(statedir.Explain(file.Path, err), op, id)
	default:
		e = fault.New(fault.CodeOf(err), "%w", err)
	}
	if e.Op == "" {
		e.Op = op
	}
	if e.Kind == "" && id != "" {
		e.Kind, e.ID = "guest", id
	}
	return e
}

// codeOf returns the code of libvirt's error, and what to add to its text.
func (d *Driver) codeOf(l libvirt.Error) (fault.Code, string) {
	switch {
	case l.Domain == libvirt.FROM_RPC, l.Domain == libvirt.FROM_REMOTE:
		return fault.Unavailable, "" // not an answer of libvirtd's: the way to it is broken
	case strings.Contains(l.Message, "Cannot allocate memory"):
		return fault.Exhausted, ""
	case strings.Contains(l.Message, "No space left on device"):
		return fault.Exhausted, ""
	case strings.Contains(l.Message, "Permission denied"):
		if dir := blocked(d.state.dir); dir != "" {
			return fault.Internal, "; QEMU's user cannot pass " + dir + ": chmod o+x it, or move the state directory"
		}
	}
	return codes[l.Code], ""
}

// message is an error's text without libvirt's numbers.
func message(err error) string {
	var l libvirt.Error
	if errors.As(err, &l) {
		return l.Message
	}
	return err.Error()
}

// isCode reports whether err is libvirt's error of that number.
func isCode(err error, n libvirt.ErrorNumber) bool {
	var l libvirt.Error
	return errors.As(err, &l) && l.Code == n
}

// do runs a call in a goroutine of its own, since libvirt's calls cannot be cancelled, and returns
// when it has ended or ctx has. A call that is left behind still holds its guest's lock, so what comes
// next waits for its late effect.
func do[T any](ctx context.Context, d *Driver, op, id string, call func(context.Context) (T, error)) (T, error) {
	var zero T
	if ctx.Err() != nil {
		return zero, d.about(ended(ctx), op, id)
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := call(ctx)
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.value, d.about(r.err, op, id)
	case <-ctx.Done():
		return zero, d.about(ended(ctx), op, id)
	}
}
