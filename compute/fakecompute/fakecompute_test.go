package fakecompute_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/compute/fakecompute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/network/networkdriver"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestHostDefaults(t *testing.T) {
	t.Parallel()
	h, err := connect(t, fakecompute.Options{}).Host(t.Context())
	require.NoError(t, err)
	require.Equal(t, []int64{64, 256 << 10, 4 << 10}, []int64{int64(h.VCPUs), h.MemoryMiB, h.DiskGiB})
	require.Equal(t, "fake", h.Name)
	other, err := connect(t, fakecompute.Options{}).Host(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, h.ID, other.ID, "each machine has an id of its own")
}

func TestOptions(t *testing.T) {
	t.Parallel()
	_, err := fakecompute.New(fakecompute.Options{
		ID: "node-1", VCPUs: -1, Address: "somewhere", Dir: "d", Backend: fakecompute.NewBackend(),
	})
	require.Equal(t, fault.Invalid, fault.CodeOf(err))
	for _, field := range []string{"ID", "VCPUs", "Address", "Dir"} {
		require.ErrorContains(t, err, field)
	}
}

func TestDefineRefusesNonsense(t *testing.T) {
	t.Parallel()
	h := connect(t, fakecompute.Options{})
	for name, spoil := range map[string]func(*computedriver.Guest){
		"no id":         func(g *computedriver.Guest) { g.Mark.ID = "" },
		"path":          func(g *computedriver.Guest) { g.Mark.ID = "../g" },
		"no cloud":      func(g *computedriver.Guest) { g.Mark.Cloud = "" },
		"generation":    func(g *computedriver.Guest) { g.Mark.Generation = 0 },
		"no cpu":        func(g *computedriver.Guest) { g.VCPUs = 0 },
		"no memory":     func(g *computedriver.Guest) { g.MemoryMiB = 0 },
		"no disk":       func(g *computedriver.Guest) { g.Root = computedriver.Disk{} },
		"unreadable":    func(g *computedriver.Guest) { g.Root.Base = &computedriver.Base{ID: "i"} },
		"unbound port":  func(g *computedriver.Guest) { g.NICs = []computedriver.NIC{{PortID: "p", MAC: "m"}} },
		"nameless port": func(g *computedriver.Guest) { g.NICs = []computedriver.NIC{{MAC: "m", Binding: tap()}} },
	} {
		g := guest("g")
		spoil(&g)
		require.Equal(t, fault.Invalid.String(), fault.CodeOf(h.Define(t.Context(), g)).String(), name)
	}
	all, err := h.Guests(t.Context())
	require.NoError(t, err)
	require.Empty(t, all)
}

func tap() networkdriver.Binding {
	return networkdriver.Binding{Tap: &networkdriver.Tap{Bridge: "br-fake"}}
}

func TestConsoleTellsTheConfiguration(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"memory", "dir"} {
		m := clock.NewManual(start)
		o := fakecompute.Options{Clock: m}
		if where == "dir" {
			o.Dir = t.TempDir()
		}
		h := connect(t, o)
		g := guest("g1")
		g.NICs = []computedriver.NIC{{PortID: "p1", MAC: "fa:16:3e:00:00:01", MTU: 1442, Binding: tap()}}
		require.NoError(t, h.Define(t.Context(), g))
		require.NoError(t, h.Start(t.Context(), g.Mark.Ref()))
		boot := `Linux version 6.1.0-fake (nubecula) 2 vcpus, 1024 MiB
GUEST-BOOT 2026-01-02T03:04:05Z
GUEST-LINK eth0 fa:16:3e:00:00:01 port=p1 via=bridge mtu=1442
GUEST-CONFIGDRIVE /dev/vdb
GUEST-META uuid="g1" hostname="g1.novalocal"
GUEST-KEY "mine" "ssh-ed25519 AAAA me@here"
GUEST-USERDATA 21 bytes
GUEST-READY host=g1.novalocal cpus=2 mem=1024
g1.novalocal login: 
`
		require.Equal(t, boot, output(t, h, g))

		m.Advance(time.Minute)
		require.NoError(t, h.Reboot(t.Context(), g.Mark.Ref()))
		require.NoError(t, h.Stop(t.Context(), g.Mark.Ref(), time.Second))
		out := output(t, h, g)
		require.Contains(t, out, "reboot: Restarting system\nLinux version")
		require.Contains(t, out, "GUEST-BOOT 2026-01-02T03:05:05Z")
		require.Contains(t, out, "GUEST-SHUTDOWN")

		require.NoError(t, h.Start(t.Context(), g.Mark.Ref()))
		require.NoError(t, h.Stop(t.Context(), g.Mark.Ref(), 0))
		require.NotContains(t, output(t, h, g)[len(out):], "GUEST-SHUTDOWN", "nobody asked it to")
	}
}

