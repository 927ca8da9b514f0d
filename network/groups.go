package network

import (
	"cmp"
	"context"
	"slices"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/store"
)

// defaultName is the name of the security group that every project has.
const defaultName = "default"

// CreateSecurityGroup makes a group that admits all outgoing traffic. Codes: Invalid, Quota, Conflict for the name "default".
func (s *Service) CreateSecurityGroup(ctx context.Context, req CreateSecurityGroup) (g *SecurityGroup, err error) {
	project, err := s.owner(req.ProjectID, "security_group")
	if err != nil {
		return nil, err
	}
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "network:security_group:create", identity.Target{Kind: "security_group", ProjectID: project}); err != nil {
			return err
		}
		if err := validTexts("security_group", req.Name, req.Description, req.Tags); err != nil {
			return err
		}
		if _, err := s.defaultGroup(tx, project); err != nil {
			return err
		}
		if req.Name == defaultName {
			return &fault.Error{Code: fault.Conflict, Kind: "security_group", Err: DefaultGroupExists, Msg: "every project has a group named default; choose another name"}
		}
		g, err = s.makeGroup(tx, &SecurityGroup{ProjectID: project, Name: req.Name, Description: req.Description, Stateful: !req.Stateless, Tags: tidy(req.Tags)})
		return err
	})
	return g, err
}

// DefaultSecurityGroup returns the default group of a project, which is made when it is first needed.
func (s *Service) DefaultSecurityGroup(ctx context.Context, projectID string) (g *SecurityGroup, err error) {
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "network:security_group:get", identity.Target{Kind: "security_group", ProjectID: projectID}); err != nil {
			return err
		}
		if g, err = s.defaultGroup(tx, projectID); err != nil {
			return err
		}
		return fillRules(tx, g)
	})
	return g, err
}

// defaultGroup returns or makes the default group of a project: members may talk to each other, and outward.
func (s *Service) defaultGroup(tx *store.Tx, project string) (*SecurityGroup, error) {
	g, err := groups.Find(tx, "default", project)
	if !fault.Is(err, fault.NotFound) {
		return g, err
	}
	return s.makeGroup(tx, &SecurityGroup{ProjectID: project, Name: defaultName, Description: "Default security group", Stateful: true, Default: true})
}

// makeGroup stores a new group with the rules that it begins with.
func (s *Service) makeGroup(tx *store.Tx, g *SecurityGroup) (*SecurityGroup, error) {
	g.ID, g.Revision, g.CreatedAt, g.UpdatedAt = tx.NewID(), 1, tx.Now(), tx.Now()
	for _, ether := range []string{"IPv4", "IPv6"} {
		g.Rules = append(g.Rules, &SecurityGroupRule{Direction: "egress", EtherType: ether})
		if g.Default {
			g.Rules = append(g.Rules, &SecurityGroupRule{Direction: "ingress", EtherType: ether, RemoteGroupID: g.ID})
		}
	}
	reserve := s.book.Reserve
	if g.Default {
		reserve = s.book.Count // no limit stands in the way of a port
	}
	if err := reserve(tx, g.ProjectID, map[string]int64{"security_group": 1}); err != nil {
		return nil, err
	}
	if err := s.book.Count(tx, g.ProjectID, map[string]int64{"security_group_rule": int64(len(g.Rules))}); err != nil {
		return nil, err
	}
	if err := groups.Insert(tx, g); err != nil {
		return nil, err
	}
	for _, r := range g.Rules {
		r.ID, r.ProjectID, r.GroupID, r.Revision, r.CreatedAt, r.UpdatedAt = tx.NewID(), g.ProjectID, g.ID, 1, tx.Now(), tx.Now()
		if err := rules.Insert(tx, r); err != nil {
			return nil, err
		}
	}
	s.emit(tx, "security_group", "create", g.ID, g.ProjectID)
	return g, nil
}

