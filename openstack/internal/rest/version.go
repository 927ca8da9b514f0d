package rest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/pattern"
)

// Version is a microversion. The zero value means none.
type Version struct{ Major, Minor int }

// V returns the microversion major.minor.
func V(major, minor int) Version { return Version{major, minor} }

// Less reports whether v is older than w.
func (v Version) Less(w Version) bool {
	return v.Major < w.Major || v.Major == w.Major && v.Minor < w.Minor
}

// AtLeast reports whether v is w or newer.
func (v Version) AtLeast(w Version) bool { return !v.Less(w) }

// String returns "2.37", and "" for none.
func (v Version) String() string {
	if v == (Version{}) {
		return ""
	}
	return fmt.Sprintf("%d.%d", v.Major, v.Minor)
}

const novaVersionHeader = "X-Openstack-Nova-Api-Version"

// requestedVersion returns the version that a client asks for, "" when it does not.
func requestedVersion(h http.Header, s Service) string {
	for _, line := range h.Values("Openstack-Api-Version") {
		for _, item := range strings.Split(line, ",") {
			name, version, ok := strings.Cut(strings.TrimSpace(item), " ")
			if ok && Service(name) == s {
				return strings.TrimSpace(version)
			}
		}
	}
	if s == Compute {
		return strings.TrimSpace(h.Get(novaVersionHeader))
	}
	return ""
}

// errVersion is a version outside what the API has: 406.
type errVersion struct{ error }

// negotiate chooses the microversion of a call.
func (a *API) negotiate(h http.Header) (Version, error) {
	if a.Max == (Version{}) {
		return Version{}, nil
	}
	text := requestedVersion(h, a.Service)
	switch text {
	case "":
		return a.Min, nil
	case "latest":
		return a.Max, nil
	}
	v, ok := parseVersion(text)
	if !ok {
		return a.Min, fault.InvalidField("OpenStack-API-Version", text, `write it as "`+string(a.Service)+` Major.Minor"`)
	}
	if v.Less(a.Min) || a.Max.Less(v) {
		return a.Min, errVersion{fault.New(fault.Invalid, "version %s is not supported by the API: ask for one from %s to %s", v, a.Min, a.Max)}
	}
	return v, nil
}

func parseVersion(text string) (Version, bool) {
	m := versionPattern.FindStringSubmatch(text)
	if m == nil {
		return Version{}, false
	}
	major, err1 := strconv.Atoi(m[1])
	minor, err2 := strconv.Atoi(m[2])
	return Version{major, minor}, err1 == nil && err2 == nil
}

var versionPattern = pattern.New(`^([1-9]\d{0,8})\.(0|[1-9]\d{0,8})$`)

// echoVersion tells the client which version answered, and caches what the answer depends on.
func (a *API) echoVersion(h http.Header, v Version) {
	if a.Max == (Version{}) {
		return
	}
	h.Set("OpenStack-API-Version", string(a.Service)+" "+v.String())
	h.Add("Vary", "OpenStack-API-Version")
	if a.Service == Compute {
		h.Set("X-OpenStack-Nova-API-Version", v.String())
		h.Add("Vary", "X-OpenStack-Nova-API-Version")
	}
}
