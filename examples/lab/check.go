package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/image/fakeimage"
	"github.com/nubecula/cloud/network/fakenetwork"
	"github.com/nubecula/cloud/operator"
)

// check writes what a check of the store finds, and of what the drivers hold if the lab runs; it is an error when that is something.
func check(ctx context.Context, args []string, out io.Writer) error {
	dir, _, err := parseOnly("check", "", args, 0, 0)
	if err != nil {
		return err
	}
	var checked operator.Checked
	c, err := dial(ctx, dir)
	switch {
	case err == nil:
		err = c.ask(ctx, "GET", "/check", nil, &checked)
	case errors.Is(err, errNotRunning):
		checked.Findings, err = checkAtRest(ctx, dir)
	}
	if err != nil {
		return err
	}
	if err := cloud.WriteFindings(out, checked.Findings); err != nil {
		return err
	}
	n := 0
	for _, f := range checked.Findings {
		if f.Removable {
			n++
		}
	}
	if n > 0 {
		fmt.Fprintf(out, "%d of them may be removed on your word: `lab accept-removal -dry-run ID...` tells what that would do.\n", n)
	}
	if n = len(checked.Findings); n > 0 {
		return fmt.Errorf("%d findings: back the store up, then see doc/operations.md", n)
	}
	fmt.Fprintln(out, "nothing is wrong")
	return nil
}

// checkAtRest checks a directory that no lab runs on. Nothing else is done there.
func checkAtRest(ctx context.Context, dir string) (found []cloud.Finding, err error) {
	if err := isLab(dir); err != nil {
		return nil, err
	}
	err = atRest(ctx, dir, func(c *cloud.Cloud) error {
		found, err = c.Check(ctx)
		return err
	})
	return found, err
}

// atRest opens the store of a directory that no lab runs on, for something that asks no driver.
func atRest(ctx context.Context, dir string, do func(c *cloud.Cloud) error) (err error) {
	s, _, err := openStore(dir)
	if err != nil {
		return err
	}
	// The drivers are asked nothing.
	images, e1 := fakeimage.New(fakeimage.Options{})
	networks, e2 := fakenetwork.New(fakenetwork.Options{})
	if err := errors.Join(e1, e2); err != nil {
		return errors.Join(err, s.Close())
	}
	c, err := cloud.New(ctx, cloud.Options{Store: s, Images: images, Network: networks, Idle: true, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return errors.Join(err, s.Close())
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return do(c)
}

// isLab refuses a directory in which no lab has been, or which lacks what nobody can make again but the names given.
func isLab(dir string, but ...string) error {
	if _, err := os.Stat(filepath.Join(dir, "nubecula.db")); err != nil {
		return fmt.Errorf("no lab has run on %s: %w; name its directory with -data", dir, err)
	}
	return complete(dir, but...)
}