// GetSecurityGroup returns a group of the principal's project with its rules.
func (s *Service) GetSecurityGroup(ctx context.Context, id string) (g *SecurityGroup, err error) {
	err = s.store.View(ctx, func(tx *store.Tx) error {
		if g, err = s.group(tx, "network:security_group:get", id); err != nil {
			return err
		}
		return fillRules(tx, g)
	})
	return g, err
}

// SecurityGroupName is GetSecurityGroup for its name alone, which reads no rules.
func (s *Service) SecurityGroupName(ctx context.Context, id string) (name string, err error) {
	err = s.store.View(ctx, func(tx *store.Tx) error {
		g, err := s.group(tx, "network:security_group:get", id)
		if err == nil {
			name = g.Name
		}
		return err
	})
	return name, err
}

// ListSecurityGroups returns the groups that a filter selects and the principal may see, oldest first,
// with their rules. The default group of the principal's project is among them, and made if need be.
func (s *Service) ListSecurityGroups(ctx context.Context, f SecurityGroupFilter) (out []*SecurityGroup, err error) {
	run := s.store.View
	missing := false
	if s.project() != "" {
		if err := s.store.View(ctx, func(tx *store.Tx) error {
			_, err := groups.Find(tx, "default", s.project())
			missing = fault.Is(err, fault.NotFound)
			return nil
		}); err != nil {
			return nil, err
		}
		if missing {
			run = s.store.Update
		}
	}
	err = run(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "network:security_group:list", identity.Target{Kind: "security_group"}); err != nil {
			return err
		}
		if missing {
			if _, err := s.defaultGroup(tx, s.project()); err != nil {
				return err
			}
		}
		project := s.project()
		sets := []store.Query[SecurityGroup]{{}}
		if !s.seesAll("security_group") {
			sets[0] = store.Query[SecurityGroup]{Index: "project", Prefix: store.Tuple{project}}
		} else if f.ProjectID != "" {
			sets[0] = store.Query[SecurityGroup]{Index: "project", Prefix: store.Tuple{f.ProjectID}}
		}
		out, err = gather(tx, groups, groupID, f.IDs, sets, func(g *SecurityGroup) bool {
			return (f.ProjectID == "" || g.ProjectID == f.ProjectID) && oneOf(f.Names, g.Name) && (f.Keep == nil || f.Keep(g)) &&
				s.policy.Check(s.who, "network:security_group:get", groupTarget(g)) == nil
		})
		for _, g := range out {
			err = cmpErr(err, fillRules(tx, g))
		}
		slices.SortFunc(out, func(a, b *SecurityGroup) int {
			return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
		})
		return err
	})
	return out, err
}

// UpdateSecurityGroup changes a group. Codes: Invalid; Conflict for another revision, or renaming the default group.
func (s *Service) UpdateSecurityGroup(ctx context.Context, req UpdateSecurityGroup) (g *SecurityGroup, err error) {
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		if g, err = s.group(tx, "network:security_group:update", req.ID); err != nil {
			return err
		}
		if err := atRevision(req.IfRevision, g.Revision, "security_group", g.ID); err != nil {
			return err
		}
		if req.Name != nil && *req.Name != g.Name && (g.Default || *req.Name == defaultName) {
			return &fault.Error{Code: fault.Conflict, Kind: "security_group", ID: g.ID, Err: DefaultGroupFixed, Msg: "the name default belongs to one group of each project and stays with it"}
		}
		if req.Stateful != nil && *req.Stateful != g.Stateful {
			used, err := ports.List(tx, store.Query[Port]{Index: "security_group", Prefix: store.Tuple{g.ID}, Limit: 1})
			if err != nil {
				return err
			}
			if len(used) > 0 {
				return inUse(g, used[0])
			}
		}
		set(&g.Name, req.Name)
		set(&g.Description, req.Description)
		set(&g.Stateful, req.Stateful)
		if req.Tags != nil {
			g.Tags = tidy(*req.Tags)
		}
		if err := validTexts("security_group", g.Name, g.Description, g.Tags); err != nil {
			return err
		}
		if err := s.keepGroup(tx, g); err != nil {
			return err
		}
		return fillRules(tx, g)
	})
	return g, err
}

