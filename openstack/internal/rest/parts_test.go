package rest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
)

func TestInParts(t *testing.T) {
	t.Parallel()
	join := func(some []int) ([]byte, error) {
		return []byte(strings.Trim(strings.ReplaceAll(fmt.Sprint(some), " ", ","), "[]")), nil
	}
	for _, n := range []int{0, 1, 99, 100, 250, 1001} {
		all := make([]int, n)
		for i := range all {
			all[i] = i
		}
		parts, err := InParts(all, join)
		require.NoError(t, err)
		require.Equal(t, plain(t, map[string]any{"all": all}), string(Encode(map[string]any{"all": parts})))
		require.Equal(t, plain(t, all), plain(t, parts))
	}
	all := make([]int, 1000)
	all[999] = 1
	last := func(f func() error) error {
		_, err := InParts(all, func(some []int) ([]byte, error) {
			if some[len(some)-1] == 1 {
				return nil, f()
			}
			return nil, nil
		})
		return err
	}
	wrong := errors.New("wrong")
	require.ErrorIs(t, last(func() error { return wrong }), wrong)
	err := last(func() error { panic("odd") })
	require.Equal(t, fault.Internal, fault.CodeOf(err))
	require.ErrorContains(t, err, "odd")
}
