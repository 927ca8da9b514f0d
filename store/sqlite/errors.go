package sqlite

import (
	"errors"

	lib "modernc.org/sqlite/lib"

	"github.com/nubecula/cloud/fault"
)

func errClosed() error {
	return fault.New(fault.Unavailable, "the database is closed")
}

// explain turns what SQLite said into a fault that names the file and the remedy.
func (d *Driver) explain(err error) error {
	var e *codeError
	var said *fault.Error
	if err == nil || errors.As(err, &said) || !errors.As(err, &e) {
		return err
	}
	return explain(d.path, e)
}

func explain(path string, e *codeError) error {
	switch e.code & 0xff {
	case lib.SQLITE_FULL:
		return fault.New(fault.Exhausted, "the disk that holds %s is full: free some space; nothing was changed: %w", path, e)
	case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
		return fault.New(fault.Corrupt, "%s is damaged: stop, keep a copy, and restore it from a backup: %w", path, e)
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED:
		return fault.New(fault.Unavailable, "%s is locked by another program that writes to it: end that program: %w", path, e)
	case lib.SQLITE_READONLY, lib.SQLITE_PERM, lib.SQLITE_AUTH:
		return fault.New(fault.Denied, "%s cannot be written: give this user write permission on the file and its directory: %w", path, e)
	case lib.SQLITE_CANTOPEN:
		return fault.New(fault.Unavailable, "%s cannot be opened: check that the directory exists and may be written: %w", path, e)
	case lib.SQLITE_TOOBIG:
		return fault.New(fault.TooLarge, "a document is too large for %s: %w", path, e)
	case lib.SQLITE_IOERR:
		return fault.New(fault.Unavailable, "the disk that holds %s failed: check the disk, then open the store again: %w", path, e)
	case lib.SQLITE_NOMEM:
		return fault.New(fault.Unavailable, "%s: out of memory; nothing was changed: give the process more, or the store a smaller cache: %w", path, e)
	}
	return fault.New(fault.Internal, "%s: %w", path, e)
}

// code is SQLite's primary result code in err, 0 if there is none.
func code(err error) int32 {
	var e *codeError
	if errors.As(err, &e) {
		return e.code & 0xff
	}
	return 0
}
