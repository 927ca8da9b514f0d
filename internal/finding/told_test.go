package finding_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/internal/finding"
)

func TestTold(t *testing.T) {
	t.Parallel()
	var told finding.Told
	pass := func(end bool, keys ...string) (given []string) {
		p := told.Pass()
		for _, k := range keys {
			if p.First(k) {
				given = append(given, k)
			}
		}
		if end {
			p.End()
		}
		return given
	}
	require.Equal(t, []string{"a", "b"}, pass(true, "a", "b"))
	require.Equal(t, []string{"c"}, pass(true, "a", "b", "c"))
	require.Equal(t, []string{"d"}, pass(false, "d"), "it broke off: not remembered, and nothing is forgotten")
	require.Equal(t, []string{"d"}, pass(true, "a", "d"))
	require.Equal(t, []string{"b"}, pass(true, "a", "b"), "it was away in between")
}
