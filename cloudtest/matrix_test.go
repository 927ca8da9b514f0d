package cloudtest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/image"
	"github.com/nubecula/cloud/network"
)

// The crash matrix: each kind of operation is run once undisturbed; then again with a fault at each call of a
// driver and a crash at each commit that the first run made. Whatever happens, after Settle the resource is in one
// of the final states that its scenario allows, nothing is leaked, and every ledger equals its recount.

// scenario drives one kind of operation.
type scenario struct {
	kind    string
	name    string                               // "" is that of the kind
	prepare func(e *Env) (id string)             // what must be there before
	act     func(e *Env, id string) error        // submits the operation; an error is allowed when faults are
	final   func(e *Env, id string) (bad string) // "" when the state is one it may end in
	clean   func(e *Env, id string) (bad string) // the same for a run without faults
}

func status(e *Env, id string) string {
	s, err := e.Admin().Compute.GetServer(e.ctx(), id)
	if fault.Is(err, fault.NotFound) {
		return "gone"
	}
	e.must(err)
	return string(s.Status())
}

// oneOf allows some statuses of the server whose id prepare returned.
func oneOf(allowed ...string) func(*Env, string) string {
	return func(e *Env, id string) string {
		if got := status(e, id); !slices.Contains(allowed, got) {
			return fmt.Sprintf("server is %s, not one of %v", got, allowed)
		}
		return ""
	}
}

func booted(e *Env) string {
	id := e.Boot("vm")
	e.Settle()
	return id
}

func stopped(e *Env) string {
	id := booted(e)
	e.must(e.Demo().Compute.StopServer(e.ctx(), id))
	e.Settle()
	return id
}

// theServer finds the one server there may be, by name, since a crash may have swallowed its id.
func theServer(e *Env) []*compute.Server {
	page, err := e.Admin().Compute.ListServers(e.ctx(), compute.ServerQuery{AllProjects: true})
	e.must(err)
	return page.Servers
}

func created(allowed ...string) func(*Env, string) string {
	return func(e *Env, _ string) string {
		for _, s := range theServer(e) {
			if !slices.Contains(allowed, string(s.Status())) {
				return fmt.Sprintf("server is %s, not one of %v", s.Status(), allowed)
			}
			if s.Status() == compute.StatusError && (s.Fault == nil || s.Fault.Message == "") {
				return "server is in ERROR without a fault"
			}
		}
		return ""
	}
}

func imageStatus(allowed ...image.Status) func(*Env, string) string {
	return func(e *Env, id string) string {
		i, err := e.Admin().Image.Get(e.ctx(), id)
		if fault.Is(err, fault.NotFound) {
			if slices.Contains(allowed, "gone") {
				return ""
			}
			return "image is gone"
		}
		e.must(err)
		if !slices.Contains(allowed, i.Status) {
			return fmt.Sprintf("image is %s, not one of %v", i.Status, allowed)
		}
		return ""
	}
}

func queued(e *Env) string {
	i, err := e.Demo().Image.Create(e.ctx(), image.CreateRequest{Name: "i", DiskFormat: "raw", ContainerFormat: "bare"})
	e.must(err)
	return i.ID
}

func upload(e *Env, id string) error {
	_, err := e.Demo().Image.Upload(e.ctx(), id, image.UploadRequest{Body: bytes.NewReader(make([]byte, 100_000))})
	return err
}

func someNetwork(e *Env) string {
	n, err := e.Demo().Network.CreateNetwork(e.ctx(), network.CreateNetwork{Name: "n"})
	e.must(err)
	e.Settle()
	return n.ID
}

func networkIs(want ...string) func(*Env, string) string {
	return func(e *Env, id string) string {
		got := "gone"
		n, err := e.Demo().Network.GetNetwork(e.ctx(), id)
		if err == nil {
			got = n.Status
		} else if !fault.Is(err, fault.NotFound) {
			return err.Error()
		}
		if !slices.Contains(want, got) {
			return fmt.Sprintf("network is %s, not one of %v", got, want)
		}
		return ""
	}
}

