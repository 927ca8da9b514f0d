package fakenetwork_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/network/fakenetwork"
	"github.com/nubecula/cloud/network/networkdriver"
)

var (
	topology = networkdriver.Topology{NetworkID: "n", Revision: 1}
	port     = networkdriver.Port{ID: "p", NetworkID: "n"}
	at       = networkdriver.Bind{Host: "h", Generation: 1}
)

func connect(t *testing.T, o fakenetwork.Options) *fakenetwork.Provider {
	t.Helper()
	p, err := fakenetwork.New(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

func TestOptions(t *testing.T) {
	t.Parallel()
	_, err := fakenetwork.New(fakenetwork.Options{
		Binding: networkdriver.Binding{Tap: &networkdriver.Tap{}, User: &networkdriver.User{}},
		Dir:     "d", Backend: fakenetwork.NewBackend(),
	})
	require.Equal(t, fault.Invalid, fault.CodeOf(err))
	require.ErrorContains(t, err, "Binding")
	require.ErrorContains(t, err, "Dir")
}

func TestBindingKinds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ given, want networkdriver.Binding }{
		"default": {want: networkdriver.Binding{Tap: &networkdriver.Tap{Bridge: "br-fake"}}},
		"user":    {networkdriver.Binding{User: &networkdriver.User{}}, networkdriver.Binding{User: &networkdriver.User{}}},
		"ovs": {networkdriver.Binding{OVS: &networkdriver.OVS{Bridge: "br-int"}},
			networkdriver.Binding{OVS: &networkdriver.OVS{Bridge: "br-int", InterfaceID: "p"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := connect(t, fakenetwork.Options{Binding: c.given})
			require.NoError(t, p.Apply(t.Context(), topology))
			got, err := p.Bind(t.Context(), port, at)
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	plan := inject.NewPlan(clock.NewManual(time.Unix(0, 0)), 1)
	p := connect(t, fakenetwork.Options{Faults: plan})
	require.NoError(t, p.Apply(t.Context(), topology))
	plan.Fail(inject.Rule{Driver: "network", Method: "Bind", Object: "p", Times: 1})
	plan.Fail(inject.Rule{Driver: "network", Method: "Unbind", Object: "p", Times: 1, When: inject.After})
	bound := func() int {
		all, err := p.Backend().Networks()
		require.NoError(t, err)
		return len(all[0].Bindings)
	}
	_, err := p.Bind(t.Context(), port, at)
	require.Equal(t, fault.Unavailable, fault.CodeOf(err))
	require.Equal(t, 0, bound())
	_, err = p.Bind(t.Context(), port, at)
	require.NoError(t, err)
	require.Equal(t, 1, bound())
	require.Equal(t, fault.Unavailable, fault.CodeOf(p.Unbind(t.Context(), "p", at)))
	require.Equal(t, 0, bound(), "a lost reply")
	require.NoError(t, p.Unbind(t.Context(), "p", at))
}

func TestDown(t *testing.T) {
	t.Parallel()
	p := connect(t, fakenetwork.Options{Dir: t.TempDir()})
	require.NoError(t, p.Apply(t.Context(), topology))
	p.Backend().SetDown(fault.New(fault.Unavailable, "the switch is dark"))
	_, listErr := p.Networks(t.Context())
	_, bindErr := p.Bind(t.Context(), port, at)
	for _, err := range []error{
		p.Apply(t.Context(), topology), p.Remove(t.Context(), "n"), p.Unbind(t.Context(), "p", at), bindErr, listErr,
	} {
		require.ErrorContains(t, err, "the switch is dark")
	}
	p.Backend().SetDown(nil)
	all, err := p.Networks(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, 1, p.Backend().Changes("n"))
}

func TestClosed(t *testing.T) {
	t.Parallel()
	b := fakenetwork.NewBackend()
	one, two := connect(t, fakenetwork.Options{Backend: b}), connect(t, fakenetwork.Options{Backend: b})
	require.NoError(t, one.Close())
	require.Equal(t, fault.Unavailable, fault.CodeOf(one.Apply(t.Context(), topology)))
	require.NoError(t, two.Apply(t.Context(), topology), "the back end is not the connection's to close")
}
