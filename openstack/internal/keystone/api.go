// Package keystone is the view of identity as OpenStack's Identity API v3.
package keystone

import (
	"context"
	"slices"

	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// Options configure the view.
type Options struct {
	// Region of the built-in catalog. "" means RegionOne.
	Region string
	// Services are the APIs that the same server answers; the catalog shows them below its base URL.
	Services []rest.Service
}

type api struct {
	svc *identity.Service
	opt Options
}

type object = map[string]any

// New returns the API as a view of the service.
func New(svc *identity.Service, opt Options) rest.API {
	if opt.Region == "" {
		opt.Region = "RegionOne"
	}
	a := &api{svc: svc, opt: opt}
	return rest.API{Service: rest.Identity, Routes: slices.Concat(
		a.authRoutes(), a.domainRoutes(), a.projectRoutes(), a.userRoutes(), a.groupRoutes(),
		a.roleRoutes(), a.assignmentRoutes(), a.catalogRoutes(), a.limitRoutes(),
	)}
}

// call is a Handler that has the service on behalf of the caller.
type call func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error)

func (a *api) route(method, path string, c call) rest.Route {
	return rest.Route{Method: method, Path: path, Handle: func(ctx context.Context, r *rest.Request) (*rest.Response, error) {
		return c(ctx, a.svc.As(r.Principal), r)
	}}
}

// done answers 204 unless there is an error.
func done(err error) (*rest.Response, error) {
	if err != nil {
		return nil, err
	}
	return rest.NoContent(), nil
}

// limitRoutes answer that there are no unified limits, as a Keystone without any does.
func (a *api) limitRoutes() []rest.Route {
	none := func(key string) call {
		return func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			return rest.OK(object{key: []any{}, "links": listLinks(r, "")}), nil
		}
	}
	return []rest.Route{
		a.route("GET", "/limits", none("limits")),
		a.route("GET", "/registered_limits", none("registered_limits")),
		a.route("GET", "/limits/model", func(context.Context, *identity.Service, *rest.Request) (*rest.Response, error) {
			return rest.OK(object{"model": object{"name": "flat", "description": "Limits do not depend on the place of a project in the tree."}}), nil
		}),
	}
}
