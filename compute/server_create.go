package compute

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/internal/quota"
	"github.com/nubecula/cloud/internal/request"
	"github.com/nubecula/cloud/store"
)

// CreateServer records one server or several alike, with their ports, their quota and the operations
// that boot them, all or nothing; of several, as many as the quota allows but at least MinCount. It
// returns before they are built, and, of several, before they have a host. Codes: Invalid, with the field, also for a flavor, image, key or
// network that is not there; Quota; Conflict when the network must be named, or a port is in use.
func (s *Service) CreateServer(ctx context.Context, req CreateServer) (*Created, error) {
	if s.who == nil {
		return nil, fault.New(fault.Unauthenticated, "server.create needs an authenticated caller")
	}
	if s.project() == "" {
		return nil, fault.InvalidField("project_id", "", "use a token for a project")
	}
	p := &plan{CreateServer: req}
	if err := p.complete(s); err != nil {
		return nil, err
	}
	var out *Created
	err := s.update(ctx, func(tx *store.Tx) (err error) {
		out, err = s.create(tx, p)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// plan is a request with everything that does not need a transaction filled in.
type plan struct {
	CreateServer
	zone, forced string // of Zone
}

const (
	maxUserData = 65535 // in base64
	maxServers  = 1000  // in one request
	maxTags     = 50
)

func (p *plan) complete(s *Service) error {
	var v check
	v.text("name", p.Name, 1, 255)
	v.text("description", p.Description, 0, 255)
	if p.Hostname != "" && !validHostname(p.Hostname) {
		v.bad("hostname", p.Hostname, "use 1 to 63 letters, digits and inner '-', for each label between dots")
	}
	if p.FlavorID == "" {
		v.bad("flavorRef", "", "name a flavor")
	}
	if n := base64.StdEncoding.EncodedLen(len(p.UserData)); n > maxUserData {
		v.bad("user_data", fmt.Sprintf("%d bytes", n), fmt.Sprintf("it must have at most %d bytes in base64", maxUserData))
	}
	p.counts(&v)
	if p.Hostname != "" && p.MaxCount > 1 {
		v.bad("hostname", p.Hostname, "a host name is one server's; ask for one, or leave it to be derived from the name")
	}
	p.networks(&v)
	v.metadata(p.Metadata)
	p.Tags = v.tags(p.Tags)
	for _, f := range p.Files {
		if f.Path == "" {
			v.bad("personality", f.Path, "a file needs a path")
		}
	}
	parts := strings.SplitN(p.Zone, ":", 3)
	p.zone = parts[0]
	if len(parts) > 1 {
		if p.forced = parts[1]; p.forced == "" && len(parts) == 3 {
			p.forced = parts[2]
		}
		if len(parts) == 3 && parts[2] != "" && parts[2] != p.forced {
			v.bad("availability_zone", p.Zone, "host and node of zone:host:node are the same here")
		}
		if p.forced != "" && p.Host != "" {
			v.bad("host", p.Host, "availability_zone names a host already")
		}
	}
	if p.zone != "" && !s.hasZone(p.zone) {
		v.bad("availability_zone", p.Zone, "the requested availability zone is not available: no host is in it")
	}
	return v.err()
}

func (p *plan) counts(v *check) {
	if p.MinCount < 0 || p.MaxCount < 0 {
		v.bad("min_count", p.MinCount, "counts must be positive")
		return
	}
	p.MinCount = cmp.Or(p.MinCount, 1)
	p.MaxCount = cmp.Or(p.MaxCount, p.MinCount)
	if p.MinCount > p.MaxCount {
		v.bad("min_count", p.MinCount, "min_count must be <= max_count")
	}
	if p.MaxCount > maxServers {
		v.bad("max_count", p.MaxCount, fmt.Sprintf("at most %d servers in one request", maxServers))
	}
}

func (p *plan) networks(v *check) {
	if (p.Auto || p.None) && len(p.Networks) > 0 || p.Auto && p.None {
		v.bad("networks", "auto or none", "auto, none and a list of networks exclude each other")
	}
	seen := map[string]bool{}
	for i, n := range p.Networks {
		field := fmt.Sprintf("networks[%d]", i)
		switch {
		case n.PortID == "" && n.NetworkID == "":
			v.bad(field, "", "name a network or a port")
		case n.PortID != "" && seen[n.PortID]:
			v.bad(field, n.PortID, "a port can be used once")
		case n.PortID != "" && p.MaxCount > 1:
			v.bad(field, n.PortID, "a port belongs to one server; ask for one, or name the network")
		case n.PortID != "" && n.FixedIP.IsValid():
			v.bad(field, n.FixedIP.String(), "a port has its addresses; leave fixed_ip out")
		case n.FixedIP.IsValid() && p.MaxCount > 1:
			v.bad(field, n.FixedIP.String(), "an address belongs to one server; ask for one")
		}
		seen[n.PortID] = true
		v.text(field+".tag", n.Tag, 0, 60)
	}
	p.Auto = p.Auto || len(p.Networks) == 0 && !p.None
}

// create is the one transaction.
func (s *Service) create(tx *store.Tx, p *plan) (*Created, error) {
	drawn := *p // what is left to chance comes from tx, so that a second run draws the same
	p = &drawn
	p.AdminPass = cmp.Or(p.AdminPass, password(tx.NewBytes))
	p.ReservationID = cmp.Or(p.ReservationID, "r-"+strings.ReplaceAll(tx.NewID(), "-", "")[:8])
	target := identity.Target{Kind: "server", ProjectID: s.project()}
	if err := s.check(tx, "compute:server:create", target); err != nil {
		return nil, err
	}
	if p.forced != "" || p.Host != "" {
		if err := s.check(tx, "compute:server:create_on_host", target); err != nil {
			return nil, err
		}
	}
	model := &Server{
		Description: p.Description, ProjectID: s.project(), UserID: s.who.UserID, KeyName: p.KeyName, Metadata: maps.Clone(p.Metadata),
		Tags: p.Tags, VMState: Building, TaskState: Scheduling, RequestedZone: p.zone, ForcedHost: p.forced, RequestedHost: p.Host,
		SchedulerHints: p.SchedulerHints, SecurityGroups: p.SecurityGroups, ConfigDrive: p.ConfigDrive, RootDevice: "/dev/vda", ReservationID: p.ReservationID, Counted: true,
		DiskConfig: p.DiskConfig, AccessIPv4: p.AccessIPv4, AccessIPv6: p.AccessIPv6,
		CreatedAt: tx.Now(), UpdatedAt: tx.Now(),
	}
	seed := &serverSeed{}
	if err := s.resolve(tx, p, model, seed); err != nil {
		return nil, err
	}
	if err := s.withinLimits(tx, p); err != nil {
		return nil, err
	}
	n, err := s.affordable(tx, model, p)
	if err != nil {
		return nil, err
	}
	if err := s.book.Reserve(tx, model.ProjectID, model.Flavor.counts(n)); err != nil {
		return nil, err
	}
	wanted, err := s.wantedNetworks(tx, p)
	if err != nil {
		return nil, err
	}
	out := &Created{ReservationID: p.ReservationID, AdminPass: p.AdminPass}
	for i := range n {
		v, sd := *model, *seed
		v.ID, v.LaunchIndex, v.Name = tx.NewID(), i, p.Name
		if p.MaxCount > 1 {
			v.Name = fmt.Sprintf("%s-%d", p.Name, i+1)
		}
		v.Hostname = cmp.Or(p.Hostname, hostname(v.Name, v.ID))
		if err := s.createOne(tx, p, &v, &sd, wanted); err != nil {
			return nil, err
		}
		out.Servers = append(out.Servers, &v)
	}
	return out, nil
}

func (s *Service) createOne(tx *store.Tx, p *plan, v *Server, seed *serverSeed, wanted []Network) error {
	var err error
	if v.NICs, err = s.makeNICs(tx, v, wanted); err != nil {
		return err
	}
	seed.ServerID = v.ID
	if err := seed.seal(tx, p); err != nil {
		return err
	}
	if err := seeds.Insert(tx, seed); err != nil {
		return err
	}
	if err := servers.Insert(tx, v); err != nil {
		return err
	}
	op, err := s.ops.create.Submit(tx, s.request(v), createState{ServerID: v.ID, Many: p.MaxCount > 1})
	if err != nil {
		return err
	}
	s.emitServer(tx, v, "create.start")
	placed, err := servers.Get(tx, v.ID)
	if err != nil {
		return err
	}
	*v = *placed
	name, server, project, req, operation := v.Name, v.ID, v.ProjectID, request.ID(tx.Context()), op.ID
	tx.OnCommit(func() {
		s.log.Info("server accepted", "server_id", server, "name", name, "project_id", project, "request_id", req, "operation_id", operation)
	})
	return nil
}

// affordable is how many of the servers the quota allows, if that is at least MinCount; else MinCount,
// for Reserve to refuse.
func (s *Service) affordable(tx *store.Tx, v *Server, p *plan) (int, error) {
	n := int64(p.MaxCount)
	if p.MaxCount == p.MinCount {
		return p.MaxCount, nil
	}
	usage, err := s.book.Usage(tx, v.ProjectID)
	if err != nil {
		return 0, err
	}
	for name, each := range v.Flavor.counts(1) {
		u := usage[name]
		if u.Limit != quota.Unlimited && each > 0 {
			n = min(n, (u.Limit-u.Used)/each)
		}
	}
	return max(int(n), p.MinCount), nil
}

// withinLimits checks the limits on one request.
func (s *Service) withinLimits(tx *store.Tx, p *plan) error {
	usage, err := s.book.Usage(tx, s.project())
	if err != nil {
		return err
	}
	over := func(name string, n int) error {
		if limit := usage[name].Limit; limit != quota.Unlimited && int64(n) > limit {
			return fault.New(fault.Quota, "%d %s are asked for, project %s may have %d; ask for fewer or for a higher quota", n, strings.ReplaceAll(name, "_", " "), s.project(), limit)
		}
		return nil
	}
	if err := over("metadata_items", len(p.Metadata)); err != nil {
		return err
	}
	if err := over("injected_files", len(p.Files)); err != nil {
		return err
	}
	for _, f := range p.Files {
		if err := over("injected_file_content_bytes", len(f.Contents)); err != nil {
			return err
		}
		if err := over("injected_file_path_bytes", len(f.Path)); err != nil {
			return err
		}
	}
	return nil
}

// metadata checks the items of a server.
func (v *check) metadata(items map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(items)) {
		v.text("metadata", k, 1, 255)
		v.text("metadata."+k, items[k], 0, 255)
	}
}

// tags checks tags and returns them sorted, each once.
func (v *check) tags(tags []string) []string {
	for _, t := range tags {
		v.text("tags", t, 1, 60)
		if strings.ContainsAny(t, "/,") {
			v.bad("tags", t, "a tag has neither '/' nor ','")
		}
	}
	out := slices.Compact(slices.Sorted(slices.Values(tags)))
	if len(out) > maxTags {
		v.bad("tags", len(out), fmt.Sprintf("a server has at most %d tags", maxTags))
	}
	return out
}
