package fileimage

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
)

// asStranger runs f with the file access of a user who owns nothing: root may write everywhere.
func asStranger(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if os.Geteuid() == 0 {
			_, _, errno := syscall.RawSyscall(syscall.SYS_SETFSUID, 65534, 0, 0)
			if errno != 0 {
				t.Error(errno)
				return
			}
		}
		f()
	}()
	<-done
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	put(t, s, "a", "one")
	for _, dir := range []string{filepath.Dir(filepath.Dir(s.dir)), filepath.Dir(s.dir), s.dir} {
		require.NoError(t, os.Chmod(dir, 0o555)) // the test's own directory is closed to strangers
	}
	t.Cleanup(func() {
		for _, dir := range []string{filepath.Dir(filepath.Dir(s.dir)), filepath.Dir(s.dir), s.dir} {
			_ = os.Chmod(dir, 0o755)
		}
	})
	var again, putErr, deleteErr, listErr, openErr error
	var list int
	asStranger(t, func() {
		_, again = New(s.dir)
		_, putErr = s.Put(t.Context(), "b", strings.NewReader("two"))
		deleteErr = s.Delete(t.Context(), "a")
		all, err := s.Images(t.Context())
		list, listErr = len(all), err
		r, err := s.Open(t.Context(), "a", 0)
		if openErr = err; err == nil {
			_ = r.Close()
		}
	})
	for what, err := range map[string]error{"New": again, "Put": putErr, "Delete": deleteErr} {
		require.Equal(t, fault.Unavailable.String(), fault.CodeOf(err).String(), "%s: %v", what, err)
		require.ErrorContains(t, err, s.dir, what)
		require.ErrorContains(t, err, "no permission", what)
	}
	require.NoError(t, listErr, "reading goes on")
	require.NoError(t, openErr, "reading goes on")
	require.Equal(t, 1, list)
}
