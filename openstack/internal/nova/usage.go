package nova

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

func (a *api) usageRoutes() []rest.Route {
	q := query{strict: 75, params: append(known("start", "end", "detailed"), param{name: "limit", since: 40}, param{name: "marker", since: 40})}
	return []rest.Route{
		get("/os-simple-tenant-usage", q.with(a.listUsage)),
		get("/os-simple-tenant-usage/{project}", q.with(a.getUsage)),
	}
}

// span is the time that usage is asked for.
type span struct {
	start, stop, now time.Time
	detailed         bool
}

func (a *api) span(r *rest.Request) (s span, err error) {
	s = span{now: a.clock.Now().UTC()}
	s.start, s.stop = s.now, s.now
	for name, at := range map[string]*time.Time{"start": &s.start, "end": &s.stop} {
		if r.Query.Get(name) != "" {
			if *at, err = rest.ParseTime(name, r.Query.Get(name)); err != nil {
				return s, err
			}
		}
	}
	if !s.start.Before(s.stop) && r.Query.Get("start")+r.Query.Get("end") != "" { // both have a default, which is now
		return s, fault.InvalidField("start", r.Query.Get("start"), "it must be before end")
	}
	if s.stop.After(s.now) {
		s.stop = s.now
	}
	s.detailed = r.Query.Get("detailed") == "1"
	return s, nil
}

// hours is how long a server was there within the span; from its launch, so that what never ran costs nothing.
func (s *span) hours(v *compute.Server) float64 {
	if v.LaunchedAt.IsZero() || v.LaunchedAt.After(s.stop) || !ended(v).IsZero() && ended(v).Before(s.start) {
		return 0
	}
	from, to := v.LaunchedAt, s.stop
	if from.Before(s.start) {
		from = s.start
	}
	if e := ended(v); !e.IsZero() && e.Before(to) {
		to = e
	}
	return max(0, to.Sub(from).Hours())
}

func ended(v *compute.Server) time.Time {
	if v.TerminatedAt.IsZero() {
		return v.DeletedAt
	}
	return v.TerminatedAt
}

// serversIn returns the servers that existed within a span, oldest first.
func (a *api) serversIn(ctx context.Context, r *rest.Request, s *span, projectID string) ([]*compute.Server, error) {
	// Live servers, and those that ended since: the second list holds servers of the first.
	var out []*compute.Server
	seen := map[string]bool{}
	for _, q := range []compute.ServerQuery{{CreatedBefore: s.stop}, {CreatedBefore: s.stop, ChangedSince: s.start}} {
		q.AllProjects = r.Principal.IsAdmin()
		q.ProjectID, q.Brief = projectID, true
		for {
			page, err := a.as(r).ListServers(ctx, q)
			if err != nil {
				return nil, err
			}
			for _, v := range page.Servers {
				if e := ended(v); !seen[v.ID] && (projectID == "" || v.ProjectID == projectID) && (e.IsZero() || e.After(s.start)) {
					seen[v.ID] = true
					out = append(out, v)
				}
			}
			if !page.More {
				break
			}
			q.Marker = page.Servers[len(page.Servers)-1].ID
		}
	}
	slices.SortFunc(out, func(x, y *compute.Server) int {
		return cmp.Or(x.CreatedAt.Compare(y.CreatedAt), cmp.Compare(x.ID, y.ID))
	})
	return out, nil
}

// usages returns the usage of each project over a page of servers.
func (a *api) usages(ctx context.Context, r *rest.Request, s *span, projectID, linksKey string) (list []object, links object, err error) {
	all, err := a.serversIn(ctx, r, s, projectID)
	if err != nil {
		return nil, nil, err
	}
	page, err := r.Page(1000)
	if err != nil {
		return nil, nil, err
	}
	part, more, err := rest.Cut(all, page, func(v *compute.Server) string { return v.ID })
	if err != nil {
		return nil, nil, err
	}
	links = object{}
	if more && len(part) > 0 && r.AtLeast(40) {
		addNext(links, linksKey, r, true, part[len(part)-1].ID, page.Limit)
	}
	return s.sum(part), links, nil
}

// sum adds servers up by project, in the order in which projects appear.
func (s *span) sum(servers []*compute.Server) []object {
	type total struct{ hours, vcpus, memory, disk float64 }
	list := []object{}
	docs, totals := map[string]object{}, map[string]*total{}
	for _, v := range servers {
		doc, t := docs[v.ProjectID], totals[v.ProjectID]
		if doc == nil {
			doc = object{"tenant_id": v.ProjectID, "start": rest.NaiveMicros(s.start), "stop": rest.NaiveMicros(s.stop)}
			if s.detailed {
				doc["server_usages"] = []object{}
			}
			t = &total{}
			docs[v.ProjectID], totals[v.ProjectID] = doc, t
			list = append(list, doc)
		}
		hours := s.hours(v)
		t.hours += hours
		t.vcpus += hours * float64(v.Flavor.VCPUs)
		t.memory += hours * float64(v.Flavor.MemoryMiB)
		t.disk += hours * float64(v.Flavor.DiskGiB+v.Flavor.EphemeralGiB)
		doc["total_hours"], doc["total_vcpus_usage"] = t.hours, t.vcpus
		doc["total_memory_mb_usage"], doc["total_local_gb_usage"] = t.memory, t.disk
		if s.detailed {
			doc["server_usages"] = append(doc["server_usages"].([]object), s.one(v, hours))
		}
	}
	return list
}

func (s *span) one(v *compute.Server, hours float64) object {
	start, end, state := v.LaunchedAt, ended(v), string(v.VMState)
	if start.IsZero() {
		start = v.CreatedAt
	}
	until := s.now
	if !end.IsZero() {
		until, state = end, "terminated"
	}
	return object{"instance_id": v.ID, "name": v.Name, "tenant_id": v.ProjectID, "flavor": v.Flavor.Name, "hours": hours,
		"vcpus": v.Flavor.VCPUs, "memory_mb": v.Flavor.MemoryMiB, "local_gb": v.Flavor.DiskGiB + v.Flavor.EphemeralGiB,
		"started_at": rest.NaiveMicros(start), "ended_at": orNull(rest.NaiveMicros(end)),
		"state": state, "uptime": int64(max(0, until.Sub(start).Seconds()))}
}

func (a *api) listUsage(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	if !r.Principal.IsAdmin() {
		return nil, fault.New(fault.Denied, "only administrators may see the usage of all projects: ask for that of yours, os-simple-tenant-usage/%s", r.Principal.ProjectID)
	}
	s, err := a.span(r)
	if err != nil {
		return nil, err
	}
	list, doc, err := a.usages(ctx, r, &s, "", "tenant_usages_links")
	if err != nil {
		return nil, err
	}
	doc["tenant_usages"] = list
	return rest.OK(doc), nil
}

func (a *api) getUsage(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	project := r.Value("project")
	if !r.Principal.IsAdmin() && project != r.Principal.ProjectID {
		return nil, fault.New(fault.Denied, "only administrators may see the usage of another project")
	}
	s, err := a.span(r)
	if err != nil {
		return nil, err
	}
	s.detailed = true
	list, doc, err := a.usages(ctx, r, &s, project, "tenant_usage_links")
	if err != nil {
		return nil, err
	}
	doc["tenant_usage"] = object{}
	if len(list) > 0 {
		doc["tenant_usage"] = list[0]
	}
	return rest.OK(doc), nil
}
