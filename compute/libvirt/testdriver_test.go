//go:build libvirt && linux

package libvirt

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/compute/computetest"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/id"
)

// openTest returns a driver on libvirt's own fake, which has one state for all connections of a process.
func openTest(t *testing.T, dir string) *Driver {
	d, err := New(Options{URI: "test:///default", StateDir: dir, HostID: "6b0a1d43-ab9d-4a5c-8c53-6e1ef8a8a0d1"})
	require.NoError(t, err)
	d.opts.VirtType, d.opts.Machine, d.opts.CPUMode = "test", "", "" // all that it knows
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

func TestConformanceOnFake(t *testing.T) {
	t.Parallel()
	keeper := openTest(t, t.TempDir()) // the fake forgets everything with its last connection
	_, err := keeper.Host(t.Context())
	require.NoError(t, err)
	computetest.Run(t, computetest.Harness{
		New: func(t *testing.T) computetest.Host {
			dir := t.TempDir()
			return computetest.Host{Open: func(t *testing.T) computedriver.Hypervisor { return openTest(t, dir) }}
		},
		Wait:  computetest.Poll(time.Minute),
		Limit: time.Minute,
		Many:  6,
	})
}

// torn is a driver on the fake, and a guest to be left half made.
func torn(t *testing.T) (*Driver, computedriver.Guest) {
	d := openTest(t, t.TempDir())
	g := testGuest()
	g.Mark.ID = id.Random()
	t.Cleanup(func() {
		require.NoError(t, d.Undefine(context.Background(), computedriver.Ref{ID: g.Mark.ID, Generation: 100}))
	})
	return d, g
}

func power(t *testing.T, d *Driver, m computedriver.Mark) computedriver.Power {
	all, err := d.Guests(t.Context())
	require.NoError(t, err)
	for _, s := range all {
		if s.Mark == m {
			return s.Power
		}
	}
	return ""
}

// breaks are the points where Define and Undefine can break off: how to get there, and what must be listed then.
var breaks = map[string]struct {
	leave  func(t *testing.T, d *Driver, g computedriver.Guest)
	listed computedriver.Power
}{
	"before the mark": {func(t *testing.T, d *Driver, g computedriver.Guest) {
		require.NoError(t, os.Mkdir(d.state.young(g.Mark.ID), 0o711))
	}, ""},
	"after the mark": {func(t *testing.T, d *Driver, g computedriver.Guest) {
		m := g.Mark
		require.NoError(t, d.state.make(record{Cloud: m.Cloud, ID: m.ID, Generation: m.Generation, Name: g.Name}))
	}, computedriver.Torn},
	"before the domain": {func(t *testing.T, d *Driver, g computedriver.Guest) {
		require.NoError(t, d.Define(t.Context(), g))
		undefineByHand(t, d, g)
	}, computedriver.Torn},
	"directory lost": {func(t *testing.T, d *Driver, g computedriver.Guest) {
		require.NoError(t, d.Define(t.Context(), g))
		require.NoError(t, d.state.remove(g.Mark.ID))
	}, computedriver.Torn},
}

func undefineByHand(t *testing.T, d *Driver, g computedriver.Guest) {
	s, err := d.pool.take(t.Context())
	require.NoError(t, err)
	defer d.pool.put(s)
	dom, _, err := find(s, g.Mark.ID)
	require.NoError(t, err)
	require.NoError(t, dom.Undefine())
	require.NoError(t, dom.Free())
}

func TestTorn(t *testing.T) {
	t.Parallel()
	for name, b := range breaks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for end, finish := range map[string]func(t *testing.T, d *Driver, g computedriver.Guest){
				"mended": func(t *testing.T, d *Driver, g computedriver.Guest) {
					require.NoError(t, d.Define(t.Context(), g))
					require.Equal(t, computedriver.Off, power(t, d, g.Mark))
					require.NoError(t, d.Start(t.Context(), g.Mark.Ref()))
					require.FileExists(t, filepath.Join(d.state.guest(g.Mark.ID), "root.qcow2"))
					require.FileExists(t, filepath.Join(d.state.guest(g.Mark.ID), "config.iso"))
				},
				"undefined": func(t *testing.T, d *Driver, g computedriver.Guest) {
					require.NoError(t, d.Undefine(t.Context(), g.Mark.Ref()))
					require.Empty(t, power(t, d, g.Mark))
					left, err := os.ReadDir(d.state.path("guests"))
					require.NoError(t, err)
					require.Empty(t, left)
					require.True(t, fault.Is(d.Define(t.Context(), g), fault.Stale))
				},
				"replaced": func(t *testing.T, d *Driver, g computedriver.Guest) {
					next := g
					next.Mark.Generation++
					require.NoError(t, d.Define(t.Context(), next))
					require.Equal(t, computedriver.Off, power(t, d, next.Mark))
					require.True(t, fault.Is(d.Define(t.Context(), g), fault.Stale))
				},
			} {
				t.Run(end, func(t *testing.T) {
					t.Parallel()
					d, g := torn(t)
					b.leave(t, d, g)
					require.Equal(t, b.listed, power(t, d, g.Mark))
					finish(t, d, g)
				})
			}
		})
	}
}

