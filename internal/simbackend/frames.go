package simbackend

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync"
)

// A stream of data is sent in frames of a length and so many bytes. Length 0 is its end; brokeOff
// says that the sender's source failed. A stream that just ends was cut off by the sender's death.
const (
	frameBytes = 64 << 10
	brokeOff   = 1<<32 - 1
)

var errBrokeOff = errors.New("the sender's data broke off")

// framed is what is sent of r: reading it never fails. ctx is asked before each piece.
type framed struct {
	ctx  context.Context
	r    io.Reader
	buf  []byte // frame that is being handed out
	room [4 + frameBytes]byte
	over bool
	sent chan struct{} // closed when the end was handed out; may be nil

	mu  sync.Mutex
	err error // r's failure, or that of ctx
}

func (f *framed) failed() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// sending returns framed data and the context to send it with. That ends with ctx only when all is sent: until then
// framed tells the receiver that ctx has ended, so that no half of the data is left under way.
func sending(ctx context.Context, r io.Reader) (*framed, context.Context, context.CancelFunc) {
	sent := make(chan struct{})
	f := &framed{ctx: ctx, r: r, sent: sent}
	to, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		select {
		case <-sent:
		case <-to.Done():
			return
		}
		select {
		case <-ctx.Done():
			cancel()
		case <-to.Done():
		}
	}()
	return f, to, cancel
}

func (f *framed) Read(p []byte) (int, error) {
	for len(f.buf) == 0 {
		if f.over {
			if f.sent != nil {
				close(f.sent)
				f.sent = nil
			}
			return 0, io.EOF
		}
		f.fill()
	}
	n := copy(p, f.buf)
	f.buf = f.buf[n:]
	return n, nil
}

func (f *framed) fill() {
	n, err := 0, f.ctx.Err()
	if err == nil {
		if n, err = f.r.Read(f.room[4:]); err == io.EOF && f.ctx.Err() != nil {
			err = f.ctx.Err()
		}
	}
	binary.BigEndian.PutUint32(f.room[:], uint32(n))
	f.buf = f.room[:4+n]
	if n == 0 && err == nil {
		f.buf = nil
		return
	}
	if err == nil {
		return
	}
	f.over = true
	if n == 0 {
		f.buf = nil
	}
	end := uint32(0)
	if err != io.EOF {
		f.mu.Lock()
		f.err = err
		f.mu.Unlock()
		end = brokeOff
	}
	f.buf = binary.BigEndian.AppendUint32(append([]byte(nil), f.buf...), end)
}

// unframed reads what framed has sent.
type unframed struct {
	r    io.Reader
	left uint32
	err  error
}

func (u *unframed) Read(p []byte) (int, error) {
	for u.left == 0 && u.err == nil {
		var head [4]byte
		if _, err := io.ReadFull(u.r, head[:]); err != nil {
			u.err = errors.Join(io.ErrUnexpectedEOF, err)
			break
		}
		switch u.left = binary.BigEndian.Uint32(head[:]); u.left {
		case 0:
			u.err = io.EOF
		case brokeOff:
			u.left, u.err = 0, errBrokeOff
		}
	}
	if u.left == 0 {
		return 0, u.err
	}
	n, err := u.r.Read(p[:min(len(p), int(u.left))])
	u.left -= uint32(n)
	if err != nil && u.left > 0 {
		u.left, u.err = 0, errors.Join(io.ErrUnexpectedEOF, err)
	}
	return n, u.err
}
