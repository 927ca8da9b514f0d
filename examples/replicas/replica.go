package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/internal/simbackend"
	"github.com/nubecula/cloud/openstack"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/postgres"
)

// replica is one process of the cloud.
type replica struct{ listen, dir, dsn string }

// open composes the cloud. What the replicas share: database, key, hosts, network and images.
func (r replica) open(ctx context.Context) (*cloud.Cloud, error) {
	key, err := store.KeyFile(filepath.Join(r.dir, "key"))
	if err != nil {
		return nil, err
	}
	db, err := postgres.Open(ctx, r.dsn, nil)
	if err != nil {
		return nil, err
	}
	s, err := store.New(db, store.Options{Key: key})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	backend := filepath.Join(r.dir, "backend")
	var hosts []compute.Hypervisor
	for i := range 3 {
		hosts = append(hosts, compute.Hypervisor{Driver: simbackend.NewHypervisor(backend, fmt.Sprintf("host-%d", i+1))})
	}
	c, err := cloud.New(ctx, cloud.Options{
		Store: s, Hypervisors: hosts, Network: simbackend.NewProvider(backend), Images: simbackend.NewStore(backend),
		Lease: lease, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return c, nil
}

// run serves the APIs until ctx ends.
func (r replica) run(ctx context.Context) error {
	c, err := r.open(ctx)
	if err != nil {
		return err
	}
	password := os.Getenv("REPLICAS_PASSWORD")
	tiny := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(make([]byte, 1<<20))), nil }
	if _, err := c.Seed(ctx, cloud.Seed{AdminPassword: password, UserPassword: password, ImageName: "tiny", Image: tiny}); err != nil {
		return errors.Join(err, c.Close())
	}
	l, err := net.Listen("tcp", r.listen)
	if err != nil {
		return errors.Join(err, c.Close())
	}
	return errors.Join(openstack.Serve(ctx, c, l, nil), c.Close())
}
