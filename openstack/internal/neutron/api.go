// Package neutron is Neutron's API v2.0 as a view of package network:
// decoding, filters, pages, and Neutron's own words for what went wrong.
package neutron

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// object is a JSON object of a reply.
type object = map[string]any

// api is the view; its methods are the calls.
type api struct{ svc *network.Service }

// New returns the API as a view of the service.
func New(svc *network.Service) rest.API {
	a := &api{svc}
	return rest.API{Service: rest.Network, Routes: slices.Concat(
		a.networks().routes(a), a.subnets().routes(a), a.ports().routes(a), a.groups().routes(a), a.rules().routes(a),
		a.quotaRoutes(), a.otherRoutes(),
	)}
}

// resource is a kind of thing with the five calls that all have. T is what the service returns.
type resource[T any] struct {
	name, plural string // as the body has it: "security_group"
	path         string // "/security-groups"
	attributes   []string
	show         func(r *rest.Request, v *T) object
	list         func(ctx context.Context, svc *network.Service, f filter) ([]*T, error)
	get          func(ctx context.Context, svc *network.Service, id string) (*T, error)
	create       func(ctx context.Context, svc *network.Service, b *body) (*T, error)
	update       func(ctx context.Context, svc *network.Service, id string, rev *int64, b *body) (*T, error) // nil: there is none
	delete       func(ctx context.Context, svc *network.Service, id string) error
	revision     func(v *T) int64
	// tags reads and sets the tags; nil: there are none.
	tags func(ctx context.Context, svc *network.Service, id string, change func([]string) []string) ([]string, error)
}

func (k resource[T]) routes(a *api) []rest.Route {
	as := func(r *rest.Request) *network.Service { return a.svc.As(r.Principal) }
	one := k.path + "/{id}"
	out := []rest.Route{
		route("GET", k.path, func(ctx context.Context, r *rest.Request) (*rest.Response, error) { return k.index(ctx, as(r), r) }),
		route("POST", k.path, func(ctx context.Context, r *rest.Request) (*rest.Response, error) { return k.make(ctx, as(r), r) }),
		route("GET", one, func(ctx context.Context, r *rest.Request) (*rest.Response, error) {
			v, err := k.get(ctx, as(r), r.Value("id"))
			if err != nil {
				return nil, err
			}
			return rest.OK(object{k.name: only(k.show(r, v), r)}), nil
		}),
		route("DELETE", one, func(ctx context.Context, r *rest.Request) (*rest.Response, error) { return k.remove(ctx, as(r), r) }),
	}
	if k.update != nil {
		out = append(out, route("PUT", one, func(ctx context.Context, r *rest.Request) (*rest.Response, error) {
			rev, err := ifMatch(r)
			if err != nil {
				return nil, err
			}
			b, err := readBody(r, k.name)
			if err != nil {
				return nil, err
			}
			v, err := k.update(ctx, as(r), r.Value("id"), rev, b)
			if err != nil {
				return nil, err
			}
			return rest.OK(object{k.name: k.show(r, v)}), nil
		}))
	}
	if k.tags != nil {
		out = append(out, tagRoutes(a, one, k.tags)...)
	}
	return out
}

func route(method, path string, h rest.Handler) rest.Route {
	return rest.Route{Method: method, Path: path, Handle: func(ctx context.Context, r *rest.Request) (*rest.Response, error) {
		resp, err := h(ctx, r)
		return resp, typed(err)
	}}
}

// index lists, filters, sorts and pages.
func (k resource[T]) index(ctx context.Context, svc *network.Service, r *rest.Request) (*rest.Response, error) {
	f, err := readFilter(r, k.attributes)
	if err != nil {
		return nil, err
	}
	page, err := r.Page(maxPage, k.attributes...)
	if err != nil {
		return nil, err
	}
	all, err := k.list(ctx, svc, f)
	if err != nil {
		return nil, err
	}
	shown := make([]object, 0, len(all))
	for _, v := range all {
		if o := k.show(r, v); f.admits(o) {
			shown = append(shown, o)
		}
	}
	return pageOf(r, page, k.plural, shown)
}

