package main

import (
	"context"
	"fmt"
	"io"
)

// acceptStore is the operator's word that a restored store is the one to go on with.
func acceptStore(ctx context.Context, args []string, out io.Writer) error {
	dir, _, err := parseOnly("accept-store", "", args, 0, 0)
	if err != nil {
		return err
	}
	c, err := dial(ctx, dir)
	if err != nil {
		return err
	}
	var done struct{ Accepted bool }
	if err := c.ask(ctx, "POST", "/accept-store", nil, &done); err != nil {
		return err
	}
	fmt.Fprintln(out, "deletes and addresses go on within half a minute; what hosts have and the store does not know stays: see `lab check`")
	return nil
}
