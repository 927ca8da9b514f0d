// Package fault is the vocabulary of failure: every error that leaves a
// package of this module carries a Code, names the thing it is about, and
// says what to do. Callers branch on codes, never on texts.
package fault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// Code says what a caller may conclude from an error. The zero value,
// Internal, promises nothing.
type Code int

const (
	// Internal: a defect of ours or a failure nobody foresaw.
	Internal Code = iota
	// Invalid: the request is wrong and stays wrong; Field names where.
	Invalid
	// Unauthenticated: who asks is unknown; authenticate and ask again.
	Unauthenticated
	// Denied: who asks is known and may not do this.
	Denied
	// NotFound: there is no such thing, or the caller may not see it.
	NotFound
	// Exists: the name, id or unique value is taken.
	Exists
	// Conflict: the thing is in a state that forbids this; wait or change it.
	Conflict
	// Quota: a limit of the project would be exceeded.
	Quota
	// Exhausted: no capacity here; another host or pool may have some.
	Exhausted
	// Unavailable: try the same again later; nothing is known to be wrong with it.
	Unavailable
	// Timeout: it took longer than allowed; whether it happened is unknown.
	Timeout
	// Canceled: whoever asked no longer wants it.
	Canceled
	// Unsupported: this driver or deployment cannot do it, ever.
	Unsupported
	// TooLarge: the request or its body is over a limit.
	TooLarge
	// Gone: it was here and is not any more; list again.
	Gone
	// Corrupt: stored data is damaged or from a version we do not know.
	Corrupt
	// Stale: a newer generation or epoch has taken over; stop.
	Stale
)

var names = [...]string{
	"internal", "invalid", "unauthenticated", "denied", "not found", "exists", "conflict", "quota",
	"exhausted", "unavailable", "timeout", "canceled", "unsupported", "too large", "gone", "corrupt", "stale",
}

// String returns the code's name in lower case.
func (c Code) String() string {
	if c < 0 || int(c) >= len(names) {
		return fmt.Sprintf("code %d", int(c))
	}
	return names[c]
}

// MarshalText writes the code's name, so that stored errors stay readable.
func (c Code) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads a name written by MarshalText; an unknown name becomes Internal.
func (c *Code) UnmarshalText(text []byte) error {
	*c = Internal
	for i, n := range names {
		if n == string(text) {
			*c = Code(i)
		}
	}
	return nil
}

// Error is the one error type of this module. All fields but Code and Msg
// may be empty.
type Error struct {
	Code  Code
	Op    string // what was being done: "server.create"
	Kind  string // kind of the thing: "server"
	ID    string // its id or name
	Field string // the offending request field, for Invalid and TooLarge
	Msg   string // what is wrong, the state found, and the remedy; lower-case, no full stop
	Err   error  // the cause, if any
}

// Error joins the parts that are set: "server 3a..: msg: cause".
func (e *Error) Error() string {
	var b strings.Builder
	part := func(s string) {
		if s == "" {
			return
		}
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(s)
	}
	part(e.Op)
	part(strings.TrimSpace(e.Kind + " " + e.ID))
	part(e.Field)
	part(e.Msg)
	if e.Err != nil {
		part(e.Err.Error())
	}
	if b.Len() == 0 {
		return e.Code.String()
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New returns an Error with a formatted message; %w keeps a cause.
func New(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Msg: err.Error(), Err: hidden(errors.Unwrap(err))}
}

// hidden keeps a cause for errors.Is and As whose text the message already holds.
func hidden(err error) error {
	if err == nil {
		return nil
	}
	return &silent{err}
}

type silent struct{ err error }

func (s *silent) Error() string { return "" }
func (s *silent) Unwrap() error { return s.err }

// About returns a copy of e that names the thing it is about.
func (e *Error) About(kind, id string) *Error {
	c := *e
	c.Kind, c.ID = kind, id
	return &c
}

// Missing is the NotFound error for a thing, also used for what the caller may not see.
func Missing(kind, id string) *Error {
	return &Error{Code: NotFound, Kind: kind, ID: id, Msg: "could not be found"}
}

// InvalidField is the Invalid error for one request field: the value given and the remedy.
func InvalidField(field string, value any, remedy string) *Error {
	return &Error{Code: Invalid, Field: field, Msg: quote(value) + " is not valid: " + remedy}
}

// quote shows a value to those who sent it, who write JSON and not Go.
func quote(value any) string {
	switch reflect.ValueOf(value).Kind() {
	case reflect.Map, reflect.Slice, reflect.Array, reflect.Struct, reflect.Pointer:
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if e.Encode(value) == nil {
			return strings.TrimSpace(b.String())
		}
	}
	return fmt.Sprintf("%#v", value)
}

// CodeOf returns the code of the outermost *Error in err's chain. A bare
// context error gives Canceled or Timeout, anything else Internal. It must
// not be asked about nil.
func CodeOf(err error) Code {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Code
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	}
	return Internal
}

// Is reports whether err is not nil and has the code.
func Is(err error, code Code) bool { return err != nil && CodeOf(err) == code }
