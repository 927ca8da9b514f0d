package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/compute/fakecompute"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/image"
	"github.com/nubecula/cloud/image/fileimage"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/network/fakenetwork"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/sqlite"
)

// opened is what the stopped lab left, as a Cloud in this process.
type opened struct {
	*cloud.Client
	cloud    *cloud.Cloud
	data     *fileimage.Store
	networks *fakenetwork.Provider
	hosts    map[string]*fakecompute.Hypervisor // by name
	servers  map[string]*compute.Server         // all of them, by id
	ports    map[string]*network.Port
	images   []*image.Image
}

func open(ctx context.Context, dir string) (o *opened, err error) {
	o = &opened{hosts: map[string]*fakecompute.Hypervisor{}}
	opt := cloud.Options{Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	key, err := store.KeyFile(filepath.Join(dir, "key"))
	if err != nil {
		return nil, err
	}
	db, err := sqlite.Open(filepath.Join(dir, "nubecula.db"), nil)
	if err != nil {
		return nil, err
	}
	if opt.Store, err = store.New(db, store.Options{Key: key}); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, opt.Store.Close())
		}
	}()
	if o.data, err = fileimage.New(filepath.Join(dir, "images")); err != nil {
		return nil, err
	}
	if o.networks, err = fakenetwork.New(fakenetwork.Options{Dir: filepath.Join(dir, "network")}); err != nil {
		return nil, err
	}
	opt.Images, opt.Network = o.data, o.networks
	names, err := os.ReadDir(filepath.Join(dir, "hosts"))
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		h, err := fakecompute.New(fakecompute.Options{Name: n.Name(), Dir: filepath.Join(dir, "hosts", n.Name())})
		if err != nil {
			return nil, err
		}
		o.hosts[n.Name()] = h
		opt.Hypervisors = append(opt.Hypervisors, compute.Hypervisor{Driver: h})
	}
	if o.cloud, err = cloud.New(ctx, opt); err != nil {
		return nil, err
	}
	o.Client = o.cloud.As(identity.System())
	return o, nil
}

// load reads all records.
func (o *opened) load(ctx context.Context) error {
	o.servers, o.ports = map[string]*compute.Server{}, map[string]*network.Port{}
	for marker, more := "", true; more; {
		page, err := o.Compute.ListServers(ctx, compute.ServerQuery{AllProjects: true, Marker: marker})
		if err != nil {
			return err
		}
		for _, s := range page.Servers {
			o.servers[s.ID] = s
			marker = s.ID
		}
		more = page.More
	}
	ports, err := o.Network.ListPorts(ctx, network.PortFilter{})
	if err != nil {
		return err
	}
	for _, p := range ports {
		o.ports[p.ID] = p
	}
	o.images, _, err = o.Image.List(ctx, image.Query{Visibility: "all"})
	return err
}
