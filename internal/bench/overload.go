package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/roles"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/users"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"
)

// floodClients are how many clients of one project call at once, each as fast as it is answered.
const floodClients = 200

// overload measures a quiet project's reads and boots: alone, and while another project floods the lab.
func overload(ctx context.Context, b *bench) error {
	l, err := b.lab()
	if err != nil {
		return err
	}
	loud, err := l.client(ctx)
	if err != nil {
		return err
	}
	quiet, err := l.newcomer(ctx, loud)
	if err != nil {
		return err
	}
	usual, err := quiet.use(ctx, b)
	if err != nil {
		return err
	}
	f, err := startFlood(ctx, l, loud)
	if err != nil {
		return err
	}
	flooded, err := quiet.use(ctx, b)
	report, err2 := f.stop()
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	for _, q := range []float64{0.5, 0.99} {
		name := pick(q == 0.5, "median", "p99")
		b.add("quiet project's reads, "+name, usual.reads.quantile(q), "ms", "", "%d GET of one server and of lists of 20 over HTTP, 1 client, another booting", usual.reads.n)
		b.add("  while another project floods", flooded.reads.quantile(q), "ms", "", "%d calls; %d clients of one project create, list and delete", flooded.reads.n, floodClients)
		b.add("  times as long", flooded.reads.quantile(q)/usual.reads.quantile(q), "times", "", "clients, flood and lab on the same processors")
		if q != 0.5 {
			b.atMost(5)
		}
	}
	b.add("quiet project's boots, median", usual.boots.quantile(0.5), "ms", "", "%d boots to ACTIVE, 1 client", usual.boots.n)
	b.add("  while another project floods", flooded.boots.quantile(0.5), "ms", "", "%d boots, none failed", flooded.boots.n)
	b.add("the flood, answered", report.rate("2xx"), "1/s", "", "%d calls; refused: %d with 429, %d with 503; other answers: %d", report.Calls["2xx"], report.Calls["429"], report.Calls["503"], report.Calls["other"])
	return nil
}

// usage is what a project did.
type usage struct{ reads, boots result }

// use reads and boots for a while, one client each, and leaves nothing behind.
func (c *client) use(ctx context.Context, b *bench) (u usage, err error) {
	old, err := servers.Create(ctx, c.compute, c.create, nil).Extract()
	if err != nil {
		return u, err
	}
	var made []string
	urls := []string{c.compute.ServiceURL("servers", old.ID), c.compute.ServiceURL("servers", "detail") + "?limit=20"}
	var turn atomic.Int64
	err = each(2, func(i int) (err error) {
		if i == 0 {
			u.reads, err = load(ctx, 1, b.measure, 0, func(ctx context.Context, _ int) error {
				_, err := c.get(ctx, urls[turn.Add(1)%2])
				return err
			})
			return err
		}
		u.boots, err = load(ctx, 1, b.measure, 0, func(ctx context.Context, _ int) error {
			id, _, err := c.bootOne(ctx, b.poll)
			made = append(made, id)
			return err
		})
		return err
	})
	for _, id := range append(made, old.ID) {
		if id != "" {
			err = errors.Join(err, servers.Delete(ctx, c.compute, id).ExtractErr())
		}
	}
	return u, err
}

// newcomer is a user in a project of his own.
func (l *lab) newcomer(ctx context.Context, like *client) (*client, error) {
	admin, err := openstack.AuthenticatedClient(ctx, gophercloud.AuthOptions{IdentityEndpoint: l.url + "/v3", Username: "admin", Password: l.admin, DomainName: "Default", TenantName: "admin"})
	if err != nil {
		return nil, err
	}
	identity, err := openstack.NewIdentityV3(admin, gophercloud.EndpointOpts{Region: "RegionOne"})
	if err != nil {
		return nil, err
	}
	p, err := projects.Create(ctx, identity, projects.CreateOpts{Name: "quiet"}).Extract()
	if err != nil {
		return nil, err
	}
	u, err := users.Create(ctx, identity, users.CreateOpts{Name: "quiet", Password: "quiet-password", DomainID: "default"}).Extract()
	if err != nil {
		return nil, err
	}
	pages, err := roles.List(identity, roles.ListOpts{Name: "member"}).AllPages(ctx)
	if err != nil {
		return nil, err
	}
	found, err := roles.ExtractRoles(pages)
	if err != nil || len(found) != 1 {
		return nil, errors.Join(err, fmt.Errorf("there are %d roles member", len(found)))
	}
	if err := roles.Assign(ctx, identity, found[0].ID, roles.AssignOpts{UserID: u.ID, ProjectID: p.ID}).ExtractErr(); err != nil {
		return nil, err
	}
	c, err := l.clientOf(ctx, "quiet", "quiet-password", "quiet", like.create)
	if err != nil {
		return nil, err
	}
	net, err := openstack.NewNetworkV2(c.provider, gophercloud.EndpointOpts{Region: "RegionOne"})
	if err != nil {
		return nil, err
	}
	n, err := networks.Create(ctx, net, networks.CreateOpts{Name: "quiet"}).Extract()
	if err != nil {
		return nil, err
	}
	_, err = subnets.Create(ctx, net, subnets.CreateOpts{NetworkID: n.ID, CIDR: "10.77.0.0/16", IPVersion: gophercloud.IPv4}).Extract()
	c.create.Networks = []servers.Network{{UUID: n.ID}}
	return c, err
}

