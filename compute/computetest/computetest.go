// Package computetest is the conformance suite of computedriver.Hypervisor:
// each sentence of that interface is a test here, and a driver that passes is
// one that Nubecula can rely on.
//
//	func TestConformance(t *testing.T) {
//		computetest.Run(t, computetest.Harness{New: func(t *testing.T) computetest.Host { ... }})
//	}
//
// The suite never assumes that it has the host to itself: it looks only at
// guests that it made, under random ids.
package computetest

import (
	"context"
	"testing"
	"time"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/network/networkdriver"
)

// Harness tells the suite about the driver under test. Only New must be set.
type Harness struct {
	// New returns a host for one test; it cleans up with t.Cleanup. Tests may share one real host.
	New func(t *testing.T) Host
	// Serial runs one test at a time, for hosts that cannot bear more.
	Serial bool
	// Wait returns when cond holds and fails t when it takes too long. Nil means
	// that the driver works at once: cond is looked at once. Poll suits real drivers.
	Wait func(t testing.TB, what string, cond func() bool)
	// Limit bounds each loop that waits for hints; 0 means 30 s.
	Limit time.Duration
	// Grace is what Stop gets where it asks first. A guest without a system does not listen, so
	// a real driver takes this long; 0 means a minute, for fakes that listen at once.
	Grace time.Duration
	// Many is how many guests the listing and concurrency tests define; 0 means 16.
	Many int
	// Binding is where NICs are plugged in; the zero Binding means guests without a NIC.
	Binding networkdriver.Binding
	// Shape changes a guest before it is defined: other sizes, fewer disks. Nil means no change. The
	// suite's own: 1 CPU, 256 MiB, a blank disk of 1 GiB, one NIC on Binding, a small config drive.
	Shape func(g *computedriver.Guest)
	// Base is an image that guests can have as root disk; its ID is replaced. Nil means 1 MiB of
	// raw bytes that boot nothing.
	Base *computedriver.Base
	// BootMarker is text that a guest started from Base writes to its console each time it boots. ""
	// means that Base boots nothing, and the tests that need it are skipped.
	BootMarker string
}

// Host is one host under test.
type Host struct {
	// Open connects to the host, each time anew, as another process would. The suite closes what it opens.
	Open func(t *testing.T) computedriver.Hypervisor

	// The rest is optional; a test that needs one that is nil is skipped.

	// ConfigDrive reads the files of a defined guest's config drive back.
	ConfigDrive func(t *testing.T, r computedriver.Ref) map[string][]byte
	// Crash makes a running guest's machine die, as a killed QEMU does.
	Crash func(t *testing.T, id string)
	// PowerOff makes a running guest switch itself off.
	PowerOff func(t *testing.T, id string)
	// Tear makes a defined guest that is off a torn one: what describes it is gone, its disk is there.
	Tear func(t *testing.T, id string)
	// Foreign makes a guest without a Mark, as an administrator would by hand, and returns its name.
	Foreign func(t *testing.T) (name string)
}

// Poll returns a Wait that looks again and again, for at most limit of real time.
func Poll(limit time.Duration) func(t testing.TB, what string, cond func() bool) {
	return func(t testing.TB, what string, cond func() bool) {
		t.Helper()
		c := clock.System()
		for end, pause := c.Mono()+limit, time.Millisecond; !cond(); pause = min(2*pause, 200*time.Millisecond) {
			if c.Mono() > end {
				t.Fatalf("waited %v in vain: %s", limit, what)
			}
			_ = c.Sleep(context.Background(), pause)
		}
	}
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	h = h.defaults()
	for _, c := range []struct {
		name string
		run  func(*fixture)
	}{
		{"Host", testHost},
		{"Lifecycle", testLifecycle},
		{"Marks", testMarks},
		{"DefineAgain", testDefineAgain},
		{"StopWithGrace", testStopWithGrace},
		{"UndefineRunning", testUndefineRunning},
		{"UndefineAbsent", testUndefineAbsent},
		{"NotDefined", testNotDefined},
		{"Reopen", testReopen},
		{"TwoConnections", testTwoConnections},
		{"Plain", testPlain},
		{"Listing", testListing},
		{"Foreign", testForeign},
		{"Tombstone", testTombstone},
		{"TombstoneOfGreaterGeneration", testTombstoneOfGreater},
		{"TombstoneBeforeDefine", testTombstoneBeforeDefine},
		{"NewerGeneration", testNewerGeneration},
		{"OtherGeneration", testOtherGeneration},
		{"Turns", testTurns},
		{"OtherCloud", testOtherCloud},
		{"Mend", testMend},
		{"Remember", testRemember},
		{"Base", testBase},
		{"BaseBreaksOff", testBaseBreaksOff},
		{"BaseDamaged", testBaseDamaged},
		{"BaseMissing", testBaseMissing},
		{"DefineCanceled", testDefineCanceled},
		{"ConfigDrive", testConfigDrive},
		{"CanceledContext", testCanceledContext},
		{"Crashed", testCrashed},
		{"PoweredOff", testPoweredOff},
		{"Reboot", testReboot},
		{"Console", testConsole},
		{"Watch", testWatch},
		{"ConcurrentSameGuest", testConcurrentSame},
		{"ConcurrentGuests", testConcurrentGuests},
		{"ConcurrentUndefine", testConcurrentUndefine},
		{"ConcurrentGenerations", testConcurrentGenerations},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !h.Serial {
				t.Parallel()
			}
			c.run(newFixture(t, h))
		})
	}
}

func (h Harness) defaults() Harness {
	if h.Wait == nil {
		h.Wait = func(t testing.TB, what string, cond func() bool) {
			t.Helper()
			if !cond() {
				t.Fatalf("not so at once: %s", what)
			}
		}
	}
	if h.Limit == 0 {
		h.Limit = 30 * time.Second
	}
	if h.Grace == 0 {
		h.Grace = time.Minute
	}
	if h.Many == 0 {
		h.Many = 16
	}
	if h.Shape == nil {
		h.Shape = func(*computedriver.Guest) {}
	}
	return h
}
