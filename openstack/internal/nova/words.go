package nova

import (
	"encoding/base64"
	"net/netip"
	"strings"
	"unicode"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/pattern"
)

// Rules for the values that many bodies have.

var (
	uuidPattern     = pattern.New(`^[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}$`)
	keyPattern      = pattern.New(`^[a-zA-Z0-9-_:. ]{1,255}$`)
	fqdnPattern     = pattern.New(`^[a-zA-Z0-9-._]*$`)
	hostnamePattern = pattern.New(`^[a-zA-Z0-9]+[a-zA-Z0-9-]*[a-zA-Z0-9]+$`)
)

// printable reports whether a text has no control characters and only plain spaces.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool {
		return unicode.Is(unicode.C, c) || unicode.Is(unicode.Z, c) && !unicode.Is(unicode.Zs, c)
	})
}

func trimmed(s string) bool { return printable(s) && strings.TrimFunc(s, unicode.IsSpace) == s }

func isUUID(s string) bool { return uuidPattern.MatchString(s) }

func isAddr(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == ""
}

func name(at string, v any, n int) error {
	return text(1, 255, "use printable characters; it cannot begin or end with a space", trimmed)(at, v, n)
}

func description(at string, v any, n int) error {
	return nullable(text(0, 255, "use printable characters", printable))(at, v, n)
}

func uuid(at string, v any, n int) error {
	return text(0, 255, "it must be a UUID", isUUID)(at, v, n)
}

func address(at string, v any, n int) error {
	return text(1, 64, "it must be an IP address", isAddr)(at, v, n)
}

func address4(at string, v any, n int) error {
	return text(1, 64, "it must be an IPv4 address", func(s string) bool { return isAddr(s) && !strings.Contains(s, ":") })(at, v, n)
}

func address6(at string, v any, n int) error {
	return text(1, 64, "it must be an IPv6 address", func(s string) bool { return isAddr(s) && strings.Contains(s, ":") })(at, v, n)
}

func hostname(at string, v any, n int) error {
	return text(2, 63, "use letters, digits and inner hyphens", hostnamePattern.MatchString)(at, v, n)
}

func fqdn(at string, v any, n int) error {
	return text(1, 255, "use letters, digits, '-', '.' and '_'", fqdnPattern.MatchString)(at, v, n)
}

func tag(at string, v any, n int) error {
	return text(1, 60, "a tag has neither ',' nor '/'", func(s string) bool { return !strings.ContainsAny(s, ",/") })(at, v, n)
}

// tags is at most 50 of them.
func tags(at string, v any, n int) error { return list(0, 50, tag)(at, v, n) }

func metadata(at string, v any, n int) error {
	return mapping(0, unbounded, keyPattern.MatchString, text(0, 255, "", nil))(at, v, n)
}

// oneItem is metadata of exactly one item.
func oneItem(at string, v any, n int) error {
	return mapping(1, 1, keyPattern.MatchString, text(0, 255, "", nil))(at, v, n)
}

func base64Text(at string, v any, n int) error {
	return text(0, unbounded, "it must be base64", func(s string) bool {
		_, err := unbase64(s)
		return err == nil
	})(at, v, n)
}

// unbase64 decodes base64, with or without line breaks in it.
func unbase64(s string) ([]byte, error) {
	s = strings.Map(func(c rune) rune {
		if c == '\n' || c == '\r' || c == ' ' || c == '\t' {
			return -1
		}
		return c
	}, s)
	return base64.StdEncoding.DecodeString(s)
}

// badRequest turns what is missing into a mistake in the request that names it, as Nova does when a server is
// made, and a network without free addresses into a conflict: clients take 503 for an outage and try again.
func badRequest(err error) error {
	switch {
	case fault.Is(err, fault.NotFound):
		return &fault.Error{Code: fault.Invalid, Err: err}
	case fault.Is(err, fault.Exhausted):
		return &fault.Error{Code: fault.Conflict, Err: err}
	}
	return err
}
