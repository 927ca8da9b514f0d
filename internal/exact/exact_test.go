package main

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
)

// TestExact is the command with fewer clients.
func TestExact(t *testing.T) {
	t.Parallel()
	for _, database := range []string{"memory", "sqlite"} {
		for _, r := range requirements {
			t.Run(database+"/"+r.name, func(t *testing.T) {
				t.Parallel()
				f, err := measure(database, r, 110, 20)
				require.NoError(t, err, "%+v; go run ./internal/exact -store %s", f, database)
			})
		}
	}
}

func TestGivenCountsWhatWasRefusedForAnotherReason(t *testing.T) {
	t.Parallel()
	n, err := given([]error{nil, fault.New(fault.Exhausted, "full"), nil}, fault.Exhausted)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	_, err = given([]error{nil, errors.New("odd")}, fault.Exhausted)
	require.ErrorContains(t, err, "odd")
}
