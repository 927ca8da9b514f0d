package compute

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/store"
)

// GetServer returns a server with its addresses.
func (s *Service) GetServer(ctx context.Context, id string) (v *Server, err error) {
	err = s.view(ctx, func(tx *store.Tx) error {
		if v, err = s.server(tx, "compute:server:get", id); err != nil {
			return err
		}
		return s.fill(tx, []*Server{v})
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

// ListServers returns a page of servers. Invalid: a regular expression, a sort key or the marker is wrong.
func (s *Service) ListServers(ctx context.Context, q ServerQuery) (page *ServerPage, err error) {
	m, err := q.compile()
	if err != nil {
		return nil, err
	}
	less, err := serverOrder(q.Sort)
	if err != nil {
		return nil, err
	}
	err = s.view(ctx, func(tx *store.Tx) error {
		project, err := s.listScope(tx, q)
		if err != nil {
			return err
		}
		page, err = s.list(tx, q, m, less, project)
		return err
	})
	if err != nil {
		return nil, err
	}
	return page, nil
}

// listScope is the project whose servers are listed; "" means all.
func (s *Service) listScope(tx *store.Tx, q ServerQuery) (string, error) {
	if q.AllProjects {
		return q.ProjectID, s.check(tx, "compute:server:list_all_projects", identity.Target{Kind: "server"})
	}
	if s.project() == "" {
		return "", s.check(tx, "compute:server:list_all_projects", identity.Target{Kind: "server"})
	}
	if q.Deleted && !s.admin() {
		return "", &fault.Error{Code: fault.Denied, Op: "compute:server:list_deleted", Msg: "only administrators may list deleted servers"}
	}
	return s.project(), s.check(tx, "compute:server:list", identity.Target{Kind: "server", ProjectID: s.project()})
}

func (s *Service) list(tx *store.Tx, q ServerQuery, m *matcher, less func(a, b *Server) int, project string) (*ServerPage, error) {
	walk := store.Query[Server]{Index: "created", Reverse: true, Filter: m.match}
	if project != "" {
		walk.Index, walk.Prefix = "project", store.Tuple{project}
	}
	byAddress := m.ip != nil || m.ip6 != nil
	inOrder := len(q.Sort) == 0 && !byAddress && !q.Deleted && q.ChangedSince.IsZero()
	limit := pageSize(q.Limit)
	if inOrder { // the index gives the page itself
		if q.Marker != "" {
			after, err := servers.Get(tx, q.Marker)
			if fault.Is(err, fault.NotFound) || err == nil && project != "" && after.ProjectID != project {
				return nil, unknownMarker(q.Marker)
			}
			if err != nil {
				return nil, err
			}
			walk.After = after
		}
		walk.Limit = limit + 1
	}
	var all []*Server
	var err error
	if !q.Deleted {
		if all, err = servers.List(tx, walk); err != nil {
			return nil, err
		}
	}
	page := &ServerPage{Servers: all}
	if inOrder {
		if page.More = len(all) > limit; page.More {
			page.Servers = all[:limit]
		}
	} else {
		if q.Deleted || !q.ChangedSince.IsZero() {
			gone, err := s.gone(tx, q, m, project)
			if err != nil {
				return nil, err
			}
			all = append(all, gone...)
		}
		if byAddress {
			if err := s.fill(tx, all); err != nil {
				return nil, err
			}
			all = slices.DeleteFunc(all, func(v *Server) bool { return !m.matchIP(v) })
		}
		slices.SortStableFunc(all, less)
		if page.Servers, page.More, err = paged(all, q.Marker, limit, func(v *Server) string { return v.ID }); err != nil {
			return nil, err
		}
	}
	if q.Brief || byAddress {
		return page, nil
	}
	return page, s.fill(tx, page.Servers)
}

// gone lists deleted servers.
func (s *Service) gone(tx *store.Tx, q ServerQuery, m *matcher, project string) (out []*Server, err error) {
	dead, err := servers.ListDeleted(tx, q.ChangedSince)
	for _, d := range dead {
		v := d.Doc
		v.DeletedAt = d.DeletedAt
		if (project == "" || v.ProjectID == project) && m.match(v) {
			out = append(out, v)
		}
	}
	return out, err
}

// fill reads what is not stored with the servers: addresses, and whether the hosts answer. Ports are read by their
// keys, all at once; what servers share is read once.
func (s *Service) fill(tx *store.Tx, list []*Server) error {
	l := lookup{net: s.opt.Network.As(identity.System()), names: map[string]string{}, groups: map[string]string{}}
	ids := make([]string, 0, len(list))
	for _, v := range list {
		if v.DeletedAt.IsZero() {
			for _, n := range v.NICs {
				ids = append(ids, n.PortID)
			}
		}
	}
	var err error
	if l.ports, err = l.net.PortsByID(tx.Context(), ids); err != nil {
		return err
	}
	status := map[string]string{"": ""}
	for _, v := range list {
		if v.Addresses, v.GroupNames, err = l.of(tx, v); err != nil {
			return err
		}
		if _, known := status[v.HostID]; !known {
			if status[v.HostID], err = s.hostStatus(tx, v.HostID); err != nil {
				return err
			}
		}
		v.HostStatus = status[v.HostID]
	}
	return nil
}

// lookup is what a page of servers shows of networks, by id.
type lookup struct {
	net           *network.Service
	ports         map[string]*network.Port
	names, groups map[string]string // of networks and security groups, as far as they were asked for
}

// of returns a server's addresses and the names of its ports' security groups, sorted. A port that was deleted, or
// given to another device, behind the server's back is left out.
func (l *lookup) of(tx *store.Tx, v *Server) (addresses []Address, groups []string, err error) {
	for _, n := range v.NICs {
		p := l.ports[n.PortID]
		if p == nil || p.DeviceID != v.ID {
			continue
		}
		name, err := once(l.names, p.NetworkID, func() (string, error) {
			n, err := l.net.GetNetwork(tx.Context(), p.NetworkID)
			if err != nil {
				return "", err
			}
			return n.Name, nil
		})
		if err != nil {
			return nil, nil, err
		}
		for _, f := range p.Fixed {
			addresses = append(addresses, Address{NetworkID: p.NetworkID, Network: name, PortID: p.ID, MAC: p.MAC, Addr: f.Addr, Type: "fixed"})
		}
		for _, id := range p.SecurityGroups {
			name, err := once(l.groups, id, func() (string, error) {
				return l.net.SecurityGroupName(tx.Context(), id)
			})
			if err != nil {
				return nil, nil, err
			}
			groups = append(groups, name)
		}
	}
	slices.Sort(groups)
	return addresses, slices.Compact(groups), nil
}

// once returns the text known by an id, and finds it if it is not known.
func once(known map[string]string, id string, find func() (string, error)) (string, error) {
	text, ok := known[id]
	if ok {
		return text, nil
	}
	text, err := find()
	if err == nil {
		known[id] = text
	}
	return text, err
}

func (s *Service) hostStatus(tx *store.Tx, id string) (string, error) {
	h, err := hosts.Get(tx, id)
	switch {
	case fault.Is(err, fault.NotFound):
		return "UNKNOWN", nil
	case err != nil:
		return "", err
	case !s.up(h, tx.LeaseNow()):
		return "DOWN", nil
	case h.Disabled:
		return "MAINTENANCE", nil
	}
	return "UP", nil
}

// matcher is a ServerQuery with its regular expressions compiled.
type matcher struct {
	q                              ServerQuery
	name, hostname, about, ip, ip6 *regexp.Regexp
}

func (q ServerQuery) compile() (*matcher, error) {
	m := &matcher{q: q}
	var v check
	for _, e := range []struct {
		field, text string
		into        **regexp.Regexp
	}{{"name", q.Name, &m.name}, {"hostname", q.Hostname, &m.hostname}, {"description", q.Description, &m.about}, {"ip", q.IP, &m.ip}, {"ip6", q.IP6, &m.ip6}} {
		if e.text == "" {
			continue
		}
		re, err := regexp.Compile(e.text)
		if err != nil {
			v.bad(e.field, e.text, "it is not a regular expression: "+err.Error())
		}
		*e.into = re
	}
	return m, v.err()
}

func finds(re *regexp.Regexp, text string) bool { return re == nil || re.MatchString(text) }

func is[T comparable](want, have T) bool {
	var any T
	return want == any || want == have
}

func isPtr[T comparable](want *T, have T) bool { return want == nil || *want == have }

func (m *matcher) match(v *Server) bool {
	q := &m.q
	return finds(m.name, v.Name) && finds(m.hostname, v.Hostname) && finds(m.about, v.Description) &&
		is(q.UserID, v.UserID) && is(q.VMState, v.VMState) && is(q.TaskState, v.TaskState) && is(q.FlavorID, v.Flavor.ID) &&
		is(q.ImageID, v.ImageID) && is(q.KeyName, v.KeyName) && is(q.Host, v.Host) && is(q.HostID, v.HostID) && is(q.Zone, v.Zone) &&
		is(q.Reservation, v.ReservationID) && isPtr(q.PowerState, v.PowerState) && isPtr(q.ConfigDrive, v.ConfigDrive) &&
		isPtr(q.Locked, v.Locked) && isPtr(q.LaunchIndex, v.LaunchIndex) &&
		(len(q.IDs) == 0 || slices.Contains(q.IDs, v.ID)) && (len(q.Status) == 0 || slices.Contains(q.Status, v.Status())) &&
		m.matchTimes(v) && m.matchTags(v) && m.matchMetadata(v)
}

func (m *matcher) matchTimes(v *Server) bool {
	q := &m.q
	return (q.ChangedSince.IsZero() || !v.UpdatedAt.Before(q.ChangedSince)) && (q.ChangedBefore.IsZero() || !v.UpdatedAt.After(q.ChangedBefore)) &&
		(q.CreatedSince.IsZero() || !v.CreatedAt.Before(q.CreatedSince)) && (q.CreatedBefore.IsZero() || !v.CreatedAt.After(q.CreatedBefore))
}

func (m *matcher) matchTags(v *Server) bool {
	q := &m.q
	has := func(t string) bool { return slices.Contains(v.Tags, t) }
	lacks := func(t string) bool { return !has(t) }
	return !slices.ContainsFunc(q.Tags, lacks) && (len(q.TagsAny) == 0 || slices.ContainsFunc(q.TagsAny, has)) &&
		(len(q.NotTags) == 0 || slices.ContainsFunc(q.NotTags, lacks)) && !slices.ContainsFunc(q.NotTagsAny, has)
}

func (m *matcher) matchMetadata(v *Server) bool {
	for k, want := range m.q.Metadata {
		if have, ok := v.Metadata[k]; !ok || have != want {
			return false
		}
	}
	return true
}

func (m *matcher) matchIP(v *Server) bool {
	return (m.ip == nil || matchesIP(v.Addresses, false, m.ip.MatchString)) && (m.ip6 == nil || matchesIP(v.Addresses, true, m.ip6.MatchString))
}

// serverOrder returns the order of a list.
func serverOrder(keys []SortKey) (func(a, b *Server) int, error) {
	var by []func(a, b *Server) int
	created, id := false, false
	for _, k := range keys {
		field := serverField(k.Key)
		if field == nil {
			return nil, fault.InvalidField("sort_key", k.Key, "servers cannot be sorted by it; use created_at, display_name, uuid, vm_state, ...")
		}
		created, id = created || k.Key == "created_at", id || k.Key == "uuid"
		if k.Desc {
			by = append(by, func(a, b *Server) int { return field(b, a) })
		} else {
			by = append(by, field)
		}
	}
	if f := serverField("created_at"); !created {
		by = append(by, func(a, b *Server) int { return f(b, a) })
	}
	if f := serverField("uuid"); !id {
		by = append(by, func(a, b *Server) int { return f(b, a) })
	}
	return func(a, b *Server) int {
		for _, f := range by {
			if c := f(a, b); c != 0 {
				return c
			}
		}
		return 0
	}, nil
}

// serverField returns the comparison of one sort key, or nil for an unknown one.
func serverField(key string) func(a, b *Server) int {
	text := func(f func(v *Server) string) func(a, b *Server) int {
		return func(a, b *Server) int { return strings.Compare(f(a), f(b)) }
	}
	switch key {
	case "created_at":
		return func(a, b *Server) int { return a.CreatedAt.Compare(b.CreatedAt) }
	case "updated_at":
		return func(a, b *Server) int { return a.UpdatedAt.Compare(b.UpdatedAt) }
	case "launched_at":
		return func(a, b *Server) int { return a.LaunchedAt.Compare(b.LaunchedAt) }
	case "terminated_at":
		return func(a, b *Server) int { return a.TerminatedAt.Compare(b.TerminatedAt) }
	case "uuid", "id":
		return text(func(v *Server) string { return v.ID })
	case "display_name", "name":
		return text(func(v *Server) string { return v.Name })
	case "display_description":
		return text(func(v *Server) string { return v.Description })
	case "hostname":
		return text(func(v *Server) string { return v.Hostname })
	case "host", "node":
		return text(func(v *Server) string { return v.Host })
	case "availability_zone":
		return text(func(v *Server) string { return v.Zone })
	case "vm_state":
		return text(func(v *Server) string { return string(v.VMState) })
	case "task_state":
		return text(func(v *Server) string { return string(v.TaskState) })
	case "power_state":
		return func(a, b *Server) int { return int(a.PowerState) - int(b.PowerState) }
	case "image_ref":
		return text(func(v *Server) string { return v.ImageID })
	case "instance_type_id":
		return text(func(v *Server) string { return v.Flavor.ID })
	case "key_name":
		return text(func(v *Server) string { return v.KeyName })
	case "project_id":
		return text(func(v *Server) string { return v.ProjectID })
	case "user_id":
		return text(func(v *Server) string { return v.UserID })
	case "launch_index":
		return func(a, b *Server) int { return a.LaunchIndex - b.LaunchIndex }
	case "root_device_name", "access_ip_v4", "access_ip_v6", "auto_disk_config", "config_drive", "locked_by", "progress":
		return func(a, b *Server) int { return 0 }
	}
	return nil
}
