package rest

import (
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
)

// Request is one call as its Handler sees it.
type Request struct {
	HTTP      *http.Request
	ID        string              // "req-..", also in the context
	Principal *identity.Principal // nil on a Public route
	Version   Version             // the microversion; zero where the service has none
	Body      []byte              // the whole body; nil on a Stream route
	Stream    io.Reader           // the body of a Stream route
	Query     url.Values
	Prepared  any // what Route.Prepare returned
	// Once is set on a Stream route whose caller sent an Idempotency-Key.
	Once *Once

	values  map[string]string
	base    string // "http://host:port"
	root    string // "/compute"
	version string // "/v2.1"
}

// Value returns a parameter of the path, unescaped.
func (r *Request) Value(name string) string { return r.values[name] }

// AtLeast reports whether the call's microversion is 2.minor or newer.
func (r *Request) AtLeast(minor int) bool { return r.Version.AtLeast(V(2, minor)) }

// Base returns the URL of the whole server as the client knows it, without a slash at the end.
func (r *Request) Base() string { return r.base }

// URL returns the absolute URL of a path below the service's version.
func (r *Request) URL(path string) string { return r.base + r.root + r.version + path }

// Bookmark returns the absolute URL of a path without a version, as Nova's bookmark links are.
func (r *Request) Bookmark(path string) string { return r.base + r.root + path }

// Links returns the two links, self and bookmark, that Nova shows for a resource.
func (r *Request) Links(path string) []Link {
	return []Link{{Rel: "self", Href: r.URL(path)}, {Rel: "bookmark", Href: r.Bookmark(path)}}
}

// Flag returns a boolean of the query: absent is def, present without a value is true.
func (r *Request) Flag(name string, def bool) (bool, error) {
	if !r.Query.Has(name) {
		return def, nil
	}
	text := r.Query.Get(name)
	if text == "" {
		return true, nil
	}
	v, ok := boolWord(text)
	if !ok {
		return def, fault.InvalidField(name, text, "it must be true or false")
	}
	return bool(v), nil
}

// Number returns a non-negative integer of the query; absent is def.
func (r *Request) Number(name string, def int) (int, error) {
	text := r.Query.Get(name)
	if text == "" {
		return def, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return def, fault.InvalidField(name, text, "it must be an integer of 0 or more")
	}
	return n, nil
}

// Seconds writes a time as Nova, Glance and Neutron do: "2026-01-02T15:04:05Z"; "" for the zero time.
func Seconds(t time.Time) string { return format(t, "2006-01-02T15:04:05Z") }

// Micros writes a time as Keystone does: "2026-01-02T15:04:05.000000Z"; "" for the zero time.
func Micros(t time.Time) string { return format(t, "2006-01-02T15:04:05.000000Z") }

// NaiveMicros writes a time without a zone, as Nova does in some old places: "2026-01-02T15:04:05.000000".
func NaiveMicros(t time.Time) string { return format(t, "2006-01-02T15:04:05.000000") }

func format(t time.Time, layout string) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(layout)
}

// ParseTime reads a time of a query in one of the forms that OpenStack's clients send; without a zone it is UTC.
func ParseTime(field, text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04:05-0700", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, strings.TrimSpace(text)); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fault.InvalidField(field, text, "it must be a time such as 2026-01-02T15:04:05Z")
}

// baseURL returns scheme and host as the client sees them.
func baseURL(r *http.Request, public string) string {
	if public != "" {
		return strings.TrimRight(public, "/")
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	if p, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ","); p == "http" || p == "https" {
		scheme = p
	}
	return scheme + "://" + r.Host
}

func underscored(s string) string { return strings.ReplaceAll(s, "-", "_") }

// singular returns the name of one thing of a collection of Neutron.
func singular(s string) string {
	if rest, ok := strings.CutSuffix(s, "ies"); ok {
		return rest + "y"
	}
	return strings.TrimSuffix(s, "s")
}
