package nova

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/netip"
	"net/url"
	"slices"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// serverView is a server as one call shows it.
type serverView struct {
	*compute.Server
	r *rest.Request
	// hosts reports whether the caller may see where servers run.
	hosts bool
	// userData is base64, or nil; only for who may see hosts.
	userData any
	listed   bool // in a list rather than alone
	hostID   string
}

// serverFields are in every answer with a whole server, and alone in that of PUT before 2.75.
var serverFields = []field[*serverView]{
	{name: "id", value: func(v *serverView) any { return v.ID }},
	{name: "name", value: func(v *serverView) any { return v.Name }},
	{name: "status", value: func(v *serverView) any { return v.status() }},
	{name: "tenant_id", value: func(v *serverView) any { return v.ProjectID }},
	{name: "user_id", value: func(v *serverView) any { return v.UserID }},
	{name: "metadata", value: func(v *serverView) any { return orEmpty(v.Metadata) }},
	{name: "hostId", value: func(v *serverView) any { return v.hostID }},
	{name: "image", value: func(v *serverView) any { return v.image() }},
	{name: "flavor", until: 46, value: func(v *serverView) any { return v.flavorLink() }},
	{name: "flavor", since: 47, value: func(v *serverView) any { return v.flavor() }},
	{name: "created", value: func(v *serverView) any { return rest.Seconds(v.CreatedAt) }},
	{name: "updated", value: func(v *serverView) any { return rest.Seconds(v.UpdatedAt) }},
	{name: "addresses", value: func(v *serverView) any { return v.addresses(true) }},
	{name: "accessIPv4", value: func(v *serverView) any { return addrText(v.AccessIPv4) }},
	{name: "accessIPv6", value: func(v *serverView) any { return addrText(v.AccessIPv6) }},
	{name: "links", value: func(v *serverView) any { return v.r.Links("/servers/" + v.ID) }},
	{name: "OS-DCF:diskConfig", value: func(v *serverView) any { return cmp.Or(v.DiskConfig, "MANUAL") }},
	{name: "progress", value: func(v *serverView) any { return v.progress() }},
	{name: "fault", value: func(v *serverView) any { return v.fault() }},
	{name: "locked", since: 9, value: func(v *serverView) any { return v.Locked }},
	{name: "description", since: 19, value: func(v *serverView) any { return orNull(v.Description) }},
	{name: "tags", since: 26, value: func(v *serverView) any { return append([]string{}, v.Tags...) }},
	{name: "trusted_image_certificates", since: 63, value: func(v *serverView) any { return nil }},
	{name: "server_groups", since: 71, value: func(v *serverView) any {
		if v.listed {
			return absent{}
		}
		return []string{}
	}},
	{name: "locked_reason", since: 73, value: func(v *serverView) any { return orNull(v.LockedReason) }},
}

// moreServerFields are what PUT has only since 2.75.
var moreServerFields = makeMoreServerFields()

