package nova

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// serverFilter is a parameter that selects servers.
type serverFilter struct {
	name  string
	since int // the minor version that brought it
	// anyone is the minor version from which it works for all; before, and if 0, only for administrators.
	anyone int
	set    func(q *compute.ServerQuery, values []string) error
}

// serverFilters are in the order in which they apply.
func serverFilters() []serverFilter {
	text := func(field func(q *compute.ServerQuery) *string) func(*compute.ServerQuery, []string) error {
		return func(q *compute.ServerQuery, v []string) error {
			*field(q) = v[0]
			return nil
		}
	}
	pattern := func(name string, field func(q *compute.ServerQuery) *string) func(*compute.ServerQuery, []string) error {
		return func(q *compute.ServerQuery, v []string) error {
			if _, err := regexp.Compile(v[0]); err != nil {
				return fault.InvalidField(name, v[0], "it must be a regular expression")
			}
			*field(q) = v[0]
			return nil
		}
	}
	list := func(field func(q *compute.ServerQuery) *[]string) func(*compute.ServerQuery, []string) error {
		return func(q *compute.ServerQuery, v []string) error {
			*field(q) = strings.Split(v[0], ",")
			return nil
		}
	}
	flag := func(name string, field func(q *compute.ServerQuery) **bool) func(*compute.ServerQuery, []string) error {
		return func(q *compute.ServerQuery, v []string) error {
			b, ok := word(v[0])
			if !ok {
				return fault.InvalidField(name, v[0], "it must be true or false")
			}
			*field(q) = &b
			return nil
		}
	}
	nameOf := func(q *compute.ServerQuery) *string { return &q.Name }
	descriptionOf := func(q *compute.ServerQuery) *string { return &q.Description }
	projectOf := func(q *compute.ServerQuery) *string { return &q.ProjectID }
	imageOf := func(q *compute.ServerQuery) *string { return &q.ImageID }
	return []serverFilter{
		{"reservation_id", 1, 1, text(func(q *compute.ServerQuery) *string { return &q.Reservation })},
		{"display_name", 1, 0, pattern("display_name", nameOf)},
		{"name", 1, 1, pattern("name", nameOf)},
		{"image_ref", 1, 0, text(imageOf)},
		{"image", 1, 1, text(imageOf)},
		{"flavor", 1, 1, text(func(q *compute.ServerQuery) *string { return &q.FlavorID })},
		{"ip", 1, 1, pattern("ip", func(q *compute.ServerQuery) *string { return &q.IP })},
		{"ip6", 1, 5, pattern("ip6", func(q *compute.ServerQuery) *string { return &q.IP6 })},
		{"hostname", 1, 90, pattern("hostname", func(q *compute.ServerQuery) *string { return &q.Hostname })},
		{"display_description", 1, 0, pattern("display_description", descriptionOf)},
		{"description", 1, 0, pattern("description", descriptionOf)},
		{"tenant_id", 1, 0, text(projectOf)},
		{"project_id", 1, 0, text(projectOf)},
		{"user_id", 1, 83, text(func(q *compute.ServerQuery) *string { return &q.UserID })},
		{"host", 1, 0, text(func(q *compute.ServerQuery) *string { return &q.Host })},
		{"node", 1, 0, text(func(q *compute.ServerQuery) *string { return &q.Host })},
		{"key_name", 1, 83, text(func(q *compute.ServerQuery) *string { return &q.KeyName })},
		{"availability_zone", 1, 83, text(func(q *compute.ServerQuery) *string { return &q.Zone })},
		{"uuid", 1, 0, func(q *compute.ServerQuery, v []string) error {
			q.IDs = v
			return nil
		}},
		{"vm_state", 1, 83, func(q *compute.ServerQuery, v []string) error {
			q.VMState = compute.VMState(v[0])
			return nil
		}},
		{"task_state", 1, 83, func(q *compute.ServerQuery, v []string) error {
			q.TaskState = compute.TaskState(v[0])
			return nil
		}},
		{"power_state", 1, 83, func(q *compute.ServerQuery, v []string) error {
			n, err := strconv.Atoi(v[0])
			if err != nil {
				return fault.InvalidField("power_state", v[0], "it must be a number such as 1")
			}
			state := compute.PowerState(n)
			q.PowerState = &state
			return nil
		}},
		{"launch_index", 1, 0, func(q *compute.ServerQuery, v []string) error {
			n, err := strconv.Atoi(v[0])
			if err != nil {
				return fault.InvalidField("launch_index", v[0], "it must be a number")
			}
			q.LaunchIndex = &n
			return nil
		}},
		{"config_drive", 1, 83, flag("config_drive", func(q *compute.ServerQuery) **bool { return &q.ConfigDrive })},
		{"locked", 73, 73, flag("locked", func(q *compute.ServerQuery) **bool { return &q.Locked })},
		{"tags", 26, 26, list(func(q *compute.ServerQuery) *[]string { return &q.Tags })},
		{"tags-any", 26, 26, list(func(q *compute.ServerQuery) *[]string { return &q.TagsAny })},
		{"not-tags", 26, 26, list(func(q *compute.ServerQuery) *[]string { return &q.NotTags })},
		{"not-tags-any", 26, 26, list(func(q *compute.ServerQuery) *[]string { return &q.NotTagsAny })},
		{"deleted", 1, 0, func(q *compute.ServerQuery, v []string) error {
			q.Deleted, _ = word(v[0]) // what is no word for true means no, as in Nova
			return nil
		}},
	}
}

