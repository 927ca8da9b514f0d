package neutron

import (
	"encoding/json"
	"testing"
)

// fuzzBody has a decoder read whatever: it must neither panic nor answer differently the second time.
func fuzzBody(f *testing.F, decode func(b *body) (any, error), seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := newBody(json.RawMessage(data), "thing")
		if err != nil {
			return
		}
		first, err1 := decode(b)
		second, err2 := decode(b.again())
		if (err1 == nil) != (err2 == nil) {
			t.Fatalf("%v, then %v", err1, err2)
		}
		if err1 != nil {
			return
		}
		x, errX := json.Marshal(first)
		y, errY := json.Marshal(second)
		if errX != nil || errY != nil || string(x) != string(y) {
			t.Fatalf("%s (%v), then %s (%v)", x, errX, y, errY)
		}
	})
}

func FuzzPort(f *testing.F) {
	fuzzBody(f, func(b *body) (any, error) { return portRequest(b) },
		`{"network_id": "n", "fixed_ips": [{"subnet_id": "s", "ip_address": "10.0.0.1"}, {"ip_address": "fe80::1%eth0"}]}`,
		`{"network_id": "n", "allowed_address_pairs": [{"ip_address": "10.0.0.0/8", "mac_address": null}], "binding:profile": {"a": [1]}}`,
		`{"network_id": 7, "fixed_ips": null, "security_groups": [null], "admin_state_up": "yes", "tenant_id": "a", "project_id": "b"}`)
}

func FuzzSubnet(f *testing.F) {
	fuzzBody(f, func(b *body) (any, error) { return subnetRequest(b) },
		`{"network_id": "n", "cidr": "10.0.0.0/24", "ip_version": "4", "gateway_ip": null, "allocation_pools": [{"start": "10.0.0.2", "end": "10.0.0.9"}]}`,
		`{"network_id": "n", "cidr": "fd00::1", "host_routes": [{"destination": "0.0.0.0/0", "nexthop": "10.0.0.1"}], "dns_nameservers": ["9.9.9.9"]}`,
		`{"network_id": "n", "cidr": "::ffff:10.0.0.0/100", "ip_version": 1e400, "allocation_pools": [null]}`)
}

func FuzzNetwork(f *testing.F) {
	fuzzBody(f, func(b *body) (any, error) { return networkRequest(b) },
		`{"name": "n", "provider:segmentation_id": "5", "mtu": 0, "shared": 1, "router:external": "on", "availability_zone_hints": ["a"]}`)
}

func FuzzRule(f *testing.F) {
	fuzzBody(f, func(b *body) (any, error) { return ruleRequest(b) },
		`{"security_group_id": "g", "direction": "ingress", "protocol": 6, "port_range_min": "1", "port_range_max": null}`)
}