func makeMoreServerFields() []field[*serverView] {
	const attr = "OS-EXT-SRV-ATTR:"
	hosts := func(f func(v *serverView) any) func(v *serverView) any {
		return func(v *serverView) any {
			if !v.hosts {
				return absent{}
			}
			return f(v)
		}
	}
	return []field[*serverView]{
		{name: "key_name", value: func(v *serverView) any { return orNull(v.KeyName) }},
		{name: "config_drive", value: func(v *serverView) any {
			if v.ConfigDrive {
				return "True"
			}
			return ""
		}},
		{name: "security_groups", value: func(v *serverView) any { return v.securityGroups() }},
		{name: "OS-EXT-AZ:availability_zone", value: func(v *serverView) any {
			if v.Zone == "" {
				return v.RequestedZone
			}
			return v.Zone
		}},
		{name: "OS-EXT-STS:task_state", value: func(v *serverView) any { return orNull(string(v.TaskState)) }},
		{name: "OS-EXT-STS:vm_state", value: func(v *serverView) any { return string(v.VMState) }},
		{name: "OS-EXT-STS:power_state", value: func(v *serverView) any { return int(v.PowerState) }},
		{name: "OS-SRV-USG:launched_at", value: func(v *serverView) any { return orNull(rest.NaiveMicros(v.LaunchedAt)) }},
		{name: "OS-SRV-USG:terminated_at", value: func(v *serverView) any { return orNull(rest.NaiveMicros(v.TerminatedAt)) }},
		{name: "os-extended-volumes:volumes_attached", value: func(v *serverView) any { return []object{} }},
		{name: attr + "host", value: hosts(func(v *serverView) any { return orNull(v.Host) })},
		{name: attr + "hypervisor_hostname", value: hosts(func(v *serverView) any { return orNull(v.Host) })},
		{name: attr + "instance_name", value: hosts(func(v *serverView) any { return "nubecula-" + v.ID })},
		{name: attr + "hostname", since: 3, until: 89, value: hosts(func(v *serverView) any { return v.Hostname })},
		{name: attr + "hostname", since: 90, value: func(v *serverView) any { return v.Hostname }},
		{name: attr + "reservation_id", since: 3, value: hosts(func(v *serverView) any { return v.ReservationID })},
		{name: attr + "launch_index", since: 3, value: hosts(func(v *serverView) any { return v.LaunchIndex })},
		{name: attr + "kernel_id", since: 3, value: hosts(func(v *serverView) any { return "" })},
		{name: attr + "ramdisk_id", since: 3, value: hosts(func(v *serverView) any { return "" })},
		{name: attr + "root_device_name", since: 3, value: hosts(func(v *serverView) any { return orNull(v.RootDevice) })},
		{name: attr + "user_data", since: 3, value: hosts(func(v *serverView) any { return v.userData })},
		{name: "host_status", since: 16, value: hosts(func(v *serverView) any { return v.HostStatus })},
		{name: "pinned_availability_zone", since: 96, value: func(v *serverView) any { return orNull(v.RequestedZone) }},
	}
}

// serverBrief is a server in GET /servers.
func serverBrief(r *rest.Request, s *compute.Server) object {
	return object{"id": s.ID, "name": s.Name, "links": r.Links("/servers/" + s.ID)}
}

// serverViews shows the servers of one answer; what they share is found once.
type serverViews struct {
	r   *rest.Request
	svc *compute.Service
	// hosts tells for each project whether the caller may see where its servers run.
	hosts   map[string]bool
	hostIDs map[[2]string]string // by project and host
}

func (a *api) views(r *rest.Request) *serverViews {
	return &serverViews{r: r, svc: a.as(r), hosts: map[string]bool{}, hostIDs: map[[2]string]string{}}
}

// show returns the whole server, on its own.
func (s *serverViews) show(ctx context.Context, server *compute.Server) (rest.Doc, error) {
	v, err := s.of(ctx, server, false)
	if err != nil {
		return nil, err
	}
	return s.write(nil, v), nil
}

func (s *serverViews) write(doc rest.Doc, v *serverView) rest.Doc {
	doc = slices.Grow(doc, len(serverFields)+len(moreServerFields))
	return write(write(doc, serverFields, v, minor(s.r)), moreServerFields, v, minor(s.r))
}

// list returns whole servers as a part of a list.
func (s *serverViews) list(ctx context.Context, all []*compute.Server) (part []byte, err error) {
	var doc rest.Doc
	for i, server := range all {
		v, err := s.of(ctx, server, true)
		if err != nil {
			return nil, err
		}
		doc = s.write(doc[:0], v)
		if i > 0 {
			part = append(part, ',')
		}
		part = doc.Append(part)
		if i == 0 {
			part = slices.Grow(part, len(all)*(len(part)+1))
		}
	}
	return part, nil
}

