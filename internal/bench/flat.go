package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"time"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/internal/quota"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/scheduler"
	"github.com/nubecula/cloud/store"
)

// flat measures what calls cost on a sqlite store that holds more and more servers.
func flat(ctx context.Context, b *bench) error {
	sizes := []int{1000, 10000, 100000}
	switch {
	case b.short:
		sizes = []int{200, 1000}
	case b.million:
		sizes = append(sizes, 1000000)
	}
	var points []point
	_, err := inCloud(ctx, where{sqlite: b.sub("flat")}, func(c *inside) (result, error) {
		f, err := newFiller(ctx, c)
		if err != nil {
			return result{}, err
		}
		for _, n := range sizes {
			began := time.Now()
			if err := f.fill(ctx, n); err != nil {
				return result{}, err
			}
			took := time.Since(began)
			if err := b.reprofile(); err != nil { // filling is not what a profile is wanted of
				return result{}, err
			}
			p, err := f.measure(ctx, pick(b.short, 20, 300))
			if err != nil {
				return result{}, err
			}
			points = append(points, p)
			b.add(fmt.Sprintf("boot with %d servers in the store", n), p.bootCPU, "ms", "", "processor time, median %s ms; 1 goroutine in process, sqlite; filled in %s s", number(p.boot), number(took.Seconds()))
			b.add("  beside a round that compares ports", p.roundCPU, "ms", "", "processor time of the whole, median of a boot %s ms; the round %s", number(p.round), p.lasts)
			b.add("  page of 1,000 servers", p.page, "ms", "", "median")
			b.add("  one server", p.show*1000, "us", "", "median, any server")
			b.add("  delete", p.delCPU, "ms", "", "processor time, median %s ms", number(p.del))
			if n > 10000 {
				continue
			}
			report, err := c.Check(ctx)
			if err != nil {
				return result{}, err
			}
			if len(report) > 0 {
				return result{}, fmt.Errorf("the filled store is not as it should be: %d lines, such as %s", len(report), report[0])
			}
		}
		return result{}, nil
	})
	if err != nil {
		return err
	}
	first, last := points[0], points[len(points)-1]
	b.add("boot's processor time, most servers to fewest", last.bootCPU/first.bootCPU, "times", "", "%d to %d servers", last.servers, first.servers)
	b.atMost(1.5)
	b.add("the same beside a round", last.roundCPU/first.roundCPU, "times", "", "")
	b.atMost(1.5)
	if b.plot == "" {
		return nil
	}
	return os.WriteFile(b.plot, plot(points), 0o644)
}

// point is what calls cost at one size, in milliseconds.
type point struct {
	servers                                                 int
	boot, bootCPU, round, roundCPU, page, show, del, delCPU float64
	lasts                                                   string // of the round
}

// perNetwork is how many of the servers that are filled in share a network.
const perNetwork = 1000

// filler writes servers as boots leave them, by the hundred in one transaction. Only the operations of
// their boots are missing, as after retention. They are on hosts that this process does not drive.
type filler struct {
	c        *inside
	template *compute.Server
	seed     json.RawMessage
	servers  *store.Collection[compute.Server]
	hosts    *store.Collection[compute.Host]
	book     *quota.Book
	ids      []string
	networks int
	net      string // the network that is filled now
	left     int    // how many it still takes
}

// What compute keeps beside its servers, by the same names.
type (
	seedDoc struct {
		ServerID string
		Body     json.RawMessage
	}
	claimDoc struct {
		ServerID   string              `json:"server_id"`
		Generation int64               `json:"generation"`
		HostID     string              `json:"host_id"`
		Need       scheduler.Resources `json:"need"`
	}
	ledgerDoc struct {
		HostID  string              `json:"host_id"`
		Used    scheduler.Resources `json:"used"`
		Servers int                 `json:"servers"`
	}
)

// MarshalJSON writes the template's seed for another server.
func (d seedDoc) MarshalJSON() ([]byte, error) {
	var m map[string]json.RawMessage
	if len(d.Body) > 0 {
		if err := json.Unmarshal(d.Body, &m); err != nil {
			return nil, err
		}
	}
	if m == nil {
		m = map[string]json.RawMessage{}
	}
	id, err := json.Marshal(d.ServerID)
	m["server_id"] = id
	if err != nil {
		return nil, err
	}
	return json.Marshal(m)
}

// UnmarshalJSON keeps the document as it is.
func (d *seedDoc) UnmarshalJSON(b []byte) error {
	var id struct {
		ServerID string `json:"server_id"`
	}
	err := json.Unmarshal(b, &id)
	d.ServerID, d.Body = id.ServerID, append(json.RawMessage{}, b...)
	return err
}

