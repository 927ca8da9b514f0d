package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/compute/fakecompute"
	"github.com/nubecula/cloud/compute/libvirt"
	"github.com/nubecula/cloud/image/fileimage"
	"github.com/nubecula/cloud/internal/simbackend"
	"github.com/nubecula/cloud/network/fakenetwork"
	"github.com/nubecula/cloud/network/hostnet"
	"github.com/nubecula/cloud/network/networkdriver"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/sqlite"
)

// open composes the cloud from what is in the data directory, and seeds it at the first start.
func open(ctx context.Context, cfg config, log *slog.Logger) (_ *cloud.Cloud, db *sqlite.Driver, s secrets, err error) {
	var closers []io.Closer
	defer func() {
		if err != nil {
			for _, c := range closers {
				err = errors.Join(err, c.Close())
			}
		}
	}()
	in := func(elem ...string) string { return filepath.Join(append([]string{cfg.data}, elem...)...) }
	if err := complete(cfg.data); err != nil {
		return nil, nil, s, err
	}
	opt := cloud.Options{Log: log}
	if opt.Store, db, err = openStore(cfg.data); err != nil {
		return nil, nil, s, err
	}
	closers = append(closers, opt.Store)
	if s, err = loadSecrets(cfg.data); err != nil {
		return nil, nil, s, err
	}
	if opt.Images, err = fileimage.New(in("images")); err != nil {
		return nil, nil, s, err
	}
	closers = append(closers, opt.Images)
	opt.Hypervisors, err = hypervisors(cfg, in)
	for _, h := range opt.Hypervisors {
		closers = append(closers, h.Driver)
	}
	if err != nil {
		return nil, nil, s, err
	}
	if opt.Network, err = provider(cfg, in); err != nil {
		return nil, nil, s, err
	}
	closers = append(closers, opt.Network)
	c, err := cloud.New(ctx, opt)
	if err != nil {
		return nil, nil, s, err
	}
	closers = []io.Closer{c}
	_, err = c.Seed(ctx, cloud.Seed{AdminPassword: s.Admin, UserPassword: s.Demo, ImageName: "tiny", Image: tiny})
	return c, db, s, err
}

// openStore opens the database of a data directory.
func openStore(dir string) (*store.Store, *sqlite.Driver, error) {
	key, err := store.KeyFile(filepath.Join(dir, "key"))
	if err != nil {
		return nil, nil, err
	}
	db, err := sqlite.Open(filepath.Join(dir, "nubecula.db"), nil)
	if err != nil {
		return nil, nil, err
	}
	s, err := store.New(db, store.Options{Key: key})
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return s, db, nil
}

// tiny is the first image: a mebibyte of zeros, which fake hosts boot; real ones want a real image.
func tiny() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(make([]byte, 1<<20))), nil }

func hypervisors(cfg config, in func(...string) string) (list []compute.Hypervisor, err error) {
	if cfg.hypervisor == "libvirt" {
		for i, uri := range cfg.uris {
			h, err := libvirt.New(libvirt.Options{URI: uri, StateDir: in("libvirt", fmt.Sprint(i+1)), VirtType: cfg.virtType})
			if err != nil {
				return list, err
			}
			list = append(list, compute.Hypervisor{Driver: h})
		}
		return list, nil
	}
	name := func(i int) string { return fmt.Sprintf("host-%d", i+1) }
	if cfg.hypervisor == "sim" {
		for i := range cfg.hosts {
			list = append(list, compute.Hypervisor{Driver: simbackend.NewHypervisor(cfg.uris[0], name(i))})
		}
		return list, nil
	}
	return fakes(cfg.hosts, func(i int) (*fakecompute.Hypervisor, error) {
		return fakecompute.New(fakecompute.Options{Name: name(i), Dir: in("hosts", name(i))})
	})
}

// fakes opens n fake hosts, which is mostly system calls, as many at once as there are processors.
func fakes(n int, open func(i int) (*fakecompute.Hypervisor, error)) ([]compute.Hypervisor, error) {
	all, errs := make([]*fakecompute.Hypervisor, n), make([]error, n)
	var next atomic.Int64
	var wait sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wait.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				all[i], errs[i] = open(i)
			}
		})
	}
	wait.Wait()
	var list []compute.Hypervisor
	for _, h := range all {
		if h != nil {
			list = append(list, compute.Hypervisor{Driver: h})
		}
	}
	return list, errors.Join(errs...)
}

func provider(cfg config, in func(...string) string) (networkdriver.Provider, error) {
	switch cfg.hypervisor {
	case "libvirt":
		return hostnet.New(hostnet.Options{StateDir: in("network"), User: cfg.bridge == "", Bridge: cfg.bridge})
	case "sim":
		return simbackend.NewProvider(cfg.uris[0]), nil
	}
	return fakenetwork.New(fakenetwork.Options{Dir: in("network")})
}