var scenarios = []scenario{
	{kind: "server.create", prepare: func(e *Env) string { return "" },
		act: func(e *Env, _ string) error {
			_, err := e.Demo().Compute.CreateServer(e.ctx(), e.Small("vm"))
			return err
		},
		clean: created("ACTIVE"), final: created("ACTIVE", "ERROR")},
	// Of several servers the quota allows one: where more are asked for, each is placed by the step, not as it is accepted.
	{kind: "server.create", name: "server.create-several", prepare: func(e *Env) string {
		_, err := e.Admin().Compute.UpdateQuota(e.ctx(), e.Seeded.ProjectID, map[string]int64{"instances": 1}, false)
		e.must(err)
		return ""
	},
		act: func(e *Env, _ string) error {
			req := e.Small("vm")
			req.MinCount, req.MaxCount = 1, 2
			_, err := e.Demo().Compute.CreateServer(e.ctx(), req)
			return err
		},
		clean: created("ACTIVE"), final: created("ACTIVE", "ERROR")},
	{kind: "server.delete", prepare: booted,
		act:   func(e *Env, id string) error { return e.Demo().Compute.DeleteServer(e.ctx(), id) },
		clean: oneOf("gone"), final: oneOf("gone", "ACTIVE")},
	{kind: "server.stop", prepare: booted,
		act:   func(e *Env, id string) error { return e.Demo().Compute.StopServer(e.ctx(), id) },
		clean: oneOf("SHUTOFF"), final: oneOf("SHUTOFF", "ACTIVE")},
	{kind: "server.start", prepare: stopped,
		act:   func(e *Env, id string) error { return e.Demo().Compute.StartServer(e.ctx(), id) },
		clean: oneOf("ACTIVE"), final: oneOf("SHUTOFF", "ACTIVE")},
	{kind: "server.reboot", prepare: booted,
		act:   func(e *Env, id string) error { return e.Demo().Compute.RebootServer(e.ctx(), id, compute.Soft) },
		clean: oneOf("ACTIVE"), final: oneOf("ACTIVE", "SHUTOFF")},
	{kind: "server.reboot-hard", prepare: booted,
		act:   func(e *Env, id string) error { return e.Demo().Compute.RebootServer(e.ctx(), id, compute.Hard) },
		clean: oneOf("ACTIVE"), final: oneOf("ACTIVE", "SHUTOFF")},
	{kind: "image.upload", prepare: queued, act: upload,
		clean: imageStatus(image.Active), final: imageStatus(image.Active, image.Queued)},
	{kind: "image.delete", prepare: func(e *Env) string { id := queued(e); e.must(upload(e, id)); return id },
		act:   func(e *Env, id string) error { return e.Demo().Image.Delete(e.ctx(), id) },
		clean: imageStatus("gone"), final: imageStatus("gone", image.Active)},
	{kind: "network.apply", prepare: someNetwork,
		act: func(e *Env, id string) error {
			_, err := e.Demo().Network.CreateSubnet(e.ctx(), network.CreateSubnet{NetworkID: id, CIDR: netip.MustParsePrefix("10.9.0.0/24")})
			return err
		},
		clean: networkIs(network.Active), final: networkIs(network.Active)},
	{kind: "network.remove", prepare: someNetwork,
		act:   func(e *Env, id string) error { return e.Demo().Network.DeleteNetwork(e.ctx(), id) },
		clean: networkIs("gone"), final: networkIs("gone", network.Active)},
}

// A kind that is registered has a scenario.
func TestEveryKindHasAScenario(t *testing.T) {
	t.Parallel()
	for _, line := range New(t).Cloud.Engine().Kinds() {
		name := strings.Fields(line)[0]
		require.True(t, slices.ContainsFunc(scenarios, func(s scenario) bool { return s.kind == name }), "kind %s has no scenario in the crash matrix", name)
	}
}

func TestMatrix(t *testing.T) {
	t.Parallel()
	for _, s := range scenarios {
		t.Run(cmp.Or(s.name, s.kind), func(t *testing.T) {
			t.Parallel()
			calls, commits := s.undisturbed(t)
			for _, c := range calls {
				for _, f := range faults {
					t.Run(fmt.Sprintf("%s#%d/%s", c.method, c.nth, f.name), func(t *testing.T) { t.Parallel(); s.faulty(t, c, f) })
				}
				for _, when := range []inject.When{inject.Before, inject.After} {
					t.Run(fmt.Sprintf("%s#%d/crash-%d", c.method, c.nth, when), func(t *testing.T) { t.Parallel(); s.crashInCall(t, c, when) })
				}
				t.Run(fmt.Sprintf("%s#%d/frozen", c.method, c.nth), func(t *testing.T) { t.Parallel(); s.frozenInCall(t, c) })
			}
			for n := 1; n <= commits; n++ {
				for _, after := range []bool{false, true} {
					t.Run(fmt.Sprintf("commit#%d/crash-after=%t", n, after), func(t *testing.T) { t.Parallel(); s.crashAtCommit(t, n, after) })
				}
			}
		})
	}
}

// call is the n-th call of a method of a driver; driver is "" for those of whichever host was picked.
type call struct {
	driver, method string
	nth            int
}

// faults is what can happen to a call, by the rule that makes it so.
var faults = []struct {
	name string
	rule inject.Rule
}{
	{"unavailable", inject.Rule{}},
	{"lost-reply", inject.Rule{When: inject.After}},
	{"internal", inject.Rule{Err: fault.New(fault.Internal, "disk on fire")}},
	{"internal-after", inject.Rule{When: inject.After, Err: fault.New(fault.Internal, "disk on fire")}},
	{"exhausted", inject.Rule{Err: fault.New(fault.Exhausted, "no room")}},
	{"exhausted-after", inject.Rule{When: inject.After, Err: fault.New(fault.Exhausted, "no room")}},
	{"hang", inject.Rule{Hang: true}},
	{"hang-after", inject.Rule{Hang: true, When: inject.After}},
}

