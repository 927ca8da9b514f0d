package pattern_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/internal/pattern"
)

func TestPattern(t *testing.T) {
	t.Parallel()
	p := pattern.New(`^(\d+)\.(\d+)$`)
	require.True(t, p.MatchString("2.37"))
	require.False(t, p.MatchString("2.x"))
	require.Equal(t, []string{"2.37", "2", "37"}, p.FindStringSubmatch("2.37"))
	require.Nil(t, p.FindStringSubmatch("2.x"))
	require.NotPanics(t, func() { p = pattern.New("(") })
	require.Panics(t, func() { p.MatchString("") })
}
