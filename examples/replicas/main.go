// Command replicas is one cloud in three processes on one PostgreSQL, and what happens when one of them dies.
//
//	go run ./examples/replicas        # starts PostgreSQL, three simulated hosts and three replicas
//	go run ./examples/replicas kill   # in another shell: boots servers on one replica, kills it, and watches
//
// There is no leader and no broker: a replica is the same program with the same options, and what a dead one
// had begun is free for the others once its lease has run out. Everything is in a temporary directory and ends
// with the first command. PostgreSQL must be installed (Debian: postgresql).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// lease is how long a replica may be silent. The default is 15 s; here nobody wants to wait.
const lease = 5 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "replicas:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var r replica
	f := flag.NewFlagSet("replicas", flag.ContinueOnError)
	f.StringVar(&r.listen, "replica", "", "be one replica, on this address; the first command starts them so")
	f.StringVar(&r.dir, "dir", "", "with -replica: directory of the run")
	f.StringVar(&r.dsn, "dsn", "", "with -replica: the database")
	port := f.Int("port", 8774, "port of the first replica; the others have the next ones")
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: replicas [-port N]   starts everything\n       replicas kill        kills a replica at work, and watches")
	}
	if err := f.Parse(args); err != nil {
		return err
	}
	switch {
	case r.listen != "":
		return r.run(ctx)
	case f.Arg(0) == "kill" && f.NArg() == 1:
		return kill(ctx)
	case f.NArg() > 0:
		return fmt.Errorf("unknown argument %q: there is only kill", f.Arg(0))
	}
	return start(ctx, *port)
}
