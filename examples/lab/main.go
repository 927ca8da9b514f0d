// Command lab is a cloud in one process: the OpenStack APIs over a directory
// of state, with fake hosts or with real ones through libvirt.
//
//	go run ./examples/lab
//	export OS_CLIENT_CONFIG_FILE=DIR/clouds.yaml
//	openstack --os-cloud lab server create --flavor m1.nano --image tiny --network private --wait vm1
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nubecula/cloud/openstack"
)

func main() {
	cfg, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err = run(ctx, cfg)
		stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

// config is the command line.
type config struct {
	listen     string
	data       string
	hypervisor string
	hosts      int
	uris       []string
	virtType   string
	bridge     string
	level      slog.Level
}

func parse(args []string) (config, error) {
	var c config
	var level string
	f := flag.NewFlagSet("lab", flag.ContinueOnError)
	f.StringVar(&c.listen, "listen", "127.0.0.1:8774", "address and port to serve the APIs on")
	f.StringVar(&c.data, "data", "", "directory for all state (default: nubecula in the user's state directory)")
	f.StringVar(&c.hypervisor, "hypervisor", "fake", "fake, or libvirt (needs a build with -tags libvirt,libvirt_dlopen)")
	f.IntVar(&c.hosts, "hosts", 3, "number of fake hosts, of 64 vCPUs, 256 GiB of memory and 4 TiB of disk each")
	f.Func("uri", "libvirt `URI` of a host; may be given several times (default qemu:///system)", func(s string) error {
		c.uris = append(c.uris, s)
		return nil
	})
	f.StringVar(&c.virtType, "virt-type", "kvm", "with libvirt: kvm, or qemu for machines without hardware virtualisation")
	f.StringVar(&c.bridge, "bridge", "", "with libvirt: Linux bridge for guests' NICs (default: QEMU's user-mode network)")
	f.StringVar(&level, "log", "warn", "log level on standard error: debug, info, warn, error")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	var errs []error
	if f.NArg() > 0 {
		errs = append(errs, fmt.Errorf("unexpected argument %q: flags only, see -h", f.Arg(0)))
	}
	if c.hypervisor != "fake" && c.hypervisor != "libvirt" {
		errs = append(errs, fmt.Errorf("-hypervisor %q: use fake or libvirt", c.hypervisor))
	}
	if c.hosts < 1 || c.hosts > 10000 {
		errs = append(errs, fmt.Errorf("-hosts %d: use 1 to 10000", c.hosts))
	}
	if err := c.level.UnmarshalText([]byte(level)); err != nil {
		errs = append(errs, fmt.Errorf("-log %q: use debug, info, warn or error", level))
	}
	if _, _, err := net.SplitHostPort(c.listen); err != nil {
		errs = append(errs, fmt.Errorf("-listen %q: %w; use HOST:PORT", c.listen, err))
	}
	if c.data == "" {
		dir, err := stateDir()
		errs = append(errs, err)
		c.data = dir
	}
	if len(c.uris) == 0 {
		c.uris = []string{"qemu:///system"}
	}
	return c, errors.Join(errs...)
}

// stateDir follows the XDG base directory specification.
func stateDir() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "nubecula"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no home directory: %w; name a directory with -data", err)
	}
	return filepath.Join(home, ".local", "state", "nubecula"), nil
}

// run serves the cloud until ctx ends.
func run(ctx context.Context, cfg config) (err error) {
	if cfg.data, err = filepath.Abs(cfg.data); err != nil {
		return err
	}
	if err := free(cfg.listen); err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.data, 0o755); err != nil {
		return fmt.Errorf("data directory: %w; name another one with -data", err)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: cfg.level}))
	c, secrets, err := open(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()

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
	server := openstack.Server(openstack.Handler(c, nil))
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	fmt.Println(greeting(cfg, url))
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(grace); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return errors.Join(err, server.Close())
	}
	return nil
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
	if cfg.hypervisor == "libvirt" {
		hosts = "libvirt at " + strings.Join(cfg.uris, ", ")
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
