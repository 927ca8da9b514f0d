//go:build libvirt && linux

package libvirt_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/compute/computetest"
	"github.com/nubecula/cloud/compute/libvirt"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/id"
	"github.com/nubecula/cloud/network/networkdriver"
)

// booted is a guest that runs a real system.
type booted struct {
	*testing.T
	d     *libvirt.Driver
	g     computedriver.Guest
	began time.Duration
}

var stopwatch = clock.System()

func (b *booted) note(what string) {
	b.Logf("%6.1f s  %s", (stopwatch.Mono() - b.began).Seconds(), what)
}

func (b *booted) console() string {
	out, err := b.d.ConsoleOutput(b.Context(), b.g.Mark.Ref(), 1<<20)
	require.NoError(b, err)
	return string(out)
}

// sees waits until the console holds the text n times.
func (b *booted) sees(text string, n int) {
	b.Helper()
	defer func() {
		if b.Failed() {
			b.Log(b.console())
		}
	}()
	computetest.Poll(wait)(b, fmt.Sprintf("%q %d times on the console", text, n), func() bool {
		return strings.Count(b.console(), text) >= n
	})
	b.note(fmt.Sprintf("%s (%d)", text, n))
}

func (b *booted) power() computedriver.Power {
	all, err := b.d.Guests(b.Context())
	require.NoError(b, err)
	for _, s := range all {
		if s.Mark == b.g.Mark {
			return s.Power
		}
	}
	return ""
}

func boot(t *testing.T, r real, host string) *booted {
	b := &booted{T: t, d: r.open(t), began: stopwatch.Mono()}
	b.g = computedriver.Guest{
		Mark: computedriver.Mark{Cloud: "boot-test", ID: id.Random(), Generation: 1},
		Name: host, Hostname: host, VCPUs: 1, MemoryMiB: 256,
		Root: computedriver.Disk{Base: r.base(t), SizeGiB: 1},
		NICs: []computedriver.NIC{{PortID: id.Random(), MAC: "fa:16:3e:00:00:07",
			Binding: networkdriver.Binding{User: &networkdriver.User{}}}},
		ConfigDrive: map[string][]byte{
			"openstack/latest/meta_data.json": []byte(`{"uuid":"u","hostname":"` + host + `.novalocal"}`),
			"openstack/latest/user_data":      []byte("#!/bin/sh\necho user data ran on $(hostname)\n"),
		},
	}
	t.Cleanup(func() { require.NoError(t, b.d.Undefine(context.Background(), b.g.Mark.Ref())) })
	require.NoError(t, b.d.Define(t.Context(), b.g))
	b.note("defined")
	require.NoError(t, b.d.Start(t.Context(), b.g.Mark.Ref()))
	b.note("started")
	return b
}

// TestBoot boots a real system, which finds its config drive, restarts when asked and shuts down when asked.
func TestBoot(t *testing.T) {
	t.Parallel()
	b := boot(t, realHost(t), "vm1")
	b.sees("GUEST-READY", 1)
	require.Contains(t, b.console(), "GUEST-CONFIGDRIVE /dev/vdb")
	require.Contains(t, b.console(), "GUEST-USERDATA user data ran on vm1.novalocal")
	require.Regexp(t, regexp.MustCompile(`GUEST-READY host=vm1\.novalocal cpus=1 mem=`), b.console())
	require.Contains(t, b.console(), "GUEST-DHCP eth0 10.0.2.")

	require.NoError(t, b.d.Reboot(t.Context(), b.g.Mark.Ref()))
	b.sees("GUEST-POWERBUTTON", 1)
	b.sees("GUEST-READY", 2)
	require.Equal(t, computedriver.Running, b.power())

	require.NoError(t, b.d.Stop(t.Context(), b.g.Mark.Ref(), wait))
	b.note("stopped")
	b.sees("GUEST-POWERBUTTON", 2)
	require.Equal(t, computedriver.Off, b.power())
}

