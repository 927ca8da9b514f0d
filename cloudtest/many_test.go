package cloudtest_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/cloudtest"
	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
)

// TestManyShareNothing has two hundred environments at once do the same with the same names, every second of them
// with a fault, every third with a crash: each sees its own server, addresses, hosts and faults alone.
func TestManyShareNothing(t *testing.T) {
	t.Parallel()
	const many = 200
	ids := map[string]int{} // of clouds, projects, servers, and tokens
	var mu sync.Mutex
	own := func(i int, list ...string) {
		mu.Lock()
		defer mu.Unlock()
		for _, x := range list {
			if other, ok := ids[x]; ok {
				t.Errorf("environments %d and %d both have %s", i, other, x)
			}
			ids[x] = i
		}
	}
	var all sync.WaitGroup
	booted := make(chan struct{}) // closed when all of them are up
	var up sync.WaitGroup
	up.Add(many)
	for i := range many {
		all.Go(func() {
			arrived := sync.OnceFunc(up.Done)
			defer arrived() // also after a failure
			env := cloudtest.New(t, cloudtest.Options{Seed: uint64(i + 1), Log: slog.New(slog.DiscardHandler)})
			if i%2 == 1 {
				env.Fail(inject.Rule{Method: "Define", Err: fault.New(fault.Exhausted, "disk full in %d", i)})
			}
			arrived()
			<-booted
			id := env.Boot("web")
			if i%3 == 0 {
				env.Crash()
			}
			env.Settle()
			alone(t, i, env, id)
			own(i, env.Cloud.ID(), id, env.Seeded.ProjectID, env.DemoToken())
		})
	}
	up.Wait()
	close(booted)
	all.Wait()
	require.Len(t, ids, 4*many)
}

// alone checks that the i-th environment holds its own server and the fate that was meant for it.
func alone(t *testing.T, i int, env *cloudtest.Env, id string) {
	s, guests := env.Server(id), 0
	for _, h := range env.Hosts {
		held, err := h.Guests()
		assert.NoError(t, err)
		guests += len(held)
	}
	if i%2 == 1 {
		assert.Equal(t, compute.StatusError, s.Status())
		assert.Contains(t, s.Fault.Message, fmt.Sprintf("disk full in %d", i))
		assert.Zero(t, guests)
	} else {
		assert.Equal(t, compute.StatusActive, s.Status())
		assert.Equal(t, "10.0.0.2", s.Addresses[0].Addr.String())
		assert.Equal(t, 1, guests)
	}
	page, err := env.Admin().Compute.ListServers(context.Background(), compute.ServerQuery{AllProjects: true})
	assert.NoError(t, err)
	assert.Len(t, page.Servers, 1)
	env.NoLeaks()
	env.Check()
}