func output(t *testing.T, h *fakecompute.Hypervisor, g computedriver.Guest) string {
	t.Helper()
	out, err := h.ConsoleOutput(t.Context(), g.Mark.Ref(), 1<<20)
	require.NoError(t, err)
	return string(out)
}

func TestConsoleWithoutOrWithBadConfiguration(t *testing.T) {
	t.Parallel()
	h := connect(t, fakecompute.Options{})
	none, bad := guest("none"), guest("bad")
	none.ConfigDrive = nil
	bad.ConfigDrive = map[string][]byte{"openstack/latest/meta_data.json": []byte("{")}
	for g, want := range map[*computedriver.Guest]string{&none: "GUEST-NOCONFIGDRIVE", &bad: "GUEST-BADMETA"} {
		require.NoError(t, h.Define(t.Context(), *g))
		require.NoError(t, h.Start(t.Context(), g.Mark.Ref()))
		out := output(t, h, *g)
		require.Contains(t, out, want)
		require.Contains(t, out, "GUEST-READY host=host-of-"+g.Mark.ID)
		require.NotContains(t, out, "GUEST-USERDATA")
	}
}

func TestDefinedIsACopy(t *testing.T) {
	t.Parallel()
	h := connect(t, fakecompute.Options{})
	g := guest("g")
	const path = "openstack/latest/user_data"
	want := string(g.ConfigDrive[path])
	require.NoError(t, h.Define(t.Context(), g))
	g.ConfigDrive[path][0] = 'X' // the caller's buffer
	got, found, err := h.Backend().Defined("g")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, want, string(got.ConfigDrive[path]))
	got.ConfigDrive[path][0] = 'Y'
	got, _, err = h.Backend().Defined("g")
	require.NoError(t, err)
	require.Equal(t, want, string(got.ConfigDrive[path]))
	require.Equal(t, guest("g"), got)
	_, found, err = h.Backend().Defined("other")
	require.NoError(t, err)
	require.False(t, found)
}

// TestConfigDriveInOneBuffer: paths that share a buffer share what is kept, also in files, and nothing of what is handed out.
func TestConfigDriveInOneBuffer(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"", t.TempDir()} {
		h := connect(t, fakecompute.Options{Dir: dir})
		g := guest("g")
		shared := bytes.Repeat([]byte("shared "), 1000)
		g.ConfigDrive["a/data"], g.ConfigDrive["b/data"], g.ConfigDrive["c/data"] = shared, shared, bytes.Clone(shared)
		g.ConfigDrive["part"], g.ConfigDrive["empty"], g.ConfigDrive["too"] = shared[:7], []byte{}, []byte{}
		require.NoError(t, h.Define(t.Context(), g))
		got, _, err := h.Backend().Defined("g")
		require.NoError(t, err)
		require.Equal(t, g.ConfigDrive, got.ConfigDrive)
		got.ConfigDrive["a/data"][0] = 'X'
		require.Equal(t, shared, got.ConfigDrive["b/data"])
		if dir == "" {
			continue
		}
		file := filepath.Join(dir, "documents.log")
		journal, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Less(t, len(journal), 3*len(shared))
		require.NoError(t, os.WriteFile(file, bytes.Replace(journal, []byte(`"part":"`), []byte(`"part":"!`), 1), 0o600))
		_, _, err = connect(t, fakecompute.Options{Dir: dir}).Backend().Defined("g")
		require.Equal(t, fault.Corrupt, fault.CodeOf(err))
		require.ErrorContains(t, err, `"part"`)
	}
}

func TestStopWaitsForADeafGuest(t *testing.T) {
	t.Parallel()
	m := clock.NewManual(start)
	h := connect(t, fakecompute.Options{Clock: m})
	g := guest("g")
	require.NoError(t, h.Define(t.Context(), g))
	require.NoError(t, h.Start(t.Context(), g.Mark.Ref()))
	h.Backend().IgnoreShutdown("g", true)

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- h.Stop(ctx, g.Mark.Ref(), time.Minute) }()
	waitForTimer(m)
	m.Advance(59 * time.Second)
	require.Equal(t, computedriver.Running, power(t, h, "g"))
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	require.Equal(t, computedriver.Running, power(t, h, "g"), "whoever asked gave up before the power was cut")

	go func() { done <- h.Stop(t.Context(), g.Mark.Ref(), time.Minute) }()
	waitForTimer(m)
	m.Advance(time.Minute)
	require.NoError(t, <-done)
	require.Equal(t, computedriver.Off, power(t, h, "g"))
	require.NotContains(t, output(t, h, g), "GUEST-SHUTDOWN")
	require.NoError(t, h.Stop(t.Context(), g.Mark.Ref(), time.Minute), "it is off: there is nothing to wait for")
}

