// Package request carries the id of an API call through contexts: from the
// HTTP handler through operations and driver calls to events and log records.
package request

import (
	"context"
	"log/slog"

	"github.com/nubecula/cloud/internal/id"
)

type key struct{}

// NewID returns a request id in OpenStack's form: "req-" and a UUID.
func NewID() string { return "req-" + id.Random() }

// WithID returns a context that carries a request id.
func WithID(ctx context.Context, id string) context.Context { return context.WithValue(ctx, key{}, id) }

// ID returns the request id that ctx carries, or "".
func ID(ctx context.Context) string {
	s, _ := ctx.Value(key{}).(string)
	return s
}

// Attr is the log attribute of ctx's request id.
func Attr(ctx context.Context) slog.Attr { return slog.String("request_id", ID(ctx)) }