// observed are the methods that only look: their failure is a host's or the sweep's business.
var observed = []string{"Host", "Guests", "Networks", "Images", "Remember"}

// undisturbed runs the scenario, with every effect and closure twice, and returns what happened in it.
func (s scenario) undisturbed(t *testing.T) (calls []call, commits int) {
	e := New(t)
	id := s.prepare(e)
	e.must(s.run(e, id))
	s.verify(e, id, s.clean)

	e = New(t, Options{Once: true})
	id = s.prepare(e)
	before, start := len(e.Faults.Calls()), e.Commits()
	e.must(s.run(e, id))
	seen := map[string]int{}
	for _, c := range e.Faults.Calls()[before:] {
		if c.Driver == "store" || slices.Contains(observed, c.Method) {
			continue
		}
		seen[c.Method]++
		driver := c.Driver
		if strings.HasPrefix(driver, "host-") {
			driver = ""
		}
		calls = append(calls, call{driver, c.Method, seen[c.Method]})
	}
	require.NotEmpty(t, calls, "the scenario calls no driver")
	return calls, e.Commits() - start
}

// run acts and lets everything settle, going on in another process whenever one has died.
func (s scenario) run(e *Env, id string) error {
	acted := make(chan error, 1)
	go func() { acted <- s.act(e, id); e.poke() }()
	err := errors.New("still at it")
	for done := false; ; {
		select {
		case err = <-acted:
			done = true
		default:
		}
		settled := e.settle()
		if e.Crashed() {
			e.Restart()
			continue
		}
		if settled != nil {
			return settled
		}
		if done {
			return err
		}
		select {
		case err = <-acted:
			done = true
		case <-e.wake:
		}
	}
}

func (s scenario) verify(e *Env, id string, state func(*Env, string) string) {
	e.t.Helper()
	e.Faults.Clear()
	e.Advance(reconciled)
	e.Settle()
	if bad := state(e, id); bad != "" {
		e.t.Error(bad)
	}
	e.NoLeaks()
	e.Check()
}

func (s scenario) faulty(t *testing.T, c call, f struct {
	name string
	rule inject.Rule
}) {
	for _, once := range []bool{true, false} {
		e := New(t, Options{Once: once})
		id := s.prepare(e)
		r := f.rule
		r.Driver, r.Method, r.Nth = c.driver, c.method, c.nth
		e.Fail(r)
		s.tolerant(e, id)
		s.verify(e, id, s.final)
	}
}

// tolerant runs; the request itself may be refused.
func (s scenario) tolerant(e *Env, id string) {
	e.t.Helper()
	if err := s.run(e, id); err != nil {
		require.NotContains(e.t, err.Error(), "do not end")
	}
}

func (s scenario) crashInCall(t *testing.T, c call, when inject.When) {
	e := New(t, Options{Once: true})
	id := s.prepare(e)
	e.Fail(inject.Rule{Driver: c.driver, Method: c.method, Nth: c.nth, When: when, Do: e.Kill, Err: errors.New("the caller is dead")})
	s.tolerant(e, id)
	s.verify(e, id, s.final)
}

func (s scenario) crashAtCommit(t *testing.T, n int, after bool) {
	e := New(t, Options{Once: true})
	id := s.prepare(e)
	e.CrashAtCommit(n, after)
	s.tolerant(e, id)
	e.CrashAtCommit(0, after) // commits share groups, so there may have been fewer this time
	s.verify(e, id, s.final)
}

// frozenInCall stops the process inside a call; another takes over and finishes; then the first wakes up.
func (s scenario) frozenInCall(t *testing.T, c call) {
	e := New(t, Options{Once: true, Shared: true})
	id := s.prepare(e)
	held := make(chan struct{})
	asleep, thaw := context.WithCancel(context.Background())
	defer thaw()
	e.Fail(inject.Rule{Driver: c.driver, Method: c.method, Nth: c.nth, Hold: func() {
		close(held)
		e.clock.Sleep(asleep, -1)
	}})
	acted := make(chan struct{})
	go func() { s.act(e, id); close(acted) }()
	select {
	case <-held:
	case <-acted: // what it began may wait for the clock first, as a pass over a network does
		for waiting := true; waiting; {
			select {
			case <-held:
				waiting = false
			default:
				e.Advance(time.Second)
			}
		}
	}
	e.frozen = 1
	wake := e.TakeOver()
	e.Advance(reconciled)
	e.Settle()
	thaw()
	e.frozen = 0
	wake()
	e.Settle()
	<-acted
	s.verify(e, id, s.final)
}
