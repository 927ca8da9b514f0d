package main

import (
	"context"
	"crypto/rand"
	"fmt"
	mrand "math/rand/v2"
	"net/http"
	"slices"

	"github.com/nubecula/cloud/internal/simbackend"
)

// What a client keeps at most, so that a long run does not fill the disk.
const (
	maxServers = 12
	maxPorts   = 12
	maxImages  = 4
	imageBytes = 1 << 20
)

// worker is a client at work. Nobody else touches what it made, so it knows what each answer must be.
type worker struct {
	*client
	number  int
	made    int // names given so far
	random  *mrand.Rand
	servers []owned
	ports   []object
	images  []object
}

// owned is a server, with the port that it was given or "".
type owned struct {
	object
	port string
}

// work does one thing after the other until stop is closed or ctx ends.
func (w *worker) work(ctx context.Context, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		if err := w.step(ctx); err != nil {
			return // ctx has ended
		}
	}
}

func (w *worker) step(ctx context.Context) error {
	switch x := w.random.IntN(100); {
	case x < 30 && len(w.servers) < maxServers:
		return w.create(ctx)
	case x < 65 && len(w.servers) > 0:
		return w.act(ctx)
	case x < 85 && len(w.servers) > 0:
		return w.remove(ctx)
	case x < 93:
		if len(w.images) == maxImages {
			return w.removeImage(ctx)
		}
		return w.upload(ctx)
	case len(w.ports) == maxPorts:
		return w.removePort(ctx)
	default:
		_, err := w.createPort(ctx)
		return err
	}
}

func (w *worker) name() string {
	w.made++
	return fmt.Sprintf("client%d-%d", w.number, w.made)
}

// change makes a call with an idempotency key of its own. It reports whether the answer was the status that it must be.
func (w *worker) change(ctx context.Context, method, path string, body []byte, want int) (reply, bool, error) {
	a, err := w.call(ctx, method, path, rand.Text(), body)
	if err == nil && a.status != want {
		w.problem("%s %s %.200s: want %d, got %s", method, path, body, want, a)
	}
	return a, a.status == want, err
}

func (w *worker) createPort(ctx context.Context) (object, error) {
	o := object{kind: "port", name: w.name(), state: "there"}
	a, ok, err := w.change(ctx, "POST", "/network/v2.0/ports", encode(fields{"port": fields{"network_id": w.network, "name": o.name}}), http.StatusCreated)
	if err != nil || !ok {
		return o, err
	}
	var body struct{ Port struct{ ID string } }
	if err := a.into(&body); err != nil {
		w.problem("port %s: %v", o.name, err)
		return o, nil
	}
	o.id = body.Port.ID
	w.expect(o)
	w.count("ports made")
	w.ports = append(w.ports, o)
	return o, nil
}

// create makes a server, every third one with a port made before.
func (w *worker) create(ctx context.Context) error {
	s := owned{object: object{kind: "server", name: w.name(), state: "ACTIVE"}}
	nic := fields{"uuid": w.network}
	if w.random.IntN(3) == 0 && len(w.ports) < maxPorts {
		p, err := w.createPort(ctx)
		if err != nil || p.id == "" {
			return err
		}
		w.ports = w.ports[:len(w.ports)-1] // it is the server's now
		s.port, nic = p.id, fields{"port": p.id}
	}
	a, ok, err := w.change(ctx, "POST", "/compute/v2.1/servers", encode(fields{"server": fields{
		"name": s.name, "flavorRef": "42", "imageRef": w.image, "networks": []fields{nic}, "user_data": "aGVsbG8="}}), http.StatusAccepted)
	if err != nil || !ok {
		return err
	}
	var body struct {
		Server struct{ ID, AdminPass string }
	}
	if err := a.into(&body); err != nil {
		w.problem("server %s: %v", s.name, err)
		return nil
	}
	if body.Server.AdminPass == "" {
		w.problem("server %s: no adminPass in %s", s.name, a)
	}
	s.id = body.Server.ID
	w.expect(s.object)
	w.acted(s.id, "create")
	w.owe(s.id, simbackend.Tally{Starts: 1})
	w.count("servers created")
	w.servers = append(w.servers, s)
	if w.random.IntN(2) == 0 {
		_, err = w.ready(ctx, len(w.servers)-1)
	}
	return err
}

// ready waits for a server to be what it must be by the last answer; one that is not, is a problem and forgotten.
func (w *worker) ready(ctx context.Context, i int) (bool, error) {
	o := w.servers[i]
	s, err := w.settled(ctx, o.id)
	if err != nil || s.Status == o.state {
		return err == nil, err
	}
	w.problem("server %s (%s) must be %s and is %s: %s", o.id, o.name, o.state, stateName(s.Status), s.Fault)
	w.servers = slices.Delete(w.servers, i, i+1)
	return false, nil
}

// act stops, starts or reboots a server.
func (w *worker) act(ctx context.Context) error {
	i := w.random.IntN(len(w.servers))
	if ok, err := w.ready(ctx, i); err != nil || !ok {
		return err
	}
	o := &w.servers[i]
	name, body, state, effect := "start", fields{"os-start": nil}, "ACTIVE", simbackend.Tally{Starts: 1}
	if o.state == "ACTIVE" {
		switch w.random.IntN(3) {
		case 0:
			name, body, state, effect = "stop", fields{"os-stop": nil}, "SHUTOFF", simbackend.Tally{Stops: 1}
		case 1:
			name, body = "reboot", fields{"reboot": fields{"type": "SOFT"}}
			effect = simbackend.Tally{Reboots: 1}
		case 2:
			name, body = "reboot", fields{"reboot": fields{"type": "HARD"}}
			effect = simbackend.Tally{Starts: 1, Stops: 1}
		}
	}
	_, ok, err := w.change(ctx, "POST", "/compute/v2.1/servers/"+o.id+"/action", encode(body), http.StatusAccepted)
	if err != nil || !ok {
		return err
	}
	o.state = state
	w.expect(o.object)
	w.acted(o.id, name)
	w.owe(o.id, effect)
	w.count("servers: " + name)
	return nil
}

// remove deletes a server, whatever is being done to it. The port that it was given is free when it has gone.
func (w *worker) remove(ctx context.Context) error {
	i := w.random.IntN(len(w.servers))
	s := w.servers[i]
	_, ok, err := w.change(ctx, "DELETE", "/compute/v2.1/servers/"+s.id, nil, http.StatusNoContent)
	if err != nil || !ok {
		return err
	}
	w.servers = slices.Delete(w.servers, i, i+1)
	w.expect(s.gone())
	w.acted(s.id, "delete")
	w.count("servers deleted")
	if s.port == "" {
		return nil
	}
	if now, err := w.settled(ctx, s.id); err != nil || now.Status != "" {
		if err == nil {
			w.problem("server %s (%s) must be gone and is %s", s.id, s.name, now.Status)
		}
		return err
	}
	return w.deletePort(ctx, s.port)
}

func (w *worker) removePort(ctx context.Context) error {
	i := w.random.IntN(len(w.ports))
	id := w.ports[i].id
	w.ports = slices.Delete(w.ports, i, i+1)
	return w.deletePort(ctx, id)
}

func (w *worker) deletePort(ctx context.Context, id string) error {
	_, ok, err := w.change(ctx, "DELETE", "/network/v2.0/ports/"+id, nil, http.StatusNoContent)
	if err != nil || !ok {
		return err
	}
	w.expect(object{kind: "port", id: id})
	w.count("ports deleted")
	return nil
}
