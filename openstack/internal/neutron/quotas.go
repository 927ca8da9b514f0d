package neutron

import (
	"context"

	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// counted are the resources with a quota, as the service names them.
var counted = []string{"network", "subnet", "port", "security_group", "security_group_rule"}

func (a *api) quotaRoutes() []rest.Route {
	as := func(r *rest.Request) *network.Service { return a.svc.As(r.Principal) }
	details := func(ctx context.Context, r *rest.Request) (*rest.Response, error) {
		u, err := as(r).GetQuota(ctx, r.Value("project"))
		if err != nil {
			return nil, err
		}
		o := object{}
		for _, name := range counted {
			o[name] = object{"limit": u[name].Limit, "used": u[name].Used, "reserved": 0}
		}
		return rest.OK(object{"quota": o}), nil
	}
	return []rest.Route{
		route("GET", "/quotas", func(ctx context.Context, r *rest.Request) (*rest.Response, error) {
			all, err := as(r).ListQuotas(ctx)
			if err != nil {
				return nil, err
			}
			list := []object{}
			for project, u := range all {
				o := limits(u)
				o["id"], o["project_id"], o["tenant_id"] = project, project, project
				list = append(list, o)
			}
			resp, err := pageOf(r, rest.Page{Limit: maxPage, Sort: []rest.SortKey{{Key: "project_id"}}}, "quotas", list)
			for _, o := range list {
				delete(o, "id")
			}
			return resp, err
		}),
		route("GET", "/quotas/{project}", func(ctx context.Context, r *rest.Request) (*rest.Response, error) {
			u, err := as(r).GetQuota(ctx, r.Value("project"))
			if err != nil {
				return nil, err
			}
			return rest.OK(object{"quota": limits(u)}), nil
		}),
		route("GET", "/quotas/{project}/default", func(ctx context.Context, r *rest.Request) (*rest.Response, error) {
			u, err := as(r).DefaultQuota(ctx, r.Value("project"))
			if err != nil {
				return nil, err
			}
			return rest.OK(object{"quota": limits(u)}), nil
		}),
		route("GET", "/quotas/{project}/details", details),
		route("GET", "/quotas/{project}/details.json", details),
		route("PUT", "/quotas/{project}", func(ctx context.Context, r *rest.Request) (*rest.Response, error) {
			b, err := readBody(r, "quota")
			if err != nil {
				return nil, err
			}
			want := map[string]int64{}
			for _, name := range counted {
				if v := b.number(name); v != nil {
					want[name] = int64(*v)
				}
			}
			b.project()
			check, force := b.is("check_limit"), b.is("force")
			if check && force {
				b.bad("force", "it cannot be used together with check_limit: use one of the two")
			}
			if err := b.done(); err != nil {
				return nil, err
			}
			change := as(r).SetQuota
			if check {
				change = as(r).SetQuotaChecked
			}
			u, err := change(ctx, r.Value("project"), want)
			if err != nil {
				return nil, err
			}
			return rest.OK(object{"quota": limits(u)}), nil
		}),
		route("DELETE", "/quotas/{project}", func(ctx context.Context, r *rest.Request) (*rest.Response, error) {
			if err := as(r).ResetQuota(ctx, r.Value("project")); err != nil {
				return nil, err
			}
			return rest.NoContent(), nil
		}),
	}
}

func limits(u map[string]network.Usage) object {
	o := object{}
	for _, name := range counted {
		o[name] = u[name].Limit
	}
	return o
}
