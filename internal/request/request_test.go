package request_test

import (
	"bytes"
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/internal/request"
)

func TestHandlerAddsTheRequestID(t *testing.T) {
	t.Parallel()
	id := request.NewID()
	require.True(t, request.Valid(id))
	require.False(t, request.Valid("req-"))
	require.False(t, request.Valid(id+"\n"))

	var out bytes.Buffer
	log := slog.New(request.Handler(slog.NewTextHandler(&out, nil))).With("a", 1)
	log.InfoContext(request.WithID(context.Background(), id), "hello")
	require.Contains(t, out.String(), "request_id="+id)
	out.Reset()
	log.InfoContext(context.Background(), "hello")
	require.NotContains(t, out.String(), "request_id")
}
