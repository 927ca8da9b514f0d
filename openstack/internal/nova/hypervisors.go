package nova

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// hostRoutes are the views of hosts: hypervisors, services and availability zones.
func (a *api) hostRoutes() []rest.Route {
	listed := query{strict: 53, params: []param{{name: "limit", since: 33}, {name: "marker", since: 33},
		{name: "hypervisor_hostname_pattern", since: 53, once: true}, {name: "with_servers", since: 53, once: true}}}
	shown := query{strict: 53, params: []param{{name: "with_servers", since: 53, once: true}}}
	return []rest.Route{
		get("/os-hypervisors", listed.with(a.listHypervisors)),
		get("/os-hypervisors/detail", listed.with(a.listHypervisorsDetail)),
		until(87, get("/os-hypervisors/statistics", a.hypervisorStatistics)),
		get("/os-hypervisors/{id}", shown.with(a.getHypervisor)),
		until(87, get("/os-hypervisors/{id}/uptime", a.hypervisorUptime)),
		until(52, get("/os-hypervisors/{id}/search", a.searchHypervisors)),
		until(52, get("/os-hypervisors/{id}/servers", a.hypervisorServers)),
		get("/os-services", only(75, "host", "binary").with(a.listServices)),
		put("/os-services/{id}", a.updateService),
		del("/os-services/{id}", a.deleteService),
		get("/os-availability-zone", a.listZones),
		get("/os-availability-zone/detail", a.listZonesDetail),
	}
}

// hypervisorView is a host as one call shows it.
type hypervisorView struct {
	*compute.Host
	servers []*compute.Server // nil means that they were not asked for
}

func hypervisorBriefFields() []field[hypervisorView] {
	return []field[hypervisorView]{
		{name: "id", until: 52, value: func(v hypervisorView) any { return number(v.ID) }},
		{name: "id", since: 53, value: func(v hypervisorView) any { return v.ID }},
		{name: "hypervisor_hostname", value: func(v hypervisorView) any { return v.Name }},
		{name: "state", value: func(v hypervisorView) any { return upOrDown(v.Host) }},
		{name: "status", value: func(v hypervisorView) any { return enabled(v.Host) }},
		{name: "servers", until: 74, value: func(v hypervisorView) any { return v.serverList(false) }},
		{name: "servers", since: 75, value: func(v hypervisorView) any { return v.serverList(true) }},
	}
}

func hypervisorFields() []field[hypervisorView] {
	old := func(name string, value func(v hypervisorView) any) field[hypervisorView] {
		return field[hypervisorView]{name: name, until: 87, value: value}
	}
	return append(hypervisorBriefFields(), []field[hypervisorView]{
		{name: "hypervisor_type", value: func(v hypervisorView) any { return v.Type }},
		{name: "hypervisor_version", value: func(v hypervisorView) any { return v.Version }},
		{name: "host_ip", value: func(v hypervisorView) any { return orNull(v.Address) }},
		{name: "service", until: 52, value: func(v hypervisorView) any { return v.service(number(v.ID)) }},
		{name: "service", since: 53, value: func(v hypervisorView) any { return v.service(v.ID) }},
		old("vcpus", func(v hypervisorView) any { return v.VCPUs }),
		old("vcpus_used", func(v hypervisorView) any { return v.Used.VCPUs }),
		old("memory_mb", func(v hypervisorView) any { return v.MemoryMiB }),
		old("memory_mb_used", func(v hypervisorView) any { return v.Used.MemoryMiB }),
		old("free_ram_mb", func(v hypervisorView) any { return v.MemoryMiB - v.Used.MemoryMiB }),
		old("local_gb", func(v hypervisorView) any { return v.DiskGiB }),
		old("local_gb_used", func(v hypervisorView) any { return v.Used.DiskGiB }),
		old("free_disk_gb", func(v hypervisorView) any { return v.DiskGiB - v.Used.DiskGiB }),
		old("disk_available_least", func(v hypervisorView) any { return v.DiskGiB - v.Used.DiskGiB }),
		old("current_workload", func(v hypervisorView) any { return 0 }),
		old("running_vms", func(v hypervisorView) any { return v.Servers }),
		{name: "cpu_info", until: 27, value: func(v hypervisorView) any {
			text, _ := json.Marshal(object{"arch": v.Arch}) // a map of texts always encodes
			return string(text)
		}},
		{name: "cpu_info", since: 28, until: 87, value: func(v hypervisorView) any { return object{"arch": v.Arch} }},
		// Nova has null for unknown, too, but the openstack command fails on that.
		{name: "uptime", since: 88, value: func(v hypervisorView) any { return "" }},
	}...)
}

