package imagetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/image/imagedriver"
)

var errBroken = errors.New("the suite cut the upload off")

// broken gives the data, then what end returns; nil goes on with zeros, a little at a time.
type broken struct {
	io.Reader
	end func() error
}

func (b *broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != io.EOF {
		return n, err
	}
	if err := b.end(); err != nil {
		return 0, err
	}
	n = min(len(p), 100)
	clear(p[:n])
	return n, nil
}

func (f *fixture) broken(seed byte, end func() error) io.Reader {
	return &broken{bytes.NewReader(data(seed, f.h.Large/2)), end}
}

// mended checks that a Put which failed does not stand in the way of Put and Delete.
func (f *fixture) mended(id string) {
	f.Helper()
	f.nothing(id)
	require.NoError(f, f.d.Close())
	f.d = f.open()
	f.nothing(id)
	f.put(id, data(9, 2000))
	f.holds(f.d, id, data(9, 2000))
	require.NoError(f, f.d.Delete(f.ctx, id))
	f.absent(id)
}

func testReaderFails(f *fixture) {
	id := f.id()
	_, err := f.d.Put(f.ctx, id, f.broken(1, func() error { return errBroken }))
	require.ErrorIs(f, err, errBroken)
	f.mended(id)

	_, err = f.d.Put(f.ctx, id, f.broken(1, func() error { return fault.New(fault.TooLarge, "the suite's limit") }))
	f.code(fault.TooLarge, err, "the code of the reader's error is kept")
	require.NoError(f, f.d.Delete(f.ctx, id))
	f.absent(id)
}

func testReaderFailsOverWhole(f *fixture) {
	id := f.id()
	f.put(id, data(1, 3000))
	_, err := f.d.Put(f.ctx, id, f.broken(2, func() error { return errBroken }))
	require.ErrorIs(f, err, errBroken)
	f.mended(id) // the earlier data is gone too: nobody can take it for what was put last
}

func testContextEnds(f *fixture) {
	id := f.id()
	ctx, cancel := context.WithCancel(f.ctx)
	_, err := f.d.Put(ctx, id, f.broken(1, func() error { cancel(); return nil }))
	f.code(fault.Canceled, err, "put whose context ends half way")
	f.mended(id)

	ctx, cancel = context.WithCancel(f.ctx)
	_, err = f.d.Put(ctx, id, f.broken(1, func() error { cancel(); return io.EOF }))
	if err != nil { // it may as well have been in time
		f.code(fault.Canceled, err, "put whose context ends with the data")
		f.mended(id)
	}
}

func testCanceledContext(f *fixture) {
	id, none := f.id(), f.id()
	f.put(id, data(1, 100))
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	_, err := f.d.Put(ctx, none, bytes.NewReader(data(2, 100)))
	f.code(fault.Canceled, err, "put")
	_, err = f.d.Open(ctx, id, 0)
	f.code(fault.Canceled, err, "open")
	f.code(fault.Canceled, f.d.Delete(ctx, id), "delete")
	_, err = f.d.Locate(ctx, id)
	f.code(fault.Canceled, err, "locate")
	_, err = f.d.Images(ctx)
	f.code(fault.Canceled, err, "images")
	f.absent(none)
	f.holds(f.d, id, data(1, 100))
}

func testTorn(f *fixture) {
	if f.b.Tear == nil {
		f.Skip("the harness cannot tear data")
	}
	for _, n := range []int{0, 1000} {
		id := f.id()
		f.b.Tear(f.T, id, data(1, n))
		line, ok := f.line(f.d, id)
		require.True(f, ok, "torn data must be listed, or nobody would ever delete it")
		require.Equal(f, imagedriver.Data{ID: id, SizeBytes: int64(n), Torn: true}, line)
		f.mended(id)

		f.b.Tear(f.T, id, data(1, n))
		require.NoError(f, f.d.Delete(f.ctx, id))
		f.absent(id)
	}
}

// testUnfinished looks at the store while a Put is under way.
func testUnfinished(f *fixture) {
	id, want := f.id(), data(1, f.h.Large)
	other := f.open()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := other.Put(f.ctx, id, r)
		done <- err
	}()
	_, err := w.Write(want[:f.h.Large/2])
	require.NoError(f, err)
	f.nothing(id)
	_, err = w.Write(want[f.h.Large/2:])
	require.NoError(f, err)
	f.nothing(id)
	require.NoError(f, w.Close())
	require.NoError(f, <-done)
	f.holds(f.d, id, want)
}

// together runs the functions at once and waits for all.
func together(fs ...func()) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for _, f := range fs {
		wg.Go(func() { <-begin; f() })
	}
	close(begin)
	wg.Wait()
}

func testConcurrentImages(f *fixture) {
	errs := make([]error, f.h.Many)
	ids := make([]string, f.h.Many)
	var calls []func()
	for i := range f.h.Many {
		ids[i] = f.id()
		calls = append(calls, func() {
			if _, errs[i] = f.d.Put(f.ctx, ids[i], bytes.NewReader(data(byte(i), 10000+i))); errs[i] == nil {
				_, errs[i] = f.d.Images(f.ctx)
			}
		})
	}
	together(calls...)
	for i, id := range ids {
		require.NoError(f, errs[i])
		f.holds(f.d, id, data(byte(i), 10000+i))
	}
}

// testConcurrentSame puts different data under one id at once: what is kept
// is one of them, whole. A Put that lost may fail, but then with a reason.
func testConcurrentSame(f *fixture) {
	id := f.id()
	other := f.open()
	errs := make([]error, 6)
	var calls []func()
	for i := range errs {
		d := f.d
		if i%2 == 0 {
			d = other
		}
		calls = append(calls, func() { _, errs[i] = d.Put(f.ctx, id, bytes.NewReader(data(byte(i), 50000+i))) })
	}
	together(calls...)
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			f.code(fault.Conflict, err, "put that lost against another")
		}
	}
	require.Positive(f, won)
	got := f.read(f.d, id, 0)
	i := len(got) - 50000
	require.True(f, i >= 0 && i < len(errs), "%d bytes are none of what was put", len(got))
	require.NoError(f, errs[i], "the data of a put that failed")
	f.holds(f.d, id, data(byte(i), 50000+i))
	f.put(id, data(7, 10))
	f.holds(f.d, id, data(7, 10))
}
