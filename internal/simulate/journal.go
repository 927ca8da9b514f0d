package main

import (
	"context"
	"log/slog"
	"strings"
)

// journal is the log of the simulated cloud: it looks for what must never be logged, and passes the rest on to the
// one who listens to the story.
type journal struct {
	w     *world
	attrs []slog.Attr
}

func (j *journal) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

func (j *journal) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	put := func(a slog.Attr) bool {
		b.WriteString(" " + a.Key + "=" + a.Value.String())
		return true
	}
	for _, a := range j.attrs {
		put(a)
	}
	r.Attrs(put)
	text := b.String()
	for _, never := range []string{"panic in step", "is not pure", "cannot be read"} {
		if strings.Contains(text, never) {
			j.w.bad("log", "%s", text)
		}
	}
	j.w.say("log: %s", text)
	return nil
}

func (j *journal) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &journal{j.w, append(j.attrs[:len(j.attrs):len(j.attrs)], attrs...)}
}

func (j *journal) WithGroup(string) slog.Handler { return j }
