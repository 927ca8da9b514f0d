package main

import (
	"context"
	"fmt"
	"io"

	"github.com/nubecula/cloud/operator"
)

// logLevel tells or changes the log level of the lab that runs.
func logLevel(ctx context.Context, args []string, out io.Writer) error {
	dir, rest, err := parseOnly("log-level", " [debug|info|warn|error]", args, 0, 1)
	if err != nil {
		return err
	}
	c, err := dial(ctx, dir)
	if err != nil {
		return fmt.Errorf("%w; the level of the next one is given with -log", err)
	}
	var level operator.Level
	if len(rest) == 0 {
		err = c.ask(ctx, "GET", "/log-level", nil, &level)
	} else {
		err = c.ask(ctx, "PUT", "/log-level", operator.Level{Level: rest[0]}, &level)
	}
	if err == nil {
		fmt.Fprintln(out, level.Level)
	}
	return err
}
