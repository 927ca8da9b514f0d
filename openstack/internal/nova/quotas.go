package nova

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

func (a *api) quotaRoutes() []rest.Route {
	user := only(75, "user_id")
	return []rest.Route{
		get("/limits", only(75, "tenant_id").with(a.limits)),
		get("/os-quota-sets/{project}", user.with(a.getQuota)),
		get("/os-quota-sets/{project}/detail", user.with(a.getQuotaDetail)),
		get("/os-quota-sets/{project}/defaults", a.getQuotaDefaults),
		put("/os-quota-sets/{project}", user.with(a.updateQuota)),
		del("/os-quota-sets/{project}", user.with(a.deleteQuota)),
		get("/os-quota-class-sets/{class}", a.getQuotaClass),
		put("/os-quota-class-sets/{class}", a.updateQuotaClass),
	}
}

// quotaResource is a resource of a quota set and where it is shown.
type quotaResource struct {
	name string
	// until is the last minor version with it in a quota set, and classUntil in a class; 0 means no end.
	until, classUntil int
	classSince        int
	// foreign resources are the network service's; here they were only ever shown.
	foreign bool
	// maximum and used are their names in limits, with the last minor version there; "" means it is not there.
	maximum, used []limitName
}

type limitName struct {
	name  string
	until int
}

func quotaResources() []quotaResource {
	always := func(names ...string) (out []limitName) {
		for _, n := range names {
			out = append(out, limitName{name: n})
		}
		return out
	}
	ending := func(until int, name string) []limitName { return []limitName{{name, until}} }
	return []quotaResource{
		{name: "instances", maximum: always("maxTotalInstances"), used: always("totalInstancesUsed")},
		{name: "cores", maximum: always("maxTotalCores"), used: always("totalCoresUsed")},
		{name: "ram", maximum: always("maxTotalRAMSize"), used: always("totalRAMUsed")},
		{name: "key_pairs", maximum: always("maxTotalKeypairs")},
		{name: "metadata_items", maximum: append(always("maxServerMeta"), ending(38, "maxImageMeta")...)},
		{name: "server_groups", classSince: 50, maximum: always("maxServerGroups"), used: always("totalServerGroupsUsed")},
		{name: "server_group_members", classSince: 50, maximum: always("maxServerGroupMembers")},
		{name: "injected_files", until: 56, classUntil: 56, maximum: ending(56, "maxPersonality")},
		{name: "injected_file_content_bytes", until: 56, classUntil: 56, maximum: ending(56, "maxPersonalitySize")},
		{name: "injected_file_path_bytes", until: 56, classUntil: 56},
		{name: "fixed_ips", foreign: true, until: 35, classUntil: 49},
		{name: "floating_ips", foreign: true, until: 35, classUntil: 49, maximum: ending(35, "maxTotalFloatingIps"), used: ending(35, "totalFloatingIpsUsed")},
		{name: "security_groups", foreign: true, until: 35, classUntil: 49, maximum: ending(35, "maxSecurityGroups"), used: ending(35, "totalSecurityGroupsUsed")},
		{name: "security_group_rules", foreign: true, until: 35, classUntil: 49, maximum: ending(35, "maxSecurityGroupRules")},
	}
}

// shown reports whether a version has the resource in a quota set, or in a class.
func (q *quotaResource) shown(minor int, class bool) bool {
	since, until := 0, q.until
	if class {
		since, until = q.classSince, q.classUntil
	}
	return minor >= since && (until == 0 || minor <= until)
}

// line returns a resource's limit and use; what belongs to another service is not limited here.
func (q *quotaResource) line(set compute.QuotaSet) compute.QuotaLine {
	if q.foreign {
		return compute.QuotaLine{Limit: -1}
	}
	return set[q.name]
}

func (a *api) limits(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	project := r.Principal.ProjectID
	if asked := r.Query.Get("tenant_id"); asked != "" && asked != project {
		project = asked
		if !r.Principal.IsAdmin() {
			return nil, fault.New(fault.Denied, "only administrators may ask for the limits of another project")
		}
	}
	set, err := a.as(r).GetQuota(ctx, project)
	if err != nil {
		return nil, err
	}
	return rest.OK(object{"limits": object{"rate": []object{}, "absolute": absoluteLimits(set, minor(r))}}), nil
}

func absoluteLimits(set compute.QuotaSet, minor int) object {
	doc := object{}
	for _, q := range quotaResources() {
		line := q.line(set)
		for _, n := range q.maximum {
			if n.until == 0 || minor <= n.until {
				doc[n.name] = line.Limit
			}
		}
		for _, n := range q.used {
			if n.until == 0 || minor <= n.until {
				doc[n.name] = line.Used
			}
		}
	}
	return doc
}

