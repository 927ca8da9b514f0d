package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/openstack"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/chaos"
)

var requirements = []requirement{
	{"creates against a quota", true, quota},
	{"creates against the room of the hosts", true, room},
	{"ports against the addresses of a /28", true, addresses},
	{"creates, commits of unknown outcome: each once", true, unknown},
	{"deletes of one server: one", false, deletes},
	{"creates with one Idempotency-Key over HTTP: one", false, once},
}

// given counts the successes; each failure must have the code.
func given(errs []error, code fault.Code) (n int, err error) {
	for _, e := range errs {
		switch {
		case e == nil:
			n++
		case fault.CodeOf(e) != code:
			err = fmt.Errorf("an answer is %w", e)
		}
	}
	return n, err
}

// quota: as many as the quota allows are accepted and arrive, the others are told so at once.
func quota(ctx context.Context, c *inside, n int) (f figures, err error) {
	f = figures{asked: n, wanted: min(n-1, 77)}
	if _, err := c.admin.Compute.UpdateQuota(ctx, c.seeded.ProjectID, map[string]int64{"instances": int64(f.wanted)}, true); err != nil {
		return f, err
	}
	errs := at(n, func(i int) error {
		_, err := c.demo.Compute.CreateServer(ctx, c.small(fmt.Sprint("q", i)))
		return err
	})
	if f.got, err = given(errs, fault.Quota); err != nil {
		return f, err
	}
	if err := c.settle(ctx); err != nil {
		return f, err
	}
	set, err := c.admin.Compute.GetQuota(ctx, c.seeded.ProjectID)
	if err == nil && set["instances"].Used != int64(f.wanted) {
		err = fmt.Errorf("the quota says that %d are used", set["instances"].Used)
	}
	return f, errors.Join(err, c.states(ctx, f.wanted, 0))
}

// states compares how many servers are ACTIVE and in ERROR, the latter for want of a host.
func (c *inside) states(ctx context.Context, active, failed int) (err error) {
	all, err := c.servers(ctx)
	if err != nil {
		return err
	}
	count := map[compute.Status]int{}
	for _, s := range all {
		count[s.Status()]++
		if s.Status() == compute.StatusError && (s.Fault == nil || !strings.Contains(s.Fault.Message, "No valid host was found")) {
			err = fmt.Errorf("server %s is in ERROR without the reason: %+v", s.Name, s.Fault)
		}
	}
	if count[compute.StatusActive] != active || count[compute.StatusError] != failed || len(all) != active+failed {
		err = errors.Join(err, fmt.Errorf("%v servers, not %d ACTIVE and %d ERROR", count, active, failed))
	}
	return err
}

// room: as many as the hosts hold become ACTIVE, the others ERROR; every machine is exactly full.
func room(ctx context.Context, c *inside, n int) (f figures, err error) {
	f = figures{asked: n, wanted: min(n, 4*vcpus*hosts)}
	errs := at(n, func(i int) error {
		_, err := c.demo.Compute.CreateServer(ctx, c.small(fmt.Sprint("r", i)))
		return err
	})
	if err := errors.Join(errs...); err != nil {
		return f, err
	}
	if err := c.settle(ctx); err != nil {
		return f, err
	}
	all, err := c.servers(ctx)
	for _, s := range all {
		if s.Status() == compute.StatusActive {
			f.got++
		}
	}
	err = errors.Join(err, c.states(ctx, f.wanted, n-f.wanted))
	guests := 0
	for _, m := range c.machines {
		used, err2 := m.Used()
		if used.VCPUs > 4*vcpus {
			err2 = fmt.Errorf("a machine has guests with %d vCPUs, more than %d", used.VCPUs, 4*vcpus)
		}
		err = errors.Join(err, err2)
		guests += used.Guests
	}
	if guests != f.wanted {
		err = errors.Join(err, fmt.Errorf("the machines have %d guests", guests))
	}
	return f, err
}

// addresses: a /28 has 16, of which network, broadcast and gateway are not for ports.
func addresses(ctx context.Context, c *inside, n int) (f figures, err error) {
	f = figures{asked: n, wanted: min(n, 13)}
	nw, err := c.demo.Network.CreateNetwork(ctx, network.CreateNetwork{Name: "small"})
	if err != nil {
		return f, err
	}
	if _, err := c.demo.Network.CreateSubnet(ctx, network.CreateSubnet{NetworkID: nw.ID, CIDR: netip.MustParsePrefix("10.66.0.0/28")}); err != nil {
		return f, err
	}
	errs := at(n, func(int) error {
		_, err := c.demo.Network.CreatePort(ctx, network.CreatePort{NetworkID: nw.ID})
		return err
	})
	if f.got, err = given(errs, fault.Exhausted); err != nil {
		return f, err
	}
	ports, err := c.demo.Network.ListPorts(ctx, network.PortFilter{})
	seen := map[netip.Addr]bool{}
	for _, p := range ports {
		for _, ip := range p.Fixed {
			if seen[ip.Addr] {
				err = fmt.Errorf("%s was given twice", ip.Addr)
			}
			seen[ip.Addr] = true
		}
	}
	if len(seen) != f.wanted {
		err = errors.Join(err, fmt.Errorf("%d addresses are in use", len(seen)))
	}
	return f, errors.Join(err, c.settle(ctx))
}

