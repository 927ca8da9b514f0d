package neutron

import (
	"context"

	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

func (a *api) groups() resource[network.SecurityGroup] {
	return resource[network.SecurityGroup]{
		name: "security_group", plural: "security_groups", path: "/security-groups",
		attributes: append([]string{"name", "stateful", "shared"}, common...),
		show:       showGroup, revision: func(g *network.SecurityGroup) int64 { return g.Revision },
		list: func(ctx context.Context, svc *network.Service, f filter) ([]*network.SecurityGroup, error) {
			return svc.ListSecurityGroups(ctx, network.SecurityGroupFilter{IDs: f.values["id"], ProjectID: f.one("project_id"), Names: f.values["name"]})
		},
		get: func(ctx context.Context, svc *network.Service, id string) (*network.SecurityGroup, error) {
			return svc.GetSecurityGroup(ctx, id)
		},
		create: func(ctx context.Context, svc *network.Service, b *body) (*network.SecurityGroup, error) {
			req := network.CreateSecurityGroup{ProjectID: b.project(), Name: b.str("name"), Description: b.str("description"), Tags: b.tags()}
			if v := b.flag("stateful"); v != nil {
				req.Stateless = !*v
			}
			if err := b.done(); err != nil {
				return nil, err
			}
			return svc.CreateSecurityGroup(ctx, req)
		},
		update: func(ctx context.Context, svc *network.Service, id string, rev *int64, b *body) (*network.SecurityGroup, error) {
			req := network.UpdateSecurityGroup{ID: id, IfRevision: rev, Name: b.text("name"), Description: b.text("description"), Stateful: b.flag("stateful")}
			if err := b.done(); err != nil {
				return nil, err
			}
			return svc.UpdateSecurityGroup(ctx, req)
		},
		delete: func(ctx context.Context, svc *network.Service, id string) error {
			return svc.DeleteSecurityGroup(ctx, id)
		},
		tags: func(ctx context.Context, svc *network.Service, id string, change func([]string) []string) (tags []string, err error) {
			err = svc.Together(ctx, func(ctx context.Context) error {
				g, err := svc.GetSecurityGroup(ctx, id)
				if err != nil {
					return err
				}
				tags = change(g.Tags)
				g, err = svc.UpdateSecurityGroup(ctx, network.UpdateSecurityGroup{ID: id, Tags: &tags})
				if err == nil {
					tags = g.Tags
				}
				return err
			})
			return tags, err
		},
	}
}

func showGroup(r *rest.Request, g *network.SecurityGroup) object {
	rules := []object{}
	for _, v := range g.Rules {
		rules = append(rules, showRule(r, v))
	}
	return object{
		"id": g.ID, "project_id": g.ProjectID, "tenant_id": g.ProjectID, "name": g.Name, "description": g.Description, "stateful": g.Stateful,
		"shared": false, "security_group_rules": rules, "tags": list(g.Tags), "revision_number": g.Revision,
		"created_at": rest.Seconds(g.CreatedAt), "updated_at": rest.Seconds(g.UpdatedAt),
	}
}

func (a *api) rules() resource[network.SecurityGroupRule] {
	return resource[network.SecurityGroupRule]{
		name: "security_group_rule", plural: "security_group_rules", path: "/security-group-rules",
		attributes: append([]string{"security_group_id", "direction", "ethertype", "protocol", "port_range_min", "port_range_max", "remote_ip_prefix",
			"remote_group_id"}, common...),
		show: showRule, revision: func(v *network.SecurityGroupRule) int64 { return v.Revision },
		list: func(ctx context.Context, svc *network.Service, f filter) ([]*network.SecurityGroupRule, error) {
			return svc.ListSecurityGroupRules(ctx, network.SecurityGroupRuleFilter{IDs: f.values["id"], ProjectID: f.one("project_id"), GroupIDs: f.values["security_group_id"]})
		},
		get: func(ctx context.Context, svc *network.Service, id string) (*network.SecurityGroupRule, error) {
			return svc.GetSecurityGroupRule(ctx, id)
		},
		create: func(ctx context.Context, svc *network.Service, b *body) (*network.SecurityGroupRule, error) {
			req, err := ruleRequest(b)
			if err != nil {
				return nil, err
			}
			return svc.CreateSecurityGroupRule(ctx, req)
		},
		delete: func(ctx context.Context, svc *network.Service, id string) error {
			return svc.DeleteSecurityGroupRule(ctx, id)
		},
	}
}

func ruleRequest(b *body) (network.CreateSecurityGroupRule, error) {
	b.need("security_group_id")
	b.need("direction")
	req := network.CreateSecurityGroupRule{
		ProjectID: b.project(), GroupID: b.str("security_group_id"), Description: b.str("description"), Direction: b.str("direction"),
		EtherType: b.str("ethertype"), Protocol: protocol(b), PortMin: b.number("port_range_min"), PortMax: b.number("port_range_max"),
		RemoteCIDR: b.str("remote_ip_prefix"), RemoteGroupID: b.str("remote_group_id"),
	}
	if b.str("remote_address_group_id") != "" {
		b.bad("remote_address_group_id", "there are no address groups; give a range or a security group")
	}
	return req, b.done()
}

// protocol is a name or a number, which may be given as either type.
func protocol(b *body) string {
	raw, ok := b.field("protocol")
	if ok && len(raw) > 0 && raw[0] != '"' && string(raw) != "null" {
		if b.number("protocol") == nil {
			return ""
		}
		return string(raw)
	}
	return b.str("protocol")
}

func showRule(_ *rest.Request, v *network.SecurityGroupRule) object {
	var normal any
	if p := v.Remote(); p.IsValid() {
		normal = p.String()
	}
	return object{
		"id": v.ID, "project_id": v.ProjectID, "tenant_id": v.ProjectID, "security_group_id": v.GroupID, "description": v.Description,
		"direction": v.Direction, "ethertype": v.EtherType, "protocol": null(v.Protocol), "port_range_min": number(v.PortMin), "port_range_max": number(v.PortMax),
		"remote_ip_prefix": null(v.RemoteCIDR), "normalized_cidr": normal, "remote_group_id": null(v.RemoteGroupID), "remote_address_group_id": nil,
		"tags": list(v.Tags), "revision_number": v.Revision, "created_at": rest.Seconds(v.CreatedAt), "updated_at": rest.Seconds(v.UpdatedAt),
	}
}

func number(v *int) any {
	if v == nil {
		return nil
	}
	return *v
}
