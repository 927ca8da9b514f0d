package sqlite

import (
	"fmt"
	"sync"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"

	"github.com/nubecula/cloud/fault"
)

// conn is one connection, used through SQLite's C interface: database/sql
// and the driver made for it compile every statement anew each time, which
// costs more than the statement. All calls are made under mu.
type conn struct {
	mu     sync.Mutex
	tls    *libc.TLS
	db     uintptr // 0 when closed
	arena  arena
	out    uintptr // room for a pointer that a call returns
	stmts  map[string]*stmt
	hook   func(*libc.TLS, uintptr, uintptr, uintptr, int32) int32 // keeps the closure alive
	frames int                                                     // in the log at the last commit of this connection
	log    *logShim                                                // nil before the first commit
}

// stmt is a compiled statement.
type stmt struct {
	c *conn
	p uintptr
}

func openConn(path string, flags int32) (*conn, error) {
	c := &conn{tls: libc.NewTLS(), stmts: map[string]*stmt{}}
	c.arena.tls = c.tls
	c.out = libc.Xmalloc(c.tls, 64)
	rc := lib.Xsqlite3_open_v2(c.tls, c.arena.copyIn(path+"\x00"), c.out, flags|lib.SQLITE_OPEN_NOMUTEX|lib.SQLITE_OPEN_EXRESCODE, 0)
	c.db = word(c.out)
	c.arena.reset()
	if rc != lib.SQLITE_OK {
		err := c.fail(rc)
		c.close()
		return nil, err
	}
	c.hook = func(_ *libc.TLS, _, _, _ uintptr, frames int32) int32 {
		c.frames = int(frames)
		return lib.SQLITE_OK
	}
	// Otherwise SQLite compiles a range query anew each time its parameters are bound, to plan it by their values.
	if rc := lib.Xsqlite3_db_config(c.tls, c.db, lib.SQLITE_DBCONFIG_ENABLE_QPSG, libc.VaList(c.out, int32(1), uintptr(0))); rc != lib.SQLITE_OK {
		err := c.fail(rc)
		c.close()
		return nil, err
	}
	lib.Xsqlite3_busy_timeout(c.tls, c.db, 5000)
	lib.Xsqlite3_wal_hook(c.tls, c.db, pointer(c.hook), 0)
	return c, nil
}

// close frees everything; later calls get errClosed.
func (c *conn) close() error {
	if c.tls == nil {
		return nil
	}
	var err error
	for _, s := range c.stmts {
		lib.Xsqlite3_finalize(c.tls, s.p)
	}
	c.stmts = nil
	if c.db != 0 {
		if rc := lib.Xsqlite3_close_v2(c.tls, c.db); rc != lib.SQLITE_OK {
			err = c.fail(rc)
		}
		c.db = 0
	}
	if c.log != nil {
		libc.Xfree(c.tls, c.log.mem)
	}
	c.arena.free()
	libc.Xfree(c.tls, c.out)
	c.tls.Close()
	c.tls = nil
	return err
}

// keepLog has close leave the write-ahead log as it is.
func (c *conn) keepLog() {
	if c.db != 0 {
		args := libc.VaList(c.out, int32(1), uintptr(0))
		lib.Xsqlite3_db_config(c.tls, c.db, lib.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, args)
	}
}

// checkpoint moves the log into the file, as far as mode goes, and returns SQLite's code.
func (c *conn) checkpoint(mode int32) int32 {
	return lib.Xsqlite3_wal_checkpoint_v2(c.tls, c.db, 0, mode, 0, 0)
}

// readOnly reports whether the file could be opened for reading only, which SQLite does without a word.
func (c *conn) readOnly() bool {
	defer c.arena.reset()
	return lib.Xsqlite3_db_readonly(c.tls, c.db, c.arena.copyIn("main\x00")) == 1
}

// prepare returns the compiled form of a statement, kept for the life of the connection.
func (c *conn) prepare(sql string) (*stmt, error) {
	if c.db == 0 {
		return nil, errClosed()
	}
	if s := c.stmts[sql]; s != nil {
		return s, nil
	}
	defer c.arena.reset()
	rc := lib.Xsqlite3_prepare_v3(c.tls, c.db, c.arena.copyIn(sql+"\x00"), -1, lib.SQLITE_PREPARE_PERSISTENT, c.out, 0)
	if rc != lib.SQLITE_OK {
		return nil, c.fail(rc)
	}
	s := &stmt{c, word(c.out)}
	c.stmts[sql] = s
	return s, nil
}

// exec runs a statement that returns nothing of interest.
func (c *conn) exec(sql string) error {
	s, err := c.prepare(sql)
	if err != nil {
		return err
	}
	return s.run()
}

// commit ends the transaction under way.
func (c *conn) commit() error {
	if c.log == nil { // now it is open for certain
		if err := c.joinFrames(); err != nil {
			return err
		}
	}
	c.log.gather = true
	err := c.exec("COMMIT")
	c.log.gather = false
	if c.log.kept > 0 && err == nil {
		err = fault.New(fault.Internal, "sqlite: a commit ended without an fsync") // cannot be: synchronous is FULL
	}
	return err
}

// once runs statements that are not worth keeping.
func (c *conn) once(sql string) error {
	if c.db == 0 {
		return errClosed()
	}
	defer c.arena.reset()
	if rc := lib.Xsqlite3_exec(c.tls, c.db, c.arena.copyIn(sql+"\x00"), 0, 0, 0); rc != lib.SQLITE_OK {
		return c.fail(rc)
	}
	return nil
}

