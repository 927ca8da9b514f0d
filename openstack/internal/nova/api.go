package nova

import (
	"context"
	"slices"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// newest is the highest microversion: for all of the tables, every version up to it was gone through.
const newest = 96

// api is the view; its methods are the calls.
type api struct {
	compute *compute.Service
	network *network.Service
	clock   clock.Clock
}

// New returns the API as a view of the services, both required. The clock tells how long a period of usage
// may be; nil means the machine's.
func New(c *compute.Service, n *network.Service, k clock.Clock) rest.API {
	if k == nil {
		k = clock.System()
	}
	a := &api{compute: c, network: n, clock: k}
	return rest.API{
		Service: rest.Compute, Min: rest.V(2, 1), Max: rest.V(2, newest),
		Routes: slices.Concat(
			a.serverRoutes(), a.serverPartRoutes(), a.interfaceRoutes(), a.actionRoutes(),
			a.flavorRoutes(), a.keypairRoutes(), a.quotaRoutes(), a.hostRoutes(), a.usageRoutes(), a.absentRoutes(),
		),
	}
}

// as returns the compute service on behalf of the caller.
func (a *api) as(r *rest.Request) *compute.Service { return a.compute.As(r.Principal) }

// allow asks the policy for what no service method asks about.
func (a *api) allow(r *rest.Request, action, projectID string) error {
	if a.as(r).May(action, projectID) {
		return nil
	}
	return fault.New(fault.Denied, "policy doesn't allow %s to be performed: it needs another role or project", action)
}

func minor(r *rest.Request) int { return r.Version.Minor }

func get(path string, h rest.Handler) rest.Route {
	return rest.Route{Method: "GET", Path: path, Handle: h}
}
func post(path string, h rest.Handler) rest.Route {
	return rest.Route{Method: "POST", Path: path, Handle: h}
}
func put(path string, h rest.Handler) rest.Route {
	return rest.Route{Method: "PUT", Path: path, Handle: h}
}
func del(path string, h rest.Handler) rest.Route {
	return rest.Route{Method: "DELETE", Path: path, Handle: h}
}

// since is a route that exists from 2.n on.
func since(n int, r rest.Route) rest.Route {
	r.Since = rest.V(2, n)
	return r
}

// until is a route that exists up to 2.n.
func until(n int, r rest.Route) rest.Route {
	r.Until = rest.V(2, n)
	return r
}

// with wraps a handler in the check of its query.
func (q query) with(h rest.Handler) rest.Handler {
	return func(ctx context.Context, r *rest.Request) (*rest.Response, error) {
		if err := q.check(r); err != nil {
			return nil, err
		}
		return h(ctx, r)
	}
}

type object = map[string]any
