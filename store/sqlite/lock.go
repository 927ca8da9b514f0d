package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/filelock"
)

// lock takes path.lock for this process. The kernel drops it with the process, however that ends;
// the file stays, since removing it would let two holders in.
func lock(path string) (*os.File, error) {
	name := path + ".lock"
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fileError(path, err)
	}
	free, err := filelock.TryLock(f)
	if err == nil && !free {
		holder, _ := io.ReadAll(io.LimitReader(f, 64)) // for the message alone
		f.Close()
		who := "another process"
		if pid := strings.TrimSpace(string(holder)); pid != "" { // empty while the holder is just starting
			who = "process " + pid
		}
		return nil, fault.New(fault.Unavailable, "%s is in use by %s, which holds %s: stop that process or use another file", path, who, name)
	}
	if err != nil {
		f.Close()
		return nil, fault.New(fault.Unavailable, "%s cannot be locked: put the file on a disk that has flock: %w", name, err)
	}
	// As long as any other, so that what is there is replaced without asking a full disk for room; without room nobody is named.
	if err := write(f, fmt.Sprintf("%-20d\n", os.Getpid())); err != nil && !errors.Is(err, syscall.ENOSPC) {
		f.Close()
		return nil, fileError(path, err)
	}
	return f, nil
}

func write(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}
