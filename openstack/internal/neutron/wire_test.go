package neutron_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func (l *lab) id(body map[string]any, kind string) string {
	l.t.Helper()
	o, _ := body[kind].(map[string]any)
	id, _ := o["id"].(string)
	require.NotEmpty(l.t, id, "%v", body)
	return id
}

func TestErrors(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	_, body, _ := l.do(aliceToken, "POST", "/networks", `{"network": {"name": "n"}}`)
	n := l.id(body, "network")
	_, body, _ = l.do(aliceToken, "POST", "/subnets", `{"subnet": {"network_id": "`+n+`", "cidr": "10.0.0.0/30", "ip_version": 4}}`)
	s := l.id(body, "subnet")
	_, body, _ = l.do(aliceToken, "POST", "/ports", `{"port": {"network_id": "`+n+`", "mac_address": "fa:16:3e:00:00:01"}}`)
	p := l.id(body, "port")
	group := body["port"].(map[string]any)["security_groups"].([]any)[0].(string)
	rev := func(path, kind string) float64 {
		_, body, _ := l.do(aliceToken, "GET", path, "")
		return body[kind].(map[string]any)["revision_number"].(float64)
	}
	for _, c := range []struct {
		method, path, body string
		status             int
		kind               string
	}{
		{"GET", "/networks/x", "", 404, "NetworkNotFound"},
		{"GET", "/subnets/x", "", 404, "SubnetNotFound"},
		{"GET", "/ports/x", "", 404, "PortNotFound"},
		{"GET", "/security-groups/x", "", 404, "SecurityGroupNotFound"},
		{"GET", "/security-group-rules/x", "", 404, "SecurityGroupRuleNotFound"},
		{"GET", "/networks/" + n + "/tags/x", "", 404, "TagNotFound"},
		{"POST", "/ports", `{"port": {"network_id": "x"}}`, 404, "NetworkNotFound"},
		{"POST", "/ports", `{"port": {"network_id": "` + n + `"}}`, 409, "IpAddressGenerationFailure"},
		{"POST", "/ports", `{"port": {"network_id": "` + n + `", "fixed_ips": [{"ip_address": "10.0.0.2"}]}}`, 409, "IpAddressAlreadyAllocated"},
		{"POST", "/ports", `{"port": {"network_id": "` + n + `", "fixed_ips": [{"ip_address": "10.0.1.2"}]}}`, 400, "InvalidIpForNetwork"},
		{"POST", "/ports", `{"port": {"network_id": "` + n + `", "fixed_ips": [{"ip_address": "10.0.1.2", "subnet_id": "` + s + `"}]}}`, 400, "InvalidIpForSubnet"},
		{"POST", "/ports", `{"port": {"network_id": "` + n + `", "fixed_ips": [], "mac_address": "FA:16:3E:00:00:01"}}`, 409, "MacAddressInUse"},
		{"POST", "/ports", `{"port": {"network_id": "` + n + `", "mac_address": "zz"}}`, 400, "HTTPBadRequest"},
		{"POST", "/ports", `{"port": {"network_id": "` + n + `", "security_groups": ["x"]}}`, 404, "SecurityGroupNotFound"},
		{"POST", "/ports", `{"port": {"network_id": "` + n + `", "binding:host_id": "h"}}`, 403, "PolicyNotAuthorized"},
		{"POST", "/ports", `{"port": {"network_id": "` + n + `", "nonsense": 1}}`, 400, "HTTPBadRequest"},
		{"POST", "/ports", `{"port": {}}`, 400, "HTTPBadRequest"},
		{"POST", "/ports", `{"port": []}`, 400, "HTTPBadRequest"},
		{"POST", "/ports", `{"ports": []}`, 400, "HTTPBadRequest"},
		{"POST", "/ports", `{}`, 400, "HTTPBadRequest"},
		{"POST", "/ports", ``, 400, "HTTPBadRequest"},
		{"POST", "/subnets", `{"subnet": {"network_id": "` + n + `", "cidr": "10.0.0.0/24"}}`, 400, "InvalidInput"},
		{"POST", "/subnets", `{"subnet": {"network_id": "` + n + `", "cidr": "10.1.0.0/24", "ip_version": 6}}`, 400, "HTTPBadRequest"},
		{"POST", "/subnets", `{"subnet": {"network_id": "` + n + `", "cidr": "10.1.0.0/24", "allocation_pools": [{"start": "10.1.0.1", "end": "10.1.0.5"}]}}`, 409, "GatewayConflictWithAllocationPools"},
		{"POST", "/subnets", `{"subnet": {"network_id": "` + n + `", "cidr": "10.1.0.0/24", "allocation_pools": [{"start": "10.1.1.1", "end": "10.1.1.5"}]}}`, 400, "OutOfBoundsAllocationPool"},
		{"POST", "/subnets", `{"subnet": {"network_id": "` + n + `", "cidr": "10.1.0.0/24", "allocation_pools": [{"start": "10.1.0.5", "end": "10.1.0.2"}]}}`, 400, "InvalidAllocationPool"},
		{"POST", "/subnets", `{"subnet": {"network_id": "` + n + `", "cidr": "10.1.0.0/24", "allocation_pools": [{"start": "10.1.0.5", "end": "10.1.0.9"}, {"start": "10.1.0.9", "end": "10.1.0.9"}]}}`, 409, "OverlappingAllocationPools"},
		{"POST", "/networks", `{"network": {"shared": true}}`, 403, "PolicyNotAuthorized"},
		{"POST", "/networks", `{"network": {"admin_state_up": "maybe"}}`, 400, "HTTPBadRequest"},
		{"POST", "/networks", `{"network": {"mtu": 1.5}}`, 400, "HTTPBadRequest"},
		{"POST", "/networks", `{"network": {"availability_zone_hints": ["mars"]}}`, 400, "HTTPBadRequest"},
		{"DELETE", "/networks/" + n, "", 409, "NetworkInUse"},
		{"DELETE", "/subnets/" + s, "", 409, "SubnetInUse"},
		{"DELETE", "/security-groups/" + group, "", 409, "SecurityGroupCannotRemoveDefault"},
		{"POST", "/security-groups", `{"security_group": {"name": "default"}}`, 409, "SecurityGroupDefaultAlreadyExists"},
		{"POST", "/security-group-rules", `{"security_group_rule": {"security_group_id": "` + group + `", "direction": "egress"}}`, 409, "SecurityGroupRuleExists"},
		{"POST", "/security-group-rules", `{"security_group_rule": {"security_group_id": "` + group + `", "direction": "egress", "protocol": "tcp", "port_range_min": 9, "port_range_max": 8}}`, 400, "SecurityGroupRuleParameterConflict"},
		{"PUT", "/security-group-rules/" + group, `{}`, 405, "HTTPMethodNotAllowed"},
		{"PUT", "/ports/" + p, `{"port": {"port_security_enabled": false}}`, 409, "PortSecurityPortHasSecurityGroup"},
		{"GET", "/networks?nonsense=1", "", 400, "HTTPBadRequest"},
		{"GET", "/networks?sort_key=nonsense", "", 400, "HTTPBadRequest"},
		{"GET", "/networks?sort_dir=up", "", 400, "HTTPBadRequest"},
		{"GET", "/networks?marker=nonsense", "", 400, "HTTPBadRequest"},
		{"GET", "/networks?limit=-1", "", 400, "HTTPBadRequest"},
		{"GET", "/ports?fixed_ips=x", "", 400, "HTTPBadRequest"},
		{"PUT", "/networks/" + n + "/tags", `{"tags": ["a,b"]}`, 400, "HTTPBadRequest"},
		{"GET", "/nothing", "", 404, "HTTPNotFound"},
	} {
		t.Run(c.method+" "+c.path+" "+c.kind, func(t *testing.T) {
			status, body, _ := l.do(aliceToken, c.method, c.path, c.body)
			(&lab{t: t}).refused(c.status, c.kind, status, body)
		})
	}
	status, body, _ := l.do("", "GET", "/networks", "")
	require.Equal(t, 401, status, body)
	status, body, _ = l.do(aliceToken, "DELETE", "/ports/"+p, "", "If-Match", "revision_number=77")
	l.refused(412, "RevisionNumberConstraintFailed", status, body)
	status, body, _ = l.do(aliceToken, "DELETE", "/ports/"+p, "", "If-Match", "77")
	l.refused(400, "HTTPBadRequest", status, body)
	status, _, _ = l.do(aliceToken, "DELETE", "/ports/"+p, "", "If-Match", fmt.Sprintf("revision_number=%d", int(rev("/ports/"+p, "port"))))
	require.Equal(t, 204, status)
}

