package rest

// Service is the type of an OpenStack service, as the catalog has it.
type Service string

// The services that the frame knows how to mount and whose errors it can render.
const (
	Identity Service = "identity"
	Compute  Service = "compute"
	Image    Service = "image"
	Network  Service = "network"
)

// mount says where a service answers.
type mount struct {
	roots   []string // path prefixes; the last is the one that links show
	version string   // of the API below them
}

var mounts = map[Service]mount{
	Identity: {roots: []string{"", "/identity"}, version: "/v3"},
	Compute:  {roots: []string{"/compute"}, version: "/v2.1"},
	Image:    {roots: []string{"/image"}, version: "/v2"},
	Network:  {roots: []string{"/network"}, version: "/v2.0"},
}

// CatalogPath returns the path below the server's base URL that the catalog publishes for a service, "" for
// one that is not known. Clients add the version themselves, except for compute.
func CatalogPath(s Service) string {
	m, ok := mounts[s]
	if !ok {
		return ""
	}
	path := m.roots[len(m.roots)-1]
	if s == Compute {
		path += m.version
	}
	return path
}
