// Package statedir keeps a driver's small documents: in memory, or in a directory, where they are JSON. Killing
// the process at any instant leaves the old document or the new one.
//
// Files: statedir.go is the directory and its lock; table.go is what drivers use; journal.go keeps documents that need not outlive a
// power cut in one file, which index.go lets the next open without reading it all; files.go keeps those that must as one file each.
package statedir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/filelock"
)

// Space is a set of tables under one lock. Every access to a table happens inside Do.
type Space struct {
	path string // "" keeps everything in memory
	disk disk   // nil in memory

	tables sync.Map // of a Space in memory, by name

	mu     sync.Mutex
	lock   *os.File
	closed bool
}

// disk keeps encoded documents by table and key. Its methods are called inside Do.
type disk interface {
	// refresh comes first in each Do: others may have been inside since.
	refresh() error
	get(table, key string) ([]byte, error) // nil: there is none
	put(table, key string, doc []byte) error
	remove(table, key string) error
	keys(table string) ([]string, error)
	// where says in an error where a document is.
	where(table, key string) string
	// rest comes last, inside the lock: whatever makes the next opening quick.
	rest()
	close()
}

// Memory returns an empty Space that lives as long as it is referred to.
func Memory() *Space { return &Space{} }

// Open returns the Space kept in the directory, which is made at the first use. With durable set a
// document is on the disk before Put returns and outlives a power cut; without, it
// outlives the process, and after a power cut it may be as it was some time ago, or gone. Several Spaces, of this process and others, may be open on one directory.
func Open(path string, durable bool) (*Space, error) {
	if path == "" {
		return nil, fault.InvalidField("path", path, "name a directory")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, Explain(path, err)
	}
	if durable {
		return &Space{path: abs, disk: &files{dir: abs}}, nil
	}
	return &Space{path: abs, disk: &journal{dir: abs}}, nil
}

// Do runs f while no one else, in this process or another, is inside Do of the same Space.
func (s *Space) Do(f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.path == "" {
		return f()
	}
	if s.closed {
		return fault.New(fault.Unavailable, "state directory %s is closed; open it again", s.path)
	}
	if s.lock == nil {
		if err := os.MkdirAll(s.path, 0o755); err != nil {
			return Explain(s.path, err)
		}
		name := filepath.Join(s.path, ".lock")
		lock, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return Explain(name, err)
		}
		s.lock = lock
	}
	if err := filelock.Lock(s.lock); err != nil {
		return Explain(s.lock.Name(), err)
	}
	defer filelock.Unlock(s.lock)
	if err := s.disk.refresh(); err != nil {
		return err
	}
	return f()
}

// Close lets go of the directory; its documents stay. A Space in memory stays usable.
func (s *Space) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.lock == nil {
		return nil
	}
	if filelock.Lock(s.lock) == nil {
		s.disk.rest()
	}
	s.disk.close()
	err := filelock.Close(s.lock)
	s.lock = nil
	return err
}

// Key returns an Invalid error unless key can be the name of a file: letters, digits, '-', '_' and
// '.', at most 200 of them, not beginning with '.'.
func Key(key string) error {
	if !isKey(key) {
		return fault.InvalidField("id", key, "use a UUID: letters, digits, '-', '_' and '.'")
	}
	return nil
}

func isKey[T string | []byte](key T) bool {
	ok := len(key) > 0 && len(key) <= 200 && key[0] != '.'
	for i := 0; ok && i < len(key); i++ {
		c := key[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.", c) >= 0
	}
	return ok
}

// Explain turns an error of the file system into a fault that names the path and the remedy: Exhausted for a
// full disk, Unavailable for what an administrator can mend.
func Explain(path string, err error) error {
	var f *fault.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &f):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.New(fault.Exhausted, "no space left for %s; free some or enlarge the disk: %w", path, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fault.New(fault.Unavailable, "no permission for %s; check its owner, mode and mount: %w", path, err)
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.EIO):
		return fault.New(fault.Unavailable, "%s cannot be used now: %w", path, err)
	}
	return fault.New(fault.Internal, "%s cannot be used: %w", path, err)
}

// Replace makes the file hold data, on the disk too: the old content stays until the new is complete. Replacing one
// file from two places at once needs a lock.
func Replace(path string, data []byte) error {
	dir, name := filepath.Split(path)
	tmp := filepath.Join(dir, ".new-"+name)
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = os.Remove(tmp)
		return err
	}
	return SyncDir(dir)
}

// SyncDir makes the directory's names durable.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