// make creates one thing, or several in one transaction.
func (k resource[T]) make(ctx context.Context, svc *network.Service, r *rest.Request) (*rest.Response, error) {
	bodies, bulk, err := readBodies(r, k.name, k.plural)
	if err != nil {
		return nil, err
	}
	var made []*T
	err = svc.Together(ctx, func(ctx context.Context) error {
		made = nil
		for _, b := range bodies {
			v, err := k.create(ctx, svc, b.again())
			if err != nil {
				return err
			}
			made = append(made, v)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !bulk {
		return rest.Created(object{k.name: k.show(r, made[0])}), nil
	}
	shown := make([]object, len(made))
	for i, v := range made {
		shown[i] = k.show(r, v)
	}
	return rest.Created(object{k.plural: shown}), nil
}

func (k resource[T]) remove(ctx context.Context, svc *network.Service, r *rest.Request) (*rest.Response, error) {
	rev, err := ifMatch(r)
	if err != nil {
		return nil, err
	}
	id := r.Value("id")
	err = svc.Together(ctx, func(ctx context.Context) error {
		if rev != nil {
			v, err := k.get(ctx, svc, id)
			if err != nil {
				return err
			}
			if have := k.revision(v); have != *rev {
				return &fault.Error{Code: fault.Conflict, Kind: k.name, ID: id, Err: network.RevisionMismatch,
					Msg: "is at revision " + strconv.FormatInt(have, 10) + ", not " + strconv.FormatInt(*rev, 10) + "; read it again"}
			}
		}
		return k.delete(ctx, svc, id)
	})
	if err != nil {
		return nil, err
	}
	return rest.NoContent(), nil
}

// ifMatch reads the revision that the caller wants a thing to have; nil means any.
func ifMatch(r *rest.Request) (*int64, error) {
	text := r.HTTP.Header.Get("If-Match")
	if text == "" {
		return nil, nil
	}
	number, ok := strings.CutPrefix(strings.Trim(text, `"`), "revision_number=")
	n, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil {
		return nil, fault.InvalidField("If-Match", text, "write it as revision_number=5")
	}
	return &n, nil
}

// word is Neutron's name, and status where that differs, for a reason.
type word struct {
	name   string
	status int
}

var words = map[network.Reason]word{
	network.NetworkInUse:           {name: "NetworkInUse"},
	network.SubnetInUse:            {name: "SubnetInUse"},
	network.SegmentInUse:           {name: "SegmentInUse"},
	network.SegmentsExhausted:      {"NoNetworkAvailable", http.StatusServiceUnavailable},
	network.SubnetOverlap:          {name: "InvalidInput"},
	network.GatewayInPool:          {name: "GatewayConflictWithAllocationPools"},
	network.PoolInvalid:            {name: "InvalidAllocationPool"},
	network.PoolsOverlap:           {name: "OverlappingAllocationPools"},
	network.PoolOutside:            {name: "OutOfBoundsAllocationPool"},
	network.GatewayInUse:           {name: "GatewayIpInUse"},
	network.AddressInUse:           {name: "IpAddressAlreadyAllocated"},
	network.AddressNotOnNetwork:    {name: "InvalidIpForNetwork"},
	network.AddressOutside:         {name: "InvalidIpForSubnet"},
	network.NoAddressLeft:          {name: "IpAddressGenerationFailure"},
	network.MACInUse:               {name: "MacAddressInUse"},
	network.PortBound:              {name: "PortBound"},
	network.PortInUse:              {name: "PortInUse"},
	network.GroupInUse:             {name: "SecurityGroupInUse"},
	network.DefaultGroupExists:     {name: "SecurityGroupDefaultAlreadyExists"},
	network.DefaultGroupFixed:      {name: "SecurityGroupCannotRemoveDefault"},
	network.RuleExists:             {name: "SecurityGroupRuleExists"},
	network.RuleInvalid:            {name: "SecurityGroupRuleParameterConflict"},
	network.PairsNeedPortSecurity:  {name: "AddressPairAndPortSecurityRequired"},
	network.GroupsNeedPortSecurity: {name: "PortSecurityPortHasSecurityGroup"},
	network.RevisionMismatch:       {"RevisionNumberConstraintFailed", http.StatusPreconditionFailed},
	network.SharedInUse:            {name: "InvalidSharedSetting"},
}

// typed gives an error of the service Neutron's name.
func typed(err error) error {
	var reason network.Reason
	if !errors.As(err, &reason) {
		return err
	}
	w := words[reason]
	return &rest.Typed{Err: err, Status: w.status, Type: w.name}
}
