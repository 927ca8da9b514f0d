package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/operation"
)

// bootsHTTP boots servers as a user does: POST, then GET until ACTIVE.
func bootsHTTP(ctx context.Context, b *bench) error {
	l, err := b.lab()
	if err != nil {
		return err
	}
	c, err := l.client(ctx)
	if err != nil {
		return err
	}
	for _, clients := range []int{1, 16} {
		var asked atomic.Int64
		before, err := cpuTime(l.pid)
		if err != nil {
			return err
		}
		r, err := load(ctx, clients, b.measure, 0, func(ctx context.Context, _ int) error {
			n, err := c.boot(ctx, b.poll)
			asked.Add(int64(n))
			return err
		})
		if err != nil {
			return err
		}
		boots := r.n + clients // with the unmeasured ones
		us, err := perCall(l.pid, before, boots)
		if err != nil {
			return err
		}
		name := "boot to ACTIVE over HTTP, " + count(clients, "client")
		b.add(name, r.rate(), "boots/s", "0.5-1.0", "%d boots; gophercloud, sqlite; %s ms median, asked %s times, each %v after the last answer",
			r.n, number(r.quantile(0.5)), number(float64(asked.Load())/float64(boots)), b.poll)
		if clients == 16 {
			b.atLeast(300)
		}
		b.add("  processor time of the lab", us/1000, "ms/boot", "1500-3400", "answers to those questions included")
	}
	return nil
}

func bootsSQLite(ctx context.Context, b *bench) error {
	return boots(ctx, b, "sqlite", func(clients int) where { return where{sqlite: b.sub("boots-" + strconv.Itoa(clients))} })
}

func bootsMemory(ctx context.Context, b *bench) error {
	return boots(ctx, b, "memory", func(int) where { return where{} })
}

// boots are CreateServer and the end of its operation, in this process.
func boots(ctx context.Context, b *bench, name string, at func(clients int) where) error {
	for _, clients := range []int{1, 16} {
		var us float64
		r, err := inCloud(ctx, at(clients), func(c *inside) (r result, err error) {
			before, err := cpuTime(os.Getpid())
			if err != nil {
				return r, err
			}
			r, err = load(ctx, clients, b.measure, addresses, func(ctx context.Context, _ int) error { return c.boot(ctx, 1) })
			if err == nil {
				us, err = perCall(os.Getpid(), before, r.n+clients)
			}
			return r, err
		})
		if err != nil {
			return err
		}
		b.add(fmt.Sprintf("boot in process, %s, %s", name, count(clients, "goroutine")), r.rate(), "boots/s", "",
			"%d boots; %s ms median, %s ms of processor time; create and the operation's end", r.n, number(r.quantile(0.5)), number(us/1000))
		if clients == 16 {
			b.atLeast(pick(name == "sqlite", 2000.0, 10000))
		}
	}
	return nil
}

// boot makes n servers in one call and waits for them.
func (c *inside) boot(ctx context.Context, n int) error {
	created, err := c.demo.Compute.CreateServer(ctx, c.small(n))
	if err != nil {
		return err
	}
	for _, s := range created.Servers {
		if err := c.Wait(ctx, operation.Resource{Kind: "server", ID: s.ID}); err != nil {
			return err
		}
	}
	return nil
}

// creates measures the transaction of CreateServer alone: the engine has one worker, and that one is held in its first call of a host.
func creates(ctx context.Context, b *bench) error {
	for _, name := range []string{"sqlite", "memory"} {
		for _, clients := range []int{1, 16} {
			release := make(chan struct{})
			w := where{workers: 1, faults: inject.NewPlan(clock.System(), 1)}
			w.faults.Fail(inject.Rule{Method: "Define", Hold: func() { <-release }})
			if name == "sqlite" {
				w.sqlite = b.sub(fmt.Sprintf("creates-%d", clients))
			}
			r, err := inCloud(ctx, w, func(c *inside) (result, error) {
				defer close(release)
				return load(ctx, clients, b.measure, addresses, func(ctx context.Context, _ int) error {
					_, err := c.demo.Compute.CreateServer(ctx, c.small(1))
					return err
				})
			})
			if err != nil {
				return err
			}
			b.add(fmt.Sprintf("create transaction, %s, %s", name, count(clients, "goroutine")), r.rate(), "1/s", "",
				"%d calls; quota, server, port, address, operation, events; nothing carried out meanwhile", r.n)
		}
	}
	return nil
}

// inCloud composes a cloud for one measurement.
func inCloud(ctx context.Context, w where, f func(*inside) (result, error)) (result, error) {
	c, err := compose(ctx, w)
	if err != nil {
		return result{}, err
	}
	r, err := f(c)
	return r, errors.Join(err, c.Close())
}

// count writes "1 client", "16 clients".
func count(n int, what string) string {
	return strconv.Itoa(n) + " " + what + pick(n == 1, "", "s")
}

// perCall is the processor time of a process for each of n calls, since it had used before.
func perCall(pid int, before time.Duration, n int) (microseconds float64, err error) {
	after, err := cpuTime(pid)
	return (after - before).Seconds() * 1e6 / float64(n), err
}
