package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/nubecula/cloud"
)

// health tells whether the lab can serve; it is an error when not.
func health(ctx context.Context, args []string, out io.Writer) error {
	dir, _, err := parseOnly("health", "", args, 0, 0)
	if err != nil {
		return err
	}
	c, err := dial(ctx, dir)
	if err != nil {
		return err
	}
	var h cloud.Health
	if err := c.ask(ctx, "GET", "/readyz", nil, &h, http.StatusServiceUnavailable); err != nil {
		return err
	}
	for _, k := range h.Conditions {
		fmt.Fprintf(out, "%-4s %-10s %s\n", k.State, k.Name, k.Reason)
	}
	if !h.Ready {
		return errors.New("the lab cannot serve")
	}
	return nil
}
