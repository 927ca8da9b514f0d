package libvirt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"libvirt.org/go/libvirtxml"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/network/networkdriver"
)

const testID = "5f0c3b1e-7d2f-4a55-9f0e-0d7a3b1c9e11"

func testGuest() computedriver.Guest {
	return computedriver.Guest{
		Mark: computedriver.Mark{Cloud: "cloud-1", ID: testID, Generation: 7},
		Name: "web <1> & \"co\"", Hostname: "web-1", VCPUs: 2, MemoryMiB: 512,
		Root:        computedriver.Disk{SizeGiB: 3},
		ConfigDrive: map[string][]byte{"openstack/latest/meta_data.json": []byte("{}")},
	}
}

func nic(n int, b networkdriver.Binding) computedriver.NIC {
	return computedriver.NIC{
		PortID: "5f0c3b1e-7d2f-4a55-9f0e-00000000000" + string(rune('0'+n)), MAC: "fa:16:3e:00:00:0" + string(rune('0'+n)),
		MTU: 1442, Binding: b,
	}
}

// TestDomainXML compares with testdata/*.xml; NUBECULA_REWRITE=1 writes them anew.
func TestDomainXML(t *testing.T) {
	t.Parallel()
	f := files{root: "/state/guests/ID/root.qcow2", config: "/state/guests/ID/config.iso", console: "/state/guests/ID/console.log"}
	noDrive := f
	noDrive.config = ""
	for name, c := range map[string]struct {
		options Options
		files   files
		nics    []computedriver.NIC
	}{
		"kvm": {Options{VirtType: "kvm", StateDir: "/state"}, f, []computedriver.NIC{
			nic(1, networkdriver.Binding{OVS: &networkdriver.OVS{Bridge: "br-int", InterfaceID: "5f0c3b1e-7d2f-4a55-9f0e-000000000001"}}),
			nic(2, networkdriver.Binding{Tap: &networkdriver.Tap{Bridge: "br0", Device: "tap2"}}),
			nic(3, networkdriver.Binding{Tap: &networkdriver.Tap{Bridge: "br0"}}),
			nic(4, networkdriver.Binding{Tap: &networkdriver.Tap{Device: "tap4"}}),
		}},
		"qemu": {Options{VirtType: "qemu", StateDir: "/state", Machine: "pc"}, noDrive, []computedriver.NIC{
			nic(1, networkdriver.Binding{User: &networkdriver.User{}}),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, err := c.options.withDefaults()
			require.NoError(t, err)
			g := testGuest()
			g.NICs = c.nics
			got, err := o.domainXML(g, "x86_64", c.files)
			require.NoError(t, err)
			golden := filepath.Join("testdata", name+".xml")
			if os.Getenv("NUBECULA_REWRITE") != "" {
				require.NoError(t, os.WriteFile(golden, []byte(got+"\n"), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, strings.TrimSpace(string(want)), got)

			var d libvirtxml.Domain
			require.NoError(t, d.Unmarshal(got))
			mark, _, name := parseMark(d.Metadata.XML)
			require.Equal(t, g.Mark, mark)
			require.Equal(t, g.Name, name)
		})
	}
}

func TestMark(t *testing.T) {
	t.Parallel()
	for _, m := range []computedriver.Mark{
		{Cloud: "c", ID: testID, Generation: 1},
		{Cloud: `<&">'`, ID: testID, Generation: 1 << 40},
	} {
		text, err := markXML(m, 7, "a\tname")
		require.NoError(t, err)
		got, epoch, name := parseMark(text)
		require.EqualValues(t, 7, epoch)
		require.Equal(t, m, got)
		require.Equal(t, "a\tname", name)
	}
	for _, text := range []string{
		"", "<", "<guest/>", `<guest cloud="c" id="i" generation="0"/>`, `<guest cloud="c" id="i" generation="x"/>`,
		`<guest cloud="c" generation="1"/>`, `<guest id="i" generation="1"/>`, `<other cloud="c" id="i" generation="1"/>`,
	} {
		m, _, _ := parseMark(text)
		require.Equal(t, computedriver.Mark{}, m, text)
	}
}

func TestGuestRefused(t *testing.T) {
	t.Parallel()
	for field, change := range map[string]func(g *computedriver.Guest){
		"ID":           func(g *computedriver.Guest) { g.Mark.ID = "../../etc" },
		"Generation":   func(g *computedriver.Guest) { g.Mark.Generation = 0 },
		"Cloud":        func(g *computedriver.Guest) { g.Mark.Cloud = "" },
		"VCPUs":        func(g *computedriver.Guest) { g.VCPUs = 0 },
		"MemoryMiB":    func(g *computedriver.Guest) { g.MemoryMiB = -1 },
		"Root.SizeGiB": func(g *computedriver.Guest) { g.Root = computedriver.Disk{} },
	} {
		g := testGuest()
		require.NoError(t, checkGuest(g))
		change(&g)
		err := checkGuest(g)
		require.True(t, fault.Is(err, fault.Invalid), "%s: %v", field, err)
		require.Contains(t, err.Error(), field)
	}
	for _, n := range []computedriver.NIC{
		{MAC: "nonsense", Binding: networkdriver.Binding{User: &networkdriver.User{}}},
		{MAC: "fa:16:3e:00:00:01"},
		{MAC: "fa:16:3e:00:00:01", Binding: networkdriver.Binding{Tap: &networkdriver.Tap{}}},
	} {
		_, err := nicXML(n)
		require.True(t, fault.Is(err, fault.Invalid), "%+v: %v", n, err)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	o, err := Options{StateDir: "/s"}.withDefaults()
	require.NoError(t, err)
	require.Equal(t, "qemu:///system kvm q35 host-model qemu-img", strings.Join([]string{o.URI, o.VirtType, o.Machine, o.CPUMode, o.QemuImg}, " "))
	o, err = Options{StateDir: "/s", VirtType: "qemu"}.withDefaults()
	require.NoError(t, err)
	require.Equal(t, "maximum", o.CPUMode)

	_, err = Options{StateDir: "relative", VirtType: "auto", CPUMode: "fast", HostID: "name", VCPUs: -1, MemoryMiB: -1, DiskGiB: -1}.withDefaults()
	for _, field := range []string{"StateDir", "VirtType", "CPUMode", "HostID", "VCPUs", "MemoryMiB", "DiskGiB"} {
		require.ErrorContains(t, err, field, "all that is wrong is told at once")
	}
	_, err = Options{StateDir: "/s", VirtType: "qemu", CPUMode: "host-passthrough"}.withDefaults()
	require.True(t, fault.Is(err, fault.Invalid), "%v", err)
	_, err = New(Options{})
	require.True(t, fault.Is(err, fault.Invalid), "%v", err)
}
