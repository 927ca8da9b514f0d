// Command lab is a cloud in one process: the OpenStack APIs over a directory
// of state, with fake hosts or with real ones through libvirt.
//
//	go run ./examples/lab
//	export OS_CLIENT_CONFIG_FILE=DIR/clouds.yaml
//	openstack --os-cloud lab server create --flavor m1.nano --image tiny --network private --wait vm1
//
// For its operator, each with -data DIR; they talk to the lab that runs on the directory, or open it themselves when none does:
//
//	lab health              whether it can serve, and why not
//	lab check               looks for what is wrong in the store
//	lab backup FILE         copies the store, while it runs
//	lab restore FILE        puts a backup in the place of the store, while none runs
//	lab accept-store        says that a restored store is the one to go on with
//	lab accept-removal ID.. has removed what the check gives as removable
//	lab accept-loss HOST    says that the guests which a host lacks are lost
//	lab host-gone HOST      says that a host never comes back
//	lab reset-admin         gives the user admin a new password and all his rights, while none runs
//	lab log-level [LEVEL]   tells or changes what is logged
//
// With -dry-run an accept-* or host-gone tells what would happen, and does nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

type subcommand func(ctx context.Context, args []string, out io.Writer) error

func commands() map[string]subcommand {
	return map[string]subcommand{
		"health": health, "check": check, "backup": backup, "restore": restore, "log-level": logLevel,
		"accept-store": acceptStore, "accept-removal": acceptRemoval, "accept-loss": acceptLoss, "host-gone": hostGone, "reset-admin": resetAdmin,
	}
}

// command runs one of the subcommands, or the lab itself.
func command(ctx context.Context, args []string, out io.Writer) error {
	if len(args) > 0 {
		if c := commands()[args[0]]; c != nil {
			return c(ctx, args[1:], out)
		}
	}
	cfg, err := parse(args)
	if err != nil {
		return err
	}
	return run(ctx, cfg, out)
}
