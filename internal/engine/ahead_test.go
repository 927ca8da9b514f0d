package engine_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// A step that is done ahead is committed with the submission and runs no more; one that is not leaves no trace, and an error fails
// the submission.
func TestAhead(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	p := r.start(engine.Options{Workers: 1})
	var ran []string
	var answer error
	k := engine.Register(p.Engine, engine.Kind[job]{
		Name: "record.ahead", Version: 1,
		Steps: []engine.Step[job]{
			{Name: "first",
				Ahead: func(tx *store.Tx, r *engine.Run[job]) (bool, error) {
					r.State.Place = "ahead"
					r.Note("why", r.State.Name)
					return r.State.Name == "quick", answer
				},
				Do: func(_ context.Context, r *engine.Run[job]) error {
					ran = append(ran, r.State.Name+" finds "+r.State.Place)
					r.State.Place = "step"
					return nil
				}},
			{Name: "second", Do: func(_ context.Context, r *engine.Run[job]) error {
				ran = append(ran, r.State.Name+" is placed by "+r.State.Place)
				return nil
			}},
		},
	})
	submit := func(id string) (op *operation.Operation, err error) {
		err = p.s.Update(t.Context(), func(tx *store.Tx) (err error) {
			op, err = k.Submit(tx, engine.Request{Resource: operation.Resource{Kind: "record", ID: id}}, job{Name: id})
			return err
		})
		return op, err
	}
	quick, err := submit("quick")
	require.NoError(t, err)
	require.Equal(t, "second", quick.Step())
	require.Equal(t, `"quick"`, string(quick.Notes["why"]))
	require.Equal(t, "first", quick.Log[0].Step)
	settle(t, r.clock, p)
	slow, err := submit("slow")
	require.NoError(t, err)
	require.Equal(t, "first", slow.Step())
	require.Empty(t, slow.Notes)
	require.Empty(t, slow.Log)
	settle(t, r.clock, p)
	require.Equal(t, []string{"quick is placed by ahead", "slow finds ", "slow is placed by step"}, ran)

	answer = fault.New(fault.Conflict, "no")
	for _, id := range []string{"quick2", "slow2"} {
		_, err = submit(id)
		require.ErrorIs(t, err, answer)
	}
}
