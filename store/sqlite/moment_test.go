package sqlite_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/store"
)

// between is a context that a backup asks between its steps whether it goes on; do is called when it is asked.
type between struct {
	context.Context
	do func()
}

func (b between) Err() error {
	b.do()
	return b.Context.Err()
}

// TestBackupIsOneMoment: what is written, and moved into the file's log, after each step of a backup is not in it: neither in pages
// that are copied by then, nor in those that are not.
func TestBackupIsOneMoment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := openFile(t, filepath.Join(dir, "cloud.db"), nil)
	s := newStore(t, d)
	require.NoError(t, put(s, "early", "as it was"))
	require.NoError(t, put(s, "ballast", strings.Repeat("x", 1<<20))) // several steps
	require.NoError(t, put(s, "late", "as it was"))
	const most = 100
	steps := 0
	ctx := between{t.Context(), func() {
		if steps++; steps > most {
			return // it begins anew when others write: let it end
		}
		for _, id := range []string{"early", "late", "new"} {
			require.NoError(t, put(s, id, "written during the backup"))
		}
	}}
	path := filepath.Join(dir, "backup")
	require.NoError(t, d.Backup(ctx, path))
	require.Greater(t, steps, 2)
	require.Less(t, steps, most, "it began anew when others wrote")
	require.Equal(t, "written during the backup", get(t, s, "early"))

	copied := newStore(t, openFile(t, path, nil))
	require.Equal(t, "as it was", get(t, copied, "early"))
	require.Equal(t, "as it was", get(t, copied, "late"))
	require.Error(t, copied.View(t.Context(), func(tx *store.Tx) error {
		_, err := things.Get(tx, "new")
		return err
	}))
}
