package network

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/store"
)

// protocolNumbers are the protocols that a rule may name, with their IANA numbers.
var protocolNumbers = map[string]int{
	"ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47, "icmp": 1, "icmpv6": 58, "igmp": 2, "ipip": 4, "ipv6-encap": 41,
	"ipv6-frag": 44, "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "ipv6-route": 43, "ospf": 89, "pgm": 113, "rsvp": 46,
	"sctp": 132, "tcp": 6, "udp": 17, "udplite": 136, "vrrp": 112,
}

// CreateSecurityGroupRule adds a rule to a group. Codes: Invalid, Quota, Conflict for a rule that is there already.
func (s *Service) CreateSecurityGroupRule(ctx context.Context, req CreateSecurityGroupRule) (r *SecurityGroupRule, err error) {
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		g, err := s.group(tx, "network:security_group:get", req.GroupID)
		if err != nil {
			return err
		}
		project := cmp.Or(req.ProjectID, g.ProjectID)
		for _, owner := range []string{g.ProjectID, project} {
			if err := s.check(tx, "network:security_group_rule:create", identity.Target{Kind: "security_group_rule", ProjectID: owner}); err != nil {
				return err
			}
		}
		r = &SecurityGroupRule{
			ID: tx.NewID(), ProjectID: project, GroupID: g.ID, Description: req.Description, Direction: req.Direction,
			EtherType: cmp.Or(req.EtherType, "IPv4"), Protocol: strings.ToLower(req.Protocol), PortMin: req.PortMin, PortMax: req.PortMax,
			RemoteCIDR: req.RemoteCIDR, RemoteGroupID: req.RemoteGroupID, Revision: 1, CreatedAt: tx.Now(), UpdatedAt: tx.Now(),
		}
		if err := validRule(r); err != nil {
			return err
		}
		if r.RemoteGroupID != "" {
			if _, err := s.group(tx, "network:security_group:get", r.RemoteGroupID); err != nil {
				return err
			}
		}
		if err := fillRules(tx, g); err != nil {
			return err
		}
		for _, other := range g.Rules {
			if r.same(other) {
				return &fault.Error{Code: fault.Conflict, Kind: "security_group_rule", ID: other.ID, Err: RuleExists, Msg: "says the same already"}
			}
		}
		if err := s.book.Reserve(tx, project, map[string]int64{"security_group_rule": 1}); err != nil {
			return err
		}
		if err := rules.Insert(tx, r); err != nil {
			return err
		}
		s.emit(tx, "security_group_rule", "create", r.ID, project)
		return s.keepGroup(tx, g)
	})
	return r, err
}

// GetSecurityGroupRule returns a rule of the principal's project, or of a group of it.
func (s *Service) GetSecurityGroupRule(ctx context.Context, id string) (r *SecurityGroupRule, err error) {
	err = s.store.View(ctx, func(tx *store.Tx) error {
		r, _, err = s.rule(tx, "network:security_group_rule:get", id)
		return err
	})
	return r, err
}

// ListSecurityGroupRules returns the rules that a filter selects and the principal may see, oldest first.
func (s *Service) ListSecurityGroupRules(ctx context.Context, f SecurityGroupRuleFilter) (out []*SecurityGroupRule, err error) {
	if _, err := s.ListSecurityGroups(ctx, SecurityGroupFilter{IDs: f.GroupIDs}); err != nil { // makes the default group
		return nil, err
	}
	err = s.store.View(ctx, func(tx *store.Tx) error {
		if err := s.check(tx, "network:security_group_rule:list", identity.Target{Kind: "security_group_rule"}); err != nil {
			return err
		}
		var sets []store.Query[SecurityGroupRule]
		switch {
		case len(f.GroupIDs) > 0:
			for _, id := range f.GroupIDs {
				sets = append(sets, store.Query[SecurityGroupRule]{Index: "group", Prefix: store.Tuple{id}})
			}
		case s.seesAll("security_group_rule") && f.ProjectID == "":
			sets = append(sets, store.Query[SecurityGroupRule]{})
		case s.seesAll("security_group_rule"):
			sets = append(sets, store.Query[SecurityGroupRule]{Index: "project", Prefix: store.Tuple{f.ProjectID}})
		default:
			sets = append(sets, store.Query[SecurityGroupRule]{Index: "project", Prefix: store.Tuple{s.project()}})
			for g, err := range groups.Each(tx, store.Query[SecurityGroup]{Index: "project", Prefix: store.Tuple{s.project()}}) {
				if err != nil {
					return err
				}
				sets = append(sets, store.Query[SecurityGroupRule]{Index: "group", Prefix: store.Tuple{g.ID}})
			}
		}
		var failed error
		owners := map[string]*SecurityGroup{}
		out, err = gather(tx, rules, ruleID, f.IDs, sets, func(r *SecurityGroupRule) bool {
			if f.ProjectID != "" && r.ProjectID != f.ProjectID || !oneOf(f.GroupIDs, r.GroupID) || f.Keep != nil && !f.Keep(r) {
				return false
			}
			if owners[r.GroupID] == nil {
				g, err := groups.Get(tx, r.GroupID)
				if err != nil {
					failed = cmpErr(failed, err)
					return false
				}
				owners[r.GroupID] = g
			}
			return s.anyOf("network:security_group_rule:get", ruleTargets(r, owners[r.GroupID])) == nil
		})
		slices.SortFunc(out, func(a, b *SecurityGroupRule) int {
			return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
		})
		return cmpErr(err, failed)
	})
	return out, err
}