// quotaView shows the limits, or with detail limits and use.
func quotaView(r *rest.Request, set compute.QuotaSet, id string, class, detail bool) object {
	doc := object{}
	if id != "" {
		doc["id"] = id
	}
	for _, q := range quotaResources() {
		if !q.shown(minor(r), class) {
			continue
		}
		line := q.line(set)
		if detail {
			doc[q.name] = object{"limit": line.Limit, "in_use": line.Used, "reserved": 0}
		} else {
			doc[q.name] = line.Limit
		}
	}
	if class {
		return object{"quota_class_set": doc}
	}
	return object{"quota_set": doc}
}

func (a *api) getQuota(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	set, err := a.as(r).GetQuota(ctx, r.Value("project"))
	if err != nil {
		return nil, err
	}
	return rest.OK(quotaView(r, set, r.Value("project"), false, false)), nil
}

func (a *api) getQuotaDetail(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	set, err := a.as(r).GetQuota(ctx, r.Value("project"))
	if err != nil {
		return nil, err
	}
	return rest.OK(quotaView(r, set, r.Value("project"), false, true)), nil
}

func (a *api) getQuotaDefaults(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	set, err := a.as(r).DefaultQuota(ctx)
	if err != nil {
		return nil, err
	}
	return rest.OK(quotaView(r, set, r.Value("project"), false, false)), nil
}

// quotaShape is the body of an update: the resources that each version shows.
func quotaShape() rule {
	p := props{{name: "force", rule: boolean}}
	for _, q := range quotaResources() {
		p = append(p, prop{name: q.name, until: q.until, rule: integer(-1, math.MaxInt32)})
	}
	return under("quota_set", p.check)
}

// classShape is that of a quota class. Nova always took what it shows since 2.50 only.
func classShape() rule {
	var p props
	for _, q := range quotaResources() {
		p = append(p, prop{name: q.name, until: q.classUntil, rule: integer(-1, math.MaxInt32)})
	}
	return under("quota_class_set", p.check)
}

// newLimits takes the limits out of a body.
func newLimits(values map[string]rest.Int) (map[string]int64, error) {
	all := quotaResources()
	out := map[string]int64{}
	for name, limit := range values {
		i := slices.IndexFunc(all, func(q quotaResource) bool { return q.name == name })
		if i >= 0 && all[i].foreign && limit != -1 {
			return nil, fault.InvalidField(name, int64(limit), "the network service has this quota: set it there")
		}
		if i >= 0 && !all[i].foreign {
			out[name] = int64(limit)
		}
	}
	return out, nil
}

func noUserQuota(r *rest.Request) error {
	if user := r.Query.Get("user_id"); user != "" {
		return fault.InvalidField("user_id", user, "quotas are those of projects; users have none of their own here: leave it out")
	}
	return nil
}

func (a *api) updateQuota(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	if err := noUserQuota(r); err != nil {
		return nil, err
	}
	body, err := read[struct {
		Set map[string]any `json:"quota_set"`
	}](r, quotaShape())
	if err != nil {
		return nil, err
	}
	values, force, err := quotaValues(body.Set)
	if err != nil {
		return nil, err
	}
	limits, err := newLimits(values)
	if err != nil {
		return nil, err
	}
	set, err := a.as(r).UpdateQuota(ctx, r.Value("project"), limits, force)
	if err != nil {
		return nil, err
	}
	return rest.OK(quotaView(r, set, "", false, false)), nil
}

// quotaValues tells the limits from "force"; the shape of all was checked.
func quotaValues(set map[string]any) (values map[string]rest.Int, force bool, err error) {
	values = map[string]rest.Int{}
	for name, v := range set {
		if name == "force" {
			force, _ = word(fmt.Sprint(v))
			continue
		}
		var n rest.Int
		if err := n.UnmarshalJSON([]byte(fmt.Sprint(v))); err != nil {
			return nil, false, fault.InvalidField("quota_set."+name, v, "it must be an integer")
		}
		values[name] = n
	}
	return values, force, nil
}

func (a *api) deleteQuota(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	if err := noUserQuota(r); err != nil {
		return nil, err
	}
	return rest.Accepted(nil), a.as(r).DeleteQuota(ctx, r.Value("project"))
}

func (a *api) getQuotaClass(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	set, err := a.as(r).DefaultQuota(ctx)
	if err != nil {
		return nil, err
	}
	return rest.OK(quotaView(r, set, r.Value("class"), true, false)), nil
}

func (a *api) updateQuotaClass(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	if class := r.Value("class"); class != "default" {
		return nil, fault.InvalidField("class", class, `the only quota class is "default"`)
	}
	body, err := read[struct {
		Set map[string]rest.Int `json:"quota_class_set"`
	}](r, classShape())
	if err != nil {
		return nil, err
	}
	limits, err := newLimits(body.Set)
	if err != nil {
		return nil, err
	}
	set, err := a.as(r).UpdateDefaultQuota(ctx, limits)
	if err != nil {
		return nil, err
	}
	return rest.OK(quotaView(r, set, "", true, false)), nil
}