func seedDocs() *store.Collection[seedDoc] {
	return store.Define(store.Spec[seedDoc]{Kind: "server-seed", Version: 1, ID: func(d *seedDoc) string { return d.ServerID }})
}

func ledgerDocs() *store.Collection[ledgerDoc] {
	return store.Define(store.Spec[ledgerDoc]{Kind: "host-ledger", Version: 1, ID: func(d *ledgerDoc) string { return d.HostID }})
}

func claimDocs() *store.Collection[claimDoc] {
	return store.Define(store.Spec[claimDoc]{Kind: "claim", Version: 1,
		ID: func(d *claimDoc) string { return fmt.Sprintf("%s/%d", d.ServerID, d.Generation) },
		Indexes: []store.Index[claimDoc]{
			{Name: "host", Keys: func(d *claimDoc) []store.Tuple { return []store.Tuple{{d.HostID}} }},
		}})
}

// newFiller boots one server for the others to be like.
func newFiller(ctx context.Context, c *inside) (*filler, error) {
	f := &filler{c: c, book: quota.NewBook("compute", quota.Resource{Name: "instances"}, quota.Resource{Name: "cores"}, quota.Resource{Name: "ram"})}
	for _, any := range compute.Collections() {
		switch col := any.(type) {
		case *store.Collection[compute.Server]:
			f.servers = col
		case *store.Collection[compute.Host]:
			f.hosts = col
		}
	}
	made, err := c.demo.Compute.CreateServer(ctx, c.small(1))
	if err != nil {
		return nil, err
	}
	id := made.Servers[0].ID
	if err := c.Wait(ctx, operation.Resource{Kind: "server", ID: id}); err != nil {
		return nil, err
	}
	err = c.Store().Update(ctx, func(tx *store.Tx) error {
		if f.template, err = f.servers.Get(tx, id); err != nil {
			return err
		}
		seed, err := seedDocs().Get(tx, id)
		if err != nil {
			return err
		}
		f.seed = seed.Body
		for i := range hosts {
			h := &compute.Host{ID: hostID(i), Name: hostID(i), Type: "far", VCPUs: 1 << 20, MemoryMiB: 1 << 30, DiskGiB: 1 << 30, Zone: compute.DefaultZone, Disabled: true, CreatedAt: tx.Now(), UpdatedAt: tx.Now()}
			if err := f.hosts.Put(tx, h); err != nil {
				return err
			}
		}
		return nil
	})
	return f, err
}

func hostID(i int) string { return fmt.Sprintf("far-%d", i+1) }

// fill sees to it that n servers were filled in.
func (f *filler) fill(ctx context.Context, n int) error {
	const batch = 250
	for len(f.ids) < n {
		if f.left == 0 {
			if err := f.network(ctx); err != nil {
				return err
			}
		}
		k := min(batch, n-len(f.ids), f.left)
		var ids []string
		err := f.c.Store().Update(ctx, func(tx *store.Tx) error {
			ids = ids[:0]
			used := map[string]*ledgerDoc{}
			for i := range k {
				id, err := f.server(tx, hostID((len(f.ids)+i)%hosts), used)
				if err != nil {
					return err
				}
				ids = append(ids, id)
			}
			for _, l := range used {
				if err := ledgerDocs().Put(tx, l); err != nil {
					return err
				}
			}
			flavor := &f.template.Flavor
			return f.book.Count(tx, f.template.ProjectID, map[string]int64{"instances": int64(k), "cores": int64(k * flavor.VCPUs), "ram": int64(k) * flavor.MemoryMiB})
		})
		if err != nil {
			return err
		}
		f.ids = append(f.ids, ids...)
		f.left -= k
	}
	return nil
}

// network makes the next network to be filled.
func (f *filler) network(ctx context.Context) error {
	net := f.c.demo.Network
	n, err := net.CreateNetwork(ctx, network.CreateNetwork{Name: fmt.Sprintf("flat-%d", f.networks)})
	if err != nil {
		return err
	}
	cidr := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(f.networks / 64), byte(f.networks % 64 * 4), 0}), 22)
	if _, err = net.CreateSubnet(ctx, network.CreateSubnet{NetworkID: n.ID, CIDR: cidr}); err != nil {
		return err
	}
	f.networks++
	f.net, f.left = n.ID, perNetwork
	return nil
}

