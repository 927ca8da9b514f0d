package computetest

import (
	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/id"
)

// refused checks that the generation can be neither defined nor started, now and after a restart of the driver.
func (f *fixture) refused(g computedriver.Guest) {
	f.Helper()
	for range 2 {
		f.code(fault.Stale, f.d.Define(f.ctx, g), "define of generation ", g.Mark.Generation)
		f.code(fault.Stale, f.d.Start(f.ctx, g.Mark.Ref()), "start of generation ", g.Mark.Generation)
		require.NoError(f, f.d.Close())
		f.d = f.open()
	}
}

func testTombstone(f *fixture) {
	g := at(f.guest(), 3)
	require.NoError(f, f.d.Define(f.ctx, g))
	require.NoError(f, f.d.Start(f.ctx, g.Mark.Ref()))
	require.NoError(f, f.d.Undefine(f.ctx, g.Mark.Ref()))
	f.refused(g)
	f.refused(at(g, 2))
	f.absent(g.Mark.ID)
	f.code(fault.NotFound, f.d.Start(f.ctx, at(g, 4).Mark.Ref()), "start of a generation that may still come")

	next := at(g, 4)
	require.NoError(f, f.d.Define(f.ctx, next), "a greater generation is a new placement")
	require.NoError(f, f.d.Start(f.ctx, next.Mark.Ref()))
	f.want(next, computedriver.Running)
	f.refused(g)
	f.want(next, computedriver.Running)

	require.NoError(f, f.d.Undefine(f.ctx, g.Mark.Ref()), "undefine of an older generation")
	f.want(next, computedriver.Running)
	require.NoError(f, f.d.Undefine(f.ctx, next.Mark.Ref()))
	require.NoError(f, f.d.Undefine(f.ctx, g.Mark.Ref()), "an older tombstone must not replace a newer one")
	f.refused(next)
}

// testTombstoneOfGreater: undefine of a generation above the defined one takes the guest away.
func testTombstoneOfGreater(f *fixture) {
	g := f.running()
	require.NoError(f, f.d.Undefine(f.ctx, at(g, 5).Mark.Ref()))
	f.absent(g.Mark.ID)
	f.refused(g)
	f.refused(at(g, 5))
	require.NoError(f, f.d.Define(f.ctx, at(g, 6)))
	f.want(at(g, 6), computedriver.Off)
}

// testTombstoneBeforeDefine: the define that the undefine overtook arrives late.
func testTombstoneBeforeDefine(f *fixture) {
	g := at(f.guest(), 2)
	require.NoError(f, f.d.Undefine(f.ctx, g.Mark.Ref()))
	f.refused(g)
	f.refused(at(g, 1))
	f.absent(g.Mark.ID)
	require.NoError(f, f.d.Define(f.ctx, at(g, 3)))
	f.want(at(g, 3), computedriver.Off)
}

// testNewerGeneration: a greater generation replaces a guest that nobody undefined.
func testNewerGeneration(f *fixture) {
	g := f.running()
	next := at(g, 2)
	require.NoError(f, f.d.Define(f.ctx, next))
	f.want(next, computedriver.Off)
	f.refused(g)
	require.NoError(f, f.d.Start(f.ctx, next.Mark.Ref()))
	f.want(next, computedriver.Running)
}

func testOtherGeneration(f *fixture) {
	g := at(f.guest(), 2)
	require.NoError(f, f.d.Define(f.ctx, g))
	require.NoError(f, f.d.Start(f.ctx, g.Mark.Ref()))
	rb, canReboot := computedriver.As[computedriver.Rebooter](f.d)
	co, hasConsole := computedriver.As[computedriver.Consoler](f.d)
	for _, n := range []int64{1, 3} {
		r := computedriver.Ref{ID: g.Mark.ID, Generation: n}
		f.code(fault.Stale, f.d.Start(f.ctx, r), "start of generation ", n)
		f.code(fault.Stale, f.d.Stop(f.ctx, r, 0), "stop of generation ", n)
		if canReboot {
			f.code(fault.Stale, rb.Reboot(f.ctx, r), "reboot of generation ", n)
		}
		if hasConsole {
			_, err := co.ConsoleOutput(f.ctx, r, 10)
			f.code(fault.Stale, err, "console of generation ", n)
		}
		f.want(g, computedriver.Running)
	}
}

