package nova

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// documented holds, per resource, the fields that each version must and may show.
type documented map[string]map[int]map[string]bool // resource -> minor -> field -> optional

// readFields reads testdata/fields.txt.
func readFields(t *testing.T) documented {
	file, err := os.Open("testdata/fields.txt")
	require.NoError(t, err)
	defer file.Close()
	type change struct {
		minor int
		words []string
	}
	changes := map[string][]change{}
	resource := ""
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case line == "" || line[0] == '#':
		case line[0] != ' ':
			resource = line
		default:
			at, words, ok := strings.Cut(strings.TrimSpace(line), ":")
			require.True(t, ok, line)
			n, err := strconv.Atoi(strings.TrimPrefix(at, "2."))
			require.NoError(t, err)
			changes[resource] = append(changes[resource], change{n, strings.Fields(words)})
		}
	}
	require.NoError(t, lines.Err())
	out := documented{}
	for resource, list := range changes {
		out[resource] = map[int]map[string]bool{}
		now := map[string]bool{}
		for minor := 1; minor <= newest; minor++ {
			for _, c := range list {
				if c.minor != minor {
					continue
				}
				for _, w := range c.words {
					if gone, ok := strings.CutPrefix(w, "-"); ok {
						delete(now, gone)
						continue
					}
					name, optional := strings.CutSuffix(w, "?")
					now[name] = optional
				}
			}
			out[resource][minor] = map[string]bool{}
			for k, v := range now {
				out[resource][minor][k] = v
			}
		}
	}
	return out
}

// check compares what is shown with what is documented, in every version.
func (d documented) check(t *testing.T, resource string, absentToo []string, show func(minor int) object) {
	t.Helper()
	require.Contains(t, d, resource)
	for minor := 1; minor <= newest; minor++ {
		doc := show(minor)
		for name, optional := range d[resource][minor] {
			if _, shown := doc[name]; !shown && !optional && !slices.Contains(absentToo, name) {
				t.Errorf("%s at 2.%d lacks %s", resource, minor, name)
			}
		}
		for name := range doc {
			if _, known := d[resource][minor][name]; !known {
				t.Errorf("%s at 2.%d has %s, which that version has not", resource, minor, name)
			}
		}
	}
}

// all checks that optional fields are there, too, where they should be.
func (d documented) all(t *testing.T, resource string, but []string, show func(minor int) object) {
	t.Helper()
	d.check(t, resource, but, show)
	for minor := 1; minor <= newest; minor++ {
		doc := show(minor)
		for name := range d[resource][minor] {
			if _, shown := doc[name]; !shown && !slices.Contains(but, name) {
				t.Errorf("%s at 2.%d lacks %s", resource, minor, name)
			}
		}
	}
}

func at(minor int) *rest.Request {
	return &rest.Request{Version: rest.V(2, minor), Principal: &identity.Principal{}}
}

func testServer() *compute.Server {
	return &compute.Server{
		ID: "5d2c3b0e-5c4f-4d8f-9a2b-111111111111", Name: "web", Hostname: "web", ProjectID: "p1", UserID: "u1",
		ImageID:  "7d2c3b0e-5c4f-4d8f-9a2b-222222222222",
		Flavor:   compute.Flavor{ID: "1", Name: "m1.tiny", VCPUs: 1, MemoryMiB: 512, DiskGiB: 1, Public: true, RxTxFactor: 1},
		Metadata: map[string]string{"a": "b"}, Tags: []string{"t"}, VMState: compute.Active, PowerState: compute.PowerRunning,
		Host: "host-1", HostID: "h1", Zone: "nova", GroupNames: []string{"default"}, RootDevice: "/dev/vda",
		CreatedAt: time.Unix(1e9, 0), UpdatedAt: time.Unix(1e9, 0), LaunchedAt: time.Unix(1e9, 5000), HostStatus: "UP",
		Addresses: []compute.Address{{Network: "private", MAC: "fa:16:3e:00:00:01", Addr: netip.MustParseAddr("10.0.0.5"), Type: "fixed"}},
	}
}

func TestServerFieldsInEveryVersion(t *testing.T) {
	t.Parallel()
	fields := readFields(t)
	view := func(minor int, hosts, listed bool) object {
		v := &serverView{Server: testServer(), r: at(minor), hosts: hosts, listed: listed}
		return show(show(object{}, serverFields, v, minor), moreServerFields, v, minor)
	}
	// An administrator sees everything; there is no fault.
	fields.all(t, "server show", []string{"fault"}, func(n int) object { return view(n, true, false) })
	fields.all(t, "server detail", []string{"fault"}, func(n int) object { return view(n, true, true) })
	fields.check(t, "server show", nil, func(n int) object { return view(n, false, false) })
	fields.check(t, "server detail", nil, func(n int) object { return view(n, false, true) })
	fields.all(t, "server index", nil, func(n int) object { return serverBrief(at(n), testServer()) })
	fields.all(t, "server update", []string{"fault"}, func(n int) object {
		v := &serverView{Server: testServer(), r: at(n), hosts: true}
		doc := show(object{}, serverFields, v, n)
		if n >= 75 {
			show(doc, moreServerFields, v, n)
		}
		return doc
	})
}