// server writes one with its port, seed and claim; used collects what hosts give.
func (f *filler) server(tx *store.Tx, host string, used map[string]*ledgerDoc) (string, error) {
	v := *f.template
	v.ID = tx.NewID()
	v.Generation, v.HostID, v.Host = 1, host, host
	v.CreatedAt, v.UpdatedAt, v.LaunchedAt = tx.Now(), tx.Now(), tx.Now()
	net := f.c.demo.Network
	p, err := net.CreatePort(tx.Context(), network.CreatePort{NetworkID: f.net, DeviceID: v.ID, DeviceOwner: "compute:" + compute.DefaultZone})
	if err != nil {
		return "", err
	}
	nic := f.template.NICs[0]
	nic.PortID, nic.NetworkID, nic.MAC = p.ID, p.NetworkID, p.MAC
	v.NICs = []compute.NIC{nic}
	if err := net.Bound(tx, p.ID, v.ID, host, 1, nic.Binding); err != nil {
		return "", err
	}
	if err := f.servers.Put(tx, &v); err != nil {
		return "", err
	}
	if err := seedDocs().Put(tx, &seedDoc{v.ID, f.seed}); err != nil {
		return "", err
	}
	need := scheduler.Resources{VCPUs: int64(v.Flavor.VCPUs), MemoryMiB: v.Flavor.MemoryMiB, DiskGiB: v.Flavor.DiskGiB + v.Flavor.EphemeralGiB}
	if err := claimDocs().Put(tx, &claimDoc{v.ID, 1, host, need}); err != nil {
		return "", err
	}
	l := used[host]
	if l == nil {
		if l, err = ledgerDocs().Get(tx, host); err != nil {
			l = &ledgerDoc{HostID: host}
		}
		used[host] = l
	}
	l.Servers++
	l.Used.VCPUs += need.VCPUs
	l.Used.MemoryMiB += need.MemoryMiB
	l.Used.DiskGiB += need.DiskGiB
	return v.ID, nil
}

// measure boots, alone and beside a round that compares ports with the network's provider, lists, shows and deletes.
func (f *filler) measure(ctx context.Context, n int) (p point, err error) {
	p.servers = len(f.ids)
	runtime.GC() // what filling left is not the calls' cost
	var ids []string
	boot := func(ctx context.Context, _ int) error {
		made, err := f.c.demo.Compute.CreateServer(ctx, f.c.small(1))
		if err != nil {
			return err
		}
		ids = append(ids, made.Servers[0].ID)
		return f.c.Wait(ctx, operation.Resource{Kind: "server", ID: ids[len(ids)-1]})
	}
	remove := func(ctx context.Context, _ int) error {
		id := ids[len(ids)-1]
		ids = ids[:len(ids)-1]
		if err := f.c.demo.Compute.DeleteServer(ctx, id); err != nil {
			return err
		}
		return f.c.Wait(ctx, operation.Resource{Kind: "server", ID: id})
	}
	timed := func(n int, call func(context.Context, int) error) (median, cpu float64, err error) {
		before, err := cpuTime(os.Getpid())
		if err != nil {
			return 0, 0, err
		}
		r, err := load(ctx, 1, time.Hour, int64(n), call)
		if err != nil {
			return 0, 0, err
		}
		us, err := perCall(os.Getpid(), before, r.n+1)
		return r.quantile(0.5), us / 1000, err
	}
	if p.boot, p.bootCPU, err = timed(n, boot); err != nil {
		return p, err
	}
	rounds, end := context.WithCancel(ctx)
	defer end()
	var lasted time.Duration
	over := make(chan error, 1)
	go func() {
		began := time.Now()
		err := f.c.As(identity.System()).Network.Reconcile(rounds)
		lasted = time.Since(began)
		over <- err
	}()
	if p.round, p.roundCPU, err = timed(n*4, boot); err != nil {
		return p, err
	}
	select {
	case err := <-over: // at the smallest sizes, after the first of them
		if err != nil {
			return p, err
		}
		p.lasts = fmt.Sprintf("took %s s", number(lasted.Seconds()))
	default:
		end()
		<-over
		p.lasts = fmt.Sprintf("went on when they were done, after %s s", number(lasted.Seconds()))
	}
	if p.page, _, err = timed(max(5, n/10), func(ctx context.Context, _ int) error {
		_, err := f.c.demo.Compute.ListServers(ctx, compute.ServerQuery{Limit: page})
		return err
	}); err != nil {
		return p, err
	}
	if p.show, _, err = timed(n*5, func(ctx context.Context, _ int) error {
		_, err := f.c.demo.Compute.GetServer(ctx, f.ids[rand.IntN(len(f.ids))])
		return err
	}); err != nil {
		return p, err
	}
	if p.del, p.delCPU, err = timed(n, remove); err != nil {
		return p, err
	}
	for len(ids) > 0 { // so that the next size is what it says
		if err := remove(ctx, 0); err != nil {
			return p, err
		}
	}
	return p, nil
}
