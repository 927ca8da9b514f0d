// Package request carries the id of an API call in its context, so that one
// id leads from the call through operation and driver to log lines and events.
package request

import (
	"context"
	"log/slog"
	"strings"

	"github.com/nubecula/cloud/internal/id"
)

type key struct{}

// NewID returns a new id in OpenStack's form: "req-" and a UUID.
func NewID() string { return "req-" + id.Random() }

// Valid reports whether text has the form of NewID, as clients send it to tie calls together.
func Valid(text string) bool {
	rest, ok := strings.CutPrefix(text, "req-")
	return ok && len(rest) == 36 && id.IsUUID(rest)
}

// WithID returns a context that carries a request id.
func WithID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, key{}, id)
}

// ID returns the request id that a context carries, or "".
func ID(ctx context.Context) string {
	id, _ := ctx.Value(key{}).(string)
	return id
}

// Handler wraps a slog handler: records logged with a context that carries a request id get the attribute request_id.
// One that is wrapped already is returned as it is.
func Handler(h slog.Handler) slog.Handler {
	if _, ok := h.(handler); ok {
		return h
	}
	return handler{h}
}

type handler struct{ slog.Handler }

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	if id := ID(ctx); id != "" {
		r = r.Clone()
		r.AddAttrs(slog.String("request_id", id))
	}
	return h.Handler.Handle(ctx, r)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs)}
}

func (h handler) WithGroup(name string) slog.Handler { return handler{h.Handler.WithGroup(name)} }
