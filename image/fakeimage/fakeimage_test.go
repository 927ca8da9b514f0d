package fakeimage_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/image/fakeimage"
	"github.com/nubecula/cloud/image/imagedriver"
	"github.com/nubecula/cloud/internal/clock"
)

func connect(t *testing.T, o fakeimage.Options) *fakeimage.Store {
	t.Helper()
	s, err := fakeimage.New(o)
	require.NoError(t, err)
	return s
}

func TestOptions(t *testing.T) {
	t.Parallel()
	_, err := fakeimage.New(fakeimage.Options{MaxBytes: -1})
	require.Equal(t, fault.Invalid, fault.CodeOf(err))
}

func TestFaults(t *testing.T) {
	t.Parallel()
	plan := inject.NewPlan(clock.NewManual(time.Unix(0, 0)), 1)
	s := connect(t, fakeimage.Options{Faults: plan})
	plan.Fail(inject.Rule{Driver: "image", Method: "Put", Object: "a", Times: 1})
	plan.Fail(inject.Rule{Driver: "image", Method: "Put", Object: "b", Times: 1, When: inject.After})
	put := func(id string) error {
		_, err := s.Put(t.Context(), id, strings.NewReader("data"))
		return err
	}
	require.Equal(t, fault.Unavailable, fault.CodeOf(put("a")))
	require.Empty(t, s.Backend().Images())
	require.Equal(t, fault.Unavailable, fault.CodeOf(put("b")))
	require.Equal(t, []imagedriver.Data{{ID: "b", SizeBytes: 4}}, s.Backend().Images(), "a lost reply")
	require.NoError(t, put("b"))
	require.Equal(t, 2, s.Backend().Puts("b"))
	require.Equal(t, 0, s.Backend().Puts("a"))
}

// A failed put leaves torn data, the worst that a real store may do.
func TestFailedPutIsTorn(t *testing.T) {
	t.Parallel()
	s := connect(t, fakeimage.Options{})
	r := io.MultiReader(strings.NewReader("half"), failing{})
	_, err := s.Put(t.Context(), "a", r)
	require.ErrorIs(t, err, io.ErrNoProgress)
	require.Equal(t, []imagedriver.Data{{ID: "a", SizeBytes: 4, Torn: true}}, s.Backend().Images())
	require.NoError(t, s.Delete(t.Context(), "a"))
	require.Empty(t, s.Backend().Images())
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrNoProgress }

func TestDownAndClosed(t *testing.T) {
	t.Parallel()
	b := fakeimage.NewBackend()
	one, two := connect(t, fakeimage.Options{Backend: b}), connect(t, fakeimage.Options{Backend: b})
	calls := func(s *fakeimage.Store) []error {
		_, put := s.Put(t.Context(), "a", strings.NewReader("x"))
		_, open := s.Open(t.Context(), "a", 0)
		_, locate := s.Locate(t.Context(), "a")
		_, list := s.Images(t.Context())
		return []error{put, open, locate, list, s.Delete(t.Context(), "a")}
	}
	b.SetDown(fault.New(fault.Unavailable, "the disk is out"))
	for _, err := range calls(one) {
		require.ErrorContains(t, err, "the disk is out")
	}
	b.SetDown(nil)
	require.NoError(t, one.Close())
	for _, err := range calls(one) {
		require.Equal(t, fault.Unavailable, fault.CodeOf(err))
	}
	for _, err := range calls(two) {
		require.NoError(t, err)
	}
}
