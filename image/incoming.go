package image

import (
	"context"
	"crypto/md5" // a checksum that the API defines, not a protection
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/image/imagedriver"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/imageformat"
	"github.com/nubecula/cloud/store"
)

// incoming is the data of one upload, in the process that received it.
type incoming struct {
	r               *io.PipeReader
	disk, container string // as declared
	size            int64  // expected; 0 means unknown
	most            int64
	tooLarge        func() error
	finish          func(tx *store.Tx, i *Image) error

	turn    chan struct{} // holds the right to the rest; not a mutex, since a Put may hang
	started bool
	got     *content
	err     error
}

// store has the driver read the data. It does so once; asked again, it says how that ended.
func (in *incoming) store(ctx context.Context, k clock.Clock, d imagedriver.Store, dataID string) (*content, error) {
	select {
	case in.turn <- struct{}{}:
		defer func() { <-in.turn }()
	case <-ctx.Done(): // an earlier attempt hangs
		return nil, context.Cause(ctx)
	}
	if in.started {
		return in.got, in.err
	}
	in.started = true
	stop := context.AfterFunc(ctx, func() { in.r.CloseWithError(ctx.Err()) })
	defer stop()
	m := &meter{in: in, md5: md5.New(), sha512: sha512.New()}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer m.watch(k, cancel)()
	size, err := d.Put(ctx, dataID, m)
	switch {
	case err != nil && errors.Is(context.Cause(ctx), errStalled):
		in.err = context.Cause(ctx)
	case m.err != nil:
		in.err = m.err // the reason itself, not what the driver makes of it
	case err != nil:
		in.err = err
	case !m.ended || size != m.size:
		in.err = fault.New(fault.Internal, "the image driver took %d bytes of %d and called them all", size, m.size)
	default:
		in.got = &content{SizeBytes: m.size, VirtualBytes: m.info.VirtualBytes, Format: m.info.Format,
			MD5: hex.EncodeToString(m.md5.Sum(nil)), SHA512: hex.EncodeToString(m.sha512.Sum(nil))}
	}
	in.r.CloseWithError(fault.New(fault.Canceled, "the upload has ended"))
	return in.got, in.err
}

// meter passes the data on to the driver and looks at it. It fails instead of ending when the data must
// not be kept, so that no driver takes it for complete.
type meter struct {
	in          *incoming
	md5, sha512 hash.Hash
	format      imageformat.Inspector
	size        int64
	info        imageformat.Info
	ended       bool
	err         error
	reads       atomic.Int64 // calls of Read that have begun and ended, each counted
}

// stallLimit is how long the driver may go without asking for more data.
const stallLimit = 10 * time.Minute

// errStalled ends a Put whose driver does not go on.
var errStalled = fault.New(fault.Timeout, "the image driver has not taken any data for %s: look at its storage, and upload again", stallLimit)

// watch cancels the Put once the driver has stalled, and returns what ends the watch.
func (m *meter) watch(k clock.Clock, cancel context.CancelCauseFunc) (stop func()) {
	var mu sync.Mutex
	var disarm func()
	var look func(seen int64)
	ended := false
	look = func(seen int64) {
		mu.Lock()
		defer mu.Unlock()
		if ended {
			return
		}
		disarm = k.AfterFunc(stallLimit, func() {
			now := m.reads.Load()
			if now == seen && now%2 == 0 { // odd: it waits for the client
				cancel(errStalled)
				return
			}
			look(now)
		})
	}
	look(0)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		ended = true
		disarm()
	}
}

// Read implements io.Reader.
func (m *meter) Read(p []byte) (int, error) {
	m.reads.Add(1)
	defer m.reads.Add(1)
	if m.err != nil {
		return 0, m.err
	}
	if m.ended {
		return 0, io.EOF
	}
	n, err := m.in.r.Read(p)
	m.size += int64(n)
	m.md5.Write(p[:n])
	m.sha512.Write(p[:n])
	if _, m.err = m.format.Write(p[:n]); m.err != nil {
		return 0, m.err
	}
	if m.size > m.in.most {
		m.err = m.in.tooLarge()
		return 0, m.err
	}
	switch {
	case err == io.EOF:
		if m.err = m.check(); m.err != nil {
			return 0, m.err
		}
		m.ended = true
	case err != nil:
		m.err = err
	}
	return n, err
}

// check compares what has arrived with what was announced.
func (m *meter) check() (err error) {
	if m.in.size > 0 && m.size != m.in.size {
		return fault.New(fault.Invalid, "the upload broke off: it has %d bytes, %d were announced; upload again", m.size, m.in.size)
	}
	if m.info, err = m.format.Finish(); err != nil {
		return err
	}
	found := m.info.Format
	if m.in.container != "bare" {
		m.info.VirtualBytes = 0 // the disk is somewhere inside
	}
	switch {
	case found == imageformat.Raw:
		if m.in.disk != imageformat.Raw {
			m.info.VirtualBytes = 0
		}
	case found != m.in.disk:
		return &fault.Error{Code: fault.Invalid, Field: "disk_format",
			Msg: fmt.Sprintf("the image was declared as %s, but its data is %s: create it with disk_format %s, or convert the data", m.in.disk, found, found)}
	}
	return nil
}

func bytesText(n int64) string {
	if n >= 1<<30 && n%(1<<30) == 0 {
		return fmt.Sprintf("%d GiB", n>>30)
	}
	return fmt.Sprintf("%d bytes", n)
}
