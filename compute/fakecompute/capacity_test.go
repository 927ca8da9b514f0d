package fakecompute_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/compute/fakecompute"
	"github.com/nubecula/cloud/fault"
)

func TestEnforce(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"memory", "dir"} {
		o := fakecompute.Options{MemoryMiB: 3000, DiskGiB: 25, VCPUs: 1, Enforce: true}
		if where == "dir" {
			o.Dir = t.TempDir()
		}
		h := connect(t, o)
		a, b, c := guest("a"), guest("b"), guest("c")
		require.NoError(t, h.Define(t.Context(), a))
		require.NoError(t, h.Define(t.Context(), b), "processors are shared")
		used, err := h.Backend().Used()
		require.NoError(t, err)
		require.Equal(t, fakecompute.Usage{Guests: 2, VCPUs: 4, MemoryMiB: 2048, DiskGiB: 20}, used)

		err = h.Define(t.Context(), c)
		require.Equal(t, fault.Exhausted, fault.CodeOf(err))
		require.ErrorContains(t, err, "952 MiB")
		c.MemoryMiB, c.Root.SizeGiB = 952, 6
		require.Equal(t, fault.Exhausted, fault.CodeOf(h.Define(t.Context(), c)), "the disk does not fit")
		c.Root.SizeGiB = 5
		require.NoError(t, h.Define(t.Context(), c))
		require.NoError(t, h.Define(t.Context(), c), "it is there already")

		next := a // replaces what it frees
		next.Mark.Generation = 2
		require.NoError(t, h.Define(t.Context(), next))
		require.NoError(t, h.Undefine(t.Context(), b.Mark.Ref()))
		require.NoError(t, h.Undefine(t.Context(), b.Mark.Ref()))
		used, err = h.Backend().Used()
		require.NoError(t, err)
		require.Equal(t, fakecompute.Usage{Guests: 2, VCPUs: 4, MemoryMiB: 1976, DiskGiB: 15}, used)
	}
}

func TestWithoutEnforceEverythingFits(t *testing.T) {
	t.Parallel()
	h := connect(t, fakecompute.Options{MemoryMiB: 1, DiskGiB: 1})
	require.NoError(t, h.Define(t.Context(), guest("a")))
}

// An image is read once by a host, and takes whole gibibytes of disk where no size is given.
func TestImagesAreReadOnce(t *testing.T) {
	t.Parallel()
	h := connect(t, fakecompute.Options{})
	opened := 0
	base := &computedriver.Base{ID: "image", Format: "raw", SizeBytes: 3, Open: func(context.Context) (io.ReadCloser, error) {
		opened++
		return io.NopCloser(bytes.NewReader([]byte("abc"))), nil
	}}
	for _, id := range []string{"a", "b", "c"} {
		g := guest(id)
		g.Root = computedriver.Disk{Base: base}
		require.NoError(t, h.Define(t.Context(), g))
	}
	require.Equal(t, 1, opened)
	used, err := h.Backend().Used()
	require.NoError(t, err)
	require.EqualValues(t, 3, used.DiskGiB)
	got, _, err := h.Backend().Defined("a")
	require.NoError(t, err)
	require.Equal(t, "image", got.Root.Base.ID)
}
