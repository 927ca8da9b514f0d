package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/nubecula/cloud/internal/localpostgres"
)

// room is how many servers the simulated hosts take: three with 64 processors, each given out four times.
const room = 3 * 64 * 4

// measure prints how many servers a second become ACTIVE, over HTTP, with one, two and three replicas: with every
// create in one project and one network, and with a project and a network for each client. Nothing is disturbed.
func measure(ctx context.Context, cfg config) error {
	if why := localpostgres.Missing(); why != "" {
		fmt.Println("SKIP: boots with replicas:", why)
		return nil
	}
	tw := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "REPLICAS\tBOOTS/S, ONE PROJECT AND NETWORK\tBOOTS/S, ONE OF EACH FOR A CLIENT\t(%d boots each, %d clients)\n", cfg.boots, cfg.clients)
	for n := 1; n <= replicas; n++ {
		one, each, err := measureReplicas(ctx, cfg, n)
		if err != nil {
			return err
		}
		fmt.Fprintf(tw, "%d\t%.0f\t%.0f\n", n, one, each)
	}
	return tw.Flush()
}

func measureReplicas(ctx context.Context, cfg config, n int) (one, each float64, err error) {
	dir, err := os.MkdirTemp(cfg.dir, "nubecula-killtest-")
	if err != nil {
		return 0, 0, err
	}
	w, err := newWorld(ctx, cfg, dir, newRecord(os.Stdout))
	if err != nil {
		return 0, 0, err
	}
	defer func() {
		if err = errors.Join(err, w.end()); err == nil {
			err = os.RemoveAll(dir)
		}
	}()
	if err := w.replicas(ctx, n); err != nil {
		return 0, 0, err
	}
	if err := w.start(ctx); err != nil {
		return 0, 0, err
	}
	demo, err := login(ctx, w, 0)
	if err != nil {
		return 0, 0, err
	}
	shared, own := make([]*client, cfg.clients), make([]*client, cfg.clients)
	for i := range cfg.clients {
		shared[i] = demo.fork(i)
		if own[i], err = w.tenant(ctx, demo.fork(i), i); err != nil {
			return 0, 0, err
		}
	}
	if _, err := boots(ctx, shared, 2*len(shared)); err != nil { // everybody gets warm
		return 0, 0, err
	}
	if one, err = boots(ctx, shared, cfg.boots); err != nil {
		return 0, 0, err
	}
	each, err = boots(ctx, own, cfg.boots)
	return one, each, err
}

// tenant makes c a client of a project of its own, with a network of its own.
func (w *world) tenant(ctx context.Context, c *client, number int) (*client, error) {
	password, err := w.password()
	if err != nil {
		return nil, err
	}
	domain := fields{"id": "default"}
	admin, err := c.authenticate(ctx, "admin", password, fields{"project": fields{"name": "admin", "domain": domain}})
	if err != nil {
		return nil, err
	}
	role, err := c.only(ctx, "/v3/roles?name=admin", "roles")
	if err != nil {
		return nil, err
	}
	project, err := c.make(ctx, "/v3/projects", "project", fields{"name": fmt.Sprintf("tenant-%d", number), "domain_id": "default"})
	if err != nil {
		return nil, err
	}
	if a, err := c.call(ctx, "PUT", "/v3/projects/"+project+"/users/"+admin+"/roles/"+role, "", nil); err != nil || a.status != http.StatusNoContent {
		return nil, errors.Join(fmt.Errorf("role in a new project: %s", a), err)
	}
	if _, err := c.authenticate(ctx, "admin", password, fields{"project": fields{"id": project}}); err != nil {
		return nil, err
	}
	if c.network, err = c.make(ctx, "/network/v2.0/networks", "network", fields{"name": "own"}); err != nil {
		return nil, err
	}
	_, err = c.make(ctx, "/network/v2.0/subnets", "subnet", fields{"network_id": c.network, "ip_version": 4, "cidr": "10.0.0.0/16"})
	return c, err
}

// make creates a thing and returns its id.
func (c *client) make(ctx context.Context, path, noun string, of fields) (string, error) {
	a, err := c.call(ctx, "POST", path, rand.Text(), encode(fields{noun: of}))
	if err != nil {
		return "", err
	}
	var body map[string]struct{ ID string }
	if a.status != http.StatusCreated && a.status != http.StatusAccepted {
		return "", fmt.Errorf("POST %s: %s", path, a)
	}
	err = a.into(&body)
	return body[noun].ID, err
}

// boots has the clients boot servers, one after another each, and returns how many a second became ACTIVE.
func boots(ctx context.Context, clients []*client, total int) (float64, error) {
	var wg sync.WaitGroup
	errs := make([]error, len(clients))
	began := time.Now()
	for i, c := range clients {
		wg.Go(func() {
			for range total / len(clients) {
				id, err := c.make(ctx, "/compute/v2.1/servers", "server",
					fields{"name": "boot", "flavorRef": "42", "imageRef": c.image, "networks": []fields{{"uuid": c.network}}})
				for err == nil {
					var s server
					if s, err = c.get(ctx, id); err == nil && s.busy() {
						err = sleep(ctx, 5*time.Millisecond)
						continue
					}
					if err == nil && s.Status != "ACTIVE" {
						err = fmt.Errorf("server %s is %s: %s", id, stateName(s.Status), s.Fault)
					}
					break
				}
				if err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	wg.Wait()
	n := total / len(clients) * len(clients)
	return float64(n) / time.Since(began).Seconds(), errors.Join(errs...)
}
