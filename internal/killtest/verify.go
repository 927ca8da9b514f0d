package main

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/image"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// verify opens what the lab left and compares it with what the clients were told, and with itself.
func verify(ctx context.Context, w *world) (err error) {
	r := w.record
	o, err := open(ctx, w)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.cloud.Close()) }()
	busy, err := o.idle(ctx)
	if err != nil {
		return err
	}
	if err := o.load(ctx); err != nil {
		return err
	}
	r.checked("operations under way after a minute", 1, busy)
	r.checked("servers and images in a transitional state", len(o.servers)+len(o.images), o.stuck())
	got, err := o.objects(ctx)
	if err != nil {
		return err
	}
	want := r.expected()
	if err := o.actions(ctx, want, got); err != nil {
		return err
	}
	r.checked("acknowledged writes that are lost", len(want), lost(want, got))
	r.checked("effects done twice, or never told of", len(got), doubled(want, got))
	if err := effects(ctx, w, want); err != nil {
		return err
	}
	for _, leaks := range []func(context.Context) (string, int, []string, error){o.guests, o.bindings, o.devices, o.files} {
		name, looked, found, err := leaks(ctx)
		if err != nil {
			return err
		}
		r.checked(name, looked, found)
	}
	findings, err := o.cloud.Check(ctx)
	if err != nil {
		return err
	}
	var lines []string
	for _, f := range findings {
		lines = append(lines, f.Service+": "+f.Text)
	}
	var held []string
	if since, why := o.cloud.Held(); why != "" {
		held = append(held, fmt.Sprintf("held since %s: %s", since.Format(time.RFC3339), why))
	}
	r.checked("the store is taken for an older one, as a backup", 1, held)
	r.checked("cloud.Check: addresses, allocations, quota, indexes, references", 1, lines)
	return nil
}

// idle waits for what nobody waits for, such as the deletion of an image's data.
func (o *opened) idle(ctx context.Context) ([]string, error) {
	for end := time.Now().Add(time.Minute); ; {
		l := o.cloud.Engine().Load()
		var open []string
		if err := o.cloud.Store().View(ctx, func(tx *store.Tx) error {
			open = nil
			for op, err := range operation.Collection.Each(tx, store.Query[operation.Operation]{Index: "owner"}) {
				if err != nil {
					return err
				}
				open = append(open, fmt.Sprintf("operation %s on %s is %s at step %s", op.Kind, op.Resource.ID, op.State, op.Step()))
			}
			return nil
		}); err != nil {
			return nil, err
		}
		if l.Queued+l.Running+l.Waiting+l.Abandoned == 0 && len(open) == 0 {
			return nil, nil
		}
		if time.Now().After(end) {
			return append(open, fmt.Sprintf("%d queued, %d running, %d waiting, %d calls of drivers left behind", l.Queued, l.Running, l.Waiting, l.Abandoned)), nil
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

func (o *opened) stuck() (out []string) {
	for id, s := range o.servers {
		if s.TaskState != compute.NoTask || s.VMState == compute.Building {
			out = append(out, fmt.Sprintf("server %s is %s with task %q", id, s.VMState, s.TaskState))
		}
	}
	for _, i := range o.images {
		if i.Status == image.Saving {
			out = append(out, fmt.Sprintf("image %s is %s", i.ID, i.Status))
		}
	}
	return out
}

// objects returns what the clients made, as it is now: not the seed's image, and not the ports that servers made for themselves.
func (o *opened) objects(ctx context.Context) (map[string]object, error) {
	got := map[string]object{}
	for id, s := range o.servers {
		got[id] = object{kind: "server", id: id, name: s.Name, state: string(s.Status())}
	}
	for id, p := range o.ports {
		if p.Name != "" {
			got[id] = object{kind: "port", id: id, name: p.Name, state: "there"}
		}
	}
	for _, i := range o.images {
		if i.Visibility == image.Public {
			continue
		}
		v := object{kind: "image", id: i.ID, name: i.Name, state: string(i.Status)}
		if i.HasData() {
			var err error
			if v.sum, err = o.sum(ctx, i.DataID); err != nil {
				return nil, err
			}
		}
		got[i.ID] = v
	}
	return got, nil
}

// sum is the checksum of the data itself, not the one that the record has.
func (o *opened) sum(ctx context.Context, dataID string) (string, error) {
	f, err := o.data.Open(ctx, dataID, 0)
	if fault.Is(err, fault.NotFound) {
		return "no data", nil
	}
	if err != nil {
		return "", err
	}
	h := md5.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, f.Close())
}

// actions adds to got what was done to each server, also to those that are no more.
func (o *opened) actions(ctx context.Context, want, got map[string]object) error {
	for id, w := range want {
		if w.kind != "server" {
			continue
		}
		list, err := o.Compute.ListActions(ctx, id)
		if err != nil && !fault.Is(err, fault.NotFound) { // one that nobody remembers is lost, and compared as such
			return err
		}
		counts := map[string]int{}
		for _, a := range list {
			counts[a.Name]++
		}
		v, ok := got[id]
		if !ok {
			v = w.gone()
		}
		v.actions = listed(counts)
		got[id] = v
	}
	return nil
}
