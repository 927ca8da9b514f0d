package sqlite

import (
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// logShim joins what a commit appends to the log, of which SQLite writes each page by two calls of the system, some sixty
// pages a commit. It stands before the methods of the log's file, as a shim of a VFS does (sqlite.org/vfs.html), of the
// connection that writes only. While it gathers, writes that follow each other are kept, and written as one before anything
// else is done with the file, such as the fsync that ends a commit. Nobody looks for them earlier: the index of the log
// tells of a commit after its fsync.
type logShim struct {
	file   uintptr // sqlite3_file of the log
	below  *lib.Tsqlite3_io_methods
	mem    uintptr // outside Go's heap: the methods that stand before, and then the kept bytes
	gather bool
	at     int64 // where in the file the kept bytes begin
	kept   int32 // how many there are
	funcs  []any // of the methods: nothing else keeps their closures alive
}

// The methods of a file in translated C code.
type (
	ioMethod    = func(tls *libc.TLS, file, data uintptr, n int32, at int64) int32
	closeMethod = func(tls *libc.TLS, file uintptr) int32
	truncMethod = func(tls *libc.TLS, file uintptr, size int64) int32
	syncMethod  = func(tls *libc.TLS, file uintptr, flags int32) int32
	sizeMethod  = func(tls *libc.TLS, file, size uintptr) int32
)

const (
	framesHead = int(unsafe.Sizeof(lib.Tsqlite3_io_methods{}))
	framesKept = 96 << 10 // SQLite writes less than 128 KiB a call
)

// joinFrames has the commits of a connection, whose log is open, write it at once.
func (c *conn) joinFrames() error {
	defer c.arena.reset()
	if rc := lib.Xsqlite3_file_control(c.tls, c.db, c.arena.copyIn("main\x00"), lib.SQLITE_FCNTL_JOURNAL_POINTER, c.out); rc != lib.SQLITE_OK {
		return c.fail(rc)
	}
	f := &logShim{file: word(c.out), mem: libc.Xmalloc(c.tls, libc.Tsize_t(framesHead+framesKept))}
	if f.mem == 0 {
		panic("sqlite: out of memory")
	}
	methods := *(**uintptr)(unsafe.Pointer(&f.file)) // the first field of a sqlite3_file
	f.below = *(**lib.Tsqlite3_io_methods)(unsafe.Pointer(methods))
	**(**lib.Tsqlite3_io_methods)(unsafe.Pointer(&f.mem)) = f.above()
	*methods = f.mem
	c.log = f
	return nil
}

// above are the methods, each of which writes what is kept before it calls the one below.
func (f *logShim) above() lib.Tsqlite3_io_methods {
	var xClose closeMethod = func(tls *libc.TLS, file uintptr) int32 {
		f.flush(tls) // nothing is left of a commit that has succeeded
		return call[closeMethod](f.below.FxClose)(tls, file)
	}
	var xRead ioMethod = func(tls *libc.TLS, file, data uintptr, n int32, at int64) int32 {
		if rc := f.flush(tls); rc != lib.SQLITE_OK {
			return rc
		}
		return call[ioMethod](f.below.FxRead)(tls, file, data, n, at)
	}
	var xWrite ioMethod = func(tls *libc.TLS, file, data uintptr, n int32, at int64) int32 {
		if !f.gather || f.kept+n > framesKept || at != f.at+int64(f.kept) {
			if rc := f.flush(tls); rc != lib.SQLITE_OK {
				return rc
			}
			if !f.gather || n > framesKept {
				return call[ioMethod](f.below.FxWrite)(tls, file, data, n, at)
			}
			f.at = at
		}
		copy(memory(f.bytes()+uintptr(f.kept), int(n)), memory(data, int(n)))
		f.kept += n
		return lib.SQLITE_OK
	}
	var xTruncate truncMethod = func(tls *libc.TLS, file uintptr, size int64) int32 {
		if rc := f.flush(tls); rc != lib.SQLITE_OK {
			return rc
		}
		return call[truncMethod](f.below.FxTruncate)(tls, file, size)
	}
	var xSync syncMethod = func(tls *libc.TLS, file uintptr, flags int32) int32 {
		if rc := f.flush(tls); rc != lib.SQLITE_OK {
			return rc
		}
		return call[syncMethod](f.below.FxSync)(tls, file, flags)
	}
	var xFileSize sizeMethod = func(tls *libc.TLS, file, size uintptr) int32 {
		if rc := f.flush(tls); rc != lib.SQLITE_OK {
			return rc
		}
		return call[sizeMethod](f.below.FxFileSize)(tls, file, size)
	}
	f.funcs = []any{xClose, xRead, xWrite, xTruncate, xSync, xFileSize}
	m := *f.below
	m.FxClose, m.FxRead, m.FxWrite = pointer(xClose), pointer(xRead), pointer(xWrite)
	m.FxTruncate, m.FxSync, m.FxFileSize = pointer(xTruncate), pointer(xSync), pointer(xFileSize)
	return m
}

func (f *logShim) bytes() uintptr { return f.mem + uintptr(framesHead) }

// flush writes what is kept. What cannot be written is dropped: the commit fails, and its place in the log is the next one's.
func (f *logShim) flush(tls *libc.TLS) int32 {
	n := f.kept
	if n == 0 {
		return lib.SQLITE_OK
	}
	f.kept = 0
	return call[ioMethod](f.below.FxWrite)(tls, f.file, f.bytes(), n, f.at)
}

// call is a function of translated C code.
func call[F any](p uintptr) F { return *(*F)(unsafe.Pointer(&struct{ uintptr }{p})) }