// TestBadValuesAreQuoted: an error of the envelope says where it is and what was sent.
func TestBadValuesAreQuoted(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	_, body, _ := l.do(aliceToken, "POST", "/networks", `{"network": {}}`)
	one := "/networks/" + l.id(body, "network")
	for _, c := range []struct{ method, path, body, want string }{
		{"POST", "/networks", `{"network": [1]}`, "network: [1] is not valid: it must be an object"},
		{"POST", "/networks", `{"network": null}`, "network: null is not valid: it must be an object"},
		{"POST", "/networks", `{"networks": [{}, 7]}`, "networks[1]: 7 is not valid: it must be an object"},
		{"POST", "/networks", `{"networks": []}`, "networks: [] is not valid: it must be a list of 1 to 1000 objects"},
		{"POST", "/networks", `{"networks": {"name": "n"}}`, `networks: {"name": "n"} is not valid: it must be a list`},
		{"POST", "/networks", `{"netwrk": {}}`, `body: {"netwrk": {}} is not valid: it must be an object {"network": {...}}`},
		{"POST", "/networks", `{"network": {}, "x": 1}`, `body: {"network": {}, "x": 1} is not valid: it must be an object {"network": {...}}`},
		{"PUT", one, `{"networks": [{}]}`, `body: {"networks": [{}]} is not valid: it must be an object {"network": {...}}`},
		{"PUT", one, `{"": [{}]}`, `body: {"": [{}]} is not valid: it must be an object {"network": {...}}`},
		{"POST", "/networks", `{"network": "` + strings.Repeat("é", 100) + `"}`, `network: "` + strings.Repeat("é", 39) + `... is not valid`},
	} {
		status, body, _ := l.do(aliceToken, c.method, c.path, c.body)
		l.refused(400, "HTTPBadRequest", status, body)
		require.Contains(t, body["NeutronError"].(map[string]any)["message"], c.want, c.body)
	}
}

func TestBulkIsAllOrNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	status, body, _ := l.do(aliceToken, "POST", "/networks", `{"networks": [{"name": "a"}, {"name": "b"}]}`)
	require.Equal(t, 201, status, body)
	require.Len(t, body["networks"], 2)
	n := body["networks"].([]any)[0].(map[string]any)["id"].(string)
	status, body, _ = l.do(aliceToken, "POST", "/ports", `{"ports": [{"network_id": "`+n+`"}, {"network_id": "x"}]}`)
	l.refused(404, "NetworkNotFound", status, body)
	_, body, _ = l.do(aliceToken, "GET", "/ports", "")
	require.Empty(t, body["ports"])
}

func TestPagesFieldsAndFilters(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for _, name := range []string{"c", "a", "d", "b", "e"} {
		l.do(aliceToken, "POST", "/networks", `{"network": {"name": "`+name+`"}}`)
	}
	names := func(query string) (out string, links map[string]string) {
		status, body, _ := l.do(aliceToken, "GET", "/networks?"+query, "")
		require.Equal(t, 200, status, body)
		for _, n := range body["networks"].([]any) {
			out += fmt.Sprint(n.(map[string]any)["name"])
		}
		links = map[string]string{}
		list, _ := body["networks_links"].([]any)
		for _, v := range list {
			u, err := url.Parse(v.(map[string]any)["href"].(string))
			require.NoError(t, err)
			links[v.(map[string]any)["rel"].(string)] = u.RawQuery
		}
		return out, links
	}
	got, links := names("sort_key=name&limit=2")
	require.Equal(t, "ab", got)
	require.Len(t, links, 1)
	got, links = names(links["next"])
	require.Equal(t, "cd", got)
	require.Len(t, links, 2)
	last, end := names(links["next"])
	require.Equal(t, "e", last)
	require.NotContains(t, end, "next")
	got, _ = names(links["previous"])
	require.Equal(t, "ab", got)
	got, _ = names("sort_key=admin_state_up&sort_key=name&sort_dir=asc&sort_dir=desc")
	require.Equal(t, "edcba", got)
	got, _ = names("sort_key=name&name=a&name=e")
	require.Equal(t, "ae", got)
	got, _ = names("router:external=true")
	require.Empty(t, got)
	got, _ = names("shared=False&sort_key=name&status=ACTIVE&status=BUILD&mtu=1442")
	require.Equal(t, "abcde", got)
	_, body, _ := l.do(aliceToken, "GET", "/networks?fields=name&fields=id&name=a", "")
	require.Len(t, body["networks"].([]any)[0], 2)
	id := body["networks"].([]any)[0].(map[string]any)["id"].(string)
	_, body, _ = l.do(aliceToken, "GET", "/networks/"+id+"?fields=name", "")
	require.Equal(t, map[string]any{"network": map[string]any{"name": "a"}}, body)
	got, _ = names("id=" + id)
	require.Equal(t, "a", got)
}

