package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nubecula/cloud/internal/simbackend"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/sqlite"
)

// keepOlder copies the database that a killed lab has left, as a backup from the middle of the run.
func (w *world) keepOlder() error {
	w.older = filepath.Join(w.dir, "older")
	if err := os.Mkdir(w.older, 0o700); err != nil {
		return err
	}
	for _, name := range []string{"nubecula.db", "nubecula.db-wal"} {
		b, err := os.ReadFile(filepath.Join(w.data, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(w.older, name), b, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// restored starts a cloud on that backup, next to hosts, network and images as they are now: it must see that, and take nothing away.
func restored(ctx context.Context, w *world) (err error) {
	before, err := w.held(ctx)
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(w.older, "log")) // it complains a lot, and must
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	old := *w
	old.log = log
	old.driver = func(context.Context) (store.Driver, error) {
		return sqlite.Open(filepath.Join(w.older, "nubecula.db"), nil)
	}
	o, err := open(ctx, &old)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.cloud.Close()) }()
	var wrong []string
	for end := time.Now().Add(time.Minute); ; {
		if _, why := o.cloud.Held(); why != "" {
			break
		}
		if time.Now().After(end) {
			wrong = append(wrong, "after a minute it was not known to be older than what the drivers have seen")
			break
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	if err := sleep(ctx, 5*time.Second); err != nil { // its operations go on, and it compares the hosts with itself
		return err
	}
	after, err := w.held(ctx)
	if err != nil {
		return err
	}
	for _, what := range slices.Sorted(maps.Keys(before)) {
		if after[what] != before[what] {
			wrong = append(wrong, fmt.Sprintf("%s was %s and is %s", what, before[what], stateName(after[what])))
		}
	}
	w.record.checked("what a cloud on a backup from the middle of the run took away", len(before), wrong)
	return nil
}

// held is what hosts, network and image store hold, and in which state.
func (w *world) held(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	for i := range hosts {
		h := simbackend.NewHypervisor(w.socket, fmt.Sprintf("host-%d", i+1))
		list, err := h.Guests(ctx)
		if err := errors.Join(err, h.Close()); err != nil {
			return nil, err
		}
		for _, g := range list {
			out[fmt.Sprintf("guest %s generation %d on host-%d", g.Mark.ID, g.Mark.Generation, i+1)] = fmt.Sprint(g.Power)
		}
	}
	p := simbackend.NewProvider(w.socket)
	networks, err := p.Networks(ctx)
	if err := errors.Join(err, p.Close()); err != nil {
		return nil, err
	}
	for _, n := range networks {
		out["network "+n.NetworkID] = "there"
		for port, b := range n.Bindings {
			out["binding of port "+port] = fmt.Sprintf("on %s with generation %d", b.Host, b.Generation)
		}
	}
	images, err := w.images()
	if err != nil {
		return nil, err
	}
	list, err := images.Images(ctx)
	for _, d := range list {
		out["data of image "+d.ID] = fmt.Sprintf("%d bytes", d.SizeBytes)
	}
	return out, errors.Join(err, images.Close())
}
