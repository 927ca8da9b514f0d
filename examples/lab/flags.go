package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

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
	metrics    string
}

func parse(args []string) (config, error) {
	var c config
	var level string
	f := flag.NewFlagSet("lab", flag.ContinueOnError)
	f.StringVar(&c.listen, "listen", "127.0.0.1:8774", "address and port to serve the APIs on")
	f.StringVar(&c.data, "data", "", "directory for all state (default: nubecula in the user's state directory)")
	f.StringVar(&c.hypervisor, "hypervisor", "fake", "fake; libvirt (needs a build with -tags libvirt,libvirt_dlopen); or sim: fake hosts in another process, see internal/simbackend")
	f.IntVar(&c.hosts, "hosts", 3, "number of fake or simulated hosts, of 64 vCPUs, 256 GiB of memory and 4 TiB of disk each")
	f.Func("uri", "libvirt `URI` of a host; may be given several times (default qemu:///system); with sim, the backend's socket", func(s string) error {
		c.uris = append(c.uris, s)
		return nil
	})
	f.StringVar(&c.virtType, "virt-type", "kvm", "with libvirt: kvm, or qemu for machines without hardware virtualisation")
	f.StringVar(&c.bridge, "bridge", "", "with libvirt: Linux bridge for guests' NICs (default: QEMU's user-mode network)")
	f.StringVar(&level, "log", "warn", "log level on standard error: debug, info, warn, error")
	f.StringVar(&c.metrics, "metrics", "", "address and port to serve Prometheus's metrics on, which need no login (default: only on DIR/control.sock)")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	var errs []error
	if f.NArg() > 0 {
		errs = append(errs, fmt.Errorf("unexpected argument %q: flags, or one of %s first; see -h", f.Arg(0), strings.Join(slices.Sorted(maps.Keys(commands())), ", ")))
	}
	switch {
	case c.hypervisor == "sim" && len(c.uris) != 1:
		errs = append(errs, errors.New("-hypervisor sim: name the simulated backend's socket with one -uri"))
	case c.hypervisor != "fake" && c.hypervisor != "libvirt" && c.hypervisor != "sim":
		errs = append(errs, fmt.Errorf("-hypervisor %q: use fake, libvirt or sim", c.hypervisor))
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
	if _, _, err := net.SplitHostPort(c.metrics); c.metrics != "" && err != nil {
		errs = append(errs, fmt.Errorf("-metrics %q: %w; use HOST:PORT", c.metrics, err))
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

// parseOnly parses the flags of a subcommand, which all have -data and what more adds, and returns its arguments: from least to most of them.
func parseOnly(name, usage string, args []string, least, most int, more ...func(f *flag.FlagSet)) (dir string, rest []string, err error) {
	f := flag.NewFlagSet("lab "+name, flag.ContinueOnError)
	f.StringVar(&dir, "data", "", "directory of the lab's state (default: nubecula in the user's state directory)")
	for _, add := range more {
		add(f)
	}
	f.Usage = func() {
		fmt.Fprintf(f.Output(), "usage: lab %s [-data DIR]%s\n", name, usage)
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return "", nil, err
	}
	if f.NArg() < least || f.NArg() > most {
		return "", nil, fmt.Errorf("usage: lab %s [-data DIR]%s", name, usage)
	}
	if dir == "" {
		if dir, err = stateDir(); err != nil {
			return "", nil, err
		}
	}
	dir, err = filepath.Abs(dir)
	return dir, f.Args(), err
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