// serverQuery lists every parameter, those too that select by what no server here differs in.
func serverQuery() query {
	q := only(75, "status", "all_tenants", "changes-since", "limit", "marker", "sort_key", "sort_dir", "soft_deleted",
		"kernel_id", "ramdisk_id", "launched_at", "terminated_at", "created_at", "locked_by", "root_device_name",
		"access_ip_v4", "access_ip_v6", "auto_disk_config", "progress")
	q.params = append(q.params, param{name: "changes-before", since: 66})
	for _, f := range serverFilters() {
		q.params = append(q.params, param{name: f.name, since: f.since})
	}
	for _, name := range joinedTables() {
		q.params = append(q.params, param{name: name})
	}
	return q
}

// joinedTables are names that Nova refuses in every version.
func joinedTables() []string {
	return []string{"block_device_mapping", "services", "metadata", "system_metadata", "info_cache", "security_groups", "pci_devices"}
}

// statuses are all that Nova has, whether or not a server here can be in it.
func statuses() []compute.Status {
	return []compute.Status{"ACTIVE", "BUILD", "DELETED", "ERROR", "HARD_REBOOT", "MIGRATING", "PASSWORD", "PAUSED", "REBOOT", "REBUILD",
		"RESCUE", "RESIZE", "REVERT_RESIZE", "SHELVED", "SHELVED_OFFLOADED", "SHUTOFF", "SOFT_DELETED", "SUSPENDED", "VERIFY_RESIZE"}
}

func word(s string) (v, ok bool) {
	var b rest.Bool
	err := b.UnmarshalJSON([]byte(strconv.Quote(s)))
	return bool(b), err == nil
}

// sortKeys are the orders that mean something; ignoredKeys are dropped before 2.75.
func sortKeys(minor int) (keys, ignored []string) {
	keys = []string{"access_ip_v4", "access_ip_v6", "auto_disk_config", "availability_zone", "config_drive", "created_at",
		"display_description", "display_name", "host", "hostname", "image_ref", "instance_type_id", "kernel_id", "key_name", "launch_index",
		"launched_at", "locked_by", "node", "power_state", "progress", "project_id", "ramdisk_id", "root_device_name", "task_state",
		"terminated_at", "updated_at", "user_id", "uuid", "vm_state"}
	if minor >= 73 {
		keys = append(keys, "locked")
	}
	if minor < 75 {
		ignored = []string{"architecture", "cell_name", "cleaned", "default_ephemeral_device", "default_swap_device", "deleted", "deleted_at",
			"disable_terminate", "ephemeral_gb", "ephemeral_key_uuid", "id", "key_data", "launched_on", "locked", "memory_mb", "os_type",
			"reservation_id", "root_gb", "shutdown_terminate", "user_data", "vcpus", "vm_mode"}
	}
	return keys, ignored
}

