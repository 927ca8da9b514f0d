package main

import (
	"context"
	"fmt"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"

	"github.com/nubecula/cloud/compute"
)

// page is how many servers a full page has.
const page = 1000

// lists are pages of servers in full detail.
func lists(ctx context.Context, b *bench) error {
	l, err := b.lab()
	if err != nil {
		return err
	}
	c, err := l.client(ctx)
	if err != nil {
		return err
	}
	if err := c.fill(ctx, page); err != nil {
		return err
	}
	var size int64
	url := fmt.Sprintf("%sservers/detail?limit=%d", c.compute.ResourceBaseURL(), page)
	before, err := cpuTime(l.pid)
	if err != nil {
		return err
	}
	r, err := load(ctx, 1, b.measure, 0, func(ctx context.Context, _ int) (err error) {
		size, err = c.get(ctx, url)
		return err
	})
	if err != nil {
		return err
	}
	us, err := perCall(l.pid, before, r.n)
	if err != nil {
		return err
	}
	b.add("list of 1,000 servers over HTTP", r.quantile(0.5), "ms", "", "median of %d, 1 client, all details, %s KB; %s ms of the lab's processor time",
		r.n, number(float64(size)/1000), number(us/1000))
	b.atMost(10)
	for _, clients := range []int{1, 16} {
		r, err := load(ctx, clients, b.measure, 0, func(ctx context.Context, _ int) error {
			_, err := c.get(ctx, fmt.Sprintf("%sservers/detail?limit=20", c.compute.ResourceBaseURL()))
			return err
		})
		if err != nil {
			return err
		}
		b.add("list of 20 servers over HTTP, "+count(clients, "client"), r.rate(), "1/s", "14", "%d lists, all details", r.n)
	}
	_, err = inCloud(ctx, where{sqlite: b.sub("lists")}, func(in *inside) (result, error) {
		if err := in.fill(ctx, page); err != nil {
			return result{}, err
		}
		r, err := load(ctx, 1, b.measure, 0, func(ctx context.Context, _ int) error {
			p, err := in.demo.Compute.ListServers(ctx, compute.ServerQuery{Limit: page})
			if err == nil && len(p.Servers) != page {
				err = fmt.Errorf("the list has %d servers, not %d", len(p.Servers), page)
			}
			return err
		})
		if err == nil {
			b.add("list of 1,000 servers in process", r.quantile(0.5), "ms", "", "median of %d, sqlite, with addresses", r.n)
			b.atMost(10)
		}
		return r, err
	})
	return err
}

// fill sees to it that there are n servers or more, none of them being built.
func (c *client) fill(ctx context.Context, n int) error {
	list := func(o servers.ListOpts) (int, error) {
		first, err := servers.List(c.compute, o).AllPages(ctx)
		if err != nil {
			return 0, err
		}
		all, err := servers.ExtractServers(first)
		return len(all), err
	}
	have, err := list(servers.ListOpts{})
	if err != nil {
		return err
	}
	for ; have < n; have += 50 {
		some := c.create
		some.Min, some.Max = 50, 50
		if _, err := servers.Create(ctx, c.compute, some, nil).Extract(); err != nil {
			return err
		}
	}
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		building, err := list(servers.ListOpts{Status: "BUILD"})
		if err != nil || building == 0 {
			return err
		}
		if time.Since(began) > time.Minute {
			return fmt.Errorf("%d servers are in BUILD after a minute", building)
		}
	}
}

// fill makes n servers and waits for them.
func (c *inside) fill(ctx context.Context, n int) error {
	const clients, batch = 4, 25
	return each(clients, func(i int) error {
		for k := i * batch; k < n; k += clients * batch {
			if err := c.boot(ctx, min(batch, n-k)); err != nil {
				return err
			}
		}
		return nil
	})
}
