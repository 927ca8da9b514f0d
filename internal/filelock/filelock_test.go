package filelock_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/internal/filelock"
)

func TestLock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		require.NoError(t, err)
		return f
	}
	a, b := open(), open()
	defer b.Close()
	require.NoError(t, filelock.Lock(a))
	got, err := filelock.TryLock(b)
	require.NoError(t, err)
	require.False(t, got, "two opens of one file exclude each other")

	require.NoError(t, filelock.Unlock(a))
	got, err = filelock.TryLock(b)
	require.NoError(t, err)
	require.True(t, got)
	got, err = filelock.TryLock(a)
	require.NoError(t, err)
	require.False(t, got)

	waited := make(chan error)
	go func() { waited <- filelock.Lock(a) }()
	require.NoError(t, b.Close(), "a closed file lets go")
	require.NoError(t, <-waited)
	require.NoError(t, a.Close())
	require.Error(t, filelock.Lock(a))
}

// A child that is being started holds what its parent has open until it runs its program.
func TestCloseBesideAChild(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	require.NoError(t, err)
	require.NoError(t, filelock.Lock(f))
	child, err := syscall.Dup(int(f.Fd()))
	require.NoError(t, err)
	defer syscall.Close(child)
	require.NoError(t, filelock.Close(f))
	other, err := os.Open(path)
	require.NoError(t, err)
	defer other.Close()
	free, err := filelock.TryLock(other)
	require.NoError(t, err)
	require.True(t, free)
	require.Error(t, filelock.Close(f), "closed twice")
}
