package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/internal/simbackend"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/chaos"
	"github.com/nubecula/cloud/store/postgres"
	"github.com/nubecula/cloud/store/sqlite"
)

func open(ctx context.Context, cfg config, t *skewed, log *slog.Logger) (c *cloud.Cloud, err error) {
	if err := os.MkdirAll(cfg.data, 0o700); err != nil {
		return nil, err
	}
	key, err := store.KeyFile(filepath.Join(cfg.data, "key"))
	if err != nil {
		return nil, err
	}
	var db store.Driver
	if cfg.postgres != "" {
		db, err = postgres.Open(ctx, cfg.postgres, nil)
	} else {
		db, err = sqlite.Open(filepath.Join(cfg.data, "nubecula.db"), &sqlite.Options{Clock: t})
	}
	if err != nil {
		return nil, err
	}
	if cfg.ioErrors > 0 {
		db = failing(db, cfg.ioErrors)
	}
	opt := cloud.Options{Log: log, Clock: t, Lease: cfg.lease, Network: simbackend.NewProvider(cfg.sim), Images: simbackend.NewStore(cfg.sim)}
	if opt.Store, err = store.New(db, store.Options{Key: key}); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	for i := range cfg.hosts {
		opt.Hypervisors = append(opt.Hypervisors, compute.Hypervisor{Driver: simbackend.NewHypervisor(cfg.sim, fmt.Sprintf("host-%d", i+1))})
	}
	if c, err = cloud.New(ctx, opt); err != nil {
		return nil, errors.Join(err, opt.Store.Close())
	}
	image := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(make([]byte, 1<<20))), nil }
	if _, err = c.Seed(ctx, cloud.Seed{AdminPassword: cfg.password, UserPassword: cfg.password, ImageName: "tiny", Image: image}); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// failing is a driver whose disk fails: after any error it refuses everything, as sqlite does, until the
// process has ended and another has opened the file. A commit that failed may have happened.
func failing(inner store.Driver, chance float64) store.Driver {
	var seed [8]byte
	rand.Read(seed[:])
	plan := inject.NewPlan(nil, binary.BigEndian.Uint64(seed[:]))
	d := chaos.New(inner, &chaos.Options{Faults: plan})
	eio := &fault.Error{Code: fault.Unavailable, Msg: "input/output error", Err: store.ErrBroken}
	for _, rule := range []inject.Rule{
		{Method: "Begin", Object: "write", Err: eio},
		{Method: "Apply", Err: eio},
		{Method: "Commit", Err: store.ErrUnknown},
		{Method: "Commit", Err: store.ErrUnknown, When: inject.After},
	} {
		rule.Chance, rule.Do = chance, d.Crash
		plan.Fail(rule)
	}
	return d
}
