package metered_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/meter"
	"github.com/nubecula/cloud/internal/metered"
	"github.com/nubecula/cloud/network/fakenetwork"
	"github.com/nubecula/cloud/network/networkdriver"
)

// plain hides what a provider can do beside a Provider's methods.
type plain struct{ networkdriver.Provider }

// TestChange: changes get through to a provider that takes them, and another is given the whole.
func TestChange(t *testing.T) {
	t.Parallel()
	fake, err := fakenetwork.New(fakenetwork.Options{})
	require.NoError(t, err)
	p := metered.Provider(fake, &meter.Meters{}, clock.System())
	top := networkdriver.Topology{NetworkID: "n", Revision: 1}
	require.NoError(t, p.Apply(t.Context(), top))
	top.Revision, top.Ports = 2, []networkdriver.Port{{ID: "p", NetworkID: "n"}}
	require.NoError(t, p.(networkdriver.Changer).Change(t.Context(), 1, top, nil))
	got, _, err := fake.Backend().Topology("n")
	require.NoError(t, err)
	require.Len(t, got.Ports, 1)
	p = metered.Provider(plain{fake}, &meter.Meters{}, clock.System())
	require.Equal(t, fault.Conflict, fault.CodeOf(p.(networkdriver.Changer).Change(t.Context(), 2, top, nil)))
}
