package rest_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/openstack/internal/rest"
)

// holding is a frame whose calls of /hold are at work until release is closed; began tells of each.
func holding(t *testing.T, limits rest.Limits) (l *lab, began chan string, release chan struct{}) {
	began, release = make(chan string, 64), make(chan struct{})
	hold := func(_ context.Context, r *rest.Request) (*rest.Response, error) {
		who := "nobody"
		if r.Principal != nil {
			who = r.Principal.ProjectID
		}
		began <- who
		<-release
		return rest.OK(map[string]any{"held": true}), nil
	}
	l = newLab(t, func(c *rest.Config) {
		c.Limits = limits
		for i := range c.APIs {
			c.APIs[i].Routes = append(c.APIs[i].Routes, rest.Route{Method: "POST", Path: "/hold", Handle: hold}, rest.Route{Method: "GET", Path: "/hold", Handle: hold},
				rest.Route{Method: "POST", Path: "/login", Public: true, Handle: hold}, rest.Route{Method: "PUT", Path: "/hold", Stream: true, Handle: hold})
		}
	})
	return l, began, release
}

func TestTooManyCalls(t *testing.T) {
	t.Parallel()
	l, began, release := holding(t, rest.Limits{Writes: 2, Waiting: 1})
	ended := make(chan answer)
	go func() { ended <- l.do("POST", "/compute/v2.1/hold", "{}") }()
	require.Equal(t, "p", <-began)
	for path, want := range map[string]string{
		"/compute/v2.1/hold": `{"overLimit":{"code":429,"message":"there are 1 other calls of yours here`,
		"/v3/hold":           `{"error":{"code":429,"message":"there are 1 other calls of yours here`,
		"/network/v2.0/hold": `{"NeutronError":{"detail":"","message":"there are 1 other calls of yours here`,
		"/image/v2/hold":     `{"code":"429 Too Many Requests","message":"there are 1 other calls of yours here`,
	} {
		a := l.do("POST", path, "{}")
		require.Equal(t, 429, a.status, path)
		require.Equal(t, "1", a.header.Get("Retry-After"), path)
		require.True(t, strings.HasPrefix(a.text, want), a.text)
	}
	require.Contains(t, l.do("POST", "/compute/v2.1/hold", "{}").text, `"retryAfter":"1"`)
	require.Contains(t, l.do("POST", "/network/v2.0/hold", "{}").text, `"type":"HTTPTooManyRequests"`)
	// What it reads, and what others write, goes on.
	require.Equal(t, 200, l.do("GET", "/compute/v2.1/notes/1", "").status)
	go func() { ended <- l.do("POST", "/compute/v2.1/hold", "{}", "X-Auth-Token", "token-q") }()
	require.Equal(t, "q", <-began)
	close(release)
	for range 2 {
		require.Equal(t, 200, (<-ended).status)
	}
	require.Equal(t, 200, l.do("POST", "/compute/v2.1/hold", "{}").status, "there is room again")
}

// TestSortsDoNotStarveEachOther: reads, logins and streams have pools of their own.
func TestSortsDoNotStarveEachOther(t *testing.T) {
	t.Parallel()
	l, began, release := holding(t, rest.Limits{Reads: 1, Writes: 1, Logins: 1, Streams: 1, Waiting: 1})
	ended := make(chan answer)
	for _, method := range []string{"GET", "POST", "PUT"} {
		go func() { ended <- l.do(method, "/compute/v2.1/hold", "") }()
		require.Equal(t, "p", <-began)
	}
	go func() { ended <- l.do("POST", "/compute/v2.1/login", "") }()
	require.Equal(t, "nobody", <-began)
	for _, method := range []string{"GET", "POST", "PUT"} {
		require.Equal(t, 429, l.do(method, "/compute/v2.1/hold", "").status, method)
	}
	require.Equal(t, 429, l.do("POST", "/compute/v2.1/login", "").status)
	require.Equal(t, 200, l.do("GET", "/v3", "").status, "discovery is free")
	close(release)
	for range 4 {
		require.Equal(t, 200, (<-ended).status)
	}
}

func TestMemoryForBodies(t *testing.T) {
	t.Parallel()
	l, began, release := holding(t, rest.Limits{Bodies: 100})
	ended := make(chan answer)
	go func() { ended <- l.do("POST", "/compute/v2.1/hold", strings.Repeat(" ", 60)) }()
	<-began
	a := l.do("POST", "/compute/v2.1/hold", strings.Repeat(" ", 60), "X-Auth-Token", "token-q")
	require.Equal(t, 503, a.status)
	require.Equal(t, "1", a.header.Get("Retry-After"))
	require.Contains(t, a.text, "the bodies of other calls")
	close(release)
	require.Equal(t, 200, (<-ended).status)
	require.Equal(t, 200, l.do("POST", "/compute/v2.1/hold", strings.Repeat(" ", 60)).status)
}
