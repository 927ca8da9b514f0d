package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/compute/fakecompute"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/image/fakeimage"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/network/fakenetwork"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/chaos"
	"github.com/nubecula/cloud/store/memory"
	"github.com/nubecula/cloud/store/sqlite"
)

const (
	hosts        = 3
	vcpus        = 9 // of each host, given out four times over
	demoPassword = "demo-password"
)

// inside is a cloud in this process.
type inside struct {
	*cloud.Cloud
	seeded   *cloud.Seeded
	demo     *cloud.Client // of the user demo
	admin    *cloud.Client
	machines []*fakecompute.Backend
	faults   *inject.Plan // of the store
}

// compose makes a new cloud with its store in memory or in a file.
func compose(ctx context.Context, database, dir string) (*inside, error) {
	c := &inside{faults: inject.NewPlan(clock.System(), 1)}
	var db store.Driver
	var err error
	switch database {
	case "memory":
		db = memory.New(nil)
	case "sqlite":
		db, err = sqlite.Open(filepath.Join(dir, "nubecula.db"), nil)
	default:
		err = fmt.Errorf("no such store: %q; use memory or sqlite", database)
	}
	if err != nil {
		return nil, err
	}
	s, err := store.New(chaos.New(db, &chaos.Options{Faults: c.faults}), store.Options{Key: store.NewKey()})
	if err != nil {
		return nil, err
	}
	opt := cloud.Options{Store: s, PasswordCost: 4}
	var err1, err2 error
	opt.Images, err1 = fakeimage.New(fakeimage.Options{})
	opt.Network, err2 = fakenetwork.New(fakenetwork.Options{})
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	for i := range hosts {
		b := fakecompute.NewBackend()
		c.machines = append(c.machines, b)
		h, err := fakecompute.New(fakecompute.Options{Name: fmt.Sprintf("host-%d", i+1), VCPUs: vcpus, MemoryMiB: 1 << 20, DiskGiB: 1 << 20, Backend: b})
		if err != nil {
			return nil, err
		}
		opt.Hypervisors = append(opt.Hypervisors, compute.Hypervisor{Driver: h})
	}
	if c.Cloud, err = cloud.New(ctx, opt); err != nil {
		return nil, err
	}
	c.seeded, err = c.Seed(ctx, cloud.Seed{AdminPassword: "admin-password", UserPassword: demoPassword, ImageName: "tiny",
		Image: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(make([]byte, 1<<10))), nil }})
	if err != nil {
		return nil, err
	}
	c.admin = c.As(identity.System())
	c.demo = c.As(&identity.Principal{UserID: c.seeded.UserID, UserName: "demo", UserDomainID: identity.DefaultDomainID,
		ProjectID: c.seeded.ProjectID, ProjectName: "demo", ProjectDomainID: identity.DefaultDomainID, Roles: []string{identity.RoleMember, identity.RoleReader}})
	return c, nil
}

// small is a request for a server without a NIC.
func (c *inside) small(name string) compute.CreateServer {
	return compute.CreateServer{Name: name, FlavorID: "42", ImageID: c.seeded.ImageID, None: true}
}

// at lets n goroutines begin at the same moment and returns their errors.
func at(n int, f func(i int) error) []error {
	errs := make([]error, n)
	var all sync.WaitGroup
	begin := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-begin
			errs[i] = f(i)
		})
	}
	close(begin)
	all.Wait()
	return errs
}

// settle waits until no operation is under way.
func (c *inside) settle(ctx context.Context) error {
	for {
		changed := c.Store().Changed()
		n := 0
		err := c.Store().View(ctx, func(tx *store.Tx) error {
			active, err := operation.Collection.List(tx, store.Query[operation.Operation]{Index: "owner", Limit: 1})
			n = len(active)
			return err
		})
		if err != nil || n == 0 {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// servers returns all servers.
func (c *inside) servers(ctx context.Context) (all []*compute.Server, err error) {
	for marker := ""; ; {
		page, err := c.admin.Compute.ListServers(ctx, compute.ServerQuery{AllProjects: true, Marker: marker})
		if err != nil {
			return nil, err
		}
		all = append(all, page.Servers...)
		if !page.More {
			return all, nil
		}
		marker = all[len(all)-1].ID
	}
}

// told counts the events of a type.
func (c *inside) told(ctx context.Context, kind string) (n int, err error) {
	for after := int64(0); ; {
		events, err := c.Store().Events(ctx, after, 0)
		if err != nil || len(events) == 0 {
			return n, err
		}
		for _, e := range events {
			if e.Type == kind {
				n++
			}
			if e.Seq != after+1 {
				return n, fmt.Errorf("event %d follows event %d", e.Seq, after)
			}
			after = e.Seq
		}
	}
}
