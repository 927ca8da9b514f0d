package cloudtest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
)

// A Cloud that cannot start leaves nothing behind that goes on calling drivers, at whichever commit it failed.
// Found by seed 1012 of internal/simulate: heartbeats and watches of hosts went on.
func TestAFailedStartEndsWhatItBegan(t *testing.T) {
	t.Parallel()
	env := New(t)
	failed := 0
	for n := range 10 {
		env.Kill()
		// Each from there on: which of them heartbeats make, and which the start itself, differs from run to run.
		remove := env.Fail(inject.Rule{Driver: "store", Method: "Commit", From: n + 1, Err: fault.New(fault.Internal, "no")})
		err := env.main.Restart()
		remove()
		if err == nil { // a heartbeat failed, or nothing did
			continue
		}
		failed++
		env.clock.Advance(2 * time.Hour)
		_, more := env.clock.Next()
		require.False(t, more, "a failure from commit %d on leaves a loop behind", n+1)
	}
	require.Positive(t, failed)
}
