package engine_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

func (p *replica) submitFor(t *testing.T, project string, n int) {
	for i := range n {
		id := fmt.Sprintf("%s%d", project, i)
		require.NoError(t, p.s.Update(context.Background(), func(tx *store.Tx) error {
			if err := records.Insert(tx, &record{ID: id, Status: "new"}); err != nil {
				return err
			}
			_, err := p.make.Submit(tx, engine.Request{Resource: operation.Resource{Kind: "record", ID: id}, ProjectID: project}, job{Name: id})
			return err
		}))
	}
}

func (p *replica) until(ok func(engine.Load) bool) {
	for !ok(p.Load()) {
		<-p.note
	}
}

// TestProjectsTakeTurns: with one worker, an operation of a quiet project is next after the one under way, and
// those of two busy projects alternate.
func TestProjectsTakeTurns(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	first, release := make(chan struct{}), make(chan struct{})
	hold := sync.OnceFunc(func() { close(first); <-release })
	r.w.hang = func(string) { hold() }
	p := r.start(engine.Options{Workers: 1})
	p.submitFor(t, "a", 20)
	<-first
	p.submitFor(t, "b", 3)
	p.submitFor(t, "c", 1)
	require.Equal(t, 23, p.Load().Queued)
	close(release)
	p.until(func(l engine.Load) bool { return l == engine.Load{} })
	var order string
	for _, name := range r.w.made {
		order += name[:1]
	}
	require.Equal(t, "aabcabab"+strings.Repeat("a", 16), order)
}

// TestHangingProjectLeavesWorkers: operations of one project that all hang do not take the last workers.
func TestHangingProjectLeavesWorkers(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	release := make(chan struct{})
	r.w.hang = func(name string) {
		if name[:1] == "a" {
			<-release
		}
	}
	p := r.start(engine.Options{Workers: 16})
	p.submitFor(t, "a", 40)
	p.until(func(l engine.Load) bool { return l.Running == 14 && l.Queued == 26 })
	p.submitFor(t, "b", 5)
	p.until(func(l engine.Load) bool { return l.Running == 14 && l.Queued == 26 })
	for i := range 5 {
		require.Equal(t, "readyp1", r.status(p, fmt.Sprintf("b%d", i)))
	}
	close(release)
	p.until(func(l engine.Load) bool { return l == engine.Load{} })
	require.Equal(t, "readyp1", r.status(p, "a39"))
}
