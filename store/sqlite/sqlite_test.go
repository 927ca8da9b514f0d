package sqlite_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/sqlite"
	"github.com/nubecula/cloud/store/storetest"
)

func openFile(t testing.TB, path string, opt *sqlite.Options) *sqlite.Driver {
	t.Helper()
	d, err := sqlite.Open(path, opt)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

func TestDriver(t *testing.T) {
	t.Parallel()
	run := func(name string, opt sqlite.Options, reopen func(t testing.TB, d *sqlite.Driver) store.Driver) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, storetest.Harness{
				Open: func(t testing.TB, c clock.Clock) store.Driver {
					opt := opt // the cases run side by side, each with its clock
					opt.Clock = c
					return openFile(t, filepath.Join(t.TempDir(), "cloud.db"), &opt)
				},
				Reopen: func(t testing.TB, d store.Driver) store.Driver { return reopen(t, d.(*sqlite.Driver)) },
				Raw:    func(t testing.TB, d store.Driver) []byte { return files(t, sqlite.Path(d.(*sqlite.Driver))) },
			})
		})
	}
	run("closed", sqlite.Options{}, func(t testing.TB, d *sqlite.Driver) store.Driver {
		require.NoError(t, d.Close())
		return openFile(t, sqlite.Path(d), sqlite.Reuse(d))
	})
	run("killed", sqlite.Options{CacheBytes: 20000}, func(t testing.TB, d *sqlite.Driver) store.Driver {
		again, err := d.Restart()
		require.NoError(t, err)
		t.Cleanup(func() { again.Close() })
		return again
	})
}

// files returns the bytes of a database and what lies beside it.
func files(t testing.TB, path string) (out []byte) {
	names, err := filepath.Glob(path + "*")
	require.NoError(t, err)
	for _, name := range names {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		out = append(out, b...)
	}
	return out
}