// TestRestart restarts libvirtd under a running guest: calls are Unavailable meanwhile, then all is as before.
func TestRestart(t *testing.T) {
	r := realHost(t) // not parallel: it is the others' libvirtd too
	if r.host == "" {
		t.Skip("NUBECULA_KVM_HOST does not say how to restart libvirtd; internal/real/kvm-suite.sh does")
	}
	b := boot(t, r, "vm2")
	var mu sync.Mutex
	hints := map[computedriver.Hint]bool{}
	seen := func(h computedriver.Hint) bool {
		mu.Lock()
		defer mu.Unlock()
		return hints[h]
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- b.d.Watch(ctx, func(h computedriver.Hint) {
			mu.Lock()
			defer mu.Unlock()
			hints[h] = true
		})
	}()
	b.sees("GUEST-BOOT", 1)

	host := func(verb string) {
		out, err := exec.Command(r.host, verb).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	for range 3 { // with calls under way, which end with an error and do no harm
		var wg sync.WaitGroup
		until, enough := context.WithCancel(t.Context())
		for range 20 {
			wg.Go(func() {
				for until.Err() == nil {
					_, err := b.d.Guests(t.Context())
					if err != nil && !fault.Is(err, fault.Unavailable) {
						t.Error(err)
					}
				}
			})
		}
		host("kill")
		host("start")
		enough()
		wg.Wait()
	}
	b.note("killed and started libvirtd three times under load")

	host("kill")
	b.note("killed libvirtd")
	_, err := b.d.Host(t.Context())
	require.Equal(t, fault.Unavailable, fault.CodeOf(err), "%v", err)
	_, err = b.d.Guests(t.Context())
	require.Equal(t, fault.Unavailable, fault.CodeOf(err), "%v", err)
	require.Equal(t, fault.Unavailable, fault.CodeOf(b.d.Start(t.Context(), b.g.Mark.Ref())))
	host("start")
	b.note("started libvirtd")
	computetest.Poll(wait)(t, "the host answers", func() bool { _, err := b.d.Host(t.Context()); return err == nil })
	b.note("reconnected")
	require.Equal(t, computedriver.Running, b.power())
	b.sees("GUEST-READY", 1)
	computetest.Poll(wait)(t, "a hint that the connection is back", func() bool { return seen(computedriver.Hint{What: "reconnected"}) })
	// again and again: what happens before the watch is back gives no hint
	computetest.Poll(wait)(t, "a hint that the guest has stopped", func() bool {
		require.NoError(t, b.d.Start(t.Context(), b.g.Mark.Ref()))
		require.NoError(t, b.d.Stop(t.Context(), b.g.Mark.Ref(), 0))
		return seen(computedriver.Hint{ID: b.g.Mark.ID, What: "stopped"})
	})
	stop()
	require.ErrorIs(t, <-ended, context.Canceled)

	host("freeze")
	thaw := sync.OnceFunc(func() { host("thaw") })
	defer thaw()
	b.note("froze libvirtd")
	limited, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = b.d.Guests(limited)
	require.Equal(t, fault.Timeout, fault.CodeOf(err), "%v", err)
	require.Equal(t, fault.Timeout, fault.CodeOf(b.d.Start(limited, b.g.Mark.Ref())))
	b.note("timed out")
	_, err = b.d.Host(t.Context()) // no deadline: the missing keep-alives end it
	require.Equal(t, fault.Unavailable, fault.CodeOf(err), "%v", err)
	b.note("gave libvirtd up")
	thaw()
	computetest.Poll(wait)(t, "the host answers", func() bool { _, err := b.d.Host(t.Context()); return err == nil })
	require.NoError(t, b.d.Start(t.Context(), b.g.Mark.Ref()))
	require.Equal(t, computedriver.Running, b.power())
	b.note("started again")
}

// TestKilled kills a process that defines, starts and undefines a guest, again and again. Whatever it left, the
// next process lists it, makes it whole or removes it.
func TestKilled(t *testing.T) {
	t.Parallel()
	r := realHost(t)
	if os.Getenv("NUBECULA_TEST_VICTIM") != "" {
		r.victim(t)
	}
	seen := map[computedriver.Power]int{}
	d := r.open(t)
	for round := range 25 {
		g := victimGuest(id.Random(), 1)
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), "NUBECULA_TEST_VICTIM="+g.Mark.ID)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		_, err = io.ReadFull(out, make([]byte, len("begin")))
		require.NoError(t, err)
		require.NoError(t, stopwatch.Sleep(t.Context(), time.Duration(round*round)*3*time.Millisecond))
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()

		all, err := d.Guests(t.Context())
		require.NoError(t, err)
		found := computedriver.Power("absent")
		for _, s := range all {
			if s.Mark.ID == g.Mark.ID {
				found, g.Mark = s.Power, s.Mark
			}
		}
		seen[found]++
		if round%2 == 0 {
			g.Mark.Generation += 1000 // the next placement
			require.NoError(t, d.Define(t.Context(), g))
			require.NoError(t, d.Start(t.Context(), g.Mark.Ref()))
		}
		g.Mark.Generation += 1000
		require.NoError(t, d.Undefine(t.Context(), g.Mark.Ref()))
		for _, path := range []string{"guests/" + g.Mark.ID, "guests/." + g.Mark.ID + ".new"} {
			require.NoFileExists(t, filepath.Join(r.state, path))
		}
	}
	t.Log("found after the kill:", seen)
}

func victimGuest(id string, generation int64) computedriver.Guest {
	return computedriver.Guest{
		Mark: computedriver.Mark{Cloud: "kill-test", ID: id, Generation: generation}, Name: "victim",
		VCPUs: 1, MemoryMiB: 64, Root: computedriver.Disk{SizeGiB: 1},
		ConfigDrive: map[string][]byte{"openstack/latest/meta_data.json": []byte("{}")},
	}
}

// victim never returns.
func (r real) victim(t *testing.T) {
	d := r.open(t)
	_, err := d.Host(t.Context())
	require.NoError(t, err)
	fmt.Print("begin")
	for generation := int64(1); ; generation++ {
		g := victimGuest(os.Getenv("NUBECULA_TEST_VICTIM"), generation)
		_ = d.Define(t.Context(), g)
		_ = d.Start(t.Context(), g.Mark.Ref())
		_ = d.Undefine(t.Context(), g.Mark.Ref())
	}
}

// TestClosedStateDir: QEMU's user cannot reach the disks, and the error says why.
func TestClosedStateDir(t *testing.T) {
	t.Parallel()
	r := realHost(t)
	r.state = filepath.Join(t.TempDir(), "state") // t.TempDir lets nobody through
	d := r.open(t)
	g := victimGuest(id.Random(), 1)
	t.Cleanup(func() { require.NoError(t, d.Undefine(context.Background(), g.Mark.Ref())) })
	require.NoError(t, d.Define(t.Context(), g))
	require.ErrorContains(t, d.Start(t.Context(), g.Mark.Ref()), "chmod o+x")
}
