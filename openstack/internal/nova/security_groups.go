package nova

import (
	"context"
	"slices"
	"strings"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// portsOf returns the ports of a server that the caller may see.
func (a *api) portsOf(ctx context.Context, r *rest.Request, id string) (*compute.Server, []*network.Port, error) {
	s, err := a.as(r).GetServer(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	ports, err := a.network.As(r.Principal).ListPorts(ctx, network.PortFilter{DeviceIDs: []string{id}})
	return s, ports, err
}

func (a *api) listSecurityGroups(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	_, ports, err := a.portsOf(ctx, r, r.Value("id"))
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, p := range ports {
		ids = append(ids, p.SecurityGroups...)
	}
	if len(ids) == 0 {
		return rest.OK(object{"security_groups": []object{}}), nil
	}
	slices.Sort(ids)
	return a.groupList(ctx, r, network.SecurityGroupFilter{IDs: slices.Compact(ids)})
}

// listProjectGroups and getGroup are what older clients ask in place of the network service, to find a group by its name.
func (a *api) listProjectGroups(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	if _, err := a.network.As(r.Principal).DefaultSecurityGroup(ctx, r.Principal.ProjectID); err != nil {
		return nil, err
	}
	return a.groupList(ctx, r, network.SecurityGroupFilter{ProjectID: r.Principal.ProjectID})
}

func (a *api) getGroup(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	g, err := a.network.As(r.Principal).GetSecurityGroup(ctx, r.Value("id"))
	if err != nil {
		return nil, err
	}
	return rest.OK(object{"security_group": groupView(g, []*network.SecurityGroup{g})}), nil
}

func (a *api) groupList(ctx context.Context, r *rest.Request, f network.SecurityGroupFilter) (*rest.Response, error) {
	groups, err := a.network.As(r.Principal).ListSecurityGroups(ctx, f)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(groups, func(a, b *network.SecurityGroup) int {
		return strings.Compare(a.ProjectID+"\x00"+a.Name+"\x00"+a.ID, b.ProjectID+"\x00"+b.Name+"\x00"+b.ID)
	})
	list := []object{}
	for _, g := range groups {
		list = append(list, groupView(g, groups))
	}
	return rest.OK(object{"security_groups": list}), nil
}

// groupView shows a group in Nova's old form, which knows ingress rules only.
func groupView(g *network.SecurityGroup, all []*network.SecurityGroup) object {
	rules := []object{}
	for _, rule := range g.Rules {
		if rule.Direction != "ingress" {
			continue
		}
		doc := object{"id": rule.ID, "parent_group_id": g.ID, "ip_protocol": orNull(rule.Protocol),
			"from_port": nil, "to_port": nil, "group": object{}, "ip_range": object{}}
		switch {
		case rule.PortMin != nil && rule.PortMax != nil:
			doc["from_port"], doc["to_port"] = *rule.PortMin, *rule.PortMax
		case rule.Protocol == "tcp" || rule.Protocol == "udp":
			doc["from_port"], doc["to_port"] = 1, 65535
		case rule.Protocol != "":
			doc["from_port"], doc["to_port"] = -1, -1
		}
		if rule.RemoteGroupID == "" {
			cidr := rule.RemoteCIDR
			if cidr == "" {
				cidr = "0.0.0.0/0"
			}
			doc["ip_range"] = object{"cidr": cidr}
		} else if i := slices.IndexFunc(all, func(g *network.SecurityGroup) bool { return g.ID == rule.RemoteGroupID }); i >= 0 {
			doc["group"] = object{"name": all[i].Name, "tenant_id": all[i].ProjectID}
		}
		rules = append(rules, doc)
	}
	return object{"id": g.ID, "name": g.Name, "description": g.Description, "tenant_id": g.ProjectID, "rules": rules}
}

func (a *api) addSecurityGroup(ctx context.Context, r *rest.Request, id string) (*rest.Response, error) {
	return a.changeGroups(ctx, r, id, "addSecurityGroup", func(p *network.Port, group string) ([]string, bool) {
		if slices.Contains(p.SecurityGroups, group) {
			return nil, false
		}
		return append(slices.Clone(p.SecurityGroups), group), true
	})
}

func (a *api) removeSecurityGroup(ctx context.Context, r *rest.Request, id string) (*rest.Response, error) {
	return a.changeGroups(ctx, r, id, "removeSecurityGroup", func(p *network.Port, group string) ([]string, bool) {
		left := slices.DeleteFunc(slices.Clone(p.SecurityGroups), func(g string) bool { return g == group })
		return left, len(left) < len(p.SecurityGroups)
	})
}

// changeGroups changes the security groups of all of a server's ports at once.
func (a *api) changeGroups(ctx context.Context, r *rest.Request, id, called string, change func(p *network.Port, group string) ([]string, bool)) (*rest.Response, error) {
	body, err := read[map[string]struct {
		Name string `json:"name"`
	}](r, anything)
	if err != nil {
		return nil, err
	}
	err = a.network.Together(ctx, func(ctx context.Context) error {
		s, ports, err := a.portsOf(ctx, r, id)
		if err != nil {
			return err
		}
		if err := a.allow(r, "compute:server:update", s.ProjectID); err != nil {
			return err // even when there is nothing to change
		}
		group, err := a.findGroup(ctx, r, s, (*body)[called].Name)
		if err != nil {
			return err
		}
		changed := 0
		for _, p := range ports {
			if groups, differs := change(p, group.ID); differs {
				if _, err := a.network.As(r.Principal).UpdatePort(ctx, network.UpdatePort{ID: p.ID, SecurityGroups: &groups}); err != nil {
					return err
				}
				changed++
			}
		}
		switch {
		case changed > 0 || called == "addSecurityGroup" && len(ports) > 0:
			return nil
		case len(ports) == 0:
			return fault.New(fault.Conflict, "it has no ports, so that no security group can apply to it").About("server", id)
		}
		return fault.New(fault.NotFound, "security group %s is not associated with it", group.Name).About("server", id)
	})
	return rest.Accepted(nil), err
}

// findGroup returns the group with an id or a unique name in the server's project.
func (a *api) findGroup(ctx context.Context, r *rest.Request, s *compute.Server, nameOrID string) (*network.SecurityGroup, error) {
	groups, err := a.network.As(r.Principal).ListSecurityGroups(ctx, network.SecurityGroupFilter{ProjectID: s.ProjectID,
		Keep: func(g *network.SecurityGroup) bool { return g.ID == nameOrID || g.Name == nameOrID }})
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(groups, func(g *network.SecurityGroup) bool { return g.ID == nameOrID }); i >= 0 {
		return groups[i], nil
	}
	switch len(groups) {
	case 0:
		return nil, fault.Missing("security group", nameOrID)
	case 1:
		return groups[0], nil
	}
	return nil, fault.New(fault.Conflict, "%d security groups have this name: use an id", len(groups)).About("security group", nameOrID)
}
