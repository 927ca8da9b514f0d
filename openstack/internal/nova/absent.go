package nova

import (
	"context"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// absentRoutes are for things that this cloud does not have, where clients ask whether there are any.
func (a *api) absentRoutes() []rest.Route {
	return []rest.Route{
		get("/extensions", a.listExtensions),
		get("/extensions/{alias}", a.getExtension),
		get("/os-server-groups", only(75, "all_projects", "limit", "offset").with(a.none("server_groups", "compute:server_group:list"))),
		post("/os-server-groups", a.unsupported("compute:server_group:create", "server groups are not supported here yet")),
		get("/os-server-groups/{id}", a.missing("server group", "compute:server_group:get")),
		del("/os-server-groups/{id}", a.missing("server group", "compute:server_group:delete")),
		get("/os-aggregates", a.none("aggregates", "compute:host:list")),
		post("/os-aggregates", a.unsupported("compute:host:update", "host aggregates are not supported here yet: zones are part of the cloud's configuration")),
		get("/os-aggregates/{id}", a.missing("aggregate", "compute:host:list")),
		get("/os-migrations", migrationQuery().with(a.none("migrations", "compute:host:list"))),
	}
}

func migrationQuery() query {
	q := only(59, "hidden", "host", "instance_uuid", "source_compute", "status", "migration_type")
	for name, since := range map[string]int{"limit": 59, "marker": 59, "changes-since": 59, "changes-before": 66, "user_id": 80, "project_id": 80} {
		q.params = append(q.params, param{name: name, since: since})
	}
	return q
}

// none is an empty list for who may ask.
func (a *api) none(key, action string) rest.Handler {
	return func(_ context.Context, r *rest.Request) (*rest.Response, error) {
		if err := a.allow(r, action, r.Principal.ProjectID); err != nil {
			return nil, err
		}
		return rest.OK(object{key: []object{}}), nil
	}
}

func (a *api) unsupported(action, why string) rest.Handler {
	return func(_ context.Context, r *rest.Request) (*rest.Response, error) {
		if err := a.allow(r, action, r.Principal.ProjectID); err != nil {
			return nil, err
		}
		return nil, fault.New(fault.Unsupported, "%s", why)
	}
}

func (a *api) missing(kind, action string) rest.Handler {
	return func(_ context.Context, r *rest.Request) (*rest.Response, error) {
		if err := a.allow(r, action, r.Principal.ProjectID); err != nil {
			return nil, err
		}
		return nil, fault.Missing(kind, r.Value("id"))
	}
}

// extensions is what of Nova's former extensions there is, by alias.
func extensions() [][2]string {
	return [][2]string{
		{"OS-DCF", "Disk configuration"}, {"OS-EXT-AZ", "Availability zone of servers"}, {"OS-EXT-IPS", "Types of addresses"},
		{"OS-EXT-IPS-MAC", "MAC addresses"}, {"OS-EXT-SRV-ATTR", "Where servers run"}, {"OS-EXT-STS", "States of servers"},
		{"OS-FLV-DISABLED", "Disabled flavors"}, {"OS-FLV-EXT-DATA", "Ephemeral disks of flavors"}, {"OS-SCH-HNT", "Scheduler hints"},
		{"OS-SRV-USG", "Launch and end of servers"}, {"os-attach-interfaces", "Interfaces of servers"},
		{"os-availability-zone", "Availability zones"}, {"os-config-drive", "Config drives"}, {"os-console-output", "Output of the serial console"},
		{"os-deferred-delete", "Forced deletion"}, {"os-extended-volumes", "Volumes of servers"}, {"os-flavor-access", "Access to private flavors"},
		{"os-flavor-extra-specs", "Extra specs of flavors"}, {"os-flavor-manage", "Making flavors"}, {"os-hypervisors", "Hypervisors"},
		{"os-instance-actions", "History of servers"}, {"os-keypairs", "Key pairs"}, {"os-quota-class-sets", "Default quotas"},
		{"os-quota-sets", "Quotas"}, {"os-security-groups", "Security groups of servers"}, {"os-services", "Services"},
		{"os-simple-tenant-usage", "Usage of projects"}, {"os-used-limits", "Limits and their use"}, {"os-user-data", "User data"},
	}
}

func extensionView(e [2]string) object {
	return object{"alias": e[0], "name": e[1], "description": e[1] + ".", "namespace": "http://docs.openstack.org/compute/ext/fake_xml",
		"updated": "2014-12-03T00:00:00Z", "links": []object{}}
}

func (a *api) listExtensions(_ context.Context, _ *rest.Request) (*rest.Response, error) {
	list := []object{}
	for _, e := range extensions() {
		list = append(list, extensionView(e))
	}
	return rest.OK(object{"extensions": list}), nil
}

func (a *api) getExtension(_ context.Context, r *rest.Request) (*rest.Response, error) {
	for _, e := range extensions() {
		if e[0] == r.Value("alias") {
			return rest.OK(object{"extension": extensionView(e)}), nil
		}
	}
	return nil, fault.Missing("extension", r.Value("alias"))
}
