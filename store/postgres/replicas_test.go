package postgres_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/compute/fakecompute"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/image/fakeimage"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/network/fakenetwork"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/postgres"
)

const replicaLease = 5 * time.Second

// site is what the replicas of one cloud share besides the database.
type site struct {
	t      testing.TB
	schema string
	key    []byte
	faults *inject.Plan
	hosts  []*fakecompute.Backend
	nets   *fakenetwork.Backend
	images *fakeimage.Backend
	seeded *cloud.Seeded
}

func newSite(t testing.TB) *site {
	return &site{t: t, schema: newSchema(t), key: store.NewKey(), faults: inject.NewPlan(clock.System(), 1), nets: fakenetwork.NewBackend(), images: fakeimage.NewBackend(),
		hosts: []*fakecompute.Backend{fakecompute.NewBackend(), fakecompute.NewBackend()}}
}

// replica starts one more process, as it were.
func (s *site) replica(name string) *cloud.Cloud {
	db := newStoreWith(s.t, open(s.t, postgres.Options{Schema: s.schema}), s.key)
	network, err := fakenetwork.New(fakenetwork.Options{Backend: s.nets, Faults: s.faults})
	require.NoError(s.t, err)
	images, err := fakeimage.New(fakeimage.Options{Backend: s.images, Faults: s.faults})
	require.NoError(s.t, err)
	o := cloud.Options{Store: db, Network: network, Images: images, PasswordCost: 4, Lease: replicaLease, Heartbeat: time.Second,
		Log: slog.New(slog.NewTextHandler(lines{s.t}, &slog.HandlerOptions{Level: slog.LevelError})).With("replica", name)}
	for i, b := range s.hosts {
		h, err := fakecompute.New(fakecompute.Options{Name: fmt.Sprint("host-", i), Backend: b, Faults: s.faults})
		require.NoError(s.t, err)
		o.Hypervisors = append(o.Hypervisors, compute.Hypervisor{Driver: h})
	}
	c, err := cloud.New(context.Background(), o)
	require.NoError(s.t, err)
	s.t.Cleanup(c.Kill)
	return c
}

type lines struct{ t testing.TB }

func (l lines) Write(p []byte) (int, error) { l.t.Logf("%s", p); return len(p), nil }

