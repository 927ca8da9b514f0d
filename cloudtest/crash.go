package cloudtest

import "fmt"

// Crash ends the Cloud's process at this instant, as kill -9 would, and
// starts another on what is left: the store as a crash leaves it, and the
// drivers' back ends, which go on.
func (e *Env) Crash() {
	e.t.Helper()
	e.Kill()
	e.Restart()
}

// Kill ends the Cloud's process at this instant; Restart starts another.
func (e *Env) Kill() { e.main.Kill() }

// CrashAtCommit lets the process die at the n-th commit of the store from now on, from 1: before it
// happens, or behind it, when nobody has been told yet; 0 takes it back. Restart starts another process once Crashed says so.
func (e *Env) CrashAtCommit(n int, after bool) { e.main.CrashAtCommit(n, after) }

// Crashed reports whether the process is dead.
func (e *Env) Crashed() bool { return e.main.Crashed() }

// Commits returns how many commits the store has made in this process.
func (e *Env) Commits() int { return e.main.driver().Commits() }

// Restart starts another process on what the dead one has left.
func (e *Env) Restart() {
	e.t.Helper()
	if !e.Crashed() {
		e.t.Fatal("cloudtest: Restart of a process that is alive; use Crash")
	}
	e.must(e.main.Restart())
}

// TakeOver starts a second process on the same store and back ends, as a
// replica of the first, which is frozen (SIGSTOP) meanwhile. The second is
// Env.Cloud from then on. wake lets the first go on and waits until it rests. It needs Options.Shared.
func (e *Env) TakeOver() (wake func()) {
	e.t.Helper()
	first := e.Cloud
	first.Engine().Freeze()
	first.As(nil).Compute.Kill()
	e.main = &Replica{e: e, inner: e.opt.Database}
	e.replicas = append(e.replicas, e.main)
	e.must(e.main.start())
	return func() {
		first.Engine().Thaw()
		for first.Engine().Load().Running > 0 {
			<-e.wake
		}
	}
}

// Check fails the test when cloud.Check finds something.
func (e *Env) Check() {
	e.t.Helper()
	findings, err := e.Cloud.Check(e.ctx())
	e.must(err)
	for _, f := range findings {
		e.t.Errorf("check: %s: %s", f.Service, f.Text)
	}
}

// NoLeaks fails the test when Leaks finds something.
func (e *Env) NoLeaks() {
	e.t.Helper()
	for _, l := range e.Leaks() {
		e.t.Errorf("leak: %s", l)
	}
}

func line(list *[]string, format string, args ...any) {
	*list = append(*list, fmt.Sprintf(format, args...))
}
