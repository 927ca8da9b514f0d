package networktest_test

import (
	"context"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/network/fakenetwork"
	"github.com/nubecula/cloud/network/networkdriver"
	"github.com/nubecula/cloud/network/networktest"
)

// sin names the way in which the driver under TestSinner breaks its promises.
const sin = "NUBECULA_TEST_SIN"

// sinner is the fake with one promise broken.
type sinner struct {
	*fakenetwork.Provider
	sin string
}

// sins tells for each sin the case of the suite that must find it.
func sins() map[string]string {
	return map[string]string{
		"subnets are lost":            "ApplyFull",
		"apply always writes":         "ApplyAgain",
		"older revisions are taken":   "ApplyOlder",
		"remove skips the absent":     "RemoveAbsent",
		"remove wants no bindings":    "RemoveWithBindings",
		"list is cut short":           "Listing",
		"bind makes networks":         "BindUnknownNetwork",
		"bind wants the port applied": "BindUnknownPort",
		"bind does not move":          "BindMoves",
		"bind answers nothing":        "Bind",
		"unbind takes the newest":     "UnbindOlder",
		"unbind skips the unbound":    "UnbindBeforeBind",
		"unbind twice is refused":     "UnbindTwice",
		"contexts are not looked at":  "CanceledContext",
	}
}

// TestSuiteFindsSins runs the suite on drivers that each break one promise.
func TestSuiteFindsSins(t *testing.T) {
	t.Parallel()
	for name, found := range sins() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run=^TestSinner$/^"+found+"$", "-test.v")
			cmd.Env = append(os.Environ(), sin+"="+name)
			out, err := cmd.CombinedOutput()
			require.Error(t, err, "the suite found nothing:\n%s", out)
			require.Contains(t, string(out), "--- FAIL: TestSinner/"+found)
			require.NotContains(t, string(out), "panic:")
		})
	}
}

// TestSinner is run by TestSuiteFindsSins in a process of its own; without a sin it passes.
func TestSinner(t *testing.T) {
	t.Parallel()
	name := os.Getenv(sin)
	networktest.Run(t, networktest.Harness{New: func(*testing.T) networktest.Backend {
		b := fakenetwork.NewBackend()
		return networktest.Backend{
			Open: func(t *testing.T) networkdriver.Provider {
				p, err := fakenetwork.New(fakenetwork.Options{Backend: b})
				require.NoError(t, err)
				if name == "" {
					return p
				}
				return &sinner{p, name}
			},
			Topology: func(t *testing.T, id string) (networkdriver.Topology, bool) {
				top, found, err := b.Topology(id)
				require.NoError(t, err)
				return top, found
			},
			Changes: func(_ *testing.T, id string) int { return b.Changes(id) },
		}
	}})
}

func (s *sinner) bound(portID string) (b networkdriver.Bind, found bool) {
	all, _ := s.Backend().Networks()
	for _, n := range all {
		if b, found := n.Bindings[portID]; found {
			return b, true
		}
	}
	return b, false
}

func (s *sinner) Apply(ctx context.Context, t networkdriver.Topology) error {
	switch s.sin {
	case "subnets are lost":
		t.Subnets = t.Subnets[:1]
	case "apply always writes":
		touched := t
		touched.Name += "."
		_ = s.Provider.Apply(ctx, touched)
	case "older revisions are taken":
		if err := s.Provider.Apply(ctx, t); !fault.Is(err, fault.Stale) {
			return err
		}
		return nil
	case "contexts are not looked at":
		ctx = context.WithoutCancel(ctx)
	}
	return s.Provider.Apply(ctx, t)
}

func (s *sinner) Remove(ctx context.Context, id string) error {
	_, found, _ := s.Backend().Topology(id)
	if s.sin == "remove skips the absent" && !found {
		return nil
	}
	all, _ := s.Backend().Networks()
	for _, n := range all {
		if s.sin == "remove wants no bindings" && n.NetworkID == id && len(n.Bindings) > 0 {
			return fault.New(fault.Conflict, "ports are bound")
		}
	}
	return s.Provider.Remove(ctx, id)
}

func (s *sinner) Bind(ctx context.Context, p networkdriver.Port, b networkdriver.Bind) (networkdriver.Binding, error) {
	old, bound := s.bound(p.ID)
	switch top, _, _ := s.Backend().Topology(p.NetworkID); {
	case s.sin == "bind makes networks":
		_ = s.Provider.Apply(ctx, networkdriver.Topology{NetworkID: p.NetworkID, Revision: 1})
	case s.sin == "bind wants the port applied" && len(top.Ports) == 0:
		return networkdriver.Binding{}, fault.Missing("port", p.ID)
	case s.sin == "bind does not move" && bound && old.Host != b.Host:
		return networkdriver.Binding{}, fault.New(fault.Conflict, "it is bound elsewhere")
	}
	got, err := s.Provider.Bind(ctx, p, b)
	if s.sin == "bind answers nothing" {
		got = networkdriver.Binding{}
	}
	return got, err
}

func (s *sinner) Unbind(ctx context.Context, portID string, b networkdriver.Bind) error {
	old, bound := s.bound(portID)
	switch {
	case s.sin == "unbind takes the newest" && bound:
		b = old
	case s.sin == "unbind skips the unbound" && !bound:
		return nil
	case s.sin == "unbind twice is refused" && !bound:
		return fault.Missing("port", portID)
	}
	return s.Provider.Unbind(ctx, portID, b)
}

func (s *sinner) Networks(ctx context.Context) ([]networkdriver.NetworkState, error) {
	all, err := s.Provider.Networks(ctx)
	if s.sin == "list is cut short" {
		all = all[:min(len(all), 3)]
	}
	return all, err
}