func TestOnlyAdministratorsSeeHosts(t *testing.T) {
	t.Parallel()
	for n := 1; n <= newest; n++ {
		v := &serverView{Server: testServer(), r: at(n)}
		v.Fault = &compute.Fault{Code: 500, Message: "no host", Details: "host-1: too small"}
		v.VMState = compute.Error
		doc := show(show(object{}, serverFields, v, n), moreServerFields, v, n)
		for name := range doc {
			hidden := strings.HasPrefix(name, "OS-EXT-SRV-ATTR:") && (n < 90 || name != "OS-EXT-SRV-ATTR:hostname")
			require.False(t, hidden || name == "host_status", "a user sees %s at 2.%d", name, n)
		}
		require.NotContains(t, doc["fault"], "details")
		require.NotContains(t, fmt.Sprint(doc), "host-1")
	}
}

// TestWriteAsShow: the two ways to show a thing have the same fields, each once.
func TestWriteAsShow(t *testing.T) {
	t.Parallel()
	for n := 1; n <= newest; n++ {
		v := &serverView{Server: testServer(), r: at(n), hosts: true}
		want := show(show(object{}, serverFields, v, n), moreServerFields, v, n)
		got := write(write(nil, serverFields, v, n), moreServerFields, v, n)
		require.Len(t, got, len(want))
		for _, f := range got {
			require.Equal(t, want[f.Name], f.Value)
		}
	}
}

func TestServerValues(t *testing.T) {
	t.Parallel()
	v := &serverView{Server: testServer(), r: at(96), hosts: true}
	doc := show(show(object{}, serverFields, v, 96), moreServerFields, v, 96)
	require.Equal(t, "ACTIVE", doc["status"])
	require.Equal(t, "2001-09-09T01:46:40Z", doc["created"])
	require.Equal(t, "2001-09-09T01:46:40.000005", doc["OS-SRV-USG:launched_at"])
	require.Nil(t, doc["OS-SRV-USG:terminated_at"])
	require.Equal(t, "", doc["config_drive"])
	require.Equal(t, "", doc["accessIPv4"])
	require.Equal(t, "MANUAL", doc["OS-DCF:diskConfig"])
	require.Nil(t, doc["key_name"])
	require.Nil(t, doc["pinned_availability_zone"])
	addresses, err := json.Marshal(doc["addresses"])
	require.NoError(t, err)
	require.JSONEq(t, `{"private": [{"addr": "10.0.0.5", "version": 4, "OS-EXT-IPS:type": "fixed", "OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:00:00:01"}]}`, string(addresses))
	require.Len(t, hostID("p1", "host-1"), 56)
	require.NotEqual(t, hostID("p1", "host-1"), hostID("p2", "host-1"), "the same host looks different to another project")
	require.Empty(t, hostID("p1", ""))

	v.VMState, v.ImageID, v.Host = compute.Building, "", ""
	doc = show(object{}, serverFields, v, 96)
	require.Equal(t, object{}, doc["addresses"], "addresses are hidden while the server is being built")
	require.Equal(t, "", doc["image"])
	require.Equal(t, 0, doc["progress"])
}

func TestFlavorFieldsInEveryVersion(t *testing.T) {
	t.Parallel()
	fields := readFields(t)
	view := func(list []field[flavorView]) func(n int) object {
		return func(n int) object { return show(object{}, list, flavorView{&testServer().Flavor, at(n)}, n) }
	}
	for _, resource := range []string{"flavor show", "flavor detail", "flavor create"} {
		fields.all(t, resource, nil, view(flavorFields()))
	}
	fields.all(t, "flavor index", nil, view(flavorBriefFields()))
	require.Equal(t, "", view(flavorFields())(74)["swap"])
	require.Equal(t, int64(0), view(flavorFields())(75)["swap"])
	var embedded []string
	for _, f := range (&serverView{Server: testServer()}).flavor().(rest.Doc) {
		embedded = append(embedded, f.Name)
	}
	require.Equal(t, []string{"original_name", "vcpus", "ram", "disk", "ephemeral", "swap", "extra_specs"}, embedded)
}

