package sqlite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	lib "modernc.org/sqlite/lib"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/filelock"
	"github.com/nubecula/cloud/store"
)

const (
	applicationID = 0x4e756265 // "Nube"
	schemaVersion = 1
)

// schema hardly ever changes: documents bring their own versions.
const schema = `
CREATE TABLE doc(kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, rev INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY(kind, id));
CREATE TABLE entry(kind TEXT NOT NULL, name TEXT NOT NULL, key BLOB NOT NULL, id TEXT NOT NULL, PRIMARY KEY(kind, name, key)) WITHOUT ROWID;
CREATE TABLE event(seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE commits(n INTEGER PRIMARY KEY, id TEXT NOT NULL, wall INTEGER NOT NULL, lease INTEGER NOT NULL);
CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT INTO meta VALUES('floor', 0);
INSERT INTO commits VALUES(0, '', 0, 0);
`

// Open opens the database in a file, and makes it when there is none; the directory must exist.
//
// Unavailable: another process has it (the error names the file and the process), or it is not
// reachable. Denied: no permission to write. Corrupt: it is damaged, of a newer version, or
// another program's; then nothing in it has been touched. Exhausted: the disk is full, and the error says how many bytes are needed. A full disk
// alone does not keep a database from being opened and read, unless there is not even room for the index of its log, 32 KiB for 16 MiB of that.
func Open(path string, opt *Options) (*Driver, error) {
	d := &Driver{write: make(chan struct{}, 1), readers: map[*conn]bool{}}
	if opt != nil {
		d.opt = *opt
	}
	if err := d.opt.fill(); err != nil {
		return nil, err
	}
	var err error
	if d.path, err = realPath(path); err != nil {
		return nil, err
	}
	if err := checkHeader(d.path); err != nil {
		return nil, err
	}
	if d.lock, err = lock(d.path); err != nil {
		return nil, err
	}
	if err := makePrivate(d.path); err != nil {
		filelock.Close(d.lock)
		return nil, err
	}
	if err := d.open(); err != nil {
		if d.w != nil {
			d.w.keepLog()
			d.w.close()
		}
		filelock.Close(d.lock)
		if code(err) == lib.SQLITE_ERROR {
			return nil, fault.New(fault.Corrupt, "%s is damaged or not a database of this program: restore it from a backup: %w", d.path, err)
		}
		return nil, d.explain(err)
	}
	return d, nil
}

func (o *Options) fill() error {
	var errs []error
	if o.CacheBytes < 0 {
		errs = append(errs, fault.InvalidField("CacheBytes", o.CacheBytes, "give 0 or more"))
	}
	if o.MaxBytes < 0 {
		errs = append(errs, fault.InvalidField("MaxBytes", o.MaxBytes, "give 0 or more"))
	}
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 16 << 20
	}
	if o.CheckBytes == 0 {
		o.CheckBytes = 16 << 20
	}
	return errors.Join(errs...)
}

// realPath follows links, so that one file has one lock.
func realPath(path string) (string, error) {
	if path == "" || strings.ContainsRune(path, 0) {
		return "", fault.InvalidField("path", path, "give the path of a file")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fault.New(fault.Unavailable, "%s: %w", path, err)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", fileError(path, err)
	}
	if st, err := os.Stat(dir); err == nil && !st.IsDir() {
		return "", fileError(path, syscall.ENOTDIR)
	}
	path = filepath.Join(dir, filepath.Base(path))
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return "", fault.New(fault.Invalid, "%s is not a regular file: give the path of a file", path)
	}
	return path, nil
}

// makePrivate makes a file that its owner alone can read; the log beside it gets the same mode. SQLite itself lets everybody read.
func makePrivate(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return fileError(path, err)
	}
	return nil
}

// fileError says what the system refused and what to do about it.
func fileError(path string, err error) error {
	var said *fault.Error
	switch {
	case errors.As(err, &said):
		return err
	case errors.Is(err, syscall.EROFS):
		return fault.New(fault.Denied, "%s is on a read-only file system: choose a directory that can be written: %w", path, err)
	case errors.Is(err, fs.ErrPermission):
		return fault.New(fault.Denied, "%s: this user may not write there: change the permissions of the file and its directory, or choose another directory: %w", path, err)
	case errors.Is(err, syscall.ENOTDIR):
		return fault.New(fault.Invalid, "%s: a part of the path is a file, not a directory: choose another path: %w", path, err)
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.NotFound, "%s: make its directory first: %w", path, err)
	case errors.Is(err, syscall.ENOSPC):
		return fault.New(fault.Exhausted, "the disk that holds %s is full: free some space: %w", path, err)
	}
	return fault.New(fault.Unavailable, "%s cannot be opened: %w", path, err)
}

// checkHeader refuses what can be told from the first bytes, before anything is written beside the file.
func checkHeader(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fileError(path, err)
	}
	defer f.Close()
	var h [100]byte
	n, err := io.ReadFull(f, h[:])
	switch {
	case n == 0 && errors.Is(err, io.EOF):
		return nil
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return fileError(path, err)
	case n < len(h) || string(h[:16]) != "SQLite format 3\x00":
		return fault.New(fault.Corrupt, "%s is not a database: choose another path, or restore it from a backup", path)
	}
	if log, err := os.Stat(path + "-wal"); err == nil && log.Size() > 0 {
		return nil // the log may have another header, and this one may be half of it: identify reads both
	}
	return checkIdentity(path, int64(binary.BigEndian.Uint32(h[68:])), int64(binary.BigEndian.Uint32(h[60:])))
}

