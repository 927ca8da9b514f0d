package rest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/store"
)

// CountReplies returns how many replies the store keeps.
func CountReplies(t *testing.T, s *store.Store) (n int) {
	require.NoError(t, s.View(context.Background(), func(tx *store.Tx) error {
		list, err := replies.List(tx, store.Query[reply]{})
		n = len(list)
		return err
	}))
	return n
}
