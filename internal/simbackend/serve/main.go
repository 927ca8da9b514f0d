// Command serve is the simulated backend as a process of its own: hosts, network and image store in memory, behind a
// Unix socket. It ends at SIGTERM, and with it everything it held.
//
//	go run ./internal/simbackend/serve -listen SOCKET [-seed N]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/nubecula/cloud/internal/simbackend"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	listen := f.String("listen", "", "Unix socket to answer on; required")
	seed := f.Uint64("seed", 1, "of the faults' dice")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *listen == "" || f.NArg() > 0 {
		return errors.New("usage: serve -listen SOCKET [-seed N]")
	}
	s, err := simbackend.NewServer(&simbackend.Options{Seed: *seed})
	if err != nil {
		return err
	}
	l, err := net.Listen("unix", *listen)
	if err != nil {
		return fmt.Errorf("%w; name another socket with -listen", err)
	}
	context.AfterFunc(ctx, func() { l.Close() })
	if err := s.Serve(l); ctx.Err() == nil {
		return err
	}
	return nil
}
