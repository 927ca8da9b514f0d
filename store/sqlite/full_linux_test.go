package sqlite_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store/sqlite"
)

// TestBackupToFullDisk runs itself in a mount namespace of its own, where it has a disk of 128 KiB.
func TestBackupToFullDisk(t *testing.T) {
	t.Parallel()
	if os.Getenv("SQLITE_TEST_SMALL_DISK") == "" {
		again := exec.Command(os.Args[0], "-test.run=^TestBackupToFullDisk$", "-test.v")
		again.Env = append(os.Environ(), "SQLITE_TEST_SMALL_DISK=1")
		again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}}
		out, err := again.CombinedOutput()
		if len(out) == 0 && err != nil {
			t.Skip("this machine allows no mount namespace: ", err)
		}
		require.NoError(t, err, "%s", out)
		if strings.Contains(string(out), "--- SKIP") {
			t.Skipf("%s", out)
		}
		require.Contains(t, string(out), "--- PASS: TestBackupToFullDisk")
		return
	}
	small := t.TempDir()
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=128k"); err != nil {
		t.Skip("no disk can be mounted here: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(small, 0) })
	path := made(t)
	d := openFile(t, path, nil)
	s := newStore(t, d)
	require.NoError(t, put(s, "large", strings.Repeat("x", 400<<10)))
	to := filepath.Join(small, "backup")
	err := d.Backup(context.Background(), to)
	require.True(t, fault.Is(err, fault.Exhausted), "%v", err)
	require.ErrorContains(t, err, to+" is full")
	left, err := os.ReadDir(small)
	require.NoError(t, err)
	require.Empty(t, left)
	require.NoError(t, put(s, "after", "the store works on"))

	ok := filepath.Join(t.TempDir(), "backup")
	require.NoError(t, d.Backup(context.Background(), ok))
	db := filepath.Join(small, "cloud.db")
	_, err = sqlite.Restore(ok, db, nil)
	require.True(t, fault.Is(err, fault.Exhausted), "%v", err)
	require.ErrorContains(t, err, db)
	require.NoFileExists(t, db)
}
