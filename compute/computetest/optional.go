package computetest

import (
	"context"
	"runtime"
	"strings"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
)

func testCanceledContext(f *fixture) {
	on, off, absent := f.running(), f.defined(), f.guest()
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	_, err := f.d.Host(ctx)
	f.code(fault.Canceled, err, "host")
	_, err = f.d.Guests(ctx)
	f.code(fault.Canceled, err, "guests")
	f.code(fault.Canceled, f.d.Define(ctx, absent), "define")
	f.code(fault.Canceled, f.d.Start(ctx, off.Mark.Ref()), "start")
	f.code(fault.Canceled, f.d.Stop(ctx, on.Mark.Ref(), 0), "stop")
	f.code(fault.Canceled, f.d.Undefine(ctx, on.Mark.Ref()), "undefine")
	if r, ok := computedriver.As[computedriver.Rebooter](f.d); ok {
		f.code(fault.Canceled, r.Reboot(ctx, on.Mark.Ref()), "reboot")
	}
	if c, ok := computedriver.As[computedriver.Consoler](f.d); ok {
		_, err := c.ConsoleOutput(ctx, on.Mark.Ref(), 10)
		f.code(fault.Canceled, err, "console")
	}
	if w, ok := computedriver.As[computedriver.Watcher](f.d); ok {
		f.code(fault.Canceled, w.Watch(ctx, func(computedriver.Hint) {}), "watch")
	}
	f.want(on, computedriver.Running)
	f.want(off, computedriver.Off)
	f.absent(absent.Mark.ID)
}

func testCrashed(f *fixture) {
	if f.host.Crash == nil {
		f.Skip("the harness cannot crash a guest")
	}
	g := f.running()
	f.host.Crash(f.T, g.Mark.ID)
	f.h.Wait(f, "the guest is crashed", func() bool {
		s, _ := f.state(f.d, g.Mark.ID)
		return s.Power == computedriver.Crashed
	})
	require.NoError(f, f.d.Define(f.ctx, g), "define of a crashed guest")
	require.NoError(f, f.d.Start(f.ctx, g.Mark.Ref()))
	f.want(g, computedriver.Running)
	f.host.Crash(f.T, g.Mark.ID)
	require.NoError(f, f.d.Stop(f.ctx, g.Mark.Ref(), 0))
	require.NoError(f, f.d.Undefine(f.ctx, g.Mark.Ref()))
	f.absent(g.Mark.ID)
}

func testPoweredOff(f *fixture) {
	if f.host.PowerOff == nil {
		f.Skip("the harness cannot make a guest switch itself off")
	}
	g := f.running()
	f.host.PowerOff(f.T, g.Mark.ID)
	f.h.Wait(f, "the guest is off", func() bool {
		s, _ := f.state(f.d, g.Mark.ID)
		return s.Power == computedriver.Off
	})
	require.NoError(f, f.d.Stop(f.ctx, g.Mark.Ref(), f.h.Grace))
	require.NoError(f, f.d.Start(f.ctx, g.Mark.Ref()))
	f.want(g, computedriver.Running)
}

func testReboot(f *fixture) {
	r, ok := computedriver.As[computedriver.Rebooter](f.d)
	if !ok {
		f.Skip("no soft reboot")
	}
	g := f.defined()
	f.code(fault.Conflict, r.Reboot(f.ctx, g.Mark.Ref()), "reboot of a guest that is off")
	f.want(g, computedriver.Off)
	require.NoError(f, f.d.Start(f.ctx, g.Mark.Ref()))
	require.NoError(f, r.Reboot(f.ctx, g.Mark.Ref()))
	f.want(g, computedriver.Running)
	require.NoError(f, r.Reboot(f.ctx, g.Mark.Ref()))
	f.want(g, computedriver.Running)
}

func testConsole(f *fixture) {
	c, ok := computedriver.As[computedriver.Consoler](f.d)
	if !ok {
		f.Skip("no console log")
	}
	quiet := f.defined()
	out, err := c.ConsoleOutput(f.ctx, quiet.Mark.Ref(), 1000)
	require.NoError(f, err)
	require.Empty(f, out, "a guest that never ran wrote nothing")
	if f.h.BootMarker == "" {
		return
	}
	g := f.based()
	require.NoError(f, f.d.Define(f.ctx, g))
	read := func(max int) string {
		out, err := c.ConsoleOutput(f.ctx, g.Mark.Ref(), max)
		require.NoError(f, err)
		return string(out)
	}
	boots := func(n int) {
		f.Helper()
		f.h.Wait(f, f.h.BootMarker+" on the console", func() bool {
			return strings.Count(read(1<<20), f.h.BootMarker) >= n
		})
	}
	require.NoError(f, f.d.Start(f.ctx, g.Mark.Ref()))
	boots(1)
	require.NoError(f, f.d.Stop(f.ctx, g.Mark.Ref(), 0))
	all := read(1 << 20)
	require.Contains(f, all, f.h.BootMarker, "the log stays when the guest is off")
	require.Equal(f, all[len(all)-20:], read(20), "the last bytes, at most max")
	require.Equal(f, all, read(len(all)))
	require.Empty(f, read(0))

	require.NoError(f, f.d.Start(f.ctx, g.Mark.Ref()))
	boots(2)
	require.True(f, strings.HasPrefix(read(1<<20), all), "a start appends to the log")

	next := at(g, 2) // a new placement starts with an empty log
	require.NoError(f, f.d.Undefine(f.ctx, g.Mark.Ref()))
	_, err = c.ConsoleOutput(f.ctx, g.Mark.Ref(), 10)
	f.code(fault.NotFound, err, "console of an undefined guest")
	require.NoError(f, f.d.Define(f.ctx, next))
	out, err = c.ConsoleOutput(f.ctx, next.Mark.Ref(), 1000)
	require.NoError(f, err)
	require.Empty(f, out)
}

func testWatch(f *fixture) {
	w, ok := computedriver.As[computedriver.Watcher](f.d)
	if !ok {
		f.Skip("no hints")
	}
	g := f.defined()
	var mu sync.Mutex
	seen := map[string]bool{}
	ctx, stop := context.WithCancel(f.ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- w.Watch(ctx, func(h computedriver.Hint) {
			mu.Lock()
			defer mu.Unlock()
			if h.ID == g.Mark.ID {
				seen[h.What] = true
			}
		})
	}()
	limit, cancel := context.WithTimeout(f.ctx, f.h.Limit)
	defer cancel()
	both := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return seen["started"] && seen["stopped"]
	}
	for !both() { // hints may be lost, most of all those from before the watch began
		require.NoError(f, limit.Err(), "no hint of a start and a stop within %v; seen: %v", f.h.Limit, seen)
		require.NoError(f, f.d.Start(f.ctx, g.Mark.Ref()))
		require.NoError(f, f.d.Stop(f.ctx, g.Mark.Ref(), 0))
		runtime.Gosched()
	}
	stop()
	require.ErrorIs(f, <-ended, context.Canceled)
}
