package sqlite_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store/sqlite"
)

// FuzzOpen opens a file with a header from anywhere in front of a good body: it is opened or refused, and a
// file that is refused is not changed.
func FuzzOpen(f *testing.F) {
	good, err := os.ReadFile(made(f))
	require.NoError(f, err)
	f.Add(good[:100], false)
	f.Add([]byte{}, true)
	f.Add([]byte("SQLite format 3\x00"), true)
	for _, at := range []int{16, 18, 21, 44, 56, 60, 68, 96} { // page size, WAL, fractions, schema, encoding, marks
		h := append([]byte(nil), good[:100]...)
		h[at] ^= 0x55
		f.Add(h, false)
	}
	f.Fuzz(func(t *testing.T, header []byte, alone bool) {
		file := append([]byte(nil), header...)
		if !alone && len(header) < len(good) {
			file = append(file, good[len(header):]...)
		}
		path := filepath.Join(t.TempDir(), "cloud.db")
		require.NoError(t, os.WriteFile(path, file, 0o600))
		d, err := sqlite.Open(path, nil)
		if err == nil {
			put(newStore(t, d), "x", "y") // may find damage; must not panic
			return
		}
		require.NotEqual(t, fault.Internal, fault.CodeOf(err), "%v", err)
		require.ErrorContains(t, err, path)
		now, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, file, now, "a refused file was changed")
	})
}
