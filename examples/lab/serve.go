package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/metrics"
	"github.com/nubecula/cloud/openstack"
	"github.com/nubecula/cloud/operator"
)

// run serves the cloud until ctx ends. Its greeting goes to out.
func run(ctx context.Context, cfg config, out io.Writer) (err error) {
	if cfg.data, err = filepath.Abs(cfg.data); err != nil {
		return err
	}
	if err := free(cfg.listen); err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.data, 0o755); err != nil {
		return fmt.Errorf("data directory: %w; name another one with -data", err)
	}
	defer useMemory()()
	level := new(slog.LevelVar)
	level.Set(cfg.level)
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	c, db, secrets, err := open(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	numbers := metrics.Handler(c)
	control, err := serveControl(cfg.data, operator.Handler(c, &operator.Options{Backup: db.Backup, Level: level, Metrics: numbers}), log)
	if err != nil {
		return err
	}
	defer control.Close()
	scraped, err := serveMetrics(cfg.metrics, numbers)
	if err != nil {
		return err
	}
	defer scraped.Close()

	url, listener, err := address(cfg.listen)
	if err != nil {
		return err
	}
	if err := writeCredentials(cfg.data, url, secrets); err != nil {
		return err
	}
	if listener == nil {
		if listener, err = listenOn(cfg.listen); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, greeting(cfg, url))
	return serve(ctx, c, listener)
}

// serve answers on the listener until ctx ends or the store has failed.
func serve(ctx context.Context, c *cloud.Cloud, listener net.Listener) error {
	err := openstack.Serve(ctx, c, listener, nil)
	if err != nil && c.Store().Cause() != nil {
		return fmt.Errorf("start the lab again: %w", err)
	}
	return err
}

// free reports whether the address can be listened on, before anything is made or written; the port itself must
// not answer before the files are in place.
func free(listen string) error {
	l, err := listenOn(listen)
	if err != nil {
		return err
	}
	return l.Close()
}

func listenOn(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%w; choose another address with -listen", err)
	}
	return l, nil
}

// address returns the URL that clients on this machine use. With port 0 the
// listener must be there first, to know the port.
func address(listen string) (string, net.Listener, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", nil, err
	}
	var l net.Listener
	if port == "0" {
		if l, err = listenOn(listen); err != nil {
			return "", nil, err
		}
		_, port, _ = net.SplitHostPort(l.Addr().String())
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port), l, nil
}

func greeting(cfg config, url string) string {
	hosts := fmt.Sprintf("%d fake hosts", cfg.hosts)
	switch cfg.hypervisor {
	case "libvirt":
		hosts = "libvirt at " + strings.Join(cfg.uris, ", ")
	case "sim":
		hosts = fmt.Sprintf("%d simulated hosts at %s", cfg.hosts, cfg.uris[0])
	}
	return fmt.Sprintf(`Nubecula is up at %s with %s; its state is in %s

Type next, in another shell:
  export OS_CLIENT_CONFIG_FILE=%s
  openstack --os-cloud lab server create --flavor m1.nano --image tiny --network private --wait vm1
  openstack --os-cloud lab console log show vm1
  openstack --os-cloud lab-admin hypervisor list
Or be the administrator for a whole shell (then leave --os-cloud out: the client would mix the two):
  . %s

Ctrl-C ends it; the next start goes on where it was.`, url, hosts, cfg.data, filepath.Join(cfg.data, "clouds.yaml"), filepath.Join(cfg.data, "openrc"))
}
