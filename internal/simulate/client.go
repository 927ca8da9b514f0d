package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"time"

	"github.com/nubecula/cloud/cloudtest"
	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/image"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/openstack"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// answer is what a client may conclude from the answer to its request.
type answer string

const (
	acknowledged answer = "done"
	refused      answer = "refused" // nothing has happened, and nothing will
	unknown      answer = "unknown" // nobody has said
	waits        answer = "waits"
	impossible   answer = "nobody to ask" // it was not sent
)

// record is what a client remembers of its request.
type record struct {
	action
	ids        []string // what it made
	answer     answer
	err        error
	began      time.Duration
	ended      time.Duration
	bodies     []string // of answers to requests with an Idempotency-Key
	aboutID    string   // the id of what it was about
	aboutKnown bool
}

// request has a client make a request of a process that is there; it waits for the answer beside the history.
func (w *world) request(a action) {
	r := &record{action: a, answer: waits, began: w.clock.Mono()}
	w.mu.Lock()
	w.records[a.n] = r
	if made := w.records[a.of]; made != nil && len(made.ids) > 0 {
		r.aboutID, r.aboutKnown = made.ids[a.k%len(made.ids)], true
	}
	w.mu.Unlock()
	to := w.reachable(a.on)
	if to == nil || a.of >= 0 && !r.aboutKnown {
		r.answer = impossible
		return
	}
	c := to.Cloud()
	w.mu.Lock()
	w.waiting++
	w.mu.Unlock()
	go func() {
		ids, err := w.ask(to, r)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.waiting--
		r.ids, r.err, r.ended = ids, err, w.clock.Mono()
		r.answer = conclude(err, to.Crashed() || to.Cloud() != c)
		go w.say("#%d: %s %v", a.n, r.answer, err)
	}()
}

// conclude says what an error means to a client. A process that died says nothing.
func conclude(err error, dead bool) answer {
	switch code := fault.CodeOf(err); {
	case err == nil:
		return acknowledged
	case dead:
		return unknown
	case code == fault.Timeout || code == fault.Internal || code == fault.Canceled || code == fault.Corrupt:
		return unknown
	}
	return refused
}

// reachable returns a process that takes requests, the one wanted if it does.
func (w *world) reachable(on int) *cloudtest.Replica {
	all := w.env.Replicas()
	for i := range all {
		if r := all[(on+i)%len(all)]; !r.Crashed() && r.Cloud() != nil {
			return r
		}
	}
	return nil
}

// name is what an action calls what it makes.
func name(n int) string { return fmt.Sprintf("made-by-%d", n) }

