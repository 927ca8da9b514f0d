package main

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/compute/computedriver"
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

// verify opens what the lab left and compares it with what the clients were told, and with itself.
func verify(ctx context.Context, dir string, r *record) (err error) {
	o, err := open(ctx, dir)
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
	r.checked("cloud.Check: addresses, allocations, quota, indexes, references", 1, lines)
	return nil
}

// idle waits for what nobody waits for, such as the deletion of an image's data.
func (o *opened) idle(ctx context.Context) ([]string, error) {
	for end := time.Now().Add(time.Minute); ; {
		l := o.cloud.Engine().Load()
		if l.Queued+l.Running+l.Waiting+l.Abandoned == 0 {
			return nil, nil
		}
		if time.Now().After(end) {
			return []string{fmt.Sprintf("%d queued, %d running, %d waiting, %d calls of drivers left behind", l.Queued, l.Running, l.Waiting, l.Abandoned)}, nil
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return nil, err
		}
	}
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
		if err != nil {
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
		v.actions = summary(counts)
		got[id] = v
	}
	return nil
}

// guests compares every host's guests with the servers.
func (o *opened) guests(ctx context.Context) (name string, looked int, out []string, err error) {
	name = "guests that are leaked, missing or not as their server"
	found := map[string]bool{}
	for host, h := range o.hosts {
		list, err := h.Guests(ctx)
		if err != nil {
			return name, 0, nil, err
		}
		looked += len(list)
		for _, g := range list {
			found[g.Mark.ID] = true
			if why := misfit(g, host, o.servers[g.Mark.ID]); why != "" {
				out = append(out, fmt.Sprintf("guest %s on %s: %s", g.Mark.ID, host, why))
			}
		}
	}
	for id, s := range o.servers {
		if s.HostID != "" && !found[id] {
			out = append(out, fmt.Sprintf("server %s is on %s and has no guest anywhere", id, s.Host))
		}
	}
	return name, looked, out, nil
}

// misfit says why a guest is not what the server wants; "" when it is.
func misfit(g computedriver.GuestState, host string, s *compute.Server) string {
	switch {
	case s == nil:
		return "its server does not exist"
	case s.Host != host || s.Generation != g.Mark.Generation:
		return fmt.Sprintf("generation %d; its server is on %s with generation %d", g.Mark.Generation, s.Host, s.Generation)
	case g.Power == computedriver.Torn:
		return "it is torn"
	case (s.VMState == compute.Active) != (g.Power == computedriver.Running):
		return fmt.Sprintf("it is %s, its server %s", g.Power, s.VMState)
	}
	return ""
}

// bindings compares what the network has with the ports.
func (o *opened) bindings(ctx context.Context) (name string, looked int, out []string, err error) {
	name = "bindings in the network that no port has, or the other way round"
	list, err := o.networks.Networks(ctx)
	bound := map[string]bool{}
	for _, n := range list {
		for id, b := range n.Bindings {
			looked++
			bound[id] = true
			p := o.ports[id]
			if p == nil || p.Binding == nil || p.Binding.Host != b.Host || p.Binding.Generation != b.Generation {
				out = append(out, fmt.Sprintf("port %s is bound to %s with generation %d in the network, and not in its record", id, b.Host, b.Generation))
			}
		}
	}
	for id, p := range o.ports {
		if p.Binding != nil && !bound[id] {
			out = append(out, fmt.Sprintf("port %s is bound to %s in its record, and not in the network", id, p.Binding.Host))
		}
	}
	return name, looked, out, err
}

// devices looks for ports whose server is gone, and those that a server made for itself and nobody has now.
func (o *opened) devices(context.Context) (name string, looked int, out []string, err error) {
	for id, p := range o.ports {
		if p.DeviceID != "" && o.servers[p.DeviceID] == nil || p.DeviceID == "" && p.Name == "" {
			out = append(out, fmt.Sprintf("port %s (%s) belongs to server %q, which does not exist", id, p.Name, p.DeviceID))
		}
	}
	return "ports without their server", len(o.ports), out, nil
}

func (o *opened) files(ctx context.Context) (name string, looked int, out []string, err error) {
	name = "image files that are leaked, torn or missing"
	list, err := o.data.Images(ctx)
	if err != nil {
		return name, 0, nil, err
	}
	out, err = o.Image.Leaks(ctx)
	return name, len(list), out, err
}