func newStoreWith(t testing.TB, d store.Driver, key []byte) *store.Store {
	s, err := store.New(d, store.Options{Key: key})
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func (s *site) demo(c *cloud.Cloud) *cloud.Client {
	return c.As(&identity.Principal{UserID: s.seeded.UserID, UserName: "demo", UserDomainID: identity.DefaultDomainID, ProjectID: s.seeded.ProjectID,
		ProjectName: "demo", ProjectDomainID: identity.DefaultDomainID, Roles: []string{identity.RoleMember, identity.RoleReader}})
}

func (s *site) boot(c *cloud.Cloud, name string) string {
	created, err := s.demo(c).Compute.CreateServer(context.Background(),
		compute.CreateServer{Name: name, FlavorID: "42", ImageID: s.seeded.ImageID, Networks: []compute.Network{{NetworkID: s.seeded.NetworkID}}})
	if err != nil {
		s.t.Error(err)
		return ""
	}
	return created.Servers[0].ID
}

// settle waits until no server is on its way and returns how many are ACTIVE.
func (s *site) settle(c *cloud.Cloud) (active int) {
	require.Eventually(s.t, func() bool {
		page, err := s.demo(c).Compute.ListServers(context.Background(), compute.ServerQuery{})
		if err != nil {
			return false
		}
		active = 0
		for _, v := range page.Servers {
			if v.TaskState != "" || v.VMState == compute.Building {
				return false
			}
			if v.VMState == compute.Active {
				active++
			}
		}
		return true
	}, time.Minute, 100*time.Millisecond)
	return active
}

func (s *site) guests() (n int) {
	for _, h := range s.hosts {
		list, err := h.Guests()
		require.NoError(s.t, err)
		n += len(list)
	}
	return n
}

// TestReplicas: three Clouds on one database boot servers at once; one dies in the middle of its work, and the others finish it within twice the lease.
func TestReplicas(t *testing.T) {
	t.Parallel()
	server(t)
	ctx := context.Background()
	s := newSite(t)
	all := []*cloud.Cloud{s.replica("a")}
	var err error
	s.seeded, err = all[0].Seed(ctx, cloud.Seed{AdminPassword: "a", UserPassword: "b", ImageName: "tiny",
		Image: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(make([]byte, 1<<20))), nil }})
	require.NoError(t, err)
	all = append(all, s.replica("b"), s.replica("c"))
	require.Equal(t, all[0].ID(), all[2].ID())
	boot := func(each int, clouds ...*cloud.Cloud) (ids []string) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		for r, c := range clouds {
			for i := range each {
				wg.Go(func() {
					id := s.boot(c, fmt.Sprint("vm-", r, "-", i))
					mu.Lock()
					ids = append(ids, id)
					mu.Unlock()
				})
			}
		}
		wg.Wait()
		return ids
	}
	boot(3, all...)
	require.Equal(t, 9, s.settle(all[1]))

	// Another replica's work wakes who waits here, and what was decided there counts here.
	id := boot(1, all[0])[0]
	require.NoError(t, waitFor(all[2], id))
	_, err = s.demo(all[1]).Compute.GetServer(ctx, id)
	require.NoError(t, err)

	// The death of a replica in the middle of its work.
	started := make(chan struct{})
	var once sync.Once
	s.faults.Fail(inject.Rule{Method: "Define", Latency: time.Second, Hold: func() { once.Do(func() { close(started) }) }})
	dying := boot(4, all[0])
	<-started
	all[0].Kill()
	killed := clock.System() // runs from here
	for _, id := range dying {
		require.NoError(t, waitFor(all[1], id))
	}
	took := killed.Mono()
	t.Logf("the work of a dead replica was finished after %v; its lease is %v", took, replicaLease)
	require.Less(t, took, 2*replicaLease+2*time.Second, "twice the lease, and the boots themselves")
	require.Equal(t, 14, s.settle(all[2]))
	require.Equal(t, 14, s.guests())

	// Deletes at two replicas at once: each happens once.
	page, err := s.demo(all[1]).Compute.ListServers(ctx, compute.ServerQuery{})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for i, v := range page.Servers {
		for _, c := range all[1:] {
			wg.Go(func() { s.demo(c).Compute.DeleteServer(ctx, v.ID) })
		}
		if i%4 == 3 {
			wg.Wait()
		}
	}
	wg.Wait()
	require.Eventually(t, func() bool { return s.guests() == 0 }, time.Minute, 100*time.Millisecond)
	require.Eventually(t, func() bool {
		page, err := s.demo(all[1]).Compute.ListServers(ctx, compute.ServerQuery{})
		return err == nil && len(page.Servers) == 0
	}, time.Minute, 100*time.Millisecond)
	for _, c := range all[1:] {
		found, err := c.Check(ctx)
		require.NoError(t, err)
		require.Empty(t, found)
		leaks, err := c.As(identity.System()).Image.Leaks(ctx)
		require.NoError(t, err)
		require.Empty(t, leaks)
	}
}

// waitFor waits for the latest operation of a server at one replica.
func waitFor(c *cloud.Cloud, server string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var op *operation.Operation
	err := c.Store().View(ctx, func(tx *store.Tx) (err error) {
		op, err = operation.Active(tx, operation.Resource{Kind: "server", ID: server})
		return err
	})
	if err != nil || op == nil {
		return err
	}
	done, err := operation.Wait(ctx, c.Store(), op.ID)
	if err == nil && done.State != operation.Done {
		err = fmt.Errorf("server %s: %s: %v", server, done.State, done.Failure)
	}
	return err
}