// DeleteSecurityGroupRule deletes a rule.
func (s *Service) DeleteSecurityGroupRule(ctx context.Context, id string) error {
	return s.store.Update(ctx, func(tx *store.Tx) error {
		r, g, err := s.rule(tx, "network:security_group_rule:delete", id)
		if err != nil {
			return err
		}
		if err := s.dropRule(tx, r); err != nil {
			return err
		}
		return s.keepGroup(tx, g)
	})
}

func (s *Service) dropRule(tx *store.Tx, r *SecurityGroupRule) error {
	if err := rules.Delete(tx, r.ID); err != nil {
		return err
	}
	s.emit(tx, "security_group_rule", "delete", r.ID, r.ProjectID)
	return s.book.Release(tx, r.ProjectID, map[string]int64{"security_group_rule": 1})
}

func ruleID(r *SecurityGroupRule) string { return r.ID }

func ruleTargets(r *SecurityGroupRule, g *SecurityGroup) []identity.Target {
	return []identity.Target{{Kind: "security_group_rule", ID: r.ID, ProjectID: r.ProjectID}, {Kind: "security_group_rule", ID: r.ID, ProjectID: g.ProjectID}}
}

// rule loads a rule and its group for an action.
func (s *Service) rule(tx *store.Tx, action, id string) (*SecurityGroupRule, *SecurityGroup, error) {
	r, err := rules.Get(tx, id)
	if err != nil {
		return nil, nil, err
	}
	g, err := groups.Get(tx, r.GroupID)
	if err != nil {
		return nil, nil, err
	}
	return r, g, s.checkAny(tx, action, ruleTargets(r, g))
}

// same reports whether two rules admit the same.
func (r *SecurityGroupRule) same(o *SecurityGroupRule) bool {
	equal := func(a, b *int) bool { return a == b || a != nil && b != nil && *a == *b }
	return r.Direction == o.Direction && r.EtherType == o.EtherType && protocolOf(r.Protocol) == protocolOf(o.Protocol) &&
		equal(r.PortMin, o.PortMin) && equal(r.PortMax, o.PortMax) && r.RemoteGroupID == o.RemoteGroupID && r.Remote() == o.Remote()
}

// Remote returns the remote range in its usual form; the zero Prefix means any.
func (r *SecurityGroupRule) Remote() netip.Prefix {
	if a, err := netip.ParseAddr(r.RemoteCIDR); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen())
	}
	p, _ := netip.ParsePrefix(r.RemoteCIDR)
	return p.Masked()
}

// protocolOf returns the number of a protocol; -1 means any, -2 that it is unknown.
func protocolOf(text string) int {
	if text == "" || text == "any" {
		return -1
	}
	if n, ok := protocolNumbers[text]; ok {
		return n
	}
	if n, err := strconv.Atoi(text); err == nil && n >= 0 && n <= 255 {
		return n
	}
	return -2
}

// validRule checks a rule.
func validRule(r *SecurityGroupRule) error {
	if err := validTexts("security_group_rule", "", r.Description, nil); err != nil {
		return err
	}
	bad := func(field string, value any, remedy string) error {
		f := fault.InvalidField(field, value, remedy)
		f.Kind, f.Err = "security_group_rule", RuleInvalid
		return f
	}
	if r.Direction != "ingress" && r.Direction != "egress" {
		return fault.InvalidField("direction", r.Direction, "it is ingress or egress")
	}
	if r.EtherType != "IPv4" && r.EtherType != "IPv6" {
		return fault.InvalidField("ethertype", r.EtherType, "it is IPv4 or IPv6")
	}
	protocol := protocolOf(r.Protocol)
	if r.Protocol == "any" {
		r.Protocol = ""
	}
	if protocol == -2 {
		return bad("protocol", r.Protocol, "it is a protocol's name, a number from 0 to 255, or any")
	}
	if strings.HasPrefix(r.Protocol, "ipv6-") && r.EtherType != "IPv6" {
		return bad("ethertype", r.EtherType, "protocol "+r.Protocol+" needs IPv6")
	}
	if r.RemoteCIDR != "" && r.RemoteGroupID != "" {
		return bad("remote_group_id", r.RemoteGroupID, "give a remote range or a remote group, not both")
	}
	if err := validPorts(r, protocol, bad); err != nil || r.RemoteCIDR == "" {
		return err
	}
	if p := r.Remote(); !p.IsValid() || p.Addr().Is4() != (r.EtherType == "IPv4") {
		return bad("remote_ip_prefix", r.RemoteCIDR, "it is a range of "+r.EtherType+", such as 10.0.0.0/24")
	}
	return nil
}

func validPorts(r *SecurityGroupRule, protocol int, bad func(string, any, string) error) error {
	if r.PortMin == nil && r.PortMax == nil {
		return nil
	}
	limit, low := 65535, 1
	switch protocol {
	case 1, 58: // types and codes
		if r.PortMin == nil {
			return bad("port_range_min", nil, "an ICMP code needs a type")
		}
		limit, low = 255, 0
	case 6, 17, 33, 132, 136:
		if r.PortMin == nil || r.PortMax == nil || *r.PortMin > *r.PortMax {
			return bad("port_range_min", fmtPort(r.PortMin), "give both ends of a range of ports, the lower first")
		}
	default:
		return bad("protocol", r.Protocol, "ports need tcp, udp, dccp, sctp or udplite")
	}
	for field, v := range map[string]*int{"port_range_min": r.PortMin, "port_range_max": r.PortMax} {
		if v != nil && (*v < low || *v > limit) {
			return bad(field, *v, sprint("it is between %d and %d", low, limit))
		}
	}
	return nil
}

func fmtPort(v *int) any {
	if v == nil {
		return nil
	}
	return *v
}
