package compute_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/compute/fakecompute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/internal/witness"
	"github.com/nubecula/cloud/store/chaos"
)

func witnessed(o *compute.Options) {
	o.Witness, _ = witness.New(context.Background(), o.Store, o.CloudID, o.Log)
}

// TestStartTogether: the hosts that answer at a start are registered together, not in a transaction each.
func TestStartTogether(t *testing.T) {
	t.Parallel()
	const n = 40
	e := newEnv(t, config{hosts: n, options: witnessed})
	e.svc.Kill()
	e.engine.Kill()
	e.start()
	for i := range n {
		require.True(t, e.host(i).Up)
	}
	require.Less(t, e.store.Stats().Updates.Load(), int64(10))
}

// TestStartWithHungHost: hosts that answer are registered while one does not return; Start gives it up in time.
func TestStartWithHungHost(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"Host", "Remember"} {
		e := newEnv(t, config{options: witnessed})
		e.svc.Kill()
		e.engine.Kill()
		admin, run := e.admin, e.host(0).Run
		e.faults.Fail(inject.Rule{Driver: "host-1", Method: method, Hang: true})
		began := e.clock.Mono()
		started := make(chan struct{})
		go func() {
			e.start()
			close(started)
		}()
		heard := func() (names []string) {
			list, err := admin.ListHosts(e.ctx)
			require.NoError(t, err)
			for _, h := range list {
				if h.Run != run {
					names = append(names, h.Name)
				}
			}
			return names
		}
		for len(heard()) < 2 {
			if next, ok := e.clock.Next(); ok && next <= 100*time.Millisecond {
				e.clock.Advance(next)
			}
		}
		require.Less(t, e.clock.Mono()-began, time.Second)
		e.clock.Advance(30 * time.Second)
		<-started
		require.Equal(t, []string{"host-2", "host-3"}, heard())
	}
}

// restartFailing ends the process as kill -9 would and starts another, in which the first calls of a method fail at every host.
func restartFailing(e *env, method string, times int) {
	e.svc.Kill()
	e.engine.Kill()
	for i := range e.hosts {
		e.faults.Fail(inject.Rule{Driver: hostName(i), Method: method, Times: times})
	}
	e.start()
}

// TestUnheardAtStart: who creates a server when no host has answered yet waits for one, instead of being told that there is none.
func TestUnheardAtStart(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"Host", "Remember"} {
		for _, known := range []bool{true, false} {
			cfg := config{options: witnessed}
			if !known {
				cfg.hosts = -1
			}
			e := newEnv(t, cfg)
			if !known {
				e.hosts = append(e.hosts, fakecompute.NewBackend())
			}
			restartFailing(e, method, 1)
			v := e.create(e.request("early"))
			e.rest()
			require.Equal(t, compute.Scheduling, e.get(v.ID).TaskState)
			require.Contains(t, e.log.String(), "hosts that might take the server have not answered since this process started")
			began := e.clock.Mono()
			e.settle()
			require.Equal(t, compute.StatusActive, e.get(v.ID).Status(), "%+v", e.get(v.ID).Fault)
			require.Less(t, e.clock.Mono()-began, 5*time.Second)
			e.sound()
		}
	}
}

// TestSilentSinceStart: a server is refused once the hosts that do not answer count as down, and at once if they could not take it either.
func TestSilentSinceStart(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	restartFailing(e, "Host", 1000)
	huge := e.request("huge")
	huge.FlavorID = "3"
	v := e.create(huge)
	e.rest()
	require.Equal(t, compute.StatusError, e.get(v.ID).Status())

	began := e.clock.Mono()
	v = e.boot("late")
	require.Equal(t, compute.StatusError, v.Status())
	require.Contains(t, v.Fault.Message, "No valid host was found")
	require.Contains(t, v.Fault.Message, "it has not answered since this process started")
	require.Greater(t, e.clock.Mono()-began, 55*time.Second)
	require.Less(t, e.clock.Mono()-began, 75*time.Second)
	e.sound()
}

// TestAnswersUnrecorded: hosts whose answers the store does not take are asked again soon, and the log does not say that they are silent.
func TestAnswersUnrecorded(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.svc.Kill()
	e.engine.Kill()
	plan := inject.NewPlan(e.clock, 1)
	var once sync.Once
	full := inject.Rule{Method: "Commit", Err: fault.New(fault.Exhausted, "the disk is full"), Times: 1}
	e.faults.Fail(inject.Rule{Method: "Host", Hold: func() { once.Do(func() { plan.Fail(full) }) }})
	e.db = chaos.New(e.db, &chaos.Options{Faults: plan})
	e.start()
	require.False(t, e.host(0).Up)
	require.Contains(t, e.log.String(), "hosts answer, but the store does not record it")
	require.NotContains(t, e.log.String(), "a host does not answer")
	e.advance(2 * time.Second)
	require.True(t, e.host(0).Up)
}

// odd is a driver whose host reports nonsense.
type odd struct{ computedriver.Hypervisor }

func (o odd) Host(ctx context.Context) (computedriver.Host, error) {
	h, err := o.Hypervisor.Host(ctx)
	h.MemoryMiB = -1
	return h, err
}

// TestOddHost: a host that reports nonsense takes no servers; those beside it do.
func TestOddHost(t *testing.T) {
	t.Parallel()
	e := newEnv(t, config{options: func(o *compute.Options) { o.Hypervisors[0].Driver = odd{o.Hypervisors[0].Driver} }})
	for _, name := range []string{"a", "b", "c", "d"} {
		v := e.boot(name)
		require.Equal(t, compute.StatusActive, v.Status())
		require.NotEqual(t, "host-1", v.Host)
	}
}
