package network_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/network"
)

func TestDefaultGroup(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for range 2 { // made once
		gs, err := e.alice.ListSecurityGroups(e.ctx, network.SecurityGroupFilter{})
		require.NoError(t, err)
		require.Len(t, gs, 1)
		g := gs[0]
		require.True(t, g.Default)
		require.Equal(t, "default", g.Name)
		var shape []string
		for _, r := range g.Rules {
			remote := ""
			if r.RemoteGroupID == g.ID {
				remote = " from the group"
			}
			shape = append(shape, r.Direction+" "+r.EtherType+remote)
		}
		require.ElementsMatch(t, []string{"egress IPv4", "egress IPv6", "ingress IPv4 from the group", "ingress IPv6 from the group"}, shape)
		requireReason(t, network.DefaultGroupFixed, e.alice.DeleteSecurityGroup(e.ctx, g.ID))
		_, err = e.alice.UpdateSecurityGroup(e.ctx, network.UpdateSecurityGroup{ID: g.ID, Name: ptr("x")})
		requireReason(t, network.DefaultGroupFixed, err)
		_, err = e.bob.GetSecurityGroup(e.ctx, g.ID)
		requireCode(t, fault.NotFound, err)
	}
	_, err := e.alice.CreateSecurityGroup(e.ctx, network.CreateSecurityGroup{Name: "default"})
	requireReason(t, network.DefaultGroupExists, err)
	e.sound()
}

func TestGroupsAndRules(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	g, err := e.alice.CreateSecurityGroup(e.ctx, network.CreateSecurityGroup{Name: "web"})
	require.NoError(t, err)
	require.Len(t, g.Rules, 2)
	other, err := e.alice.CreateSecurityGroup(e.ctx, network.CreateSecurityGroup{Name: "web"})
	require.NoError(t, err, "names need not be unique")

	req := network.CreateSecurityGroupRule{GroupID: g.ID, Direction: "ingress", Protocol: "TCP", PortMin: ptr(80), PortMax: ptr(443), RemoteCIDR: "10.1.2.3/8"}
	r, err := e.alice.CreateSecurityGroupRule(e.ctx, req)
	require.NoError(t, err)
	require.Equal(t, "10.1.2.3/8", r.RemoteCIDR, "as it was given")
	require.Equal(t, "10.0.0.0/8", r.Remote().String())
	req.RemoteCIDR = "10.0.0.0/8"
	require.Equal(t, "tcp", r.Protocol)
	req.Protocol = "6"
	_, err = e.alice.CreateSecurityGroupRule(e.ctx, req)
	requireReason(t, network.RuleExists, err)
	_, err = e.alice.CreateSecurityGroupRule(e.ctx, network.CreateSecurityGroupRule{GroupID: g.ID, Direction: "ingress", RemoteGroupID: other.ID})
	require.NoError(t, err)
	for name, change := range map[string]func(r *network.CreateSecurityGroupRule){
		"direction":    func(r *network.CreateSecurityGroupRule) { r.Direction = "in" },
		"ether type":   func(r *network.CreateSecurityGroupRule) { r.EtherType = "IPX" },
		"protocol":     func(r *network.CreateSecurityGroupRule) { r.Protocol = "smtp" },
		"number":       func(r *network.CreateSecurityGroupRule) { r.Protocol = "256" },
		"ports of gre": func(r *network.CreateSecurityGroupRule) { r.Protocol = "gre" },
		"one end":      func(r *network.CreateSecurityGroupRule) { r.PortMax = nil },
		"backwards":    func(r *network.CreateSecurityGroupRule) { r.PortMin = ptr(500) },
		"port 0":       func(r *network.CreateSecurityGroupRule) { r.PortMin = ptr(0) },
		"icmp type":    func(r *network.CreateSecurityGroupRule) { r.Protocol, r.PortMax = "icmp", ptr(256) },
		"family":       func(r *network.CreateSecurityGroupRule) { r.RemoteCIDR = "fd00::/8" },
		"not a range":  func(r *network.CreateSecurityGroupRule) { r.RemoteCIDR = "everywhere" },
		"both remotes": func(r *network.CreateSecurityGroupRule) { r.RemoteGroupID = other.ID },
		"v6 over v4": func(r *network.CreateSecurityGroupRule) {
			r.Protocol, r.PortMin, r.PortMax = "ipv6-icmp", nil, nil
		},
	} {
		bad := req
		change(&bad)
		_, err := e.alice.CreateSecurityGroupRule(e.ctx, bad)
		require.True(t, fault.Is(err, fault.Invalid), "%s: %v", name, err)
	}
	_, err = e.bob.CreateSecurityGroupRule(e.ctx, req)
	requireCode(t, fault.NotFound, err)
	_, err = e.alice.CreateSecurityGroupRule(e.ctx, network.CreateSecurityGroupRule{GroupID: g.ID, Direction: "ingress", EtherType: "IPv6", Protocol: "icmpv6", PortMin: ptr(128)})
	require.NoError(t, err)

	rs, err := e.alice.ListSecurityGroupRules(e.ctx, network.SecurityGroupRuleFilter{GroupIDs: []string{g.ID}})
	require.NoError(t, err)
	require.Len(t, rs, 5)
	rs, err = e.bob.ListSecurityGroupRules(e.ctx, network.SecurityGroupRuleFilter{})
	require.NoError(t, err)
	require.Len(t, rs, 4, "those of his default group")
	require.NoError(t, e.alice.DeleteSecurityGroupRule(e.ctx, r.ID))
	_, err = e.alice.GetSecurityGroupRule(e.ctx, r.ID)
	requireCode(t, fault.NotFound, err)
	require.NoError(t, e.alice.DeleteSecurityGroup(e.ctx, other.ID), "rules that refer to it go with it")
	g, err = e.alice.GetSecurityGroup(e.ctx, g.ID)
	require.NoError(t, err)
	require.Len(t, g.Rules, 3)
	require.NoError(t, e.alice.DeleteSecurityGroup(e.ctx, g.ID))
	e.sound()
}
