// Command node is a control plane that can be made to suffer: the lab's
// services over a store that fails now and then, and with a clock that jumps,
// neither of which the lab itself can be told to do. Hosts, network and images
// are those of a simulated backend.
//
//	node -listen ADDRESS -sim SOCKET -data DIR [-io-errors CHANCE] [-skew FILE]
//	node -listen ADDRESS -sim SOCKET -data DIR -postgres DSN [-lease D]
//
// Users admin and demo have the password in the environment variable NODE_PASSWORD.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nubecula/cloud/openstack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
}

// config is the command line.
type config struct {
	listen   string
	sim      string
	data     string
	hosts    int
	postgres string
	lease    time.Duration
	ioErrors float64
	skew     string
	password string
}

func parse(args []string) (config, error) {
	c := config{password: os.Getenv("NODE_PASSWORD")}
	f := flag.NewFlagSet("node", flag.ContinueOnError)
	f.StringVar(&c.listen, "listen", "127.0.0.1:8774", "address and port to serve the APIs on")
	f.StringVar(&c.sim, "sim", "", "socket of the simulated backend; required")
	f.StringVar(&c.data, "data", "", "directory of the store's key, and of sqlite; required")
	f.StringVar(&c.postgres, "postgres", "", "DSN of a PostgreSQL that other nodes use too (default: sqlite in -data)")
	f.DurationVar(&c.lease, "lease", 0, "how long a replica may be silent before others take over its work (default 15 s)")
	f.IntVar(&c.hosts, "hosts", 3, "number of simulated hosts")
	f.Float64Var(&c.ioErrors, "io-errors", 0, "probability with which each call of the store's driver fails as a disk does")
	f.StringVar(&c.skew, "skew", "", "file with the duration by which the clock is wrong; SIGHUP has it read again (default: the clock is right)")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	var errs []error
	if f.NArg() > 0 || c.sim == "" || c.data == "" || c.password == "" {
		errs = append(errs, errors.New("-sim, -data and NODE_PASSWORD must be given, and nothing but flags"))
	}
	if c.ioErrors < 0 || c.ioErrors >= 1 {
		errs = append(errs, fmt.Errorf("-io-errors %v: use 0 to less than 1", c.ioErrors))
	}
	return c, errors.Join(errs...)
}

func run(ctx context.Context, args []string) (err error) {
	cfg, err := parse(args)
	if err != nil {
		return err
	}
	t, err := newSkewed(ctx, cfg.skew)
	if err != nil {
		return err
	}
	c, err := open(ctx, cfg, t, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	l, err := net.Listen("tcp", cfg.listen)
	if err != nil {
		return err
	}
	return openstack.Serve(ctx, c, l, nil)
}