func TestOtherFieldsInEveryVersion(t *testing.T) {
	t.Parallel()
	fields := readFields(t)
	pair := &compute.Keypair{Name: "k", Type: compute.SSH, PrivateKey: "secret"}
	fields.all(t, "keypair index", nil, func(n int) object { return show(object{}, keypairListFields(), pair, n) })
	fields.all(t, "keypair show", nil, func(n int) object { return show(object{}, keypairFields(), pair, n) })
	fields.all(t, "keypair create", nil, func(n int) object { return show(object{}, keypairCreateFields(), pair, n) })

	host := &compute.Host{ID: "5d2c3b0e-5c4f-4d8f-9a2b-111111111111", Name: "host-1"}
	some := hypervisorView{Host: host, servers: []*compute.Server{testServer()}}
	fields.check(t, "hypervisor index", nil, func(n int) object { return show(object{}, hypervisorBriefFields(), hypervisorView{Host: host}, n) })
	for _, resource := range []string{"hypervisor show", "hypervisor detail"} {
		fields.check(t, resource, nil, func(n int) object { return show(object{}, hypervisorFields(), hypervisorView{Host: host}, n) })
		fields.all(t, resource, []string{"servers", "disk_available_least"}, func(n int) object {
			if n < 53 {
				return show(object{}, hypervisorFields(), hypervisorView{Host: host}, n)
			}
			return show(object{}, hypervisorFields(), some, n)
		})
	}
	none := hypervisorView{Host: host, servers: []*compute.Server{}}
	require.NotContains(t, show(object{}, hypervisorBriefFields(), none, 74), "servers")
	require.Contains(t, show(object{}, hypervisorBriefFields(), none, 75), "servers")
	require.IsType(t, int64(0), show(object{}, hypervisorBriefFields(), none, 52)["id"])
	require.Equal(t, host.ID, show(object{}, hypervisorBriefFields(), none, 53)["id"])
	require.IsType(t, "", show(object{}, hypervisorFields(), none, 27)["cpu_info"])
	require.IsType(t, object{}, show(object{}, hypervisorFields(), none, 28)["cpu_info"])

	fields.all(t, "service index", nil, func(n int) object { return show(object{}, serviceFields(), host, n) })
	port := &compute.Interface{}
	fields.all(t, "interface", nil, func(n int) object { return show(object{}, interfaceFields(), port, n) })

	act := &compute.Action{}
	fields.all(t, "action index", nil, func(n int) object { return show(object{}, actionFields(), act, n) })
	step := &compute.ActionEvent{}
	fields.all(t, "action event", nil, func(n int) object { return show(object{}, eventFields(), eventView{step, "p", true}, n) })
	fields.check(t, "action event", nil, func(n int) object { return show(object{}, eventFields(), eventView{step, "p", false}, n) })
}

func TestQuotaFieldsInEveryVersion(t *testing.T) {
	t.Parallel()
	fields := readFields(t)
	set := compute.QuotaSet{"cores": {Limit: 7, Used: 3}}
	fields.all(t, "quota show", nil, func(n int) object { return quotaView(at(n), set, "p", false, false)["quota_set"].(object) })
	fields.all(t, "quota detail", nil, func(n int) object { return quotaView(at(n), set, "p", false, true)["quota_set"].(object) })
	fields.all(t, "quota class", nil, func(n int) object { return quotaView(at(n), set, "default", true, false)["quota_class_set"].(object) })
	fields.all(t, "limits", nil, func(n int) object { return absoluteLimits(set, n) })
	require.Equal(t, object{"limit": int64(7), "in_use": int64(3), "reserved": 0}, quotaView(at(96), set, "p", false, true)["quota_set"].(object)["cores"])
	require.Equal(t, int64(3), absoluteLimits(set, 1)["totalCoresUsed"])
	require.Equal(t, int64(-1), absoluteLimits(set, 1)["maxSecurityGroups"])
}

func TestExtraSpecRules(t *testing.T) {
	t.Parallel()
	for spec, wrong := range map[[2]string]bool{
		{"hw:cpu_policy", "dedicated"}: false, {"hw:cpu_policy", "fast"}: true, {"hw:color", "red"}: true,
		{"hw:numa_nodes", "0"}: true, {"hw:numa_nodes", "2"}: false, {"hw:numa_cpus.1", "0-3,^2"}: false, {"hw:mem_page_size", "2MB"}: false,
		{"hw:boot_menu", "perhaps"}: true, {"hw:boot_menu", "True"}: false, {"hw_rng:allowed", "true"}: false,
		{"quota:cpu_quota", "-1"}: false, {"quota:disk_read_bytes_sec", "many"}: true, {"quota:vif_outbound_peak", "5"}: false,
		{"resources:VCPU", "1"}: false, {"resources1:CUSTOM_FPGA", "1"}: false, {"resources:SPOONS", "1"}: true, {"resources:VCPU", "-1"}: true,
		{"trait:HW_CPU_X86_AVX2", "required"}: false, {"trait_a:HW_CPU_X86_AVX2", "forbidden"}: false, {"trait:CUSTOM_X", "wanted"}: true,
		{"capabilities:cpu_info:arch", "x86_64"}: false, {"capabilities:nothing", "x"}: true, {"aggregate_instance_extra_specs:any", "x"}: false,
		{"own:anything", "x"}: false, {"anything", "x"}: false, {"group_policy", "isolate"}: false, {"group_policy", "share"}: true,
	} {
		err := checkSpecs(map[string]string{spec[0]: spec[1]}, 86)
		require.Equal(t, wrong, err != nil, "%s=%s: %v", spec[0], spec[1], err)
		require.NoError(t, checkSpecs(map[string]string{spec[0]: spec[1]}, 85))
	}
}
