package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/nubecula/cloud/operator"
)

// acceptStore is the operator's word that a restored store is the one to go on with.
func acceptStore(ctx context.Context, args []string, out io.Writer) error {
	return accept(ctx, "accept-store", "", args, 0, 0, out, func([]string) any { return nil })
}

// acceptRemoval is the operator's word that what the check gives as removable may be removed.
func acceptRemoval(ctx context.Context, args []string, out io.Writer) error {
	return accept(ctx, "accept-removal", " ID...", args, 1, 1<<20, out, func(ids []string) any { return operator.Removal{IDs: ids} })
}

// acceptLoss is the operator's word that what a host lacks is lost.
func acceptLoss(ctx context.Context, args []string, out io.Writer) error {
	return accept(ctx, "accept-loss", " HOST", args, 1, 1, out, func(host []string) any { return operator.Loss{Host: host[0]} })
}

// hostGone is the operator's word that a host never comes back.
func hostGone(ctx context.Context, args []string, out io.Writer) error {
	return accept(ctx, "host-gone", " HOST", args, 1, 1, out, func(host []string) any { return operator.Loss{Host: host[0]} })
}

// accept gives an operator's word to the lab that runs, or with -dry-run asks what it would do.
func accept(ctx context.Context, name, usage string, args []string, least, most int, out io.Writer, body func(args []string) any) error {
	dry := false
	dir, rest, err := parseOnly(name, " [-dry-run]"+usage, args, least, most, func(f *flag.FlagSet) {
		f.BoolVar(&dry, "dry-run", false, "tell what would happen, and do nothing")
	})
	if err != nil {
		return err
	}
	c, err := dial(ctx, dir)
	if errors.Is(err, errNotRunning) {
		return fmt.Errorf("%w, and only its drivers know what is there: start it first", err)
	}
	if err != nil {
		return err
	}
	path := "/" + name
	if dry {
		path += "?dry_run=true"
	}
	var a operator.Accepted
	if err := c.ask(ctx, "POST", path, body(rest), &a); err != nil {
		return err
	}
	for _, line := range a.Text {
		fmt.Fprintln(out, line)
	}
	if dry {
		fmt.Fprintln(out, "nothing was done: leave out -dry-run to have it done")
	}
	return nil
}
