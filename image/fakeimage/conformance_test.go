package fakeimage_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/image/fakeimage"
	"github.com/nubecula/cloud/image/imagedriver"
	"github.com/nubecula/cloud/image/imagetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	imagetest.Run(t, imagetest.Harness{New: func(*testing.T) imagetest.Backend {
		b := fakeimage.NewBackend()
		return imagetest.Backend{
			Open: func(t *testing.T) imagedriver.Store {
				s, err := fakeimage.New(fakeimage.Options{Backend: b})
				require.NoError(t, err)
				return s
			},
			Tear: func(t *testing.T, id string, data []byte) {
				s, err := fakeimage.New(fakeimage.Options{Backend: b})
				require.NoError(t, err)
				_, err = s.Put(t.Context(), id, bytes.NewReader(data))
				require.NoError(t, err)
				b.Tear(id)
			},
		}
	}})
}

func TestMaxBytes(t *testing.T) {
	t.Parallel()
	s, err := fakeimage.New(fakeimage.Options{MaxBytes: 100})
	require.NoError(t, err)
	_, err = s.Put(t.Context(), "a", bytes.NewReader(make([]byte, 60)))
	require.NoError(t, err)
	_, err = s.Put(t.Context(), "b", bytes.NewReader(make([]byte, 60)))
	require.Equal(t, fault.Exhausted, fault.CodeOf(err))
	require.NoError(t, s.Delete(t.Context(), "b"))
	_, err = s.Put(t.Context(), "a", bytes.NewReader(make([]byte, 100))) // it replaces its own
	require.NoError(t, err)
	require.NoError(t, s.Delete(t.Context(), "a"))
	_, err = s.Put(t.Context(), "b", bytes.NewReader(make([]byte, 100)))
	require.NoError(t, err)
}