func (s *serverViews) of(ctx context.Context, server *compute.Server, listed bool) (*serverView, error) {
	if !server.DeletedAt.IsZero() { // it is shown as it was when it went
		gone := *server
		gone.VMState, gone.TaskState, gone.PowerState = compute.Deleted, compute.NoTask, compute.PowerNone
		gone.TerminatedAt = ended(server)
		server = &gone
	}
	hosts, known := s.hosts[server.ProjectID]
	if !known {
		hosts = s.svc.May("compute:server:get_host", server.ProjectID)
		s.hosts[server.ProjectID] = hosts
	}
	at := [2]string{server.ProjectID, server.Host}
	id, known := s.hostIDs[at]
	if !known {
		id = hostID(server.ProjectID, server.Host)
		s.hostIDs[at] = id
	}
	v := &serverView{Server: server, r: s.r, hosts: hosts, listed: listed, hostID: id}
	if v.hosts && s.r.AtLeast(3) && server.DeletedAt.IsZero() {
		data, err := s.svc.UserData(ctx, server.ID)
		if err != nil {
			return nil, err
		}
		if len(data) > 0 {
			v.userData = base64.StdEncoding.EncodeToString(data)
		}
	}
	return v, nil
}

func (v *serverView) status() string {
	if !v.DeletedAt.IsZero() {
		return string(compute.StatusDeleted)
	}
	return string(v.Status())
}

// hostID hides the host's name from projects but lets them tell hosts apart.
func hostID(projectID, host string) string {
	if host == "" {
		return ""
	}
	sum := sha256.Sum224([]byte(projectID + host))
	return hex.EncodeToString(sum[:])
}

func (v *serverView) image() any {
	if v.ImageID == "" {
		return ""
	}
	return rest.Doc{{Name: "id", Value: v.ImageID}, {Name: "links", Value: bookmark(v.r, "/images/"+v.ImageID)}}
}

func bookmark(r *rest.Request, path string) []rest.Link {
	return []rest.Link{{Rel: "bookmark", Href: r.Bookmark(path)}}
}

func (v *serverView) flavorLink() any {
	return rest.Doc{{Name: "id", Value: v.Flavor.ID}, {Name: "links", Value: bookmark(v.r, "/flavors/"+url.PathEscape(v.Flavor.ID))}}
}

func (v *serverView) flavor() any {
	f := &v.Flavor
	return rest.Doc{{Name: "original_name", Value: f.Name}, {Name: "vcpus", Value: f.VCPUs}, {Name: "ram", Value: f.MemoryMiB}, {Name: "disk", Value: f.DiskGiB},
		{Name: "ephemeral", Value: f.EphemeralGiB}, {Name: "swap", Value: f.SwapMiB}, {Name: "extra_specs", Value: orEmpty(f.ExtraSpecs)}}
}

// progress is shown in these states only.
func (v *serverView) progress() any {
	if s := v.status(); s == string(compute.StatusActive) || s == string(compute.StatusBuild) {
		return v.Progress
	}
	return absent{}
}

func (v *serverView) fault() any {
	if s := v.status(); v.Fault == nil || s != string(compute.StatusError) && s != string(compute.StatusDeleted) {
		return absent{}
	}
	doc := object{"code": v.Fault.Code, "message": v.Fault.Message, "created": rest.Seconds(v.Fault.Created)}
	if v.hosts && v.Fault.Details != "" {
		doc["details"] = v.Fault.Details
	}
	return doc
}

// addresses by the network's name; none while the server is being built.
func (v *serverView) addresses(extended bool) object {
	doc := object{}
	if v.VMState == compute.Building {
		return doc
	}
	for _, a := range v.Addresses {
		entry := rest.Doc{{Name: "addr", Value: a.Addr.String()}, {Name: "version", Value: ipVersion(a)}}
		if extended {
			entry = append(entry, rest.Field{Name: "OS-EXT-IPS:type", Value: a.Type}, rest.Field{Name: "OS-EXT-IPS-MAC:mac_addr", Value: a.MAC})
		}
		entries, _ := doc[a.Network].([]rest.Doc)
		doc[a.Network] = append(entries, entry)
	}
	return doc
}

func ipVersion(a compute.Address) int {
	if a.Addr.Is4() {
		return 4
	}
	return 6
}

func (v *serverView) securityGroups() any {
	if len(v.GroupNames) == 0 {
		return absent{}
	}
	out := make([]rest.Doc, len(v.GroupNames))
	for i, n := range v.GroupNames {
		out[i] = rest.Doc{{Name: "name", Value: n}}
	}
	return out
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
