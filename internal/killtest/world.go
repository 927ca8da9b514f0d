package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/nubecula/cloud/image/fileimage"
	"github.com/nubecula/cloud/image/imagedriver"
	"github.com/nubecula/cloud/internal/localpostgres"
	"github.com/nubecula/cloud/internal/simbackend"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/sqlite"
)

// hosts are the simulated ones.
const hosts = 3

// world is one run: a simulated backend, which nothing is done to, and a control plane, which much is done to.
type world struct {
	dir     string
	data    string // the control plane's
	socket  string // the backend's
	backend *process
	control *simbackend.Control
	planes  []*process // one, or replicas on one database
	urls    []string   // of planes
	record  *record

	database *localpostgres.Server // of replicas; nil otherwise
	proxies  []*proxy              // to it, one for each of planes

	half  int    // of the times; then the mode kill keeps a backup
	older string // directory of that; "" before

	log io.Writer // of a cloud in this process; nil means standard error

	password func() (string, error)                          // of user demo
	driver   func(ctx context.Context) (store.Driver, error) // opens what the control plane left
	images   func() (imagedriver.Store, error)
	cleanup  []func() error
}

// newWorld starts the backend; the mode adds the control plane.
func newWorld(ctx context.Context, cfg config, dir string, r *record) (*world, error) {
	w := &world{dir: dir, data: filepath.Join(dir, "data"), socket: filepath.Join(dir, "sim"), record: r}
	if len(w.socket) > 100 {
		return nil, fmt.Errorf("-dir: %s is too long for a Unix socket; name a shorter directory", dir)
	}
	binary, err := build(ctx, dir, "internal/simbackend/serve")
	if err != nil {
		return nil, err
	}
	if w.backend, err = newProcess(dir, "backend", binary, "-listen", w.socket, "-seed", fmt.Sprint(cfg.seed)); err != nil {
		return nil, err
	}
	if err := w.backend.start(); err != nil {
		return nil, err
	}
	w.control = simbackend.NewControl(w.socket)
	for end := time.Now().Add(time.Minute); ; {
		_, err := w.control.Report(ctx)
		if err == nil {
			break
		}
		if err := errors.Join(sleep(ctx, 10*time.Millisecond), w.backend.signal(probe)); err != nil || time.Now().After(end) {
			return nil, errors.Join(fmt.Errorf("the simulated backend does not answer; see %s", w.backend.log.Name()), err, w.end())
		}
	}
	w.driver = func(context.Context) (store.Driver, error) {
		return sqlite.Open(filepath.Join(w.data, "nubecula.db"), nil)
	}
	return w, nil
}

// addPlane adds a control plane, which gets its address by -listen.
func (w *world) addPlane(name string, args ...string) (*process, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p, err := newProcess(w.dir, name, append(args, "-listen", address)...)
	if err != nil {
		return nil, err
	}
	w.planes = append(w.planes, p)
	w.urls = append(w.urls, "http://"+address)
	return p, nil
}

// lab makes the control plane examples/lab on sqlite, with the images in files.
func (w *world) lab(ctx context.Context) error {
	binary, err := build(ctx, w.dir, "examples/lab")
	if err != nil {
		return err
	}
	w.password = func() (string, error) {
		var passwords struct{ Demo string }
		text, err := os.ReadFile(filepath.Join(w.data, "passwords.json"))
		if err == nil {
			err = json.Unmarshal(text, &passwords)
		}
		return passwords.Demo, err
	}
	w.images = func() (imagedriver.Store, error) { return fileimage.New(filepath.Join(w.data, "images")) }
	_, err = w.addPlane("lab", binary, "-data", w.data, "-log", "warn", "-hypervisor", "sim", "-uri", w.socket, "-hosts", fmt.Sprint(hosts))
	return err
}

// node adds a control plane internal/killtest/node, with the images in the backend.
func (w *world) node(ctx context.Context, name string, args ...string) error {
	binary := filepath.Join(w.dir, "node.bin")
	if len(w.planes) == 0 {
		if _, err := build(ctx, w.dir, "internal/killtest/node"); err != nil {
			return err
		}
		password := rand.Text()
		w.password = func() (string, error) { return password, nil }
		w.images = func() (imagedriver.Store, error) { return simbackend.NewStore(w.socket), nil }
	}
	password, err := w.password()
	if err != nil {
		return err
	}
	p, err := w.addPlane(name, append([]string{binary, "-data", w.data, "-sim", w.socket, "-hosts", fmt.Sprint(hosts)}, args...)...)
	if err == nil {
		p.env = []string{"NODE_PASSWORD=" + password}
	}
	return err
}

// start runs the control plane. The first replica makes users, flavors and networks before the others start.
func (w *world) start(ctx context.Context) error {
	for i, p := range w.planes {
		if err := p.start(); err != nil {
			return err
		}
		if i == 0 && len(w.planes) > 1 {
			if _, err := login(ctx, w, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// stop ends the control plane as a person would.
func (w *world) stop() error {
	var errs []error
	for _, p := range w.planes {
		errs = append(errs, p.stop())
	}
	return errors.Join(errs...)
}

// end leaves nothing behind that runs.
func (w *world) end() error {
	var errs []error
	for _, p := range w.planes {
		errs = append(errs, p.end())
	}
	errs = append(errs, w.backend.end())
	for _, f := range w.cleanup {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}
