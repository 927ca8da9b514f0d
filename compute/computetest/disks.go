package computetest

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
)

var errBroken = errors.New("the suite cut the image off")

// cut returns the base as a stream that calls end after half of the bytes, and fails with what end returns.
func cut(b *computedriver.Base, end func() error) *computedriver.Base {
	c := *b
	c.Path = ""
	c.Open = func(ctx context.Context) (io.ReadCloser, error) {
		r, err := b.Open(ctx)
		if err != nil {
			return nil, err
		}
		return &cutReader{ReadCloser: r, left: b.SizeBytes / 2, end: end}, nil
	}
	return &c
}

type cutReader struct {
	io.ReadCloser
	left int64
	end  func() error
}

func (r *cutReader) Read(p []byte) (int, error) {
	if r.left <= 0 {
		if err := r.end(); err != nil {
			return 0, err
		}
		return r.ReadCloser.Read(p)
	}
	n, err := r.ReadCloser.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	return n, err
}

func testBase(f *fixture) {
	g := f.based()
	require.NoError(f, f.d.Define(f.ctx, g))
	f.want(g, computedriver.Off)
	require.NoError(f, f.d.Start(f.ctx, g.Mark.Ref()))
	f.want(g, computedriver.Running)

	bigger := f.guest() // the same image again, from a cache perhaps, on a larger disk
	bigger.Root = computedriver.Disk{Base: g.Root.Base, SizeGiB: 2}
	require.NoError(f, f.d.Define(f.ctx, bigger))
	require.NoError(f, f.d.Start(f.ctx, bigger.Mark.Ref()))
	require.NoError(f, f.d.Undefine(f.ctx, g.Mark.Ref()))
	f.want(bigger, computedriver.Running)
}

// mended checks that a define which failed left nothing that passes for a guest, and that the next one succeeds.
func (f *fixture) mended(g computedriver.Guest, good *computedriver.Base) {
	f.Helper()
	if s, ok := f.state(f.d, g.Mark.ID); ok {
		require.Equal(f, computedriver.Torn, s.Power, "half a guest must be listed as torn, or not at all")
		require.Equal(f, g.Mark, s.Mark)
	}
	require.Error(f, f.d.Start(f.ctx, g.Mark.Ref()), "start of half a guest")
	g.Root.Base = good
	require.NoError(f, f.d.Define(f.ctx, g))
	f.want(g, computedriver.Off)
	require.NoError(f, f.d.Start(f.ctx, g.Mark.Ref()))
	f.want(g, computedriver.Running)
}

func testBaseBreaksOff(f *fixture) {
	g := f.based()
	good := g.Root.Base
	g.Root.Base = cut(good, func() error { return errBroken })
	require.ErrorIs(f, f.d.Define(f.ctx, g), errBroken)
	f.mended(g, good)

	gone := f.based() // torn, and never mended
	gone.Root.Base = cut(gone.Root.Base, func() error { return errBroken })
	require.Error(f, f.d.Define(f.ctx, gone))
	require.NoError(f, f.d.Undefine(f.ctx, gone.Mark.Ref()))
	f.absent(gone.Mark.ID)
	f.refused(gone)
}

func testBaseDamaged(f *fixture) {
	g := f.based()
	good := g.Root.Base
	if good.SHA512 == "" {
		f.Skip("the harness's base has no checksum")
	}
	bad := *good
	bad.Path = ""
	bad.Open = func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.LimitReader(zeros{}, good.SizeBytes)), nil
	}
	g.Root.Base = &bad
	f.code(fault.Corrupt, f.d.Define(f.ctx, g), "other bytes than the checksum says")
	f.mended(g, good)

	short := f.based()
	good = short.Root.Base
	short.Root.Base = cut(good, func() error { return io.EOF })
	f.code(fault.Corrupt, f.d.Define(f.ctx, short), "fewer bytes than there should be")
	f.mended(short, good)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func testBaseMissing(f *fixture) {
	for _, code := range []fault.Code{fault.Unavailable, fault.NotFound} {
		g := f.based()
		good := g.Root.Base
		bad := *good
		bad.Path = ""
		bad.Open = func(context.Context) (io.ReadCloser, error) {
			return nil, fault.New(code, "the suite has no image").About("image", good.ID)
		}
		g.Root.Base = &bad
		err := f.d.Define(f.ctx, g)
		f.code(code, err, "define keeps the code of Base.Open's error")
		require.True(f, strings.Contains(err.Error(), good.ID), "%v must name the image", err)
		f.mended(g, good)
	}
}

func testDefineCanceled(f *fixture) {
	g := f.based()
	good := g.Root.Base
	ctx, cancel := context.WithCancel(f.ctx)
	g.Root.Base = cut(good, func() error { cancel(); return nil })
	f.code(fault.Canceled, f.d.Define(ctx, g), "define whose context ends while the image is copied")
	f.mended(g, good)
}

func testConfigDrive(f *fixture) {
	if f.host.ConfigDrive == nil {
		f.Skip("the harness cannot read a config drive")
	}
	g := f.guest()
	g.ConfigDrive = map[string][]byte{
		"openstack/latest/meta_data.json":    []byte(`{"hostname":"suite-host","name":"ä"}`),
		"openstack/latest/user_data":         {0, 1, 2, 0xff, '\n'},
		"openstack/latest/vendor_data.json":  []byte("{}"),
		"openstack/content/0000":             []byte(strings.Repeat("a personality file\n", 400)),
		"ec2/2009-04-04/a rather long name.": {},
	}
	require.NoError(f, f.d.Define(f.ctx, g))
	for range 2 {
		got := f.host.ConfigDrive(f.T, g.Mark.Ref())
		require.Len(f, got, len(g.ConfigDrive))
		for path, want := range g.ConfigDrive {
			require.Contains(f, got, path)
			require.Equal(f, string(want), string(got[path]), path)
		}
		require.NoError(f, f.d.Start(f.ctx, g.Mark.Ref()), "the drive is the same once the guest runs")
	}

	none := f.guest()
	none.ConfigDrive = nil
	require.NoError(f, f.d.Define(f.ctx, none))
	require.Empty(f, f.host.ConfigDrive(f.T, none.Mark.Ref()), "nil means no drive")
}
