package computetest_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/compute/computetest"
	"github.com/nubecula/cloud/compute/fakecompute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/id"
)

// sin names the way in which the driver under TestSinner breaks its promises.
const sin = "NUBECULA_TEST_SIN"

// sinner is the fake with one promise broken.
type sinner struct {
	*fakecompute.Hypervisor
	sin string
}

// sins tells for each sin the case of the suite that must find it.
func sins() map[string]string {
	return map[string]string{
		"host id of the connection":   "Host",
		"start twice is refused":      "Lifecycle",
		"generations are not kept":    "Marks",
		"epochs are not kept":         "Marks",
		"mend makes a new disk":       "Mend",
		"older epochs are taken":      "Remember",
		"define again powers off":     "DefineAgain",
		"absent guest starts":         "NotDefined",
		"undefine forgets":            "Tombstone",
		"undefine takes the newest":   "Tombstone",
		"undefine skips the absent":   "TombstoneBeforeDefine",
		"stop takes any generation":   "OtherGeneration",
		"list is cut short":           "Listing",
		"list of its own only":        "Foreign",
		"half an image will do":       "BaseBreaksOff",
		"checksums are not looked at": "BaseDamaged",
		"errors lose their code":      "BaseMissing",
		"contexts are not looked at":  "CanceledContext",
		"undefine leaves it running":  "UndefineRunning",
		"reboot starts":               "Reboot",
		"console from the start":      "Console",
		"no hints":                    "Watch",
		"define is not atomic":        "ConcurrentSameGuest",
	}
}

// TestSuiteFindsSins runs the suite on drivers that each break one promise.
func TestSuiteFindsSins(t *testing.T) {
	t.Parallel()
	for name, found := range sins() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := func(sinful string) (string, error) {
				cmd := exec.Command(os.Args[0], "-test.run=^TestSinner$/^"+found+"$", "-test.v")
				cmd.Env = append(os.Environ(), sin+"="+sinful)
				out, err := cmd.CombinedOutput()
				return string(out), err
			}
			out, err := run(name)
			require.Error(t, err, "the suite found nothing:\n%s", out)
			require.Contains(t, out, "--- FAIL: TestSinner/"+found)
			require.NotContains(t, out, "panic:")
		})
	}
}

// TestSinner is run by TestSuiteFindsSins in a process of its own; without a sin it passes.
func TestSinner(t *testing.T) {
	t.Parallel()
	name := os.Getenv(sin)
	var limit time.Duration
	if name == "no hints" {
		limit = 50 * time.Millisecond
	}
	computetest.Run(t, computetest.Harness{
		Limit:      limit,
		BootMarker: "GUEST-READY",
		New: func(t *testing.T) computetest.Host {
			b := fakecompute.NewBackend()
			return computetest.Host{
				Open: func(t *testing.T) computedriver.Hypervisor {
					o := fakecompute.Options{Backend: b}
					switch name {
					case "host id of the connection":
						o.ID = id.Random()
					case "define is not atomic": // a second define in a row is refused
						o.Faults = inject.NewPlan(clock.System(), 1)
						o.Faults.Fail(inject.Rule{Method: "Define", Nth: 2, Err: fault.New(fault.Exists, "already defined")})
					}
					h, err := fakecompute.New(o)
					require.NoError(t, err)
					if name == "" {
						return h
					}
					return &sinner{h, name}
				},
				Tear: func(t *testing.T, id string) { require.NoError(t, b.Tear(id)) },
				Foreign: func(t *testing.T) string {
					require.NoError(t, b.AddForeign("x", computedriver.GuestState{Name: "by hand", Power: computedriver.Running}))
					return "by hand"
				},
			}
		},
	})
}

func (s *sinner) listed(id string) (g computedriver.GuestState, found bool) {
	all, _ := s.Backend().Guests()
	for _, g := range all {
		if g.Mark.ID == id {
			return g, true
		}
	}
	return g, false
}