// TestUndefineBrokeOff: the tombstone is there, the guest is still.
func TestUndefineBrokeOff(t *testing.T) {
	t.Parallel()
	d, g := torn(t)
	require.NoError(t, d.Define(t.Context(), g))
	require.NoError(t, d.state.bury(g.Mark.ID, g.Mark.Generation))
	require.True(t, fault.Is(d.Start(t.Context(), g.Mark.Ref()), fault.Stale))
	require.True(t, fault.Is(d.Define(t.Context(), g), fault.Stale))
	require.Equal(t, computedriver.Off, power(t, d, g.Mark))
	require.NoError(t, d.Undefine(t.Context(), g.Mark.Ref()))
	require.Empty(t, power(t, d, g.Mark))
}

// TestForeignUUID: an administrator's domain with a server's UUID is not ours to touch.
func TestForeignUUID(t *testing.T) {
	t.Parallel()
	d, g := torn(t)
	s, err := d.pool.take(t.Context())
	require.NoError(t, err)
	defer d.pool.put(s)
	dom, err := s.DomainDefineXML(`<domain type="test"><name>theirs-` + g.Mark.ID + `</name><uuid>` + g.Mark.ID +
		`</uuid><memory>1024</memory><os><type>hvm</type></os></domain>`)
	require.NoError(t, err)
	require.True(t, fault.Is(d.Define(t.Context(), g), fault.Exists))
	require.True(t, fault.Is(d.Start(t.Context(), g.Mark.Ref()), fault.NotFound))
	require.NoError(t, d.Undefine(t.Context(), g.Mark.Ref()))
	_, err = dom.GetInfo()
	require.NoError(t, err, "it must still be there")
	require.NoError(t, dom.Undefine())
	require.NoError(t, dom.Free())
}

func TestHostOverrides(t *testing.T) {
	t.Parallel()
	const host = "6b0a1d43-ab9d-4a5c-8c53-6e1ef8a8a0d2"
	node := filepath.Join(t.TempDir(), "node.xml")
	require.NoError(t, os.WriteFile(node, []byte(
		`<node><cpu><mhz>1000</mhz><model>i686</model><active>3</active><nodes>1</nodes><sockets>1</sockets><cores>3</cores><threads>1</threads></cpu><memory>8000000</memory></node>`), 0o600))
	o := Options{URI: "test://" + node, StateDir: t.TempDir(), HostID: host, Traits: map[string]string{"rack": "7"}}
	d, err := New(o)
	require.NoError(t, err)
	h, err := d.Host(t.Context())
	require.NoError(t, err)
	require.Equal(t, host, h.ID)
	require.Equal(t, 3, h.VCPUs)
	require.EqualValues(t, 8000000/1024, h.MemoryMiB)
	require.Equal(t, "7", h.Traits["rack"])
	require.NoError(t, d.Close())
	_, err = d.Host(t.Context())
	require.True(t, fault.Is(err, fault.Unavailable), "%v", err)

	o.VCPUs, o.MemoryMiB, o.DiskGiB, o.Address = 64, 1000, 10, "192.0.2.1"
	d, err = New(o)
	require.NoError(t, err)
	defer d.Close()
	h, err = d.Host(t.Context())
	require.NoError(t, err)
	require.Equal(t, 64, h.VCPUs)
	require.EqualValues(t, 1000, h.MemoryMiB)
	require.EqualValues(t, 10, h.DiskGiB)
	require.Equal(t, "192.0.2.1", h.Address)
}

func TestNoLibvirtd(t *testing.T) {
	t.Parallel()
	d, err := New(Options{URI: "qemu+unix:///system?socket=/nonexistent/sock", StateDir: t.TempDir()})
	require.NoError(t, err, "libvirtd may come later")
	defer d.Close()
	_, err = d.Host(t.Context())
	require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
	require.ErrorContains(t, err, "/nonexistent/sock")
	_, err = d.Guests(t.Context())
	require.True(t, fault.Is(err, fault.Unavailable), "a listing that cannot be complete is an error: %v", err)
	g := testGuest()
	require.True(t, fault.Is(d.Undefine(t.Context(), g.Mark.Ref()), fault.Unavailable))
	require.True(t, fault.Is(d.Define(t.Context(), g), fault.Stale), "the tombstone is there already")
}