// floodOrder tells a flood's process what to do.
type floodOrder struct {
	URL    string // of compute
	Token  string
	Server json.RawMessage // the body that creates one
}

// floodReport counts its answers.
type floodReport struct {
	Calls   map[string]int64
	Seconds float64
}

func (r floodReport) rate(class string) float64 { return float64(r.Calls[class]) / r.Seconds }

type flooding struct {
	cmd *exec.Cmd
	in  io.Closer
	out *bytes.Buffer
}

// startFlood starts this program again, so that two hundred clients do not get into the way of the one that measures.
func startFlood(ctx context.Context, l *lab, c *client) (*flooding, error) {
	body, err := c.create.ToServerCreateMap()
	if err != nil {
		return nil, err
	}
	server, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	order, err := json.Marshal(floodOrder{URL: c.compute.ResourceBaseURL(), Token: c.provider.TokenID, Server: server})
	if err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f := &flooding{cmd: exec.CommandContext(ctx, program, "-flood"), out: &bytes.Buffer{}}
	f.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	f.cmd.Stdout, f.cmd.Stderr = f.out, os.Stderr
	in, err := f.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	f.in = in
	if err := f.cmd.Start(); err != nil {
		return nil, err
	}
	_, err = in.Write(append(order, '\n'))
	time.Sleep(time.Second) // until the flood has risen
	return f, err
}

// stop ends the flood and returns what it was answered.
func (f *flooding) stop() (r floodReport, err error) {
	if err := errors.Join(f.in.Close(), f.cmd.Wait()); err != nil {
		return r, err
	}
	err = json.Unmarshal(f.out.Bytes(), &r)
	return r, err
}

// flood reads an order and calls until its input ends.
func flood(ctx context.Context, in io.Reader, out io.Writer) error {
	var o floodOrder
	d := json.NewDecoder(in)
	if err := d.Decode(&o); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, in) // until it is closed
		cancel()
	}()
	began := time.Now()
	var ok, tooMany, unavailable, other atomic.Int64
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: floodClients}}
	// call returns the id of what it made, if it made something.
	call := func(method, url string, body []byte) string {
		req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
		if err != nil {
			return ""
		}
		req.Header.Set("X-Auth-Token", o.Token)
		res, err := client.Do(req)
		if err != nil {
			return ""
		}
		defer res.Body.Close()
		var made struct {
			Server struct {
				ID string `json:"id"`
			} `json:"server"`
		}
		if method == http.MethodPost {
			_ = json.NewDecoder(res.Body).Decode(&made)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		switch {
		case res.StatusCode/100 == 2:
			ok.Add(1)
		case res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable:
			if res.StatusCode == http.StatusTooManyRequests {
				tooMany.Add(1)
			} else {
				unavailable.Add(1)
			}
			seconds, _ := strconv.Atoi(res.Header.Get("Retry-After"))
			select { // as a client does that knows how to behave
			case <-time.After(time.Duration(seconds) * time.Second):
			case <-ctx.Done():
			}
		default:
			other.Add(1)
		}
		return made.Server.ID
	}
	_ = each(floodClients, func(int) error {
		for ctx.Err() == nil {
			id := call(http.MethodPost, o.URL+"servers", o.Server)
			call(http.MethodGet, o.URL+"servers/detail?limit=100", nil)
			if id != "" {
				call(http.MethodDelete, o.URL+"servers/"+id, nil)
			}
		}
		return nil
	})
	return json.NewEncoder(out).Encode(floodReport{Seconds: time.Since(began).Seconds(),
		Calls: map[string]int64{"2xx": ok.Load(), "429": tooMany.Load(), "503": unavailable.Load(), "other": other.Load()}})
}
