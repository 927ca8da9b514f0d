package imagetest

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/image/imagedriver"
	"github.com/nubecula/cloud/internal/id"
)

func testPutOpenDelete(f *fixture) {
	id, want := f.id(), data(1, 1000)
	f.absent(id)
	f.put(id, want)
	f.holds(f.d, id, want)
	f.holds(f.d, id, want) // and again
	require.NoError(f, f.d.Delete(f.ctx, id))
	f.absent(id)
	require.NoError(f, f.d.Delete(f.ctx, id), "delete of absent data")
	f.put(id, want[:10]) // an id may be used again
	f.holds(f.d, id, want[:10])
}

func testSizes(f *fixture) {
	for _, n := range []int{0, 1, 4095, 4096, 4097, 65536, f.h.Large} {
		id, want := f.id(), data(byte(n), n)
		f.put(id, want)
		f.holds(f.d, id, want)
	}
}

func testReplace(f *fixture) {
	id := f.id()
	f.put(id, data(1, 5000))
	for _, n := range []int{9000, 10, 0, 10} {
		f.put(id, data(2, n))
		f.holds(f.d, id, data(2, n))
	}
}

func testNotFound(f *fixture) {
	f.absent(f.id())
}

func testOffset(f *fixture) {
	id, want := f.id(), data(3, 10000)
	f.put(id, want)
	for _, offset := range []int64{0, 1, 4096, 9999, 10000, 10001, 1 << 40} {
		require.Equal(f, want[min(offset, 10000):], f.read(f.d, id, offset), "offset %d", offset)
	}
	_, err := f.d.Open(f.ctx, id, -1)
	f.code(fault.Invalid, err, "a negative offset")
	_, err = f.d.Open(f.ctx, f.id(), 5)
	f.code(fault.NotFound, err, "an offset in nothing")
}

func testLocate(f *fixture) {
	id, want := f.id(), data(4, 5000)
	f.put(id, want)
	at, err := f.d.Locate(f.ctx, id)
	require.NoError(f, err)
	if !f.h.Located {
		require.Empty(f, at.Path)
		return
	}
	require.NotEmpty(f, at.Path)
	got, err := os.ReadFile(at.Path)
	require.NoError(f, err)
	require.True(f, bytes.Equal(want, got))
}

func testListing(f *fixture) {
	want := map[string]imagedriver.Data{}
	for i := range f.h.Many {
		id := f.id()
		f.put(id, data(byte(i), i*100))
		if i%3 == 0 {
			require.NoError(f, f.d.Delete(f.ctx, id))
			continue
		}
		want[id] = imagedriver.Data{ID: id, SizeBytes: int64(i * 100)}
	}
	for _, d := range []imagedriver.Store{f.d, f.open()} {
		all, err := d.Images(f.ctx)
		require.NoError(f, err)
		got := map[string]imagedriver.Data{}
		for _, x := range all {
			if _, mine := want[x.ID]; mine {
				got[x.ID] = x
			}
		}
		require.Equal(f, want, got)
	}
}

func testReopen(f *fixture) {
	id, want := f.id(), data(5, 7000)
	f.put(id, want)
	require.NoError(f, f.d.Close())
	f.d = f.open()
	f.holds(f.d, id, want)
	require.NoError(f, f.d.Delete(f.ctx, id))
	f.absent(id)
}

func testTwoConnections(f *fixture) {
	other := f.open()
	id, want := f.id(), data(6, 7000)
	f.put(id, want)
	f.holds(other, id, want)
	require.NoError(f, other.Delete(f.ctx, id))
	f.absent(id)
}

// testReadWhileDeleted: a reader gets all of the data that it opened, or an error; never a part as if it were all.
func testReadWhileDeleted(f *fixture) {
	for _, replace := range []bool{false, true} {
		id, want := f.id(), data(7, f.h.Large)
		f.put(id, want)
		r, err := f.d.Open(f.ctx, id, 0)
		require.NoError(f, err)
		head := make([]byte, 10)
		_, err = io.ReadFull(r, head)
		require.NoError(f, err)
		if replace {
			f.put(id, data(8, 50))
		} else {
			require.NoError(f, f.d.Delete(f.ctx, id))
		}
		rest, err := io.ReadAll(r)
		if err == nil {
			require.True(f, bytes.Equal(want, append(head, rest...)), "neither the data that was opened nor an error")
		}
		require.NoError(f, r.Close())
	}
}

// testBadID: an id can never reach outside of the store.
func testBadID(f *fixture) {
	for _, id := range []string{"", ".", "..", "../x", "a/b", "/etc/passwd", "a\x00b", `a\b`, ".hidden", string(data(0, 300))} {
		what := fmt.Sprintf("id %q", id)
		_, err := f.d.Put(f.ctx, id, bytes.NewReader([]byte("x")))
		f.code(fault.Invalid, err, "put: "+what)
		if r, err := f.d.Open(f.ctx, id, 0); err == nil {
			_ = r.Close()
			f.Fatalf("open of %s", what)
		}
		_, err = f.d.Locate(f.ctx, id)
		require.Error(f, err, what)
	}
}

// testRemember: the greatest epoch of each Cloud is kept, for good, and is nothing that is listed.
func testRemember(f *fixture) {
	remember := func(cloud string, epoch, want int64) {
		f.Helper()
		r, ok := f.d.(imagedriver.Rememberer)
		if !ok {
			f.Skip("the driver is no Rememberer")
		}
		got, err := r.Remember(f.ctx, cloud, epoch)
		require.NoError(f, err)
		require.Equal(f, want, got)
	}
	cloud, other := id.Random(), id.Random()
	remember(cloud, 0, 0)
	remember(cloud, 3, 3)
	remember(cloud, 2, 3)
	remember(cloud, 1<<40, 1<<40)
	remember(other, 1, 1)
	require.NoError(f, f.d.Close())
	f.d = f.open()
	remember(cloud, 0, 1<<40)
	remember(other, 0, 1)
	_, listed := f.line(f.d, cloud)
	require.False(f, listed)
}
