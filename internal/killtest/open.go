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
	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/image"
	"github.com/nubecula/cloud/image/imagedriver"
	"github.com/nubecula/cloud/internal/simbackend"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/network/networkdriver"
	"github.com/nubecula/cloud/store"
)

// opened is what the stopped lab left, as a Cloud in this process.
type opened struct {
	*cloud.Client
	cloud    *cloud.Cloud
	data     imagedriver.Store
	networks networkdriver.Provider
	hosts    map[string]computedriver.Hypervisor // by name
	servers  map[string]*compute.Server          // all of them, by id
	ports    map[string]*network.Port
	images   []*image.Image
}

func open(ctx context.Context, w *world) (o *opened, err error) {
	o = &opened{hosts: map[string]computedriver.Hypervisor{}}
	var log io.Writer = os.Stderr
	if w.log != nil {
		log = w.log
	}
	opt := cloud.Options{Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	key, err := store.KeyFile(filepath.Join(w.data, "key"))
	if err != nil {
		return nil, err
	}
	db, err := w.driver(ctx)
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
	if o.data, err = w.images(); err != nil {
		return nil, err
	}
	o.networks = simbackend.NewProvider(w.socket)
	opt.Images, opt.Network = o.data, o.networks
	for i := range hosts {
		name := fmt.Sprintf("host-%d", i+1)
		o.hosts[name] = simbackend.NewHypervisor(w.socket, name)
		opt.Hypervisors = append(opt.Hypervisors, compute.Hypervisor{Driver: o.hosts[name]})
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
