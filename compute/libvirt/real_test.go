//go:build libvirt && linux

package libvirt_test

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	binding "libvirt.org/go/libvirt"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/compute/computetest"
	"github.com/nubecula/cloud/compute/libvirt"
	"github.com/nubecula/cloud/internal/id"
	"github.com/nubecula/cloud/network/networkdriver"
)

// wait is how long a guest may take for anything: emulated, on a busy machine.
const wait = 5 * time.Minute

// real is a real libvirtd, as internal/real/kvm-suite.sh sets it up.
type real struct {
	uri    string
	state  string // a directory that QEMU's user can reach
	image  string // guest.qcow2 of internal/real/guest-image.sh
	bridge string // "" means user-mode networks
	host   string // the command internal/real/kvm-host.sh; "" means that libvirtd must not be restarted
}

func realHost(t *testing.T) real {
	r := real{
		uri:    os.Getenv("NUBECULA_LIBVIRT_URI"),
		state:  os.Getenv("NUBECULA_LIBVIRT_STATE"),
		image:  os.Getenv("NUBECULA_GUEST_IMAGE"),
		bridge: os.Getenv("NUBECULA_LIBVIRT_BRIDGE"),
		host:   os.Getenv("NUBECULA_KVM_HOST"),
	}
	if r.uri == "" || r.state == "" || r.image == "" {
		t.Skip("no real libvirtd: run internal/real/kvm-suite.sh, or set NUBECULA_LIBVIRT_URI, NUBECULA_LIBVIRT_STATE and NUBECULA_GUEST_IMAGE")
	}
	return r
}

func (r real) open(t *testing.T) *libvirt.Driver {
	d, err := libvirt.New(libvirt.Options{URI: r.uri, StateDir: r.state, VirtType: "qemu"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

func (r real) base(t *testing.T) *computedriver.Base {
	data, err := os.ReadFile(r.image)
	require.NoError(t, err)
	sum := sha512.Sum512(data)
	return &computedriver.Base{
		ID: id.Random(), Format: "qcow2", SizeBytes: int64(len(data)), SHA512: hex.EncodeToString(sum[:]),
		Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	}
}

func (r real) binding() networkdriver.Binding {
	if r.bridge == "" {
		return networkdriver.Binding{User: &networkdriver.User{}}
	}
	return networkdriver.Binding{Tap: &networkdriver.Tap{Bridge: r.bridge}}
}

// qemu returns the process that runs a guest.
func qemu(t *testing.T, guest string) *os.Process {
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, path := range lines {
		text, err := os.ReadFile(path)
		if err == nil && bytes.Contains(text, []byte("guest=nubecula-"+guest)) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			require.NoError(t, err)
			p, err := os.FindProcess(pid)
			require.NoError(t, err)
			return p
		}
	}
	require.Fail(t, "no QEMU runs the guest", guest)
	return nil
}

func TestConformance(t *testing.T) {
	t.Parallel()
	r := realHost(t)
	computetest.Run(t, computetest.Harness{
		New: func(t *testing.T) computetest.Host {
			return computetest.Host{
				Open:        func(t *testing.T) computedriver.Hypervisor { return r.open(t) },
				ConfigDrive: r.readConfigDrive,
				Crash: func(t *testing.T, id string) {
					require.NoError(t, qemu(t, id).Kill())
				},
				PowerOff: func(t *testing.T, id string) { // to libvirt the same as a guest's own power off
					require.NoError(t, qemu(t, id).Signal(syscall.SIGTERM))
				},
				Tear:    r.undefine,
				Foreign: r.foreign,
			}
		},
		Wait:       computetest.Poll(wait),
		Limit:      wait,
		Grace:      3 * time.Second,
		Many:       6,
		Binding:    r.binding(),
		Shape:      func(g *computedriver.Guest) { g.MemoryMiB = 192 },
		Base:       r.base(t),
		BootMarker: "GUEST-BOOT",
	})
}

func (r real) readConfigDrive(t *testing.T, ref computedriver.Ref) map[string][]byte {
	file := filepath.Join(r.state, "guests", ref.ID, "config.iso")
	if _, err := os.Stat(file); os.IsNotExist(err) {
		return nil
	}
	list, err := exec.Command("isoinfo", "-R", "-f", "-i", file).Output()
	require.NoError(t, err)
	files := map[string][]byte{}
	all := strings.Split(strings.TrimSpace(string(list)), "\n")
	for i, path := range all {
		if i+1 < len(all) && strings.HasPrefix(all[i+1], path+"/") || strings.Count(path, "/") < 3 {
			continue // a directory
		}
		files[path[1:]], err = exec.Command("isoinfo", "-R", "-x", path, "-i", file).Output()
		require.NoError(t, err)
	}
	return files
}

// undefine takes a guest's domain away as an administrator would, and leaves its disk.
func (r real) undefine(t *testing.T, id string) {
	c, err := binding.NewConnect(r.uri)
	require.NoError(t, err)
	dom, err := c.LookupDomainByUUIDString(id)
	require.NoError(t, err)
	require.NoError(t, dom.Undefine())
	require.NoError(t, dom.Free())
	_, err = c.Close()
	require.NoError(t, err)
}

// foreign defines a domain as an administrator would.
func (r real) foreign(t *testing.T) string {
	c, err := binding.NewConnect(r.uri)
	require.NoError(t, err)
	name := "foreign-" + id.Random()
	dom, err := c.DomainDefineXML(fmt.Sprintf(
		`<domain type="qemu"><name>%s</name><memory unit="MiB">64</memory><os><type>hvm</type></os></domain>`, name))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, dom.Undefine())
		require.NoError(t, dom.Free())
		_, err := c.Close()
		require.NoError(t, err)
	})
	return name
}
