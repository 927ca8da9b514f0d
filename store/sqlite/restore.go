package sqlite

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	lib "modernc.org/sqlite/lib"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/filelock"
	"github.com/nubecula/cloud/internal/statedir"
)

// Restore puts a copy of a backup in the place of a database that nobody has open, or where there is none. The backup is copied, the copy
// checked as a whole (integrity_check), and shown to verify, which may open it, for example to see whether the sealing key fits;
// nil looks at nothing more. Only then the database is moved aside: kept is where it is now, "" when there was none. The backup itself
// stays as it is. A process that dies in the middle leaves the old database or the new one, whole.
//
// NotFound: there is no such backup. Corrupt: it is damaged, of a newer version, or another program's. Unavailable: the
// database is in use. Exhausted: the disk is full. Then, and after an error of verify, the database is as it was.
func Restore(backup, path string, verify func(copy string) error) (kept string, err error) {
	if backup, err = realPath(backup); err != nil {
		return "", err
	}
	if _, err := os.Stat(backup); err != nil {
		return "", fault.New(fault.NotFound, "there is no backup %s: name the file that a backup has written: %w", backup, err)
	}
	if path, err = realPath(path); err != nil {
		return "", err
	}
	if backup == path {
		return "", fault.New(fault.Invalid, "%s is the database itself: name a backup of it", path)
	}
	held, err := lock(path)
	if err != nil {
		return "", err
	}
	defer filelock.Close(held)
	tmp, err := copyFile(backup, path)
	if err != nil {
		return "", err
	}
	defer func() {
		for _, suffix := range []string{"", "-journal", "-wal", "-shm", ".lock"} {
			_ = os.Remove(tmp + suffix)
		}
	}()
	if err := whole(tmp, backup); err != nil {
		return "", err
	}
	if verify != nil {
		if err := verify(tmp); err != nil {
			return "", err
		}
	}
	if kept, err = setAside(path); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, path); err != nil {
		return kept, fileError(path, err)
	}
	if err := statedir.SyncDir(filepath.Dir(path)); err != nil {
		return kept, fileError(path, err)
	}
	return kept, nil
}

// copyFile copies a backup, durably, to a new file beside a database. What lies beside the backup because somebody has opened it is
// copied too.
func copyFile(backup, path string) (tmp string, err error) {
	out, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".restore-*") // mode 0600
	if err != nil {
		return "", fileError(path, err)
	}
	tmp = out.Name()
	err = pour(out, backup)
	if _, e := os.Stat(backup + "-wal"); err == nil && e == nil {
		var log *os.File
		if log, err = os.OpenFile(tmp+"-wal", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			err = pour(log, backup+"-wal")
		}
	}
	if err != nil {
		_, _ = os.Remove(tmp), os.Remove(tmp+"-wal")
		return "", fileError(path, err)
	}
	return tmp, nil
}

// pour copies a file and closes the copy.
func pour(out *os.File, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return errors.Join(err, out.Close())
	}
	defer in.Close()
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// whole checks every page and every index of a copy.
func whole(tmp, backup string) error {
	if st, err := os.Stat(tmp); err != nil || st.Size() == 0 {
		return fault.New(fault.Corrupt, "the backup %s is empty: use another one", backup)
	}
	said := func(err error) error {
		var e *codeError
		if !errors.As(err, &e) {
			return err
		}
		return fault.New(fault.Corrupt, "the backup %s cannot be used: %w", backup, explain(backup, e))
	}
	if err := checkHeader(tmp); err != nil {
		return fault.New(fault.CodeOf(err), "the backup cannot be used: %s", strings.ReplaceAll(err.Error(), tmp, backup))
	}
	c, err := openConn(tmp, lib.SQLITE_OPEN_READWRITE)
	if err != nil {
		return said(err)
	}
	defer c.close()
	verdict, err := c.text("PRAGMA integrity_check(1)")
	if err == nil && verdict != "ok" {
		return fault.New(fault.Corrupt, "the backup %s is damaged (%s): use another one", backup, strings.TrimSpace(verdict))
	}
	if err == nil {
		_, err = c.integer("SELECT max(n) FROM commits")
	}
	if err == nil {
		err = c.once("PRAGMA journal_mode=DELETE") // what a log holds goes into the file
	}
	return said(err)
}

// setAside gives a database, which nobody has open, a second name and leaves no log beside it, so that another file
// can be renamed over it. It returns that name, "" when there is no database.
func setAside(path string) (string, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return "", removeLog(path)
	}
	if c, err := openConn(path, lib.SQLITE_OPEN_READWRITE); err == nil {
		_, _ = c.text("PRAGMA journal_mode=DELETE") // a sound database takes its log in; of a damaged one the log is kept beside it
		c.keepLog()
		_ = c.close()
	}
	kept := path + ".replaced-" + clock.System().Now().Format("20060102T150405.000Z")
	for _, suffix := range []string{"", "-wal"} {
		if e := os.Link(path+suffix, kept+suffix); e != nil && !(suffix != "" && errors.Is(e, fs.ErrNotExist)) {
			return "", fileError(kept, e)
		}
	}
	if err := statedir.SyncDir(filepath.Dir(path)); err != nil {
		return "", fileError(kept, err)
	}
	return kept, removeLog(path)
}

func removeLog(path string) error {
	for _, suffix := range []string{"-wal", "-shm", "-journal"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fileError(path, err)
		}
	}
	return nil
}
