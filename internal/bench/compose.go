package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/compute/fakecompute"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/image/fakeimage"
	"github.com/nubecula/cloud/image/fileimage"
	"github.com/nubecula/cloud/network/fakenetwork"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
	"github.com/nubecula/cloud/store/sqlite"
)

const (
	// hosts is how many fake hosts there are: with those of the lab, room for 16,384 servers of one vCPU.
	hosts = 64
	// addresses is how many servers a new cloud is made to hold, less than the network private has addresses.
	addresses = 60000
)

const (
	adminPassword = "admin-password"
	demoPassword  = "demo-password"
)

// inside is a cloud in this process.
type inside struct {
	*cloud.Cloud
	seeded *cloud.Seeded
	demo   *cloud.Client // the services on behalf of the user demo
}

// where a cloud in this process keeps its things.
type where struct {
	lab    string // a directory laid out like the lab's: everything is in files
	sqlite string // only the store is in a file, in this directory
	// Neither: everything is in memory.
	faults  *inject.Plan
	workers int
}

// compose opens a cloud in this process and seeds it if it is new.
func compose(ctx context.Context, w where) (_ *inside, err error) {
	opt := cloud.Options{Workers: w.workers}
	var opened []io.Closer
	defer func() {
		if err != nil {
			for _, c := range opened {
				err = errors.Join(err, c.Close())
			}
		}
	}()
	if opt.Store, err = w.store(); err != nil {
		return nil, err
	}
	opened = append(opened, opt.Store)
	in := func(elem ...string) string { return filepath.Join(append([]string{w.lab}, elem...)...) }
	network := fakenetwork.Options{}
	if w.lab == "" {
		opt.Images, err = fakeimage.New(fakeimage.Options{})
	} else {
		opt.Images, err = fileimage.New(in("images"))
		network.Dir = in("network")
	}
	if err != nil {
		return nil, err
	}
	opened = append(opened, opt.Images)
	if opt.Network, err = fakenetwork.New(network); err != nil {
		return nil, err
	}
	opened = append(opened, opt.Network)
	for i := range hosts {
		o := fakecompute.Options{Name: fmt.Sprintf("host-%d", i+1), Faults: w.faults}
		if w.lab != "" {
			o.Dir = in("hosts", o.Name)
		} else { // room for as many servers as the network private has addresses
			o.VCPUs, o.MemoryMiB, o.DiskGiB = 4096, 4<<20, 64<<10
		}
		h, err := fakecompute.New(o)
		if err != nil {
			return nil, err
		}
		opt.Hypervisors = append(opt.Hypervisors, compute.Hypervisor{Driver: h})
		opened = append(opened, h)
	}
	c, err := cloud.New(ctx, opt)
	if err != nil {
		return nil, err
	}
	opened = []io.Closer{c}
	seeded, err := c.Seed(ctx, cloud.Seed{AdminPassword: adminPassword, UserPassword: demoPassword, ImageName: "tiny",
		Image: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(make([]byte, 1<<20))), nil }})
	if err != nil {
		return nil, err
	}
	demo := c.As(&identity.Principal{UserID: seeded.UserID, UserName: "demo", UserDomainID: identity.DefaultDomainID,
		ProjectID: seeded.ProjectID, ProjectName: "demo", ProjectDomainID: identity.DefaultDomainID,
		Roles: []string{identity.RoleMember, identity.RoleReader}})
	return &inside{c, seeded, demo}, nil
}

func (w where) store() (*store.Store, error) {
	dir := w.lab + w.sqlite
	if dir == "" {
		return store.New(memory.New(nil), store.Options{Key: store.NewKey()})
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	key, err := store.KeyFile(filepath.Join(dir, "key"))
	if err != nil {
		return nil, err
	}
	db, err := sqlite.Open(filepath.Join(dir, "nubecula.db"), nil)
	if err != nil {
		return nil, err
	}
	s, err := store.New(db, store.Options{Key: key})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// small is a request for servers: flavor m1.nano, the image tiny, a NIC on the network private.
func (c *inside) small(n int) compute.CreateServer {
	return compute.CreateServer{Name: "bench", FlavorID: "42", ImageID: c.seeded.ImageID, MinCount: n, MaxCount: n,
		Networks: []compute.Network{{NetworkID: c.seeded.NetworkID}}}
}
