// Package imagetest is the conformance suite of imagedriver.Store: each
// sentence of that interface is a test here, and a driver that passes is one
// that Nubecula can rely on.
//
// The suite never assumes that it has the store to itself: it looks only at
// data that it put, under random ids.
package imagetest

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/image/imagedriver"
	"github.com/nubecula/cloud/internal/id"
)

// Harness tells the suite about the driver under test. Only New must be set.
type Harness struct {
	// New returns a back end for one test; it cleans up with t.Cleanup. Tests may share a real one.
	New func(t *testing.T) Backend
	// Serial runs one test at a time.
	Serial bool
	// Located says that Locate gives a path on this machine, not the zero Location.
	Located bool
	// Large is the size in bytes of the data that must not go through in one piece; 0 means 3 MiB.
	Large int
	// Many is how many images the listing and concurrency tests put; 0 means 12.
	Many int
}

// Backend is one image store under test.
type Backend struct {
	// Open connects, each time anew, as another process would. The suite closes what it opens.
	Open func(t *testing.T) imagedriver.Store
	// Tear leaves under id what a Put leaves whose process was killed half way; nil skips the tests that need it.
	Tear func(t *testing.T, id string, data []byte)
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	if h.Large == 0 {
		h.Large = 3 << 20
	}
	if h.Many == 0 {
		h.Many = 12
	}
	for _, c := range []struct {
		name string
		run  func(*fixture)
	}{
		{"PutOpenDelete", testPutOpenDelete},
		{"Sizes", testSizes},
		{"Replace", testReplace},
		{"NotFound", testNotFound},
		{"Offset", testOffset},
		{"Locate", testLocate},
		{"Listing", testListing},
		{"Reopen", testReopen},
		{"TwoConnections", testTwoConnections},
		{"ReadWhileDeleted", testReadWhileDeleted},
		{"BadID", testBadID},
		{"ReaderFails", testReaderFails},
		{"ReaderFailsOverWhole", testReaderFailsOverWhole},
		{"ContextEnds", testContextEnds},
		{"Remember", testRemember},
		{"CanceledContext", testCanceledContext},
		{"Torn", testTorn},
		{"UnfinishedIsInvisible", testUnfinished},
		{"ConcurrentImages", testConcurrentImages},
		{"ConcurrentSameImage", testConcurrentSame},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !h.Serial {
				t.Parallel()
			}
			f := &fixture{T: t, h: h, b: h.New(t), ctx: t.Context()}
			f.d = f.open()
			c.run(f)
		})
	}
}

// fixture is one test's back end and a connection to it.
type fixture struct {
	*testing.T
	h   Harness
	b   Backend
	d   imagedriver.Store
	ctx context.Context
}

func (f *fixture) open() imagedriver.Store {
	d := f.b.Open(f.T)
	f.Cleanup(func() { _ = d.Close() })
	return d
}

// id returns a new id; what is under it is deleted when the test ends.
func (f *fixture) id() string {
	n := id.Random()
	f.Cleanup(func() { _ = f.d.Delete(context.Background(), n) })
	return n
}

// data returns n bytes, each differing from its neighbours and from those of another seed.
func data(seed byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed + byte(i) ^ byte(i>>8) ^ byte(i>>16)
	}
	return b
}

// put keeps the data and checks the size.
func (f *fixture) put(id string, data []byte) {
	f.Helper()
	n, err := f.d.Put(f.ctx, id, bytes.NewReader(data))
	require.NoError(f, err)
	require.Equal(f, int64(len(data)), n)
}

// holds checks that exactly these bytes are kept, through d.
func (f *fixture) holds(d imagedriver.Store, id string, want []byte) {
	f.Helper()
	require.True(f, bytes.Equal(want, f.read(d, id, 0)), "other bytes than were put")
	line, ok := f.line(d, id)
	require.True(f, ok, "image %s is not listed", id)
	require.Equal(f, imagedriver.Data{ID: id, SizeBytes: int64(len(want))}, line)
}

func (f *fixture) read(d imagedriver.Store, id string, offset int64) []byte {
	f.Helper()
	r, err := d.Open(f.ctx, id, offset)
	require.NoError(f, err)
	got, err := io.ReadAll(r)
	require.NoError(f, err)
	require.NoError(f, r.Close())
	return got
}

// line returns what d lists for the id.
func (f *fixture) line(d imagedriver.Store, id string) (imagedriver.Data, bool) {
	f.Helper()
	all, err := d.Images(f.ctx)
	require.NoError(f, err)
	var found []imagedriver.Data
	for _, x := range all {
		if x.ID == id {
			found = append(found, x)
		}
	}
	require.LessOrEqual(f, len(found), 1, "image %s is listed more than once: %v", id, found)
	if len(found) == 0 {
		return imagedriver.Data{}, false
	}
	return found[0], true
}

// nothing checks that no complete data is under the id; torn may be.
func (f *fixture) nothing(id string) {
	f.Helper()
	_, err := f.d.Open(f.ctx, id, 0)
	f.code(fault.NotFound, err, "open")
	_, err = f.d.Locate(f.ctx, id)
	f.code(fault.NotFound, err, "locate")
	if line, ok := f.line(f.d, id); ok {
		require.True(f, line.Torn, "half an image must be listed as torn, or not at all")
	}
}

// absent checks that nothing at all is left under the id.
func (f *fixture) absent(id string) {
	f.Helper()
	f.nothing(id)
	_, ok := f.line(f.d, id)
	require.False(f, ok, "image %s is still listed", id)
}

func (f *fixture) code(want fault.Code, err error, what string) {
	f.Helper()
	require.Error(f, err, what)
	require.Equal(f, want.String(), fault.CodeOf(err).String(), "%s: %v", what, err)
}