func TestShapes(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	_, body, _ := l.do(adminToken, "POST", "/networks", `{"network": {"name": "n", "tenant_id": "a", "admin_state_up": "True", "shared": true, "router:external": false, "description": null}}`)
	n := l.id(body, "network")
	require.Equal(t, "a", body["network"].(map[string]any)["project_id"])
	_, body, _ = l.do(aliceToken, "POST", "/subnets", `{"subnet": {"network_id": "`+n+`", "cidr": "10.0.0.0/24", "ip_version": "4", "gateway_ip": null}}`)
	sub := body["subnet"].(map[string]any)
	require.Nil(t, sub["gateway_ip"])
	text, err := json.Marshal(sub)
	require.NoError(t, err)
	for _, empty := range []string{`"dns_nameservers":[]`, `"host_routes":[]`, `"tags":[]`, `"ipv6_ra_mode":null`, `"subnetpool_id":null`} {
		require.True(t, strings.Contains(string(text), empty), "%s in %s", empty, text)
	}
	_, body, _ = l.do(aliceToken, "POST", "/security-groups", `{"security_group": {"name": "g"}}`)
	g := l.id(body, "security_group")
	_, body, _ = l.do(aliceToken, "POST", "/security-group-rules", `{"security_group_rule": {"security_group_id": "`+g+`", "direction": "ingress", "protocol": 6, "port_range_min": "22", "port_range_max": 22, "remote_ip_prefix": "10.1.2.3/8"}}`)
	rule := body["security_group_rule"].(map[string]any)
	require.Equal(t, "6", rule["protocol"])
	require.Equal(t, "10.1.2.3/8", rule["remote_ip_prefix"])
	require.Equal(t, "10.0.0.0/8", rule["normalized_cidr"])
	require.EqualValues(t, 22, rule["port_range_min"])
	status, body, _ := l.do(adminToken, "PUT", "/networks/"+n, `{"network": {"provider:network_type": "geneve"}}`)
	require.Equal(t, 200, status, body)
	status, body, _ = l.do(adminToken, "PUT", "/networks/"+n, `{"network": {"provider:segmentation_id": 77}}`)
	require.Equal(t, 400, status, body)
	_, body, _ = l.do(adminToken, "POST", "/ports", `{"port": {"network_id": "`+n+`", "binding:profile": {"a": 1}, "binding:host_id": "h", "binding:vnic_type": "direct"}}`)
	port := body["port"].(map[string]any)
	require.Equal(t, map[string]any{"a": float64(1)}, port["binding:profile"])
	require.Equal(t, "h", port["binding:host_id"])
	status, body, _ = l.do(adminToken, "PUT", "/ports/"+port["id"].(string), `{"port": {"binding:profile": {}}}`)
	require.Equal(t, 200, status, body)
	require.Equal(t, map[string]any{}, body["port"].(map[string]any)["binding:profile"])
}