// testOtherCloud: a guest under another Cloud's mark is never touched, whatever its generation.
func testOtherCloud(f *fixture) {
	g := f.running()
	for _, n := range []int64{1, 2} {
		thief := at(g, n)
		thief.Mark.Cloud = "another-" + id.Random()
		f.code(fault.Exists, f.d.Define(f.ctx, thief), "define over another cloud's guest")
		f.want(g, computedriver.Running)
	}
}

// testMend: a guest whose definition is gone is made whole around its disk; one without a disk is not made anew.
func testMend(f *fixture) {
	g := f.defined()
	g.Mend = true
	require.NoError(f, f.d.Define(f.ctx, g), "a complete guest")
	f.want(g, computedriver.Off)
	if f.host.Tear != nil {
		f.host.Tear(f.T, g.Mark.ID)
		f.want(g, computedriver.Torn)
		require.NoError(f, f.d.Define(f.ctx, g))
		f.want(g, computedriver.Off)
		require.NoError(f, f.d.Start(f.ctx, g.Mark.Ref()))
		f.want(g, computedriver.Running)
	}
	gone := f.guest()
	gone.Mend = true
	f.code(fault.NotFound, f.d.Define(f.ctx, gone), "a guest that has no disk")
	f.absent(gone.Mark.ID)
}

// testRemember: the greatest epoch of each Cloud is kept, for good.
func testRemember(f *fixture) {
	remember := func(cloud string, epoch, want int64) {
		f.Helper()
		r, ok := computedriver.As[computedriver.Rememberer](f.d)
		if !ok {
			f.Skip("the driver is no Rememberer")
		}
		got, err := r.Remember(f.ctx, cloud, epoch)
		require.NoError(f, err)
		require.Equal(f, want, got)
	}
	other := "another-" + id.Random()
	remember(f.cloud, 0, 0)
	remember(f.cloud, 3, 3)
	remember(f.cloud, 2, 3)
	remember(f.cloud, 1<<40, 1<<40)
	remember(other, 1, 1)
	require.NoError(f, f.d.Close())
	f.d = f.open()
	remember(f.cloud, 0, 1<<40)
	remember(other, 0, 1)
}

// testTurns: a call that comes late, its turn being over, changes nothing.
func testTurns(f *fixture) {
	g := f.running()
	turn := func(n int64) computedriver.Ref {
		return computedriver.Ref{ID: g.Mark.ID, Generation: g.Mark.Generation, Turn: n}
	}
	late := func(n int64) {
		f.Helper()
		f.code(fault.Stale, f.d.Start(f.ctx, turn(n)), "start of turn ", n)
		f.code(fault.Stale, f.d.Stop(f.ctx, turn(n), 0), "stop of turn ", n)
		f.code(fault.Stale, f.d.Stop(f.ctx, turn(n), f.h.Grace), "stop with grace of turn ", n)
		if r, ok := computedriver.As[computedriver.Rebooter](f.d); ok {
			f.code(fault.Stale, r.Reboot(f.ctx, turn(n)), "reboot of turn ", n)
		}
	}
	require.NoError(f, f.d.Stop(f.ctx, turn(2), 0))
	late(1)
	f.want(g, computedriver.Off)
	require.NoError(f, f.d.Stop(f.ctx, turn(2), 0), "the same turn again")
	require.NoError(f, f.d.Start(f.ctx, turn(3)))
	require.NoError(f, f.d.Start(f.ctx, turn(4)), "it runs already, and the turn counts all the same")
	for range 2 {
		late(2)
		late(3)
		f.want(g, computedriver.Running)
		require.NoError(f, f.d.Close())
		f.d = f.open()
	}
	require.NoError(f, f.d.Start(f.ctx, turn(4)))

	g = at(g, g.Mark.Generation+1)
	require.NoError(f, f.d.Define(f.ctx, g))
	require.NoError(f, f.d.Start(f.ctx, turn(1)), "a new placement has turns of its own")
	f.want(g, computedriver.Running)
}