// waitForTimer returns when somebody sleeps on the clock.
func waitForTimer(m *clock.Manual) {
	for {
		if _, waiting := m.Next(); waiting {
			return
		}
		runtime.Gosched()
	}
}

func power(t testing.TB, h *fakecompute.Hypervisor, id string) computedriver.Power {
	t.Helper()
	all, err := h.Backend().Guests()
	require.NoError(t, err)
	for _, s := range all {
		if s.Mark.ID == id {
			return s.Power
		}
	}
	return "absent"
}

func TestCountsShowDoubleEffects(t *testing.T) {
	t.Parallel()
	h := connect(t, fakecompute.Options{})
	g := guest("g")
	for range 3 {
		require.NoError(t, h.Define(t.Context(), g))
		require.NoError(t, h.Start(t.Context(), g.Mark.Ref()))
	}
	require.Equal(t, fakecompute.Counts{Defines: 1, Starts: 1}, h.Backend().Counts("g"))
	for range 3 {
		require.NoError(t, h.Stop(t.Context(), g.Mark.Ref(), 0))
		require.NoError(t, h.Start(t.Context(), g.Mark.Ref()))
	}
	require.NoError(t, h.Undefine(t.Context(), g.Mark.Ref()))
	require.NoError(t, h.Undefine(t.Context(), g.Mark.Ref()))
	require.Equal(t, fakecompute.Counts{Defines: 1, Starts: 4, Stops: 3, Undefines: 1}, h.Backend().Counts("g"))
	require.Zero(t, h.Backend().Counts("other"))
}

func TestFaults(t *testing.T) {
	t.Parallel()
	plan := inject.NewPlan(clock.NewManual(start), 1)
	b := fakecompute.NewBackend()
	h := connect(t, fakecompute.Options{Name: "host-1", Backend: b, Faults: plan})
	other := connect(t, fakecompute.Options{Name: "host-2", Faults: plan})
	mine := errors.New("mine")
	plan.Fail(inject.Rule{Driver: "host-1", Method: "Define", Object: "before", Times: 1, Err: mine})
	plan.Fail(inject.Rule{Driver: "host-1", Method: "Define", Object: "after", Times: 1, When: inject.After})

	g := guest("before")
	require.ErrorIs(t, h.Define(t.Context(), g), mine)
	require.Equal(t, computedriver.Power("absent"), power(t, h, "before"))
	require.NoError(t, other.Define(t.Context(), g), "the rule is about another host")
	require.NoError(t, h.Define(t.Context(), g))

	g = guest("after")
	require.Equal(t, fault.Unavailable, fault.CodeOf(h.Define(t.Context(), g)))
	require.Equal(t, computedriver.Off, power(t, h, "after"), "a lost reply")
	require.NoError(t, h.Define(t.Context(), g))
	require.Equal(t, 1, b.Counts("after").Defines)
	require.Contains(t, plan.Calls(), inject.Call{Driver: "host-2", Method: "Define", Object: "before"})
}

