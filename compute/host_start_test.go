package compute_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/image/fakeimage"
	"github.com/nubecula/cloud/internal/witness"
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
	e.start(fakeimage.NewBackend())
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
			e.start(fakeimage.NewBackend())
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
