// Command killtest kills the lab with SIGKILL at random moments while clients
// work with it, starts it again, and then looks for what got stuck, leaked,
// lost or done twice.
//
//	go run ./internal/killtest [-kills N] [-clients N] [-for D] [-seed N] [-dir DIR]
//
// The lab is the real one, built and run as a process of its own, on sqlite
// that waits for the disk. Its hosts and network are the fakes in files, which
// outlive it, as real ones would. The clients create servers with ports, stop,
// start, reboot and delete them, and upload images. They remember every answer
// they got, and repeat a request whose answer was lost with the same
// Idempotency-Key until there is one: in the end they know exactly what must be
// there. One line is printed for each thing that is not so, and the exit status
// is then 1.
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
	"path/filepath"
	"sync"
	"syscall"
	"time"
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
	kills   int
	clients int
	limit   time.Duration // no more kills after it; 0 means none
	seed    uint64
	dir     string // the parent of the run's directory; "" means the one for temporary files
}

func parse(args []string) (config, error) {
	var c config
	f := flag.NewFlagSet("killtest", flag.ContinueOnError)
	f.IntVar(&c.kills, "kills", 200, "how often the lab is killed")
	f.IntVar(&c.clients, "clients", 16, "how many clients work at a time")
	f.DurationVar(&c.limit, "for", 0, "stop killing after this time, even if -kills is not reached (default: no limit)")
	f.Uint64Var(&c.seed, "seed", 0, "repeats the choices of a run, though not its timing (default: a new one)")
	f.StringVar(&c.dir, "dir", "", "directory to work in (default: the one for temporary files)")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	var errs []error
	if f.NArg() > 0 {
		errs = append(errs, fmt.Errorf("unexpected argument %q: flags only, see -h", f.Arg(0)))
	}
	if c.kills < 1 {
		errs = append(errs, fmt.Errorf("-kills %d: use 1 or more", c.kills))
	}
	if c.clients < 1 || c.clients > 1000 {
		errs = append(errs, fmt.Errorf("-clients %d: use 1 to 1000", c.clients))
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

func run(ctx context.Context, args []string) (err error) {
	cfg, err := parse(args)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(cfg.dir, "nubecula-killtest-")
	if err != nil {
		return err
	}
	fmt.Printf("seed %d, %d kills, %d clients, in %s\n", cfg.seed, cfg.kills, cfg.clients, dir)
	r := newRecord(os.Stdout)
	began := time.Now()
	if err := test(ctx, cfg, dir, r); err != nil {
		return fmt.Errorf("%w; its files are kept in %s", err, dir)
	}
	r.print(os.Stdout, time.Since(began))
	if n := r.problemCount(); n > 0 {
		return fmt.Errorf("%d problems with -seed %d; the lab's files and log are kept in %s", n, cfg.seed, dir)
	}
	return os.RemoveAll(dir)
}

// test does the whole run; what is wrong with the lab goes into the record, an error means that there was no test.
func test(ctx context.Context, cfg config, dir string, r *record) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l, err := newLab(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.end()) }()
	if err := l.start(); err != nil {
		return err
	}
	c, err := login(ctx, l, r)
	if err != nil {
		return err
	}
	var clients sync.WaitGroup
	stop := make(chan struct{})
	for i := range cfg.clients {
		w := &worker{client: c, number: i, random: mrand.New(mrand.NewPCG(cfg.seed, uint64(i)))}
		clients.Go(func() { w.work(ctx, stop) })
	}
	err = killing(ctx, cfg, l, r)
	close(stop)
	if err != nil {
		cancel()
		clients.Wait()
		return err
	}
	clients.Wait()
	c.settle(ctx)
	if err := errors.Join(ctx.Err(), l.stop()); err != nil {
		return err
	}
	return verify(ctx, filepath.Join(dir, "data"), r)
}

// killing kills the lab and starts it again. Every third time or so, the next kill comes while it is still starting.
func killing(ctx context.Context, cfg config, l *lab, r *record) error {
	random := mrand.New(mrand.NewPCG(cfg.seed, 1<<32))
	began := time.Now()
	for n := 1; n <= cfg.kills && (cfg.limit == 0 || time.Since(began) < cfg.limit); n++ {
		wait, what := 200+random.IntN(2300), "kills at work"
		if random.IntN(3) == 0 {
			wait, what = random.IntN(300), "kills just after a start"
		}
		if err := sleep(ctx, time.Duration(wait)*time.Millisecond); err != nil {
			return err
		}
		if err := l.kill(); err != nil {
			return err
		}
		r.count(what)
		if err := l.start(); err != nil {
			return err
		}
		if n%20 == 0 {
			fmt.Fprintf(os.Stderr, "%5.0f s  %d kills, %d problems\n", time.Since(began).Seconds(), n, r.problemCount())
		}
	}
	return sleep(ctx, time.Second) // the last start, too, gets some work
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