func (s *Service) keepGroup(tx *store.Tx, g *SecurityGroup) error {
	g.Revision++
	g.UpdatedAt = tx.Now()
	s.emit(tx, "security_group", "update", g.ID, g.ProjectID)
	return groups.Put(tx, g)
}

// DeleteSecurityGroup deletes a group with its rules. Conflict while ports or rules of other groups
// use it, and for the default group unless an administrator asks.
func (s *Service) DeleteSecurityGroup(ctx context.Context, id string) error {
	return s.store.Update(ctx, func(tx *store.Tx) error {
		g, err := s.group(tx, "network:security_group:delete", id)
		if err != nil {
			return err
		}
		if g.Default && s.check(tx, "network:security_group:delete_default", groupTarget(g)) != nil {
			return &fault.Error{Code: fault.Conflict, Kind: "security_group", ID: id, Err: DefaultGroupFixed, Msg: "is the default group of its project and stays"}
		}
		used, err := ports.List(tx, store.Query[Port]{Index: "security_group", Prefix: store.Tuple{id}, Limit: 1})
		if err != nil {
			return err
		}
		if len(used) > 0 {
			return inUse(g, used[0])
		}
		gone, err := rules.List(tx, store.Query[SecurityGroupRule]{Index: "group", Prefix: store.Tuple{id}})
		if err != nil {
			return err
		}
		refer, err := rules.List(tx, store.Query[SecurityGroupRule]{Index: "remote", Prefix: store.Tuple{id}})
		if err != nil {
			return err
		}
		for _, r := range refer {
			if r.GroupID != id {
				gone = append(gone, r)
			}
		}
		for _, r := range gone {
			if err := s.dropRule(tx, r); err != nil {
				return err
			}
		}
		if err := groups.Delete(tx, id); err != nil {
			return err
		}
		s.emit(tx, "security_group", "delete", id, g.ProjectID)
		return s.book.Release(tx, g.ProjectID, map[string]int64{"security_group": 1})
	})
}

func inUse(g *SecurityGroup, p *Port) error {
	return &fault.Error{Code: fault.Conflict, Kind: "security_group", ID: g.ID, Err: GroupInUse, Msg: "is in use by ports, such as " + p.ID + "; take it off them first"}
}

func groupID(g *SecurityGroup) string { return g.ID }

func groupTarget(g *SecurityGroup) identity.Target {
	return identity.Target{Kind: "security_group", ID: g.ID, ProjectID: g.ProjectID}
}

// group loads a group for an action.
func (s *Service) group(tx *store.Tx, action, id string) (*SecurityGroup, error) {
	g, err := groups.Get(tx, id)
	if err != nil {
		return nil, err
	}
	return g, s.check(tx, action, groupTarget(g))
}

func fillRules(tx *store.Tx, g *SecurityGroup) (err error) {
	g.Rules, err = rules.List(tx, store.Query[SecurityGroupRule]{Index: "group", Prefix: store.Tuple{g.ID}})
	return err
}

// chooseGroups sets the groups of a port: those asked for, or the default one of its project.
func (s *Service) chooseGroups(tx *store.Tx, p *Port, asked *[]string) error {
	if asked == nil {
		p.SecurityGroups = nil
		if !p.PortSecurity || reservedOwner(p.DeviceOwner) {
			return nil
		}
		g, err := s.defaultGroup(tx, p.ProjectID)
		if err == nil {
			p.SecurityGroups = []string{g.ID}
		}
		return err
	}
	p.SecurityGroups = slices.Compact(slices.Sorted(slices.Values(*asked)))
	for _, id := range p.SecurityGroups {
		g, err := groups.Get(tx, id)
		if err != nil {
			return err
		}
		if g.ProjectID != p.ProjectID {
			if err := s.check(tx, "network:security_group:get", groupTarget(g)); err != nil {
				return fault.Missing("security_group", id)
			}
		}
	}
	return nil
}
