// Command killtest makes a control plane suffer while clients work with it,
// and then looks for what got stuck, leaked, lost or done twice.
//
//	go run ./internal/killtest [-mode LIST] [-kills N] [-clients N] [-for D] [-seed N] [-dir DIR]
//	go run ./internal/killtest -boots N [-clients N] [-dir DIR]
//
// Modes: kill, the lab is killed with SIGKILL at random moments and started
// again, and what it left at half time is tried as a backup at the end; full, its disk is full again and again (Linux, root); eio, calls of the
// store's driver fail as a broken disk lets them; clock, the clock jumps; replicas,
// three of them share a PostgreSQL 15, which is started here, and each dies,
// freezes or loses the database in turn, or the database restarts.
// doc/design/060-kill-tests.md says what is promised in each.
//
// The control plane is a process of its own: the real lab, or, where faults
// must be put into it, internal/killtest/node. Hosts and network are in another
// process (internal/simbackend) that outlives it, answers late, fails, loses answers
// and counts what really happened. The clients create servers with ports, stop,
// start, reboot and delete them, and upload images. They remember every answer
// they got, and repeat a request whose answer was lost with the same
// Idempotency-Key until there is one: in the end they know exactly what must be
// there. One line is printed for each thing that is not so, and the exit status
// is then 1. So it is when a control plane does not come back: two minutes without
// being ready end the run, with the last lines of its log.
package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/nubecula/cloud/internal/simbackend"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "killtest:", err)
		os.Exit(1)
	}
}

// config is the command line.
type config struct {
	modes   []mode
	kills   int
	clients int
	limit   time.Duration // no more kills after it; 0 means none
	seed    uint64
	boots   int    // measure so many instead; 0 means not
	dir     string // the parent of the run's directory; "" means the one for temporary files
}

func parse(args []string) (config, error) {
	var c config
	f := flag.NewFlagSet("killtest", flag.ContinueOnError)
	names := f.String("mode", "kill", "what is done, separated by commas: kill, full, eio, clock, replicas; or all")
	f.IntVar(&c.kills, "kills", 200, "how often it is done")
	f.IntVar(&c.clients, "clients", 16, "how many clients work at a time")
	f.DurationVar(&c.limit, "for", 0, "stop each mode after this time, even if -kills is not reached (default: no limit)")
	f.IntVar(&c.boots, "boots", 0, "disturb nothing, but boot so many servers on one, two and three replicas, and print how many a second (default: do not)")
	f.Uint64Var(&c.seed, "seed", 0, "repeats the choices of a run, though not its timing (default: a new one)")
	f.StringVar(&c.dir, "dir", "", "directory to work in (default: the one for temporary files)")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	var errs []error
	if f.NArg() > 0 {
		errs = append(errs, fmt.Errorf("unexpected argument %q: flags only, see -h", f.Arg(0)))
	}
	var unknown []string
	c.modes, unknown = choose(*names)
	if len(unknown) > 0 {
		errs = append(errs, fmt.Errorf("-mode %s: use kill, full, eio, clock, replicas or all", strings.Join(unknown, ",")))
	}
	if c.kills < 1 {
		errs = append(errs, fmt.Errorf("-kills %d: use 1 or more", c.kills))
	}
	if c.clients < 1 || c.clients > 1000 {
		errs = append(errs, fmt.Errorf("-clients %d: use 1 to 1000", c.clients))
	}
	if most := room/2 - c.clients; c.boots < 0 || c.boots > 0 && c.boots > most {
		errs = append(errs, fmt.Errorf("-boots %d: use 1 to %d with %d clients, for the hosts have room for %d servers and nothing is deleted between the two measurements", c.boots, most, c.clients, room))
	}
	if c.limit < 0 {
		errs = append(errs, fmt.Errorf("-for %v: use a time above 0", c.limit))
	}
	if c.seed == 0 {
		var b [4]byte
		rand.Read(b[:])
		c.seed = uint64(binary.BigEndian.Uint32(b[:])) + 1
	}
	return c, errors.Join(errs...)
}

// choose returns the modes of a list of names, and the names that are none.
func choose(names string) (out []mode, unknown []string) {
	all := modes()
	if names == "all" {
		return all, nil
	}
	for _, name := range strings.Split(names, ",") {
		i := slices.IndexFunc(all, func(m mode) bool { return m.name == name })
		if i < 0 {
			unknown = append(unknown, name)
			continue
		}
		out = append(out, all[i])
	}
	return out, unknown
}

