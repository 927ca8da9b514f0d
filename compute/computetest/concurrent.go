package computetest

import (
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
)

// together runs the functions at once and waits for all.
func together(fs ...func()) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for _, f := range fs {
		wg.Go(func() { <-begin; f() })
	}
	close(begin)
	wg.Wait()
}

// testConcurrentSame repeats each call at once, through two connections.
func testConcurrentSame(f *fixture) {
	g := f.based()
	both := []computedriver.Hypervisor{f.d, f.open(), f.d, f.d}
	each := func(call func(d computedriver.Hypervisor) error) {
		f.Helper()
		errs := make([]error, len(both))
		var calls []func()
		for i, d := range both {
			calls = append(calls, func() { errs[i] = call(d) })
		}
		together(calls...)
		for _, err := range errs {
			require.NoError(f, err)
		}
	}
	each(func(d computedriver.Hypervisor) error { return d.Define(f.ctx, g) })
	f.want(g, computedriver.Off)
	each(func(d computedriver.Hypervisor) error { return d.Start(f.ctx, g.Mark.Ref()) })
	f.want(g, computedriver.Running)
	each(func(d computedriver.Hypervisor) error { return d.Stop(f.ctx, g.Mark.Ref(), 0) })
	f.want(g, computedriver.Off)
	each(func(d computedriver.Hypervisor) error { return d.Undefine(f.ctx, g.Mark.Ref()) })
	f.absent(g.Mark.ID)
}

// testConcurrentGuests works on many guests of one image while others list.
func testConcurrentGuests(f *fixture) {
	base := f.base()
	var calls []func()
	var guests []computedriver.Guest
	errs := make([]error, f.h.Many)
	for i := range f.h.Many {
		g := f.guest()
		g.Root = computedriver.Disk{Base: base}
		guests = append(guests, g)
		calls = append(calls, func() {
			if errs[i] = f.d.Define(f.ctx, g); errs[i] != nil {
				return
			}
			if i%4 == 0 {
				errs[i] = f.d.Undefine(f.ctx, g.Mark.Ref())
				return
			}
			_, errs[i] = f.d.Guests(f.ctx)
		})
	}
	together(calls...)
	for i, g := range guests {
		require.NoError(f, errs[i])
		if i%4 == 0 {
			f.absent(g.Mark.ID)
		} else {
			f.want(g, computedriver.Off)
		}
	}
}

// testConcurrentUndefine: whichever of define and undefine comes first, nothing is left.
func testConcurrentUndefine(f *fixture) {
	for range 4 {
		g := f.guest()
		other := f.open()
		var defined, started, undefined error
		together(
			func() {
				if defined = f.d.Define(f.ctx, g); defined == nil {
					started = f.d.Start(f.ctx, g.Mark.Ref())
				}
			},
			func() { undefined = other.Undefine(f.ctx, g.Mark.Ref()) },
		)
		require.NoError(f, undefined)
		for _, err := range []error{defined, started} {
			if err != nil {
				f.code(fault.Stale, err)
			}
		}
		f.absent(g.Mark.ID)
		f.code(fault.Stale, f.d.Define(f.ctx, g))
	}
}

// testConcurrentGenerations: the greatest generation wins.
func testConcurrentGenerations(f *fixture) {
	g := f.guest()
	var calls []func()
	errs := make([]error, 5)
	for i := 1; i < len(errs); i++ {
		calls = append(calls, func() { errs[i] = f.d.Define(f.ctx, at(g, int64(i))) })
	}
	together(calls...)
	last := len(errs) - 1
	require.NoError(f, errs[last])
	for _, err := range errs[1:last] {
		if err != nil {
			f.code(fault.Stale, err)
		}
	}
	f.want(at(g, int64(last)), computedriver.Off)
}