func TestDown(t *testing.T) {
	t.Parallel()
	h := connect(t, fakecompute.Options{})
	on, off := guest("on"), guest("off")
	require.NoError(t, h.Define(t.Context(), on))
	require.NoError(t, h.Start(t.Context(), on.Mark.Ref()))
	require.NoError(t, h.Define(t.Context(), off))

	h.Backend().SetDown(fault.New(fault.Unavailable, "the cable is out"))
	calls := map[string]func() error{
		"Host":     func() error { _, err := h.Host(t.Context()); return err },
		"Define":   func() error { return h.Define(t.Context(), on) },
		"Start":    func() error { return h.Start(t.Context(), on.Mark.Ref()) },
		"Stop":     func() error { return h.Stop(t.Context(), on.Mark.Ref(), 0) },
		"Undefine": func() error { return h.Undefine(t.Context(), on.Mark.Ref()) },
		"Guests":   func() error { _, err := h.Guests(t.Context()); return err },
		"Reboot":   func() error { return h.Reboot(t.Context(), on.Mark.Ref()) },
		"Console":  func() error { _, err := h.ConsoleOutput(t.Context(), on.Mark.Ref(), 9); return err },
		"Watch":    func() error { return h.Watch(t.Context(), func(computedriver.Hint) {}) },
	}
	for name, call := range calls {
		require.Equal(t, fault.Unavailable.String(), fault.CodeOf(call()).String(), name)
	}
	require.Equal(t, computedriver.Running, power(t, h, "on"), "guests go on while the host does not answer")
	h.Backend().SetDown(nil)
	require.NoError(t, calls["Host"]())

	require.NoError(t, h.Backend().LosePower(start))
	require.Equal(t, fault.Unavailable, fault.CodeOf(calls["Host"]()))
	h.Backend().SetDown(nil)
	require.Equal(t, computedriver.Crashed, power(t, h, "on"))
	require.Equal(t, computedriver.Off, power(t, h, "off"))
}

func TestHooksRefuse(t *testing.T) {
	t.Parallel()
	h := connect(t, fakecompute.Options{})
	require.Equal(t, fault.NotFound, fault.CodeOf(h.Backend().Crash("g", start)))
	require.NoError(t, h.Define(t.Context(), guest("g")))
	require.Equal(t, fault.Conflict, fault.CodeOf(h.Backend().Crash("g", start)))
	require.Equal(t, fault.Conflict, fault.CodeOf(h.Backend().PowerOff("g", start)))
}

func TestTear(t *testing.T) {
	t.Parallel()
	h := connect(t, fakecompute.Options{})
	g := guest("g")
	require.NoError(t, h.Define(t.Context(), g))
	require.NoError(t, h.Backend().Tear("g"))
	require.Equal(t, computedriver.Torn, power(t, h, "g"))
	require.Equal(t, fault.Conflict, fault.CodeOf(h.Start(t.Context(), g.Mark.Ref())))
	require.NoError(t, h.Define(t.Context(), g))
	require.Equal(t, computedriver.Off, power(t, h, "g"))
	require.Equal(t, 2, h.Backend().Counts("g").Defines)
}

func TestForeignGuestsAreLeftAlone(t *testing.T) {
	t.Parallel()
	h := connect(t, fakecompute.Options{})
	require.NoError(t, h.Backend().AddForeign("g", computedriver.GuestState{Name: "by hand", Power: computedriver.Running}))
	g := guest("g")
	require.Equal(t, fault.Exists, fault.CodeOf(h.Define(t.Context(), g)))
	require.Equal(t, fault.NotFound, fault.CodeOf(h.Stop(t.Context(), g.Mark.Ref(), 0)))
	require.NoError(t, h.Undefine(t.Context(), g.Mark.Ref()))
	all, err := h.Guests(t.Context())
	require.NoError(t, err)
	require.Equal(t, []computedriver.GuestState{{Name: "by hand", Power: computedriver.Running}}, all)
}

func TestHints(t *testing.T) {
	t.Parallel()
	h := connect(t, fakecompute.Options{})
	got := make(chan computedriver.Hint, 100)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- h.Watch(ctx, func(hint computedriver.Hint) { got <- hint }) }()
	g := guest("g")
	for len(got) == 0 { // until the watch has begun
		require.NoError(t, h.Define(t.Context(), g))
		require.NoError(t, h.Start(t.Context(), g.Mark.Ref()))
		require.NoError(t, h.Stop(t.Context(), g.Mark.Ref(), 0))
	}
	for len(got) > 0 {
		<-got
	}
	require.NoError(t, h.Start(t.Context(), g.Mark.Ref()))
	require.NoError(t, h.Backend().Crash("g", start))
	require.NoError(t, h.Start(t.Context(), g.Mark.Ref()))
	require.NoError(t, h.Backend().PowerOff("g", start))
	require.NoError(t, h.Stop(t.Context(), g.Mark.Ref(), 0)) // no change, no hint
	require.NoError(t, h.Undefine(t.Context(), g.Mark.Ref()))
	stop()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.NoError(t, h.Define(t.Context(), guest("g2")), "nobody watches any more")
	close(got)
	var seen []string
	for hint := range got {
		require.Equal(t, "g", hint.ID)
		seen = append(seen, hint.What)
	}
	require.Equal(t, []string{"started", "crashed", "started", "stopped", "undefined"}, seen)
}