func run(ctx context.Context, args []string) (err error) {
	cfg, err := parse(args)
	if err != nil {
		return err
	}
	if cfg.boots > 0 {
		return measure(ctx, cfg)
	}
	var lines []string
	problems := 0
	for _, m := range cfg.modes {
		if m.missing != nil && m.missing() != "" {
			fmt.Printf("SKIP: mode %s: %s\n", m.name, m.missing())
			lines = append(lines, fmt.Sprintf("%s\t%s\tskipped: %s\t\t\t\t", m.name, m.what, m.missing()))
			continue
		}
		r, took, err := runMode(ctx, cfg, m)
		if err != nil {
			return fmt.Errorf("mode %s: %w", m.name, err)
		}
		problems += r.problemCount()
		lines = append(lines, r.summary(m, took))
	}
	tw := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "\nMODE\tWHAT HAPPENS\tTIMES\tWRITES ANSWERED\tCHECKED\tWRONG\tSECONDS")
	for _, line := range lines {
		fmt.Fprintln(tw, line)
	}
	tw.Flush()
	if problems > 0 {
		return fmt.Errorf("%d problems", problems)
	}
	return nil
}

// runMode does one mode in a directory of its own, which stays when something was wrong.
func runMode(ctx context.Context, cfg config, m mode) (*record, time.Duration, error) {
	dir, err := os.MkdirTemp(cfg.dir, "nubecula-killtest-")
	if err != nil {
		return nil, 0, err
	}
	fmt.Printf("mode %s: %s %d times, %d clients, seed %d, in %s\n", m.name, m.what, cfg.kills, cfg.clients, cfg.seed, dir)
	r := newRecord(os.Stdout)
	began := time.Now()
	if err := test(ctx, cfg, m, dir, r); err != nil {
		return r, 0, fmt.Errorf("%w; its files are kept in %s", err, dir)
	}
	took := time.Since(began)
	r.print(os.Stdout, took)
	if r.problemCount() > 0 {
		fmt.Printf("files and logs of -mode %s -seed %d are kept in %s\n", m.name, cfg.seed, dir)
		return r, took, nil
	}
	return r, took, os.RemoveAll(dir)
}

// test does one mode; what is wrong with the control plane goes into the record, an error means that there was no test.
func test(ctx context.Context, cfg config, m mode, dir string, r *record) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer func() {
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = cause // what comes of it says nothing more
		}
	}()
	w, err := newWorld(ctx, cfg, dir, r)
	if err != nil {
		return err
	}
	w.half = (cfg.kills + 1) / 2
	defer func() { err = errors.Join(err, w.end()) }()
	if err := m.prepare(ctx, w); err != nil {
		return err
	}
	if err := w.start(ctx); err != nil {
		return err
	}
	c, err := login(ctx, w, 0)
	if err != nil {
		return err
	}
	if err := w.control.SetFaults(ctx, simbackend.Rough()...); err != nil {
		return err
	}
	watching, unwatch := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		if err := w.watch(watching, comeback); err != nil {
			cancel(err)
		}
	})
	defer watch.Wait()
	defer unwatch()
	var clients sync.WaitGroup
	stop := make(chan struct{})
	for i := range cfg.clients {
		w := &worker{client: c.fork(i), number: i, random: mrand.New(mrand.NewPCG(cfg.seed, uint64(i)))}
		clients.Go(func() { w.work(ctx, stop) })
	}
	err = suffer(ctx, cfg, m, w)
	close(stop)
	if err != nil {
		cancel(err)
		clients.Wait()
		return err
	}
	clients.Wait()
	c.settle(ctx)
	if err := w.control.SetFaults(ctx); err != nil {
		return err
	}
	unwatch()
	if err := errors.Join(ctx.Err(), w.stop()); err != nil {
		return err
	}
	if err := verify(ctx, w); err != nil || w.older == "" {
		return err
	}
	return restored(ctx, w)
}

// suffer disturbs the control plane as often as asked for.
func suffer(ctx context.Context, cfg config, m mode, w *world) error {
	random := mrand.New(mrand.NewPCG(cfg.seed, 1<<32))
	began := time.Now()
	for n := 1; n <= cfg.kills && (cfg.limit == 0 || time.Since(began) < cfg.limit); n++ {
		if err := m.disturb(ctx, w, random, n); err != nil {
			return err
		}
		w.record.disturbed = n
		if n%20 == 0 {
			fmt.Fprintf(os.Stderr, "%5.0f s  %s: %d times, %d problems\n", time.Since(began).Seconds(), m.name, n, w.record.problemCount())
		}
	}
	return sleep(ctx, time.Second) // what comes behind the last one gets some work, too
}

// sleep waits, unless ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
