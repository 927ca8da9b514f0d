package id

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestSourceRepeatsFromItsSeed(t *testing.T) {
	t.Parallel()
	seed := Seed()
	require.NotEqual(t, seed, Seed())
	a, b := NewSource(seed), NewSource(seed)
	seen := map[string]bool{}
	for range 1000 {
		x := a.New()
		require.Equal(t, x, b.New())
		u, err := uuid.Parse(x)
		require.NoError(t, err)
		require.Equal(t, uuid.Version(4), u.Version())
		require.Equal(t, uuid.RFC4122, u.Variant())
		require.False(t, seen[x])
		seen[x] = true
	}
	require.Equal(t, a.Bytes(40), b.Bytes(40))
}

func TestIsUUID(t *testing.T) {
	t.Parallel()
	require.True(t, IsUUID(Random()))
	require.True(t, IsUUID("e67f8843b53121c99738e86d912d56d2"))
	for _, no := range []string{"", "1", "e67f8843b53121c99738e86d912d56d", "e67f8843-b531-21c9-9738-e86d912d56dg"} {
		require.False(t, IsUUID(no), no)
	}
}