// checkIdentity looks at the marks of whoever made the file; 0 may mean that they are still in the log.
func checkIdentity(path string, application, version int64) error {
	if application != 0 && application != applicationID {
		return fault.New(fault.Corrupt, "%s belongs to another program (application id %#x): choose another path", path, application)
	}
	if application == applicationID && version > schemaVersion {
		return fault.New(fault.Corrupt, "%s was written by a newer version (format %d, this program knows %d): use that version, or restore the copy that was kept before the upgrade", path, version, schemaVersion)
	}
	if application == applicationID && version < 1 {
		return fault.New(fault.Corrupt, "%s is damaged (format %d): restore it from a backup", path, version)
	}
	return nil
}

// open opens the database, on a full disk too if that can be done.
func (d *Driver) open() error {
	err := d.connect()
	if !noIndex(err) {
		return err
	}
	d.w.keepLog()
	d.w.close()
	if err := d.emptyLog(); err != nil {
		return err
	}
	return d.connect()
}

func (d *Driver) connect() error {
	var err error
	if d.w, err = openConn(d.path, lib.SQLITE_OPEN_READWRITE|lib.SQLITE_OPEN_CREATE); err != nil {
		return err
	}
	if d.w.readOnly() {
		return fileError(d.path, fs.ErrPermission)
	}
	fresh, err := d.identify()
	if err != nil {
		return err
	}
	if !fresh { // look before anything is written
		if err := errors.Join(d.check(), d.load()); err != nil {
			return err
		}
	}
	if err := d.setUp(fresh); err != nil || !fresh {
		return err
	}
	return d.load()
}

// identify reports whether the file is empty, and refuses one that is not ours.
func (d *Driver) identify() (fresh bool, err error) {
	application, err := d.w.integer("PRAGMA application_id")
	if err != nil {
		return false, err
	}
	version, err := d.w.integer("PRAGMA user_version")
	if err != nil {
		return false, err
	}
	if err := checkIdentity(d.path, application, version); err != nil || application == applicationID {
		return false, err
	}
	tables, err := d.w.integer("SELECT count(*) FROM sqlite_schema")
	if err == nil && tables > 0 {
		err = fault.New(fault.Corrupt, "%s belongs to another program: choose another path", d.path)
	}
	return true, err
}

func (d *Driver) setUp(fresh bool) error {
	mode, err := d.w.text("PRAGMA journal_mode=WAL")
	if err != nil {
		return err
	}
	if mode != "wal" {
		return fault.New(fault.Unsupported, "%s: the file system does not allow a write-ahead log (journal mode %s): put the file on a local disk", d.path, mode)
	}
	if err := d.w.once("PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit=67108864; PRAGMA cache_size=-16000; PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY"); err != nil {
		return err
	}
	lib.Xsqlite3_wal_hook(d.w.tls, d.w.db, pointer(d.w.hook), 0) // the pragma above has replaced it
	if fresh {
		err = d.w.once(fmt.Sprintf("BEGIN IMMEDIATE; %s PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT", schema, applicationID, schemaVersion))
		if err != nil {
			return err
		}
	}
	if d.opt.MaxBytes == 0 {
		return nil
	}
	return d.w.once(fmt.Sprintf("PRAGMA max_page_count=%d", max(1, d.opt.MaxBytes/4096)))
}

// check looks for damage: structure and order of tables, not every index entry (quick_check).
func (d *Driver) check() error {
	st, err := os.Stat(d.path)
	if err != nil {
		return fileError(d.path, err)
	}
	if st.Size() > d.opt.CheckBytes {
		return nil
	}
	said, err := d.w.text("PRAGMA quick_check(1)")
	if err != nil {
		return err
	}
	if said != "ok" {
		return fault.New(fault.Corrupt, "%s is damaged (%s): keep a copy, and restore it from a backup", d.path, strings.TrimSpace(said))
	}
	return nil
}

// load reads where the file's last run ended.
func (d *Driver) load() error {
	var wall, lease int64
	d.newest = &moment{users: 1}
	err := d.w.integers("SELECT max(n), max(wall), max(lease), max(coalesce((SELECT max(seq) FROM event), 0), (SELECT value FROM meta WHERE name='floor')) FROM commits",
		&d.newest.at, &wall, &lease, &d.seq)
	if err != nil {
		return err
	}
	d.cache = newCache(d.opt.CacheBytes, d.newest.at)
	d.wall = latest(d.opt.Clock.Now(), wall)
	d.mono = d.opt.Clock.Mono()
	d.start = store.Instant{Wall: d.wall, Lease: latest(d.wall, lease)}
	return nil
}

// latest is the later of a time and one that a table holds.
func latest(t time.Time, nanos int64) time.Time {
	if was := time.Unix(0, nanos).UTC(); was.After(t) {
		return was
	}
	return t
}
