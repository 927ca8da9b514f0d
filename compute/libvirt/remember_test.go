//go:build linux

package libvirt

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
)

// What the directory keeps must be there for the next process too.
func TestTurns(t *testing.T) {
	t.Parallel()
	s := testState(t)
	require.NoError(t, s.make(record{Cloud: "c", ID: testID, Generation: 1, Name: "n"}))
	turn := func(n int64) error {
		again, err := openState(s.dir)
		require.NoError(t, err)
		return again.take(computedriver.Ref{ID: testID, Generation: 1, Turn: n})
	}
	require.NoError(t, turn(0))
	require.NoError(t, turn(3))
	require.NoError(t, turn(3), "the same call once more")
	err := turn(2)
	require.True(t, fault.Is(err, fault.Stale), "a late call: %v", err)
	require.NoError(t, turn(4))

	require.NoError(t, os.WriteFile(filepath.Join(s.guest(testID), "turn"), []byte("many"), 0o600))
	err = turn(5)
	require.True(t, fault.Is(err, fault.Corrupt), "%v", err)
}

func TestRemember(t *testing.T) {
	t.Parallel()
	s := testState(t)
	remember := func(cloud string, epoch int64) int64 {
		again, err := openState(s.dir)
		require.NoError(t, err)
		n, err := again.remember(t.Context(), cloud, epoch)
		require.NoError(t, err)
		return n
	}
	require.Zero(t, remember("c1", 0))
	require.Equal(t, int64(7), remember("c1", 7))
	require.Equal(t, int64(7), remember("c1", 5), "it keeps the greatest")
	require.Equal(t, int64(7), remember("c1", 0), "0 asks only")
	require.Zero(t, remember("c2", 0), "another cloud's")
	_, err := s.remember(t.Context(), "../c1", 1)
	require.True(t, fault.Is(err, fault.Invalid), "%v", err)
}