func upOrDown(h *compute.Host) string {
	if h.Up {
		return "up"
	}
	return "down"
}

func enabled(h *compute.Host) string {
	if h.Disabled {
		return "disabled"
	}
	return "enabled"
}

func (v hypervisorView) service(id any) object {
	return object{"id": id, "host": v.Name, "disabled_reason": orNull(v.DisabledReason)}
}

// serverList is left out when nobody asked, and before 2.75 when it is empty.
func (v hypervisorView) serverList(empty bool) any {
	if v.servers == nil || len(v.servers) == 0 && !empty {
		return absent{}
	}
	list := []object{}
	for _, s := range v.servers {
		list = append(list, object{"name": s.Name, "uuid": s.ID})
	}
	return list
}

func (a *api) listHypervisors(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	return a.hypervisorList(ctx, r, hypervisorBriefFields())
}

func (a *api) listHypervisorsDetail(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	return a.hypervisorList(ctx, r, hypervisorFields())
}

func (a *api) hypervisorList(ctx context.Context, r *rest.Request, fields []field[hypervisorView]) (*rest.Response, error) {
	hosts, err := a.as(r).ListHosts(ctx)
	if err != nil {
		return nil, err
	}
	page, err := r.Page(1000)
	if err != nil {
		return nil, err
	}
	if pattern := r.Query.Get("hypervisor_hostname_pattern"); r.Query.Has("hypervisor_hostname_pattern") {
		if page.Asked || page.Marker != "" {
			return nil, fault.InvalidField("hypervisor_hostname_pattern", pattern, "it cannot be combined with limit or marker")
		}
		if hosts, err = matching(hosts, pattern); err != nil {
			return nil, err
		}
	}
	servers, err := r.Flag("with_servers", false)
	if err != nil {
		return nil, err
	}
	part, more, err := rest.Cut(hosts, page, func(h *compute.Host) string { return hypervisorID(r, h) })
	if err != nil {
		return nil, err
	}
	list := []object{}
	for _, h := range part {
		v, err := a.hypervisor(ctx, r, h, servers)
		if err != nil {
			return nil, err
		}
		list = append(list, show(object{}, fields, v, minor(r)))
	}
	doc := object{"hypervisors": list}
	if more && len(part) > 0 {
		addNext(doc, "hypervisors_links", r, true, hypervisorID(r, part[len(part)-1]), page.Limit)
	}
	return rest.OK(doc), nil
}

func hypervisorID(r *rest.Request, h *compute.Host) string {
	if r.AtLeast(53) {
		return h.ID
	}
	return strconv.FormatInt(number(h.ID), 10)
}

// matching keeps the hosts with pattern in their name; NotFound when there is none.
func matching(hosts []*compute.Host, pattern string) ([]*compute.Host, error) {
	var out []*compute.Host
	for _, h := range hosts {
		if strings.Contains(h.Name, pattern) {
			out = append(out, h)
		}
	}
	if len(out) == 0 {
		return nil, fault.New(fault.NotFound, "no hypervisor matching '%s' could be found", pattern)
	}
	return out, nil
}

