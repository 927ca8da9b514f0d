package computetest

import (
	"fmt"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/id"
)

func testHost(f *fixture) {
	h, err := f.d.Host(f.ctx)
	require.NoError(f, err)
	require.True(f, id.IsUUID(h.ID), "host id %q must be a UUID, not a name", h.ID)
	require.NotEmpty(f, h.Name)
	require.NotEmpty(f, h.Type)
	require.NotEmpty(f, h.Arch)
	require.Positive(f, h.VCPUs)
	require.Positive(f, h.MemoryMiB)
	require.Positive(f, h.DiskGiB)
	again, err := f.open().Host(f.ctx)
	require.NoError(f, err)
	require.Equal(f, h.ID, again.ID, "the id must be the same on each connection")
	require.Equal(f, h.Name, again.Name)
}

func testLifecycle(f *fixture) {
	g := f.guest()
	f.absent(g.Mark.ID)
	require.NoError(f, f.d.Define(f.ctx, g))
	f.want(g, computedriver.Off)
	for range 2 { // the whole circle works again and again, and each call may be repeated
		require.NoError(f, f.d.Start(f.ctx, g.Mark.Ref()))
		f.want(g, computedriver.Running)
		require.NoError(f, f.d.Start(f.ctx, g.Mark.Ref()), "start of a running guest")
		f.want(g, computedriver.Running)
		require.NoError(f, f.d.Stop(f.ctx, g.Mark.Ref(), 0))
		f.want(g, computedriver.Off)
		require.NoError(f, f.d.Stop(f.ctx, g.Mark.Ref(), 0), "stop of a guest that is off")
		f.want(g, computedriver.Off)
	}
	require.NoError(f, f.d.Undefine(f.ctx, g.Mark.Ref()))
	f.absent(g.Mark.ID)
	require.NoError(f, f.d.Undefine(f.ctx, g.Mark.Ref()), "undefine of an absent guest")
}

func testMarks(f *fixture) {
	a, b := f.guest(), f.guest()
	a.Name, b.Name = "same name", "same name"
	a.Mark.Generation, b.Mark.Generation = 7, 1<<33
	b.Mark.Cloud = "another-" + id.Random()
	b.Epoch = 1 << 35
	for _, g := range []computedriver.Guest{a, b} {
		require.NoError(f, f.d.Define(f.ctx, g))
	}
	for _, g := range []computedriver.Guest{a, b} {
		s, ok := f.state(f.d, g.Mark.ID)
		require.True(f, ok)
		require.Equal(f, computedriver.GuestState{Mark: g.Mark, Epoch: g.Epoch, Name: g.Name, Power: computedriver.Off}, s)
	}
}

func testDefineAgain(f *fixture) {
	g := f.defined()
	require.NoError(f, f.d.Define(f.ctx, g))
	f.want(g, computedriver.Off)
	require.NoError(f, f.d.Start(f.ctx, g.Mark.Ref()))
	require.NoError(f, f.d.Define(f.ctx, g), "define of a running guest")
	f.want(g, computedriver.Running)
}

func testStopWithGrace(f *fixture) {
	g := f.running()
	require.NoError(f, f.d.Stop(f.ctx, g.Mark.Ref(), f.h.Grace))
	f.want(g, computedriver.Off)
	require.NoError(f, f.d.Stop(f.ctx, g.Mark.Ref(), f.h.Grace))
	f.want(g, computedriver.Off)
}

func testUndefineRunning(f *fixture) {
	g := f.running()
	require.NoError(f, f.d.Undefine(f.ctx, g.Mark.Ref()))
	f.absent(g.Mark.ID)
}

func testUndefineAbsent(f *fixture) {
	require.NoError(f, f.d.Undefine(f.ctx, computedriver.Ref{ID: id.Random(), Generation: 1}))
}

func testNotDefined(f *fixture) {
	r := computedriver.Ref{ID: id.Random(), Generation: 1}
	f.code(fault.NotFound, f.d.Start(f.ctx, r), "start")
	f.code(fault.NotFound, f.d.Stop(f.ctx, r, 0), "stop")
	f.code(fault.NotFound, f.d.Stop(f.ctx, r, f.h.Grace), "stop with grace")
	if rb, ok := computedriver.As[computedriver.Rebooter](f.d); ok {
		f.code(fault.NotFound, rb.Reboot(f.ctx, r), "reboot")
	}
	if c, ok := computedriver.As[computedriver.Consoler](f.d); ok {
		_, err := c.ConsoleOutput(f.ctx, r, 100)
		f.code(fault.NotFound, err, "console")
	}
	f.absent(r.ID)
}

func testReopen(f *fixture) {
	on, off := f.running(), f.defined()
	require.NoError(f, f.d.Close())
	f.d = f.open()
	f.want(on, computedriver.Running)
	f.want(off, computedriver.Off)
	require.NoError(f, f.d.Define(f.ctx, on), "a repeated define after a restart")
	f.want(on, computedriver.Running)
	require.NoError(f, f.d.Stop(f.ctx, on.Mark.Ref(), 0))
	require.NoError(f, f.d.Start(f.ctx, off.Mark.Ref()))
	f.want(on, computedriver.Off)
	f.want(off, computedriver.Running)
}

func testTwoConnections(f *fixture) {
	other := f.open()
	g := f.defined()
	require.NoError(f, other.Define(f.ctx, g))
	require.NoError(f, other.Start(f.ctx, g.Mark.Ref()))
	f.want(g, computedriver.Running)
	require.NoError(f, f.d.Start(f.ctx, g.Mark.Ref()))
	require.NoError(f, f.d.Undefine(f.ctx, g.Mark.Ref()))
	_, listed := f.state(other, g.Mark.ID)
	require.False(f, listed)
	f.code(fault.Stale, other.Define(f.ctx, g), "define through the other connection after undefine")
}

// testPlain defines a guest with as little as there can be.
func testPlain(f *fixture) {
	g := f.guest()
	g.NICs, g.ConfigDrive, g.Hostname = nil, nil, ""
	require.NoError(f, f.d.Define(f.ctx, g))
	require.NoError(f, f.d.Start(f.ctx, g.Mark.Ref()))
	f.want(g, computedriver.Running)
}

func testListing(f *fixture) {
	want := map[computedriver.Mark]string{}
	for i := range f.h.Many {
		g := f.guest()
		g.Name = fmt.Sprintf("guest %d", i)
		require.NoError(f, f.d.Define(f.ctx, g))
		if i%3 == 0 {
			require.NoError(f, f.d.Undefine(f.ctx, g.Mark.Ref()))
			continue
		}
		want[g.Mark] = g.Name
	}
	for _, d := range []computedriver.Hypervisor{f.d, f.open()} {
		all, err := d.Guests(f.ctx)
		require.NoError(f, err)
		got := map[computedriver.Mark]string{}
		for _, s := range all {
			if s.Mark.Cloud == f.cloud {
				got[s.Mark] = s.Name
			}
		}
		require.Equal(f, want, got)
	}
}

func testForeign(f *fixture) {
	if f.host.Foreign == nil {
		f.Skip("the harness cannot make a foreign guest")
	}
	name := f.host.Foreign(f.T)
	mine := f.defined()
	all, err := f.d.Guests(f.ctx)
	require.NoError(f, err)
	found := false
	for _, s := range all {
		if s.Name == name {
			found = true
			require.Equal(f, computedriver.Mark{}, s.Mark, "a guest without a readable mark has an empty one")
		}
	}
	require.True(f, found, "foreign guest %q is not listed", name)
	f.want(mine, computedriver.Off)
}
