package imagetest_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/image/fakeimage"
	"github.com/nubecula/cloud/image/imagedriver"
	"github.com/nubecula/cloud/image/imagetest"
)

// sin names the way in which the driver under TestSinner breaks its promises.
const sin = "NUBECULA_TEST_SIN"

// sinner is the fake with one promise broken.
type sinner struct {
	*fakeimage.Store
	sin string
}

// sins tells for each sin the case of the suite that must find it.
func sins() map[string]string {
	return map[string]string{
		"last byte is lost":            "Sizes",
		"put keeps what is there":      "Replace",
		"offset is not looked at":      "Offset",
		"absent data has a place":      "NotFound",
		"delete wants data":            "PutOpenDelete",
		"list is cut short":            "Listing",
		"half an image will do":        "ReaderFails",
		"the old image comes back":     "ReaderFailsOverWhole",
		"errors lose their cause":      "ReaderFails",
		"contexts are not looked at":   "ContextEnds",
		"torn data is not listed":      "Torn",
		"torn data is listed as good":  "Torn",
		"ids are not looked at":        "BadID",
		"a put is seen from the start": "UnfinishedIsInvisible",
	}
}

// TestSuiteFindsSins runs the suite on drivers that each break one promise.
func TestSuiteFindsSins(t *testing.T) {
	t.Parallel()
	for name, found := range sins() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run=^TestSinner$/^"+found+"$", "-test.v")
			cmd.Env = append(os.Environ(), sin+"="+name)
			out, err := cmd.CombinedOutput()
			require.Error(t, err, "the suite found nothing:\n%s", out)
			require.Contains(t, string(out), "--- FAIL: TestSinner/"+found)
			require.NotContains(t, string(out), "panic:")
		})
	}
}

// TestSinner is run by TestSuiteFindsSins in a process of its own; without a sin it passes.
func TestSinner(t *testing.T) {
	t.Parallel()
	name := os.Getenv(sin)
	imagetest.Run(t, imagetest.Harness{New: func(t *testing.T) imagetest.Backend {
		b := fakeimage.NewBackend()
		open := func(t *testing.T) *fakeimage.Store {
			s, err := fakeimage.New(fakeimage.Options{Backend: b})
			require.NoError(t, err)
			return s
		}
		return imagetest.Backend{
			Open: func(t *testing.T) imagedriver.Store {
				if name == "" {
					return open(t)
				}
				return &sinner{open(t), name}
			},
			Tear: func(t *testing.T, id string, data []byte) {
				_, err := open(t).Put(t.Context(), id, bytes.NewReader(data))
				require.NoError(t, err)
				b.Tear(id)
			},
		}
	}})
}

func (s *sinner) whole(id string) ([]byte, bool) {
	r, err := s.Store.Open(context.Background(), id, 0)
	if err != nil {
		return nil, false
	}
	data, err := io.ReadAll(r)
	return data, err == nil
}

func (s *sinner) Put(ctx context.Context, id string, r io.Reader) (int64, error) {
	old, found := s.whole(id)
	switch s.sin {
	case "last byte is lost":
		data, err := io.ReadAll(r)
		n, err2 := s.Store.Put(ctx, id, io.MultiReader(bytes.NewReader(data[:max(0, len(data)-1)]), failing{err}))
		return min(n+1, int64(len(data))), err2
	case "put keeps what is there":
		if found {
			return int64(len(old)), nil
		}
	case "half an image will do":
		data, _ := io.ReadAll(r)
		return s.Store.Put(ctx, id, bytes.NewReader(data))
	case "contexts are not looked at":
		if ctx.Err() == nil {
			return s.Store.Put(context.WithoutCancel(ctx), id, io.LimitReader(r, 5<<20))
		}
	case "ids are not looked at":
		id = strings.Map(func(c rune) rune {
			if strings.ContainsRune("/\\.\x00", c) {
				return '_'
			}
			return c
		}, "x"+id)[:min(len(id)+1, 200)]
	case "a put is seen from the start":
		if _, err := s.Store.Put(ctx, id, strings.NewReader("")); err != nil {
			return 0, err
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return 0, err
		}
		r = bytes.NewReader(data)
	}
	n, err := s.Store.Put(ctx, id, r)
	switch {
	case err != nil && s.sin == "the old image comes back" && found:
		_, _ = s.Store.Put(ctx, id, bytes.NewReader(old))
	case err != nil && s.sin == "errors lose their cause":
		err = fault.New(fault.CodeOf(err), "the upload broke off")
	}
	return n, err
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return 0, io.EOF
}

func (s *sinner) Open(ctx context.Context, id string, offset int64) (io.ReadCloser, error) {
	if s.sin == "offset is not looked at" && offset > 0 {
		offset = 0
	}
	return s.Store.Open(ctx, id, offset)
}

func (s *sinner) Locate(ctx context.Context, id string) (imagedriver.Location, error) {
	at, err := s.Store.Locate(ctx, id)
	if s.sin == "absent data has a place" {
		err = nil
	}
	return at, err
}

func (s *sinner) Delete(ctx context.Context, id string) error {
	if _, found := s.whole(id); s.sin == "delete wants data" && !found {
		return fault.Missing("image", id)
	}
	return s.Store.Delete(ctx, id)
}

func (s *sinner) Images(ctx context.Context) ([]imagedriver.Data, error) {
	all, err := s.Store.Images(ctx)
	var kept []imagedriver.Data
	for i, d := range all {
		switch {
		case s.sin == "list is cut short" && i > 3, s.sin == "torn data is not listed" && d.Torn:
			continue
		case s.sin == "torn data is listed as good":
			d.Torn = false
		}
		kept = append(kept, d)
	}
	return kept, err
}