func (s *sinner) Define(ctx context.Context, g computedriver.Guest) error {
	old, found := s.listed(g.Mark.ID)
	base := g.Root.Base
	switch {
	case s.sin == "define again powers off" && found && old.Mark == g.Mark:
		_ = s.Hypervisor.Stop(ctx, g.Mark.Ref(), 0)
	case s.sin == "undefine forgets": // the tombstone
		if grave, _ := s.Backend().Tombstone(g.Mark.ID); grave > 0 {
			return nil
		}
	case s.sin == "half an image will do" && base != nil:
		r, err := base.Open(ctx)
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if err != nil {
			g.Root = computedriver.Disk{SizeGiB: 1}
		}
	case s.sin == "checksums are not looked at" && base != nil:
		c := *base
		c.SHA512 = ""
		g.Root.Base = &c
	case s.sin == "contexts are not looked at":
		ctx = context.WithoutCancel(ctx)
	case s.sin == "mend makes a new disk":
		g.Mend = false
	case s.sin == "epochs are not kept":
		g.Epoch = 0
	}
	err := s.Hypervisor.Define(ctx, g)
	if err != nil && s.sin == "errors lose their code" {
		return fault.New(fault.Internal, "define: %s", strings.ToLower(err.Error()))
	}
	return err
}

func (s *sinner) Start(ctx context.Context, r computedriver.Ref) error {
	g, found := s.listed(r.ID)
	switch {
	case s.sin == "absent guest starts" && !found:
		return nil
	case s.sin == "start twice is refused" && g.Power == computedriver.Running:
		return fault.New(fault.Conflict, "it runs")
	}
	return s.Hypervisor.Start(ctx, r)
}

func (s *sinner) Stop(ctx context.Context, r computedriver.Ref, grace time.Duration) error {
	if g, found := s.listed(r.ID); found && s.sin == "stop takes any generation" {
		r = g.Mark.Ref()
	}
	return s.Hypervisor.Stop(ctx, r, grace)
}

func (s *sinner) Undefine(ctx context.Context, r computedriver.Ref) error {
	g, found := s.listed(r.ID)
	switch {
	case s.sin == "undefine takes the newest" && found:
		r = g.Mark.Ref()
	case s.sin == "undefine skips the absent" && !found,
		s.sin == "undefine leaves it running" && g.Power == computedriver.Running:
		return nil
	}
	return s.Hypervisor.Undefine(ctx, r)
}

func (s *sinner) Guests(ctx context.Context) (all []computedriver.GuestState, err error) {
	all, err = s.Hypervisor.Guests(ctx)
	switch s.sin {
	case "list is cut short":
		all = all[:min(len(all), 5)]
	case "list of its own only", "generations are not kept":
		var kept []computedriver.GuestState
		for _, g := range all {
			if s.sin == "generations are not kept" {
				g.Mark.Generation = 1
			} else if g.Mark.ID == "" {
				continue
			}
			kept = append(kept, g)
		}
		all = kept
	}
	return all, err
}

func (s *sinner) Remember(ctx context.Context, cloud string, epoch int64) (int64, error) {
	newest, err := s.Hypervisor.Remember(ctx, cloud, epoch)
	if s.sin == "older epochs are taken" && epoch > 0 {
		newest = epoch
	}
	return newest, err
}

func (s *sinner) Reboot(ctx context.Context, r computedriver.Ref) error {
	if s.sin == "reboot starts" {
		_ = s.Hypervisor.Start(ctx, r)
	}
	return s.Hypervisor.Reboot(ctx, r)
}

func (s *sinner) ConsoleOutput(ctx context.Context, r computedriver.Ref, max int) ([]byte, error) {
	if s.sin != "console from the start" {
		return s.Hypervisor.ConsoleOutput(ctx, r, max)
	}
	out, err := s.Hypervisor.ConsoleOutput(ctx, r, 1<<30)
	return out[:min(max, len(out))], err
}

func (s *sinner) Watch(ctx context.Context, f func(computedriver.Hint)) error {
	if s.sin == "no hints" {
		f = func(computedriver.Hint) {}
	}
	return s.Hypervisor.Watch(ctx, f)
}
