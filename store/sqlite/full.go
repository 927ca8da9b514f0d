package sqlite

import (
	"bytes"
	"errors"
	"io"
	"os"
	"time"

	lib "modernc.org/sqlite/lib"

	"github.com/nubecula/cloud/fault"
)

// On a full disk a write fails because the log cannot grow. Often it need not: much of it is the same pages over and over, and once
// they are moved into the file, where most of them have their place, the log begins anew in the room that it has. Moving fails
// only for pages that the file does not have yet.

// squeeze says when a write that found no room is worth another try behind a checkpoint.
type squeeze struct {
	due   bool          // a checkpoint before the next write
	tried bool          // since a write succeeded
	last  time.Duration // of the clock, when it was tried last
}

// squeezePause is how long a full disk that a checkpoint did not help is left alone: each attempt writes all that the log holds.
const squeezePause = time.Second

// next reports whether the write that has just failed should be made once more, and has a checkpoint made before it.
func (s *squeeze) next(now time.Duration) bool {
	if s.tried && now-s.last < squeezePause {
		return false
	}
	*s = squeeze{due: true, tried: true, last: now}
	return true
}

// noIndex reports whether the disk had no room for the log's index, which every connection needs.
func noIndex(err error) bool {
	var e *codeError
	return errors.As(err, &e) && e.code == lib.SQLITE_IOERR_SHMSIZE
}

// emptyLog moves the log into the file by a connection that keeps the log's index in memory, so that it needs no room on the disk but
// that of new pages. The room of the log is then free for the index.
func (d *Driver) emptyLog() error {
	var err error
	if d.w, err = openConn(d.path, lib.SQLITE_OPEN_READWRITE); err != nil {
		return err
	}
	defer func() {
		d.w.keepLog()
		d.w.close()
	}()
	if err := d.w.once("PRAGMA locking_mode=EXCLUSIVE; PRAGMA synchronous=FULL"); err != nil {
		return err
	}
	if _, err := d.identify(); err != nil {
		return err
	}
	if err := d.check(); err != nil {
		return err
	}
	rc := d.w.checkpoint(lib.SQLITE_CHECKPOINT_TRUNCATE)
	if rc&0xff == lib.SQLITE_FULL && cutLog(d.path) > 0 {
		rc = d.w.checkpoint(lib.SQLITE_CHECKPOINT_TRUNCATE)
	}
	switch {
	case rc == lib.SQLITE_OK:
		return nil
	case rc&0xff != lib.SQLITE_FULL:
		return d.w.fail(rc)
	}
	failed := d.w.fail(rc)
	pages, err := d.w.integer("PRAGMA page_count")
	if err != nil {
		return err
	}
	size, err := d.w.integer("PRAGMA page_size")
	if err != nil {
		return err
	}
	st, err := os.Stat(d.path)
	if err != nil {
		return fileError(d.path, err)
	}
	return fault.New(fault.Exhausted, "the disk that holds %s is full, and what its log %s-wal holds must be moved into it before it can be opened, which needs %d bytes more: "+
		"free so many on that disk, or move both files to a larger one, then try again; nothing is lost: %w", d.path, d.path, max(size, pages*size-st.Size()), failed)
}

// cutLog gives the disk back what the log had grown to in earlier rounds, behind the frames of this one, and returns how much that was.
// An error means that it stays. Nobody may be writing.
func cutLog(path string) (freed int64) {
	f, err := os.OpenFile(path+"-wal", os.O_RDWR, 0)
	if err != nil {
		return 0
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0
	}
	var head [32]byte // bytes 8 to 12: the size of a page; 16 to 24: the salt, which all frames of a round bear
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return 0
	}
	page := int64(head[8])<<24 | int64(head[9])<<16 | int64(head[10])<<8 | int64(head[11])
	if page < 512 || page > 65536 {
		return 0
	}
	end := int64(len(head))
	for ; end < st.Size(); end += 24 + page {
		var frame [24]byte // bytes 8 to 16: the salt
		_, err := f.ReadAt(frame[:], end)
		if errors.Is(err, io.EOF) || err == nil && !bytes.Equal(frame[8:16], head[16:24]) {
			break
		}
		if err != nil {
			return 0
		}
	}
	if end >= st.Size() || f.Truncate(end) != nil {
		return 0
	}
	return st.Size() - end
}
