package sqlite

import (
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// disk stands between a Driver's writing connection and its files: it can fail a write or a sync, and
// knows what a power cut would leave.
type disk struct {
	mu    sync.Mutex
	files map[string]*image // by suffix: "" and "-wal"
	fail  func(file, op string) int32
	full  bool  // no file can grow
	keep  []any // functions that only SQLite refers to
}

// image is a file as the platter has it, and the writes that are not sure yet.
type image struct {
	synced  []byte
	pending []unsure
}

const sector = 4096

type unsure struct {
	at   int64
	data []byte
}

func (w unsure) apply(b []byte) []byte {
	if end := int(w.at) + len(w.data); end > len(b) {
		b = append(b, make([]byte, end-len(b))...)
	}
	copy(b[w.at:], w.data)
	return b
}

// newDisk puts a disk under an open Driver.
func newDisk(t testing.TB, d *Driver) *disk {
	t.Helper()
	k := &disk{files: map[string]*image{}}
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	require.NoError(t, d.w.exec("BEGIN IMMEDIATE")) // opens the log
	require.NoError(t, d.w.exec("ROLLBACK"))
	if d.w.log == nil {
		require.NoError(t, d.w.joinFrames())
	}
	k.intercept(t, d, "", lib.SQLITE_FCNTL_FILE_POINTER)
	k.intercept(t, d, "-wal", lib.SQLITE_FCNTL_JOURNAL_POINTER)
	return k
}

func (k *disk) intercept(t testing.TB, d *Driver, name string, op int32) {
	c := d.w
	require.EqualValues(t, lib.SQLITE_OK, lib.Xsqlite3_file_control(c.tls, c.db, c.arena.copyIn("main\x00"), op, c.out))
	c.arena.reset()
	file := word(c.out)
	require.NotZero(t, file)
	now, err := os.ReadFile(d.path + name)
	require.NoError(t, err)
	img := &image{synced: now}
	k.files[name] = img

	at := func(p uintptr) *lib.Tsqlite3_io_methods { return *(**lib.Tsqlite3_io_methods)(unsafe.Pointer(&p)) }
	below := file // the methods of the log that its writes are joined for
	if d.w.log.file == file {
		below = uintptr(unsafe.Pointer(&d.w.log.below))
	}
	old := at(word(below))
	own := libc.Xmalloc(c.tls, libc.Tsize_t(unsafe.Sizeof(*old)))
	*at(own) = *old
	xWrite, xSync, xTruncate := call[ioMethod](old.FxWrite), call[syncMethod](old.FxSync), call[truncMethod](old.FxTruncate)
	var w ioMethod = func(tls *libc.TLS, f, p uintptr, n int32, off int64) int32 {
		k.mu.Lock()
		defer k.mu.Unlock()
		if rc := k.failure(name, "write"); rc != 0 {
			return rc
		}
		if st, err := os.Stat(d.path + name); k.full && (err != nil || off+int64(n) > st.Size()) {
			return lib.SQLITE_FULL
		}
		data, pos := append([]byte(nil), memory(p, int(n))...), off
		for len(data) > 0 { // each sector is sure, or not, on its own
			n := min(len(data), sector-int(pos%sector))
			img.pending = append(img.pending, unsure{pos, data[:n]})
			data, pos = data[n:], pos+int64(n)
		}
		return xWrite(tls, f, p, n, off)
	}
	var s syncMethod = func(tls *libc.TLS, f uintptr, flags int32) int32 {
		k.mu.Lock()
		defer k.mu.Unlock()
		if rc := k.failure(name, "sync"); rc != 0 {
			return rc
		}
		for _, w := range img.pending {
			img.synced = w.apply(img.synced)
		}
		img.pending = nil
		return xSync(tls, f, flags)
	}
	var tr truncMethod = func(tls *libc.TLS, f uintptr, size int64) int32 {
		k.mu.Lock()
		defer k.mu.Unlock()
		if size < int64(len(img.synced)) {
			img.synced = img.synced[:size]
		}
		return xTruncate(tls, f, size)
	}
	k.keep = append(k.keep, w, s, tr)
	at(own).FxWrite, at(own).FxSync, at(own).FxTruncate = pointer(w), pointer(s), pointer(tr)
	was := word(below)
	**(**uintptr)(unsafe.Pointer(&below)) = own
	t.Cleanup(func() { // before the Driver is closed, unless the test did that: k's functions may be collected from now on
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.db != 0 {
			**(**uintptr)(unsafe.Pointer(&below)) = was
		}
		runtime.KeepAlive(k)
	})
}

func (k *disk) failure(file, op string) int32 {
	if k.fail == nil {
		return 0
	}
	return k.fail(file, op)
}

// failing sets what fails from now on: f returns SQLite's code for an operation, or 0.
func (k *disk) failing(f func(file, op string) int32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fail = f
}

// fill says whether the disk is full.
func (k *disk) fill(full bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.full = full
}

// cut writes to path what a power cut would leave now: all that was synced, and of each other write the
// whole, a part, or nothing.
func (k *disk) cut(t testing.TB, path string, rnd *rand.Rand) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, img := range k.files {
		b := append([]byte(nil), img.synced...)
		for _, w := range img.pending {
			switch rnd.IntN(3) {
			case 0:
				b = w.apply(b)
			case 1:
				w.data = w.data[:rnd.IntN(len(w.data)+1)]
				b = w.apply(b)
			}
		}
		require.NoError(t, os.WriteFile(path+name, b, 0o600))
	}
}
