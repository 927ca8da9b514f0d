package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nubecula/cloud/operator"
)

// errNotRunning says that no lab runs on a directory.
var errNotRunning = errors.New("no lab runs on this directory")

func socketPath(dir string) string { return filepath.Join(dir, "control.sock") }

// maxSocketPath is what Linux and others can do.
const maxSocketPath = 103

// serveControl serves the lab's operator on a Unix socket that the user of the lab alone can open. The directory is
// locked by now, so a socket that is there was left by a lab that was killed.
func serveControl(dir string, h http.Handler, log *slog.Logger) (io.Closer, error) {
	path := socketPath(dir)
	if len(path) > maxSocketPath {
		log.Warn("the data directory's path is too long for a socket in it; the lab serves, and its subcommands do not reach it: choose a shorter one with -data", "path", path)
		return io.NopCloser(nil), nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }() // it ends with Close
	return server, nil
}

// serveMetrics serves GET /metrics on an address of its own; "" serves nothing.
func serveMetrics(address string, h http.Handler) (io.Closer, error) {
	if address == "" {
		return io.NopCloser(nil), nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%w; choose another address with -metrics", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", h)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }() // it ends with Close
	return server, nil
}

// control is the way to the lab that runs on a directory.
type control struct {
	client *http.Client
	path   string
}

// dial finds the lab of a directory; errNotRunning when there is none.
func dial(ctx context.Context, dir string) (*control, error) {
	c := &control{path: socketPath(dir)}
	c.client = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", c.path)
	}}}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", c.path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, errNotRunning
	}
	if err != nil {
		return nil, fmt.Errorf("the lab's socket cannot be used: %w; be the user that runs the lab", err)
	}
	return c, conn.Close()
}

// ended is nil when no lab runs on a directory.
func ended(ctx context.Context, dir string) error {
	_, err := dial(ctx, dir)
	switch {
	case err == nil:
		return fmt.Errorf("a lab runs on %s: end it first", dir)
	case errors.Is(err, errNotRunning):
		return nil
	}
	return err
}

// ask makes a call and decodes its answer, a success or one of the other statuses given, into out.
func (c *control) ask(ctx context.Context, method, path string, body, out any, also ...int) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://lab"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return fmt.Errorf("the lab does not answer: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("the lab broke off: %w", err)
	}
	fine := resp.StatusCode == http.StatusOK
	for _, s := range also {
		fine = fine || resp.StatusCode == s
	}
	if !fine {
		var e operator.Error
		if json.Unmarshal(answer, &e) != nil || e.Error.Message == "" {
			return fmt.Errorf("the lab answered %s: %s", resp.Status, strings.TrimSpace(string(answer)))
		}
		return errors.New(e.Error.Message)
	}
	return json.Unmarshal(answer, out)
}
