package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// firstAnswer starts the lab, on new directories and again on the same ones, with as many hosts as it has by default, and with many.
func firstAnswer(ctx context.Context, b *bench) error {
	binary, err := b.binary()
	if err != nil {
		return err
	}
	for _, n := range []int{3, hosts} {
		var fresh, again result
		for i := range pick(b.short, 3, 7) {
			for _, r := range []*result{&fresh, &again} {
				began := time.Now()
				l, err := startLab(ctx, binary, b.sub(fmt.Sprintf("start-%d-%d", n, i)), n)
				if err != nil {
					return err
				}
				r.times = append(r.times, time.Since(began))
				if err := l.stop(); err != nil {
					return err
				}
			}
		}
		b.add(fmt.Sprintf("first answer, new directory, %d hosts", n), fresh.quantile(0.5), "ms", "", "median of %d, from exec to GET /v3; two passwords hashed, an image stored", len(fresh.times))
		b.add(fmt.Sprintf("first answer, existing directory, %d hosts", n), again.quantile(0.5), "ms", "", "median of %d, from exec to GET /v3", len(again.times))
		b.atMost(100)
	}
	return nil
}

// memories measures the lab's resident memory when it has just started, empty and full.
func memories(ctx context.Context, b *bench) error {
	binary, err := b.binary()
	if err != nil {
		return err
	}
	dir := b.sub("memory")
	pause := pick(b.short, time.Second, 5*time.Second)
	idle, err := rest(ctx, binary, dir, pause, nil)
	if err != nil {
		return err
	}
	n := pick(b.short, 500, 10000)
	c, err := compose(ctx, where{lab: dir})
	if err != nil {
		return err
	}
	began := time.Now()
	err = c.fill(ctx, n)
	took := time.Since(began)
	asKilled := b.sub("memory-killed")
	if err == nil {
		err = os.CopyFS(asKilled, os.DirFS(dir))
	}
	if err = errors.Join(err, c.Close()); err != nil {
		return err
	}
	again, err := starts(ctx, b, binary, dir, func(l *lab) error { return l.stop() })
	if err != nil {
		return err
	}
	killed, err := starts(ctx, b, binary, asKilled, func(l *lab) error { return l.kill() })
	if err != nil {
		return err
	}
	var listed int64
	full, err := rest(ctx, binary, dir, pause, func(l *lab) error {
		c, err := l.client(ctx)
		if err != nil {
			return err
		}
		if _, err = c.get(ctx, fmt.Sprintf("%sservers/detail?limit=%d", c.compute.ResourceBaseURL(), page)); err != nil {
			return err
		}
		listed, err = resident(l.pid)
		return err
	})
	if err != nil {
		return err
	}
	const mb = 1e6
	b.add("resident memory, idle", float64(idle)/mb, "MB", "5700", "the lab, %v after it started; %d hosts; Zed: 60 processes", pause, hosts)
	b.atMost(60)
	b.add(fmt.Sprintf("resident memory, %d servers", n), float64(full)/mb, "MB", "", "restarted on them, %v later; the fake hosts' guests included", pause)
	b.add("  after a list of 1,000", float64(listed)/mb, "MB", "", "garbage included")
	b.add("  for each server", float64(full-idle)/1000/float64(n), "KB", "", "(full - idle) / servers")
	b.atMost(8)
	b.add(fmt.Sprintf("first answer, existing directory of %d servers", n), again.quantile(0.5), "ms", "", "median of %d, from exec to GET /v3; the fake hosts' guests included", len(again.times))
	b.atMost(100)
	b.add("  that only kill -9 has ever ended", killed.quantile(0.5), "ms", "", "the same, the first as if killed behind the last boot, each other behind the kill of the one before")
	b.atMost(100)
	b.add("boot in bulk, 25 servers a call", float64(n)/took.Seconds(), "boots/s", "", "%d boots in process, sqlite, the fake hosts' guests in files; 4 goroutines", n)
	return nil
}

// starts are first answers on a directory with servers, where end ends the lab each time.
func starts(ctx context.Context, b *bench, binary, dir string, end func(*lab) error) (r result, err error) {
	for range pick(b.short, 3, 7) {
		began := time.Now()
		l, err := startLab(ctx, binary, dir, hosts)
		if err != nil {
			return r, err
		}
		r.times = append(r.times, time.Since(began))
		if err := end(l); err != nil {
			return r, err
		}
	}
	return r, nil
}

// rest starts the lab, lets it come to rest and returns its resident memory; then it calls more, if that is given.
func rest(ctx context.Context, binary, dir string, pause time.Duration, more func(*lab) error) (bytes int64, err error) {
	l, err := startLab(ctx, binary, dir, hosts)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, l.stop()) }()
	time.Sleep(pause)
	if bytes, err = resident(l.pid); err != nil || more == nil {
		return bytes, err
	}
	return bytes, more(l)
}