// text returns the first column of the first row of a query, "" when there is none.
func (c *conn) text(sql string) (string, error) {
	s, err := c.prepare(sql)
	if err != nil {
		return "", err
	}
	defer s.reset()
	row, err := s.step()
	if err != nil || !row {
		return "", err
	}
	return string(s.bytes(0)), nil
}

func (c *conn) integer(sql string) (n int64, err error) {
	err = c.integers(sql, &n)
	return n, err
}

// integers reads the columns of the first row; without one it leaves them.
func (c *conn) integers(sql string, to ...*int64) error {
	s, err := c.prepare(sql)
	if err != nil {
		return err
	}
	defer s.reset()
	row, err := s.step()
	for i := range to {
		if row {
			*to[i] = s.int(int32(i))
		}
	}
	return err
}

// fail is the error of a result code.
func (c *conn) fail(rc int32) error {
	msg := libc.GoString(lib.Xsqlite3_errstr(c.tls, rc))
	if c.db != 0 && lib.Xsqlite3_extended_errcode(c.tls, c.db) == rc {
		msg = libc.GoString(lib.Xsqlite3_errmsg(c.tls, c.db))
	}
	return &codeError{code: rc, msg: msg}
}

// codeError is what SQLite said.
type codeError struct {
	code int32 // extended result code
	msg  string
}

func (e *codeError) Error() string { return fmt.Sprintf("sqlite: %s (%d)", e.msg, e.code) }

func (s *stmt) bindText(i int32, v string) {
	lib.Xsqlite3_bind_text(s.c.tls, s.p, i, s.c.arena.copyIn(v), int32(len(v)), 0)
}

func (s *stmt) bindBody(i int32, v []byte) {
	lib.Xsqlite3_bind_text(s.c.tls, s.p, i, s.c.arena.copyIn(unsafe.String(unsafe.SliceData(v), len(v))), int32(len(v)), 0)
}

func (s *stmt) bindBlob(i int32, v []byte) {
	lib.Xsqlite3_bind_blob(s.c.tls, s.p, i, s.c.arena.copyIn(unsafe.String(unsafe.SliceData(v), len(v))), int32(len(v)), 0)
}

func (s *stmt) bindInt(i int32, v int64) { lib.Xsqlite3_bind_int64(s.c.tls, s.p, i, v) }

// step reports whether there is a row.
func (s *stmt) step() (bool, error) {
	switch rc := lib.Xsqlite3_step(s.c.tls, s.p); rc {
	case lib.SQLITE_ROW:
		return true, nil
	case lib.SQLITE_DONE:
		return false, nil
	default:
		return false, s.c.fail(rc)
	}
}

// reset makes the statement ready for its next use.
func (s *stmt) reset() {
	lib.Xsqlite3_reset(s.c.tls, s.p)
	s.c.arena.reset()
}

// run steps once and resets.
func (s *stmt) run() error {
	_, err := s.step()
	s.reset()
	return err
}

func (s *stmt) int(col int32) int64 { return lib.Xsqlite3_column_int64(s.c.tls, s.p, col) }

// bytes copies a column.
func (s *stmt) bytes(col int32) []byte {
	p := lib.Xsqlite3_column_blob(s.c.tls, s.p, col)
	n := lib.Xsqlite3_column_bytes(s.c.tls, s.p, col)
	if n == 0 {
		return []byte{}
	}
	return append([]byte(nil), memory(p, int(n))...)
}

// arena is memory outside Go's heap for the arguments of one statement: SQLite's code must not
// hold addresses on a goroutine's stack, which moves.
type arena struct {
	tls   *libc.TLS
	block uintptr
	size  int
	used  int
	old   []uintptr
}

func (a *arena) copyIn(v string) uintptr {
	if a.used+len(v)+1 > a.size {
		if a.block != 0 {
			a.old = append(a.old, a.block)
		}
		a.size = max(2*a.size, 4096, 2*len(v))
		a.block = libc.Xmalloc(a.tls, libc.Tsize_t(a.size))
		if a.block == 0 {
			panic("sqlite: out of memory")
		}
		a.used = 0
	}
	p := a.block + uintptr(a.used)
	copy(memory(p, len(v)), v)
	a.used += len(v) + 1
	return p
}

// arenaKeep is the size of a block that is not given back after use.
const arenaKeep = 1 << 20

func (a *arena) reset() {
	a.used = 0
	for _, p := range a.old {
		libc.Xfree(a.tls, p)
	}
	a.old = a.old[:0]
	if a.size > arenaKeep {
		libc.Xfree(a.tls, a.block)
		a.block, a.size = 0, 0
	}
}

func (a *arena) free() {
	a.reset()
	if a.block != 0 {
		libc.Xfree(a.tls, a.block)
		a.block, a.size = 0, 0
	}
}

// memory is the n bytes at an address that SQLite gave.
func memory(p uintptr, n int) []byte {
	if n == 0 {
		return nil
	}
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&p)), n)
}

// word is the address kept at an address.
func word(p uintptr) uintptr { return **(**uintptr)(unsafe.Pointer(&p)) }

// pointer is a function as translated C code wants it. The caller keeps f alive.
func pointer[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&f)) }