// constantKeys are the same for all servers here, so that they order nothing.
func constantKeys() []string {
	return []string{"access_ip_v4", "access_ip_v6", "auto_disk_config", "kernel_id", "ramdisk_id", "progress", "instance_type_id"}
}

// serverSelection turns the query into the service's; none reports that nothing can match.
func (a *api) serverSelection(r *rest.Request) (q compute.ServerQuery, none bool, err error) {
	for name := range r.Query {
		if slices.Contains(joinedTables(), name) || strings.HasPrefix(name, "_") {
			return q, false, fault.InvalidField(name, r.Query.Get(name), "servers cannot be selected by this")
		}
	}
	admin := r.Principal.IsAdmin()
	for _, f := range serverFilters() {
		if values := r.Query[f.name]; len(values) > 0 && (admin || f.anyone != 0 && minor(r) >= f.anyone) {
			if err := f.set(&q, values); err != nil {
				return q, false, err
			}
		}
	}
	if q.AllProjects, err = r.Flag("all_tenants", false); err != nil {
		return q, false, err
	}
	if !q.AllProjects {
		q.ProjectID = ""
	}
	if q.ChangedSince, q.ChangedBefore, err = period(r); err != nil {
		return q, false, err
	}
	if none, err = statusFilter(r, &q, admin); err != nil || none {
		return q, none, err
	}
	none, err = serverPage(r, &q, admin)
	return q, none, err
}

func statusFilter(r *rest.Request, q *compute.ServerQuery, admin bool) (none bool, err error) {
	asked := r.Query["status"]
	for _, text := range asked {
		s := compute.Status(strings.ToUpper(text))
		if slices.Contains(statuses(), s) {
			q.Status = append(q.Status, s)
		}
	}
	if len(asked) > 0 && len(q.Status) == 0 {
		if r.AtLeast(38) {
			return false, fault.InvalidField("status", strings.Join(asked, ","), "it is no status of a server")
		}
		return true, nil
	}
	if slices.Equal(q.Status, []compute.Status{compute.StatusDeleted}) {
		if !admin {
			return false, fault.New(fault.Denied, "only administrators may list deleted servers")
		}
		q.Status, q.Deleted = nil, true
	}
	return false, nil
}

func serverPage(r *rest.Request, q *compute.ServerQuery, admin bool) (none bool, err error) {
	const most = 1000
	valid, ignored := sortKeys(minor(r))
	page, err := r.Page(most, append(valid, ignored...)...)
	if err != nil {
		return false, err
	}
	q.Marker, q.Limit = page.Marker, page.Limit
	for _, k := range page.Sort {
		switch {
		case !admin && (k.Key == "host" || k.Key == "node"):
			return false, fault.New(fault.Denied, "only administrators may sort by %s", k.Key)
		case k.Key == "locked" && r.AtLeast(73), !slices.Contains(ignored, k.Key) && !slices.Contains(constantKeys(), k.Key):
			q.Sort = append(q.Sort, compute.SortKey{Key: k.Key, Desc: k.Desc})
		}
	}
	return page.Limit == 0, nil
}

func (a *api) listServers(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	return a.serverList(ctx, r, true)
}

func (a *api) listServersDetail(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	return a.serverList(ctx, r, false)
}

func (a *api) serverList(ctx context.Context, r *rest.Request, brief bool) (*rest.Response, error) {
	q, none, err := a.serverSelection(r)
	if err != nil {
		return nil, err
	}
	if none {
		return rest.OK(object{"servers": []object{}}), nil
	}
	q.Brief = brief
	page, err := a.as(r).ListServers(ctx, q)
	if err != nil {
		return nil, err
	}
	doc := object{}
	if brief {
		list := make([]object, 0, len(page.Servers))
		for _, s := range page.Servers {
			list = append(list, serverBrief(r, s))
		}
		doc["servers"] = list
	} else if doc["servers"], err = rest.InParts(page.Servers, func(some []*compute.Server) ([]byte, error) { return a.views(r).list(ctx, some) }); err != nil {
		return nil, err
	}
	if page.More {
		addNext(doc, "servers_links", r, true, page.Servers[len(page.Servers)-1].ID, q.Limit)
	}
	return rest.OK(doc), nil
}
