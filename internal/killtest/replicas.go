package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nubecula/cloud/internal/localpostgres"
	"github.com/nubecula/cloud/internal/simbackend"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/postgres"
)

const (
	replicas = 3
	// lease is shorter than the default, so that more happens in a minute.
	lease = 6 * time.Second
)

func prepareReplicas(ctx context.Context, w *world) error { return w.replicas(ctx, replicas) }

// replicas makes the control plane n nodes on one PostgreSQL, each behind a proxy of its own.
func (w *world) replicas(ctx context.Context, n int) error {
	if err := os.Mkdir(w.data, 0o700); err != nil {
		return err
	}
	if _, err := store.KeyFile(filepath.Join(w.data, "key")); err != nil { // one for all
		return err
	}
	var err error
	if w.database, err = localpostgres.New(ctx, w.dir); err != nil {
		return err
	}
	w.cleanup = append(w.cleanup, w.database.Close)
	w.driver = func(ctx context.Context) (store.Driver, error) {
		return postgres.Open(ctx, localpostgres.DSN(w.database.Address()), nil)
	}
	for i := range n {
		p, err := newProxy(w.database.Address())
		if err != nil {
			return err
		}
		w.cleanup = append(w.cleanup, p.close)
		w.proxies = append(w.proxies, p)
		if err := w.node(ctx, fmt.Sprintf("replica-%d", i+1), "-postgres", localpostgres.DSN(p.address()), "-lease", lease.String()); err != nil {
			return err
		}
	}
	w.revive()
	return nil
}

// disturbReplicas does one thing to one replica, or to the database; every sixth time the takeover is measured.
func disturbReplicas(ctx context.Context, w *world, random *mrand.Rand, n int) error {
	if err := sleep(ctx, time.Duration(500+random.IntN(2000))*time.Millisecond); err != nil {
		return err
	}
	at := random.IntN(len(w.planes))
	p := w.planes[at]
	brief, long := time.Duration(100+random.IntN(3000))*time.Millisecond, lease+time.Duration(random.IntN(int(lease)))
	if n%6 == 1 {
		return w.takeover(ctx, at)
	}
	switch what := random.IntN(10); {
	case what < 4:
		w.record.count("replicas killed")
		if err := p.kill(); err != nil {
			return err
		}
		if err := sleep(ctx, brief); err != nil {
			return err
		}
		return p.start()
	case what < 6:
		w.record.count("replicas frozen past their lease")
		if err := p.signal(syscall.SIGSTOP); err != nil {
			return err
		}
		if err := sleep(ctx, long); err != nil {
			return err
		}
		return p.signal(syscall.SIGCONT)
	case what < 8:
		w.record.count("replicas cut off the database")
		w.proxies[at].sever(true)
		err := sleep(ctx, min(long, 2*brief+lease/2))
		w.proxies[at].sever(false)
		return err
	case what == 8:
		w.record.count("restarts of PostgreSQL")
		return errors.Join(w.database.Stop(syscall.SIGINT), w.database.Start(ctx))
	default:
		w.record.count("crashes of PostgreSQL")
		return errors.Join(w.database.Stop(syscall.SIGQUIT), w.database.Start(ctx))
	}
}

// takeover kills the replica that has just accepted a server, while a host works on it, and takes the time until
// the server is ACTIVE by the others' work.
func (w *world) takeover(ctx context.Context, at int) error {
	c, err := login(ctx, w, at)
	if err != nil {
		return err
	}
	c.at.Store(int64(at))
	slow := append([]simbackend.Rule{{Method: "Define", Latency: time.Second}}, simbackend.Rough()...)
	if err := w.control.SetFaults(ctx, slow...); err != nil {
		return err
	}
	name := fmt.Sprintf("takeover-%s", rand.Text())
	a, err := c.call(ctx, "POST", "/compute/v2.1/servers", rand.Text(), encode(fields{"server": fields{
		"name": name, "flavorRef": "42", "imageRef": c.image, "networks": []fields{{"uuid": c.network}}}}))
	if err != nil {
		return err
	}
	if err := w.planes[at].kill(); err != nil {
		return err
	}
	killed := time.Now()
	if err := w.control.SetFaults(ctx, simbackend.Rough()...); err != nil {
		return err
	}
	var body struct{ Server struct{ ID string } }
	if a.status != http.StatusAccepted || a.into(&body) != nil {
		w.record.problem("server %s: want 202, got %s", name, a)
		return w.planes[at].start()
	}
	id := body.Server.ID
	w.record.expect(object{kind: "server", id: id, name: name, state: "ACTIVE"})
	w.record.acted(id, "create")
	w.record.owe(id, simbackend.Tally{Starts: 1})
	c.at.Store(int64(at + 1))
	if now, err := c.get(ctx, id); err != nil || !now.busy() {
		w.record.count("takeovers not measured: the boot was over, or another replica had it")
		if err != nil {
			return err
		}
		return w.planes[at].start()
	}
	now, err := c.settled(ctx, id)
	if err != nil {
		return err
	}
	took := time.Since(killed)
	w.record.count("takeovers measured")
	w.record.took(took)
	if now.Status != "ACTIVE" || took > 2*lease {
		w.record.problem("the server %s of a killed replica was %s after %.1f s; the lease is %s, twice that is allowed", id, stateName(now.Status), took.Seconds(), lease)
	}
	return w.planes[at].start()
}
