package sqlite

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	lib "modernc.org/sqlite/lib"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/statedir"
)

const (
	// backupPages is how much is copied, 256 KiB, before ctx and Close are looked at.
	backupPages = 64
	// backupPause is how many times as long as a step took the next one waits for, while others write; most bounds it.
	backupPause     = 3
	mostBackupPause = 250 * time.Millisecond
)

// Backup writes a copy of the database as it is at one moment, while others go on reading and writing: everything
// that was answered before the call is in it. The copy is one file (mode 0600), on the disk when Backup returns, checked
// (quick_check), and readable where nothing can be written. Secrets in it are sealed as they are in the store: without the
// sealing key, which is not in the copy, nobody can use them. It replaces no file, and leaves none after an error; only a process that
// dies meanwhile leaves a file .NAME.new-*, which can be deleted.
//
// Writers do not wait, but share processor and disk with it: while others write it copies a quarter of the time at most, and takes
// some three times as long as it does alone. The log beside the database grows until it has ended.
//
// Exists: there is such a file. NotFound: its directory is not there. Exhausted: the disk is full. Denied: no permission. Unavailable: the
// disk failed, or the Driver was closed meanwhile.
func (d *Driver) Backup(ctx context.Context, path string) error {
	real, err := realPath(path)
	if err != nil {
		return err
	}
	if err := absent(real); err != nil {
		return err
	}
	return d.backup(ctx, real, linkNew)
}

// Keep is a backup beside the database, as store.Keeper wants it: cloud.db.before-server-2.
func (d *Driver) Keep(ctx context.Context, why string) (string, error) {
	path := d.path + "." + why
	return path, d.backup(ctx, path, os.Rename)
}

// backup writes a copy that gets its name by place.
func (d *Driver) backup(ctx context.Context, path string, place func(from, to string) error) error {
	src, err := d.beginBackup()
	if err != nil {
		return err
	}
	defer d.backups.Done()
	defer src.close()
	return writeNew(path, place, func(tmp string) error { return d.copyTo(ctx, src, tmp, path) })
}

// absent refuses a path where a file is.
func absent(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return fault.New(fault.Exists, "%s exists, and a backup replaces no file: choose another name, or move it away", path)
	}
	return nil
}

// beginBackup opens a connection that sees one state of the database. Close waits until it is closed.
func (d *Driver) beginBackup() (*conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errClosed()
	}
	if d.broken != nil {
		return nil, d.broken
	}
	c, err := openConn(d.path, lib.SQLITE_OPEN_READWRITE)
	if err != nil {
		return nil, d.explain(err)
	}
	c.keepLog()
	if err := c.once("PRAGMA query_only=1; PRAGMA cache_size=-2000; PRAGMA mmap_size=0; BEGIN; SELECT count(*) FROM meta"); err != nil {
		c.close()
		return nil, d.explain(err)
	}
	d.backups.Add(1)
	return c, nil
}

// copyTo copies the pages that src sees into the empty file tmp, which will be called name.
func (d *Driver) copyTo(ctx context.Context, src *conn, tmp, name string) error {
	said := func(err error) error {
		var e *codeError
		if !errors.As(err, &e) {
			return err
		}
		return explain(name, e)
	}
	dst, err := openConn(tmp, lib.SQLITE_OPEN_READWRITE)
	if err != nil {
		return said(err)
	}
	defer dst.close()
	// Whoever places the file syncs it, and throws it away after an error.
	if err := dst.once("PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF"); err != nil {
		return said(err)
	}
	main := dst.arena.copyIn("main\x00")
	b := lib.Xsqlite3_backup_init(dst.tls, dst.db, main, src.db, main)
	if b == 0 {
		return said(dst.fail(lib.Xsqlite3_errcode(dst.tls, dst.db)))
	}
	rc := int32(lib.SQLITE_OK)
	machine := clock.System() // which a step takes time of, whatever Options.Clock tells
	for last := d.cache.at(); rc == lib.SQLITE_OK; {
		began := machine.Mono()
		if rc = lib.Xsqlite3_backup_step(dst.tls, b, backupPages); rc != lib.SQLITE_OK {
			break
		}
		if err = ctx.Err(); err == nil {
			err = d.usable()
		}
		if err != nil {
			lib.Xsqlite3_backup_finish(dst.tls, b)
			return err
		}
		if now := d.cache.at(); now != last {
			last = now
			_ = machine.Sleep(ctx, min(backupPause*(machine.Mono()-began), mostBackupPause)) // ctx is looked at behind the next step
		}
	}
	lib.Xsqlite3_backup_finish(dst.tls, b)
	if rc != lib.SQLITE_DONE {
		return said(dst.fail(rc))
	}
	// Without a log beside it the file is complete in itself.
	if err := dst.once("PRAGMA journal_mode=DELETE"); err != nil {
		return said(err)
	}
	verdict, err := dst.text("PRAGMA quick_check(1)")
	if err == nil && verdict != "ok" {
		return fault.New(fault.Corrupt, "%s is damaged (%s), so there is no backup of it: stop, keep a copy, and restore an earlier backup", d.path, verdict)
	}
	return said(err)
}

// writeNew has fill write a new file in the directory of path, makes it durable and has place give it its name.
func writeNew(path string, place func(from, to string) error, fill func(tmp string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return fileError(path, err)
	}
	tmp := f.Name()
	defer func() {
		for _, suffix := range []string{"", "-journal", "-wal", "-shm"} {
			_ = os.Remove(tmp + suffix)
		}
	}()
	if err := fill(tmp); err != nil {
		f.Close()
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fileError(path, err)
	}
	if err := place(tmp, path); err != nil {
		return fileError(path, err)
	}
	if err := statedir.SyncDir(filepath.Dir(path)); err != nil {
		return fileError(path, err)
	}
	return nil
}

// linkNew gives a file a name that must be free.
func linkNew(tmp, path string) error {
	err := os.Link(tmp, path) // unlike Rename it replaces nothing
	if err == nil {
		return nil
	}
	if err := absent(path); err != nil {
		return err
	}
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrPermission) { // a file system without links
		return os.Rename(tmp, path)
	}
	return err
}