// ask makes the request and returns the ids of what it made.
func (w *world) ask(to *cloudtest.Replica, r *record) (ids []string, err error) {
	ctx, demo, admin := w.env.Request(1+r.n), to.Demo(), to.Admin()
	switch r.verb {
	case "server.create", "server.create-on-port", "server.create-on-network":
		req := w.env.Small(name(r.n))
		switch r.verb {
		case "server.create":
			req.MinCount, req.MaxCount = r.k, r.k
		case "server.create-on-port":
			req.Networks = []compute.Network{{PortID: r.aboutID}}
		case "server.create-on-network":
			req.Networks = []compute.Network{{NetworkID: r.aboutID}}
		}
		made, err := demo.Compute.CreateServer(ctx, req)
		if err != nil {
			return nil, err
		}
		for _, s := range made.Servers {
			ids = append(ids, s.ID)
		}
		return ids, nil
	case "server.create-once":
		return w.askOnce(r)
	case "server.delete":
		return nil, demo.Compute.DeleteServer(ctx, r.aboutID)
	case "server.stop":
		return nil, demo.Compute.StopServer(ctx, r.aboutID)
	case "server.start":
		return nil, demo.Compute.StartServer(ctx, r.aboutID)
	case "server.reboot":
		return nil, demo.Compute.RebootServer(ctx, r.aboutID, compute.Soft)
	case "server.reboot-hard":
		return nil, demo.Compute.RebootServer(ctx, r.aboutID, compute.Hard)
	case "server.rename":
		text := name(r.n)
		_, err := demo.Compute.UpdateServer(ctx, r.aboutID, compute.UpdateServer{Description: &text})
		return nil, err
	case "server.cancel":
		return nil, to.Cloud().Update(ctx, func(ctx context.Context, tx *store.Tx) error {
			op, err := operation.Active(tx, operation.Resource{Kind: "server", ID: r.aboutID})
			if err != nil {
				return err
			}
			if op == nil {
				return fault.New(fault.Conflict, "nothing is under way")
			}
			return to.Cloud().Engine().Cancel(tx, op.ID, "an operator")
		})
	case "port.create":
		p, err := demo.Network.CreatePort(ctx, network.CreatePort{NetworkID: w.env.Seeded.NetworkID, Name: name(r.n)})
		return one(p, err, func(p *network.Port) string { return p.ID })
	case "port.delete":
		return nil, demo.Network.DeletePort(ctx, r.aboutID)
	case "port.rename":
		text := name(r.n)
		_, err := demo.Network.UpdatePort(ctx, network.UpdatePort{ID: r.aboutID, Description: &text})
		return nil, err
	case "network.create":
		n, err := demo.Network.CreateNetwork(ctx, network.CreateNetwork{Name: name(r.n)})
		ids, err = one(n, err, func(n *network.Network) string { return n.ID })
		if err == nil { // the subnet may fail by itself: a server on the network then gets no address
			demo.Network.CreateSubnet(ctx, network.CreateSubnet{NetworkID: n.ID, Name: name(r.n), CIDR: netip.MustParsePrefix("10.77.0.0/29")})
		}
		return ids, err
	case "network.delete":
		return nil, demo.Network.DeleteNetwork(ctx, r.aboutID)
	case "network.rename":
		text := name(r.n)
		_, err := demo.Network.UpdateNetwork(ctx, network.UpdateNetwork{ID: r.aboutID, Description: &text})
		return nil, err
	case "image.create":
		i, err := demo.Image.Create(ctx, image.CreateRequest{Name: name(r.n), DiskFormat: "raw", ContainerFormat: "bare"})
		if err != nil {
			return nil, err
		}
		demo.Image.Upload(ctx, i.ID, image.UploadRequest{Body: bytes.NewReader(make([]byte, 3000))}) // may fail by itself
		return []string{i.ID}, nil
	case "image.delete":
		return nil, demo.Image.Delete(ctx, r.aboutID)
	case "quota.set":
		_, err := admin.Compute.UpdateQuota(ctx, w.env.Seeded.ProjectID, map[string]int64{"instances": int64(r.k)}, true)
		return nil, err
	case "host.disable", "host.enable":
		off := r.verb == "host.disable"
		_, err := admin.Compute.UpdateHost(ctx, cloudtest.HostName(r.on%len(w.env.Hosts)), compute.UpdateHost{Disabled: &off})
		return nil, err
	case "host.force-down", "host.force-up":
		down := r.verb == "host.force-down"
		_, err := admin.Compute.UpdateHost(ctx, cloudtest.HostName(r.on%len(w.env.Hosts)), compute.UpdateHost{ForcedDown: &down})
		return nil, err
	}
	panic("simulate: no such action: " + r.verb)
}

func one[T any](v T, err error, id func(T) string) ([]string, error) {
	if err != nil {
		return nil, err
	}
	return []string{id(v)}, nil
}

// askOnce sends one request several times, each time to the next process, as a client does that got no answer in
// time. It is done when one of them is.
func (w *world) askOnce(r *record) ([]string, error) {
	body := fmt.Sprintf(`{"server":{"name":%q,"flavorRef":"42","imageRef":%q,"networks":[{"uuid":%q}]}}`, name(r.n), w.env.Seeded.ImageID, w.env.Seeded.NetworkID)
	type reply struct {
		status int
		body   string
		dead   bool
	}
	replies := make(chan reply, r.k)
	for i := range r.k {
		go func() {
			to := w.reachable(r.on + i)
			if to == nil {
				replies <- reply{status: 503, dead: true}
				return
			}
			c := to.Cloud()
			req := httptest.NewRequest("POST", "http://cloud.test/compute/v2.1/servers", strings.NewReader(body))
			req.Header.Set("X-Auth-Token", w.token)
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Idempotency-Key", name(r.n))
			got := httptest.NewRecorder()
			openstack.Handler(c, nil).ServeHTTP(got, req)
			replies <- reply{got.Code, got.Body.String(), to.Crashed() || to.Cloud() != c}
		}()
	}
	var bodies []string
	worst := fault.New(fault.Conflict, "refused")
	for range r.k {
		switch got := <-replies; {
		case got.dead || got.status >= 500:
			worst = fault.New(fault.Timeout, "%d %s", got.status, got.body)
		case got.status == http.StatusAccepted:
			bodies = append(bodies, got.body)
		case worst.Code == fault.Conflict:
			worst = fault.New(fault.Conflict, "%d %s", got.status, got.body)
		}
	}
	w.mu.Lock()
	r.bodies = bodies
	w.mu.Unlock()
	if len(bodies) == 0 {
		return nil, worst
	}
	_, rest, _ := strings.Cut(bodies[0], `"id":`)
	return []string{strings.Trim(strings.SplitN(rest, ",", 2)[0], "\" }")}, nil
}
