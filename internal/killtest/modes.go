package main

import (
	"context"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nubecula/cloud/internal/localpostgres"
)

// probe is the signal that only asks whether a process is there.
const probe = syscall.Signal(0)

// mode is one way to make a control plane suffer.
type mode struct {
	name    string
	what    string // for people
	prepare func(ctx context.Context, w *world) error
	// disturb does it once, the n-th time from 1.
	disturb func(ctx context.Context, w *world, random *mrand.Rand, n int) error
	// missing says what this machine lacks; nil or "" means nothing.
	missing func() string
}

func modes() []mode {
	return []mode{
		{name: "kill", what: "the lab is killed with SIGKILL",
			prepare: func(ctx context.Context, w *world) error { return w.lab(ctx) }, disturb: kill},
		{name: "full", what: "the lab's disk, a tmpfs, is full",
			prepare: prepareFull, disturb: fill, missing: noTmpfs},
		{name: "eio", what: "a call of the store's driver fails with an I/O error",
			prepare: prepareBroken, disturb: breakDown},
		{name: "replicas", what: "one of three replicas is killed, frozen or cut off, or PostgreSQL restarts",
			prepare: prepareReplicas, disturb: disturbReplicas, missing: localpostgres.Missing},
		{name: "clock", what: "the clock jumps by an hour",
			prepare: prepareClock, disturb: jump},
	}
}

// kill ends the control plane and starts it again. Every third time or so, that comes while it is still starting.
func kill(ctx context.Context, w *world, random *mrand.Rand, n int) error {
	wait, what := 200+random.IntN(2300), "kills at work"
	if random.IntN(3) == 0 {
		wait, what = random.IntN(300), "kills just after a start"
	}
	if err := sleep(ctx, time.Duration(wait)*time.Millisecond); err != nil {
		return err
	}
	if err := w.planes[0].kill(); err != nil {
		return err
	}
	w.record.count(what)
	if n == w.half {
		if err := w.keepOlder(); err != nil {
			return err
		}
	}
	return w.planes[0].start()
}

const revived = "ends by itself, with status 1, and new starts"

// revive has the control plane started again when it ends with an error, as a supervisor would.
func (w *world) revive() {
	for _, p := range w.planes {
		p.revive = true
		p.noticed = func(string) { w.record.count(revived) }
	}
}

func prepareFull(ctx context.Context, w *world) error {
	if err := os.Mkdir(w.data, 0o700); err != nil {
		return err
	}
	// Large enough for what the clients may keep, 64 images of a megabyte, and a log at its limit of 64 MiB: only the filler fills it.
	if err := mountTmpfs(w.data, "256m"); err != nil {
		return err
	}
	w.cleanup = append(w.cleanup, func() error { return unmount(w.data) })
	if err := w.lab(ctx); err != nil {
		return err
	}
	w.revive()
	return nil
}

// fill fills the disk to the last byte, or nearly, and frees it again. Every fifth time the lab is killed meanwhile.
func fill(ctx context.Context, w *world, random *mrand.Rand, n int) error {
	if err := sleep(ctx, time.Duration(200+random.IntN(1500))*time.Millisecond); err != nil {
		return err
	}
	filler := filepath.Join(w.data, "filler")
	defer os.Remove(filler)
	if err := writeUntilFull(filler, int64(random.IntN(3)*random.IntN(200<<10))); err != nil {
		return err
	}
	w.record.count("times the disk was full")
	half := time.Duration(100+random.IntN(700)) * time.Millisecond
	if err := sleep(ctx, half); err != nil {
		return err
	}
	if n%5 == 0 {
		if err := w.planes[0].kill(); err != nil {
			return err
		}
		w.record.count("kills while it was")
		if err := w.planes[0].start(); err != nil {
			return err
		}
	}
	if err := sleep(ctx, half); err != nil {
		return err
	}
	if err := writeUntilFull(filler, 0); err != nil { // what was freed meanwhile is taken as well
		return err
	}
	return sleep(ctx, half)
}

// writeUntilFull lets a file grow until the disk is full, but for some bytes.
func writeUntilFull(path string, leave int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil // not even that fits
	}
	defer f.Close()
	for size := 1 << 20; size >= 512; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	if leave == 0 {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return f.Truncate(max(0, info.Size()-leave))
}

func prepareBroken(ctx context.Context, w *world) error {
	if err := w.node(ctx, "node", "-io-errors", "0.004"); err != nil {
		return err
	}
	w.revive()
	return nil
}

// breakDown waits for an I/O error, behind which the process must have ended by itself.
func breakDown(ctx context.Context, w *world, _ *mrand.Rand, n int) error {
	for end := time.Now().Add(2 * time.Minute); ; {
		if w.record.times(revived) >= n {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("no I/O error in two minutes of work: see %s", w.planes[0].log.Name())
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

func prepareClock(ctx context.Context, w *world) error {
	if err := os.WriteFile(w.skew(), []byte("0s"), 0o600); err != nil {
		return err
	}
	return w.node(ctx, "node", "-skew", w.skew())
}

func (w *world) skew() string { return filepath.Join(w.dir, "skew") }

// jump sets the clock an hour forward or back, at most three hours off in all; every third time the process is killed first.
func jump(ctx context.Context, w *world, random *mrand.Rand, n int) error {
	if err := sleep(ctx, time.Duration(200+random.IntN(1800))*time.Millisecond); err != nil {
		return err
	}
	text, err := os.ReadFile(w.skew())
	if err != nil {
		return err
	}
	by, err := time.ParseDuration(string(text))
	if err != nil {
		return err
	}
	step, what := time.Hour, "jumps of the clock an hour forward"
	if by >= 3*time.Hour || by > -3*time.Hour && random.IntN(2) == 0 {
		step, what = -time.Hour, "jumps of the clock an hour back"
	}
	if n%3 == 0 {
		if err := w.planes[0].kill(); err != nil {
			return err
		}
		w.record.count("kills before a jump")
	}
	if err := os.WriteFile(w.skew(), []byte((by + step).String()), 0o600); err != nil {
		return err
	}
	if n%3 == 0 {
		err = w.planes[0].start()
	} else {
		err = w.planes[0].signal(syscall.SIGHUP)
	}
	if err != nil {
		return err
	}
	w.record.count(what)
	return w.tokens(ctx)
}

// tokens gets a new token, by the clock as it is now, and uses it.
func (w *world) tokens(ctx context.Context) error {
	c, err := login(ctx, w, 0)
	if err != nil {
		return err
	}
	if _, err := c.only(ctx, "/image/v2/images?name=tiny", "images"); err != nil {
		w.record.problem("a token made right after a jump of the clock: %v", err)
	}
	w.record.count("tokens made and used after a jump")
	return nil
}
