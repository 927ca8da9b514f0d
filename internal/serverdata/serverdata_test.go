package serverdata_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/internal/serverdata"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func server() *serverdata.Server {
	addr := netip.MustParseAddr
	return &serverdata.Server{
		ID: "5d4a25f3-8b8c-4d1b-9f8e-1f4be6d5a111", Name: "web one", Hostname: "web-one", ProjectID: "0b0c8d2b3f7a4a43a36bd7f2bb0f2f31", Zone: "nova",
		LaunchIndex: 2, Metadata: map[string]string{"role": "web", "env": "test"},
		Key: &serverdata.Key{Name: "mine", Type: "ssh", Data: "ssh-ed25519 AAAAC3Nz me@here"}, AdminPass: "s3cretPass", RandomSeed: []byte("0123456789"),
		UserData: []byte("#!/bin/sh\necho hello\n"), Files: []serverdata.File{{Path: "/etc/motd", Contents: []byte("welcome\n")}}, Flavor: "m1.small",
		NICs: []serverdata.NIC{
			{PortID: "f7f00564-60c4-4237-b8fb-cb36bb66458a", NetworkID: "net-a", MAC: "fa:16:3e:60:32:83", MTU: 1442, Type: "bridge", Tag: "front", Addresses: []serverdata.Address{
				{Addr: addr("10.0.0.5"), Prefix: netip.MustParsePrefix("10.0.0.0/24"), Gateway: addr("10.0.0.1"), DHCP: true, DNS: []netip.Addr{addr("9.9.9.9")}},
				{Addr: addr("fd00::5"), Prefix: netip.MustParsePrefix("fd00::/64"), Gateway: addr("fd00::1"), DHCP: true, Mode: "slaac"},
			}},
			{PortID: "0c0ffee0-0000-4000-8000-000000000001", NetworkID: "net-b", MAC: "fa:16:3e:60:32:84", Addresses: []serverdata.Address{
				{Addr: addr("192.168.7.9"), Prefix: netip.MustParsePrefix("192.168.4.0/22"), Gateway: addr("192.168.4.1"), DNS: []netip.Addr{addr("9.9.9.9"), addr("1.1.1.1")},
					Routes: []serverdata.Route{{Destination: netip.MustParsePrefix("172.16.0.0/12"), NextHop: addr("192.168.4.2")}}},
			}},
		},
	}
}

// TestGolden compares the whole tree with a file that was checked against the documented format.
func TestGolden(t *testing.T) {
	t.Parallel()
	tree := serverdata.Tree(server())
	var got bytes.Buffer
	seen := map[string]string{}
	for _, path := range slices.Sorted(maps.Keys(tree)) {
		body := readable(path, tree[path])
		name := path[strings.LastIndex(path, "/"):]
		if first, ok := seen[name+body]; ok {
			got.WriteString("== " + path + " is " + first + "\n")
			continue
		}
		seen[name+body] = path
		got.WriteString("== " + path + "\n" + body)
	}
	const golden = "testdata/tree.txt"
	if *rewrite {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(golden, got.Bytes(), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), got.String(), "go test ./internal/serverdata -rewrite accepts the change")
}

// readable is a file with its JSON indented.
func readable(path string, body []byte) string {
	var out bytes.Buffer
	if strings.HasSuffix(path, ".json") && json.Indent(&out, body, "", "  ") == nil {
		return out.String()
	}
	return string(body)
}

// TestVersions checks when each part came, by the dates that OpenStack documents.
func TestVersions(t *testing.T) {
	t.Parallel()
	tree := serverdata.Tree(server())
	for _, v := range serverdata.Versions() {
		dir := "openstack/" + v + "/"
		var meta map[string]any
		require.NoError(t, json.Unmarshal(tree[dir+"meta_data.json"], &meta))
		for what, since := range map[string]string{"uuid": "2012-08-10", "random_seed": "2013-04-04", "project_id": "2015-10-15", "devices": "2016-06-30"} {
			_, has := meta[what]
			require.Equal(t, v >= since, has, "%s in %s", what, v)
		}
		for what, since := range map[string]string{"user_data": "2012-08-10", "vendor_data.json": "2013-10-17", "network_data.json": "2015-10-15", "vendor_data2.json": "2016-10-06"} {
			require.Equal(t, v >= since, tree[dir+what] != nil, "%s in %s", what, v)
		}
	}
}

// TestEmpty is the least that a server can be: lists are empty, never null.
func TestEmpty(t *testing.T) {
	t.Parallel()
	tree := serverdata.Tree(&serverdata.Server{ID: "5d4a25f3-8b8c-4d1b-9f8e-1f4be6d5a111", Name: "a", Hostname: "a", Domain: "novalocal"})
	require.JSONEq(t, `{"links":[],"networks":[],"services":[]}`, string(tree["openstack/latest/network_data.json"]))
	require.JSONEq(t, `{"uuid":"5d4a25f3-8b8c-4d1b-9f8e-1f4be6d5a111","hostname":"a.novalocal","name":"a","launch_index":0,"availability_zone":"","devices":[]}`,
		string(tree["openstack/latest/meta_data.json"]))
	for path := range tree {
		require.NotContains(t, path, "user")
		require.NotContains(t, path, "content")
	}
}

func TestInstanceID(t *testing.T) {
	t.Parallel()
	require.Regexp(t, "^i-[0-9a-f]{8}$", serverdata.InstanceID("5d4a25f3-8b8c-4d1b-9f8e-1f4be6d5a111"))
	require.NotEqual(t, serverdata.InstanceID("a"), serverdata.InstanceID("b"))
}