// unknown: a commit whose outcome nobody knows happens once, whether it had happened already, never would, or was late.
func unknown(ctx context.Context, c *inside, n int) (f figures, err error) {
	n = min(n, 100) // no more than the hosts have room for
	f = figures{asked: n, wanted: n}
	stats := c.Store().Stats()
	before := stats.Unknown.Load()
	for _, r := range []inject.Rule{{Err: store.ErrUnknown}, {Err: store.ErrUnknown, When: inject.After}, {Err: chaos.ErrLate}, {Err: chaos.ErrFenced}, {Err: store.ErrConflict}} {
		r.Driver, r.Method, r.Chance = "store", "Commit", 0.1
		c.faults.Fail(r)
	}
	errs := at(f.wanted, func(i int) error {
		_, err := c.demo.Compute.CreateServer(ctx, c.small(fmt.Sprint("u", i)))
		return err
	})
	err = errors.Join(append(errs, c.settle(ctx))...)
	c.faults.Clear()
	all, err2 := c.servers(ctx)
	names := map[string]int{}
	for _, s := range all {
		names[s.Name]++
	}
	f.got = len(names)
	started, err3 := c.told(ctx, "compute.instance.create.start")
	ended, err4 := c.told(ctx, "compute.instance.create.end")
	err = errors.Join(err, err2, err3, err4)
	if len(all) != f.wanted || started != f.wanted || ended != f.wanted {
		err = errors.Join(err, fmt.Errorf("%d servers, %d events of a beginning, %d of an end", len(all), started, ended))
	}
	if stats.Unknown.Load() == before {
		err = errors.Join(err, errors.New("no commit had an unknown outcome"))
	}
	set, err5 := c.admin.Compute.GetQuota(ctx, c.seeded.ProjectID)
	if err5 == nil && set["instances"].Used != int64(f.wanted) {
		err5 = fmt.Errorf("the quota says that %d are used", set["instances"].Used)
	}
	return f, errors.Join(err, err5)
}

// deletes: one of them has an effect; each of the others hears that it is being deleted, or that there is none.
func deletes(ctx context.Context, c *inside, n int) (f figures, err error) {
	f = figures{asked: n, wanted: 1}
	made, err := c.demo.Compute.CreateServer(ctx, c.small("one"))
	if err != nil {
		return f, err
	}
	if err := c.settle(ctx); err != nil {
		return f, err
	}
	id := made.Servers[0].ID
	errs := at(n, func(int) error { return c.demo.Compute.DeleteServer(ctx, id) })
	heard, err := given(errs, fault.NotFound)
	if heard == 0 {
		err = errors.Join(err, errors.New("nobody was told that it is deleted"))
	}
	err = errors.Join(err, c.settle(ctx))
	f.got, _ = c.told(ctx, "compute.instance.delete.start")
	ends, err2 := c.told(ctx, "compute.instance.delete.end")
	removed := 0
	for _, m := range c.machines {
		removed += m.Counts(id).Undefines
	}
	all, err3 := c.servers(ctx)
	if ends != 1 || removed != 1 || len(all) != 0 {
		err = errors.Join(err, fmt.Errorf("%d events of an end, %d guests removed, %d servers left", ends, removed, len(all)))
	}
	return f, errors.Join(err, err2, err3)
}

// once: one request that is sent many times makes one server, and all get the same answer.
func once(ctx context.Context, c *inside, n int) (f figures, err error) {
	f = figures{asked: n, wanted: 1}
	api := httptest.NewServer(openstack.Handler(c.Cloud, nil))
	defer api.Close()
	token, _, err := c.As(nil).Identity.Authenticate(ctx, identity.AuthRequest{
		Password: &identity.PasswordAuth{UserName: "demo", DomainID: identity.DefaultDomainID, Password: demoPassword},
		Scope:    &identity.ScopeRequest{ProjectName: "demo", DomainID: identity.DefaultDomainID},
	})
	if err != nil {
		return f, err
	}
	body := fmt.Sprintf(`{"server":{"name":"once","flavorRef":"42","imageRef":%q,"networks":[{"uuid":%q}]}}`, c.seeded.ImageID, c.seeded.NetworkID)
	answers := make([]string, n)
	errs := at(n, func(i int) error {
		req, err := http.NewRequestWithContext(ctx, "POST", api.URL+"/compute/v2.1/servers", strings.NewReader(body))
		if err != nil {
			return err
		}
		for k, v := range map[string]string{"X-Auth-Token": token, "Content-Type": "application/json", "Idempotency-Key": "the-only-one"} {
			req.Header.Set(k, v)
		}
		resp, err := api.Client().Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		answers[i] = fmt.Sprintf("%d %s %s", resp.StatusCode, resp.Header.Get("Location"), text)
		return err
	})
	err = errors.Join(errs...)
	for _, a := range answers {
		if a != answers[0] || !strings.HasPrefix(a, "202 ") {
			err = errors.Join(err, fmt.Errorf("two answers: %s and %s", answers[0], a))
			break
		}
	}
	err = errors.Join(err, c.settle(ctx))
	all, err2 := c.servers(ctx)
	f.got = len(all)
	started, err3 := c.told(ctx, "compute.instance.create.start")
	if started != 1 {
		err = errors.Join(err, fmt.Errorf("%d events of a beginning", started))
	}
	return f, errors.Join(err, err2, err3)
}