func (a *api) hypervisor(ctx context.Context, r *rest.Request, h *compute.Host, servers bool) (hypervisorView, error) {
	v := hypervisorView{Host: h}
	if !servers {
		return v, nil
	}
	v.servers = []*compute.Server{}
	q := compute.ServerQuery{AllProjects: true, HostID: h.ID, Brief: true}
	for {
		page, err := a.as(r).ListServers(ctx, q)
		if err != nil {
			return v, err
		}
		v.servers = append(v.servers, page.Servers...)
		if !page.More {
			return v, nil
		}
		q.Marker = page.Servers[len(page.Servers)-1].ID
	}
}

// host finds a host by the id that the version shows.
func (a *api) host(ctx context.Context, r *rest.Request, id, kind string) (*compute.Host, error) {
	if r.AtLeast(53) && !isUUID(id) {
		return nil, fault.InvalidField("id", id, "it must be a UUID")
	}
	hosts, err := a.as(r).ListHosts(ctx)
	if err != nil {
		return nil, err
	}
	for _, h := range hosts {
		if hypervisorID(r, h) == id {
			return h, nil
		}
	}
	return nil, fault.Missing(kind, id)
}

func (a *api) getHypervisor(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	h, err := a.host(ctx, r, r.Value("id"), "hypervisor")
	if err != nil {
		return nil, err
	}
	servers, err := r.Flag("with_servers", false)
	if err != nil {
		return nil, err
	}
	v, err := a.hypervisor(ctx, r, h, servers)
	if err != nil {
		return nil, err
	}
	return rest.OK(object{"hypervisor": show(object{}, hypervisorFields(), v, minor(r))}), nil
}

// hypervisorUptime: no driver here tells how long its machine has been up.
func (a *api) hypervisorUptime(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	if _, err := a.host(ctx, r, r.Value("id"), "hypervisor"); err != nil {
		return nil, err
	}
	return nil, fault.New(fault.Unsupported, "the virt driver does not implement the uptime function")
}

func (a *api) searchHypervisors(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	return a.oldSearch(ctx, r, false)
}

func (a *api) hypervisorServers(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	return a.oldSearch(ctx, r, true)
}

func (a *api) oldSearch(ctx context.Context, r *rest.Request, servers bool) (*rest.Response, error) {
	hosts, err := a.as(r).ListHosts(ctx)
	if err != nil {
		return nil, err
	}
	if hosts, err = matching(hosts, r.Value("id")); err != nil {
		return nil, err
	}
	list := []object{}
	for _, h := range hosts {
		v, err := a.hypervisor(ctx, r, h, servers)
		if err != nil {
			return nil, err
		}
		list = append(list, show(object{}, hypervisorBriefFields(), v, minor(r)))
	}
	return rest.OK(object{"hypervisors": list}), nil
}

func (a *api) hypervisorStatistics(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	hosts, err := a.as(r).ListHosts(ctx)
	if err != nil {
		return nil, err
	}
	var sum compute.Host
	count := 0
	for _, h := range hosts {
		if h.Disabled {
			continue
		}
		count++
		sum.VCPUs += h.VCPUs
		sum.MemoryMiB += h.MemoryMiB
		sum.DiskGiB += h.DiskGiB
		sum.Used.VCPUs += h.Used.VCPUs
		sum.Used.MemoryMiB += h.Used.MemoryMiB
		sum.Used.DiskGiB += h.Used.DiskGiB
		sum.Servers += h.Servers
	}
	return rest.OK(object{"hypervisor_statistics": object{
		"count": count, "vcpus": sum.VCPUs, "vcpus_used": sum.Used.VCPUs,
		"memory_mb": sum.MemoryMiB, "memory_mb_used": sum.Used.MemoryMiB, "free_ram_mb": sum.MemoryMiB - sum.Used.MemoryMiB,
		"local_gb": sum.DiskGiB, "local_gb_used": sum.Used.DiskGiB, "free_disk_gb": sum.DiskGiB - sum.Used.DiskGiB,
		"disk_available_least": sum.DiskGiB - sum.Used.DiskGiB, "current_workload": 0, "running_vms": sum.Servers,
	}}), nil
}
