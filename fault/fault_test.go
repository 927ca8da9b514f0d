package fault_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
)

func TestCodesHaveNamesThatReadBack(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for c := fault.Internal; c <= fault.Stale; c++ {
		require.False(t, seen[c.String()], c.String())
		seen[c.String()] = true
		text, err := json.Marshal(c)
		require.NoError(t, err)
		back := fault.Stale
		require.NoError(t, json.Unmarshal(text, &back))
		require.Equal(t, c, back)
	}
	require.Equal(t, "code 99", fault.Code(99).String())
	c := fault.Stale
	require.NoError(t, c.UnmarshalText([]byte("from a newer version")))
	require.Equal(t, fault.Internal, c)
}

func TestErrorJoinsWhatIsSet(t *testing.T) {
	t.Parallel()
	require.Equal(t, "conflict", (&fault.Error{Code: fault.Conflict}).Error())
	require.Equal(t, "server.create: server 3a: name: too long: EOF",
		(&fault.Error{Op: "server.create", Kind: "server", ID: "3a", Field: "name", Msg: "too long", Err: io.EOF}).Error())
	require.Equal(t, "server 3a: could not be found", fault.Missing("server", "3a").Error())
	require.Equal(t, `size: -1 is not valid: use 1 or more`, fault.InvalidField("size", -1, "use 1 or more").Error())
	for want, value := range map[string]any{
		`"a\"<b>"`: `a"<b>`, `true`: true, `<nil>`: nil, `["x","<y>"]`: []string{"x", "<y>"}, `{"k":"v"}`: map[string]string{"k": "v"},
		`"10.0.0.1"`: netip.MustParseAddr("10.0.0.1"),
	} {
		require.Equal(t, "f: "+want+" is not valid: no", fault.InvalidField("f", value, "no").Error(), "nobody sees Go's syntax")
	}
}

func TestNewKeepsTheCauseAndSaysItOnce(t *testing.T) {
	t.Parallel()
	err := fault.New(fault.Unavailable, "read: %w", io.ErrUnexpectedEOF)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, "read: unexpected EOF", err.Error())
	about := err.About("image", "7f")
	require.Equal(t, "image 7f: read: unexpected EOF", about.Error())
	require.ErrorIs(t, about, io.ErrUnexpectedEOF)
	require.Empty(t, err.Kind, "About is a copy")
}

func TestCodeOf(t *testing.T) {
	t.Parallel()
	inner := fault.New(fault.Exhausted, "full")
	for err, want := range map[error]fault.Code{
		inner:                          fault.Exhausted,
		fmt.Errorf("there: %w", inner): fault.Exhausted,
		&fault.Error{Code: fault.Timeout, Err: inner}:    fault.Timeout, // the outermost decides
		errors.Join(io.EOF, inner):                       fault.Exhausted,
		fmt.Errorf("x: %w", context.Canceled):            fault.Canceled,
		context.DeadlineExceeded:                         fault.Timeout,
		&fault.Error{Code: fault.Stale, Err: io.EOF}:     fault.Stale,
		fault.New(fault.Invalid, "%w", context.Canceled): fault.Invalid,
		io.EOF: fault.Internal,
	} {
		require.Equal(t, want, fault.CodeOf(err), "%v", err)
		require.True(t, fault.Is(err, want))
	}
	require.False(t, fault.Is(nil, fault.Internal))
	require.False(t, fault.Is(io.EOF, fault.NotFound))
}
