package cloudtest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute"
)

func TestBoot(t *testing.T) {
	t.Parallel()
	env := New(t)
	id := env.Boot("web")
	env.Settle()
	require.Equal(t, compute.StatusActive, env.Server(id).Status())
	env.NoLeaks()
	env.Check()
}
