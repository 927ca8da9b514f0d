// Command bench prints a table of what this cloud does in a second, how long
// an answer takes and how much memory it needs, on the machine it runs on.
//
//	go run ./internal/bench [-short] [-only REGEXP]
//
// Everything is real: the lab's binary as a process of its own, spoken to over
// HTTP; sqlite that waits for the disk; the machine's clock. Only hosts and
// network are the fakes, which boot in no time, so that what is measured is
// the cloud. A figure that cannot be had is an error, and the exit status 1.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one run: what was asked for, and the rows so far.
type bench struct {
	short   bool
	dir     string        // for everything that is written; removed at the end
	measure time.Duration // how long each rate is measured
	million bool          // fill in a million servers, too
	plot    string        // where the plot of the section flat goes; "" means nowhere
	profile string        // where a CPU profile goes; "" means nowhere
	sink    *os.File      // that profile, while it is written
	poll    time.Duration // between a client's questions whether its server is ACTIVE
	lab     func() (*lab, error)
	binary  func() (string, error)
	table
}

// section is a group of rows that can be asked for on its own.
type section struct {
	name string
	run  func(context.Context, *bench) error
}

// sections in the order of the table.
func sections() []section {
	return []section{
		{"machine", machine},
		{"start", firstAnswer},
		{"boot/http", bootsHTTP},
		{"boot/sqlite", bootsSQLite},
		{"boot/memory", bootsMemory},
		{"create", creates},
		{"token/issue", issues},
		{"token/validate", validations},
		{"list", lists},
		{"scheduler", decisions},
		{"placement", placements},
		{"overload", overload},
		{"backup", backups},
		{"resident", memories},
		{"flat", flat},
	}
}

func run(ctx context.Context, args []string) (err error) {
	b := &bench{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.BoolVar(&b.short, "short", false, "measure for a shorter time and with fewer servers: a minute in all, and rougher figures")
	only := f.String("only", "", "measure only the sections that match `REGEXP`: "+names())
	parent := f.String("dir", "", "directory to work in, on the disk to be measured (default: the one for temporary files)")
	f.StringVar(&b.profile, "cpuprofile", "", "write a CPU profile to `FILE`; the lab then runs inside this process. Use it with -only. Of the section flat it holds what is measured with the most servers")
	f.BoolVar(&b.million, "million", false, "fill in a million servers in the section flat: some ten minutes and gigabytes more")
	f.StringVar(&b.plot, "plot", "", "write the plot of the section flat to `FILE`, as SVG")
	f.DurationVar(&b.measure, "time", 0, "how long to measure each rate (default 5s, with -short 1s)")
	f.DurationVar(&b.poll, "poll", 10*time.Millisecond, "how long a client waits before it asks again whether its server is ACTIVE")
	asFlood := f.Bool("flood", false, "be the flood of the section overload, which starts this program again so")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *asFlood {
		return flood(ctx, os.Stdin, os.Stdout)
	}
	match, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: flags only, see -h", f.Arg(0))
	}
	if b.measure == 0 {
		b.measure = pick(b.short, time.Second, 5*time.Second)
	}
	if b.dir, err = os.MkdirTemp(*parent, "nubecula-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	done, err := b.prepare(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	began, ran := time.Now(), 0
	for _, s := range sections() {
		if !match.MatchString(s.name) {
			continue
		}
		ran++
		fmt.Fprintf(os.Stderr, "%5.1f s  %s\n", time.Since(began).Seconds(), s.name)
		if err := s.run(ctx, b); err != nil {
			b.print(os.Stdout)
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if ran == 0 {
		return fmt.Errorf("-only %s: no section has such a name; there are %s", *only, names())
	}
	b.print(os.Stdout)
	fmt.Fprintf(os.Stderr, "%5.1f s  done\n", time.Since(began).Seconds())
	return nil
}

// prepare sets up what sections share, made when the first of them asks.
func (b *bench) prepare(ctx context.Context) (done func() error, err error) {
	b.binary = once(func() (string, error) { return buildLab(ctx, b.dir) })
	var shared *lab
	b.lab = once(func() (_ *lab, err error) {
		if b.profile != "" {
			shared, err = serveLab(ctx, b.sub("lab"))
			return shared, err
		}
		binary, err := b.binary()
		if err != nil {
			return nil, err
		}
		shared, err = startLab(ctx, binary, b.sub("lab"), hosts)
		return shared, err
	})
	stop := func() error {
		if shared == nil {
			return nil
		}
		return shared.stop()
	}
	if err := b.reprofile(); err != nil {
		return nil, err
	}
	return func() error { return errors.Join(b.endProfile(), stop()) }, nil
}

// reprofile begins the profile anew, if there is to be one.
func (b *bench) reprofile() (err error) {
	if b.profile == "" {
		return nil
	}
	if err := b.endProfile(); err != nil {
		return err
	}
	if b.sink, err = os.Create(b.profile); err != nil {
		return err
	}
	return pprof.StartCPUProfile(b.sink)
}

func (b *bench) endProfile() error {
	if b.sink == nil {
		return nil
	}
	pprof.StopCPUProfile()
	return b.sink.Close()
}

// sub names a directory of a section's own.
func (b *bench) sub(name string) string { return b.dir + string(os.PathSeparator) + name }

func names() string {
	var list []string
	for _, s := range sections() {
		list = append(list, s.name)
	}
	return strings.Join(list, ", ")
}

func once[T any](f func() (T, error)) func() (T, error) {
	var v T
	var err error
	called := false
	return func() (T, error) {
		if !called {
			called = true
			v, err = f()
		}
		return v, err
	}
}

func pick[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}
