package rest_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/openstack/internal/rest"
	"github.com/nubecula/cloud/store"
)

func (l *lab) count() int {
	n := 0
	require.NoError(l.t, l.store.View(context.Background(), func(tx *store.Tx) error {
		list, err := notes.List(tx, store.Query[note]{})
		n = len(list)
		return err
	}))
	return n
}

func TestOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	const path, body = "/compute/v2.1/notes", `{"note":{"text":"x"}}`
	first := l.do("POST", path, body, "Idempotency-Key", "k1")
	require.Equal(t, 202, first.status)
	require.Empty(t, first.header.Get("Idempotent-Replayed"))
	again := l.do("POST", path, body, "Idempotency-Key", "k1")
	require.Equal(t, 202, again.status)
	require.Equal(t, first.text, again.text)
	require.Equal(t, first.header.Get("Location"), again.header.Get("Location"))
	require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
	require.NotEqual(t, first.header.Get("X-Openstack-Request-Id"), again.header.Get("X-Openstack-Request-Id"))
	require.Equal(t, 1, l.count())

	// another body, another query, version or header that counts is another request
	for _, a := range []answer{
		l.do("POST", path, `{"note":{"text":"y"}}`, "Idempotency-Key", "k1"),
		l.do("POST", path+"?x=1", body, "Idempotency-Key", "k1"),
		l.do("POST", path, body, "Idempotency-Key", "k1", "OpenStack-API-Version", "compute 2.5"),
		l.do("POST", path, body, "Idempotency-Key", "k1", "X-Subject-Token", "another"),
		l.do("POST", path, body, "Idempotency-Key", "k1", "If-Match", "revision_number=2"),
	} {
		require.Equal(t, 409, a.status)
		require.Contains(t, a.text, "Idempotency-Key")
	}
	require.Equal(t, 1, l.count())

	// another project has its own keys
	require.Empty(t, l.do("POST", path, body, "Idempotency-Key", "k1", "X-Auth-Token", "token-q").header.Get("Idempotent-Replayed"))
	require.Equal(t, 2, l.count())

	// nothing is kept of a failure, and nothing of its effect
	bad := l.do("POST", path, `{"note":{"text":"bad"}}`, "Idempotency-Key", "k2")
	require.Equal(t, 409, bad.status)
	require.Equal(t, 2, l.count())
	require.Equal(t, 202, l.do("POST", path, body, "Idempotency-Key", "k2").status)

	// after its time a key is new
	l.clock.Advance(24 * time.Hour)
	late := l.do("POST", path, `{"note":{"text":"y"}}`, "Idempotency-Key", "k1")
	require.Equal(t, 202, late.status)
	require.Empty(t, late.header.Get("Idempotent-Replayed"))

	require.Equal(t, 400, l.do("POST", path, body, "Idempotency-Key", "two words").status)
	require.Equal(t, 400, l.do("POST", path, body, "Idempotency-Key", "").status)
}

func TestOnceAtTheSameTime(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	var wg sync.WaitGroup
	texts := make([]string, 16)
	for i := range texts {
		wg.Go(func() {
			texts[i] = l.do("POST", "/compute/v2.1/notes", `{"note":{"text":"x"}}`, "Idempotency-Key", "k").text
		})
	}
	wg.Wait()
	for _, text := range texts {
		require.Equal(t, texts[0], text)
	}
	require.Equal(t, 1, l.count())
}

func TestOldRepliesArePruned(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	for _, key := range []string{"a", "b", "c"} {
		l.do("POST", "/compute/v2.1/notes", `{"note":{"text":"x"}}`, "Idempotency-Key", key)
	}
	require.Equal(t, 3, rest.CountReplies(t, l.store))
	l.clock.Advance(25 * time.Hour)
	l.do("POST", "/compute/v2.1/notes", `{"note":{"text":"x"}}`, "Idempotency-Key", "d")
	require.Equal(t, 1, rest.CountReplies(t, l.store))
}
