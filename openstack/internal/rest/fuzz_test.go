package rest_test

import (
	"context"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/openstack/internal/rest"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
)

// FuzzFrame sends paths, queries and headers that nobody would; the answer is never a failure of ours.
func FuzzFrame(f *testing.F) {
	f.Add("/compute/v2.1/things/a%2Fb", "limit=1&sort=id:asc", "compute 2.5, volume 3", "k")
	f.Add("//identity/v3/", "marker=%zz", "compute latest", "")
	f.Add("/image/versions", "changes-since=2026-01-02", "2.1", "a b")
	s, err := store.New(memory.New(nil), store.Options{Key: store.NewKey()})
	require.NoError(f, err)
	f.Cleanup(func() { s.Close() })
	handle := func(_ context.Context, r *rest.Request) (*rest.Response, error) {
		p, err := r.Page(10, "id", "name")
		if err != nil {
			return nil, err
		}
		part, _, err := rest.Cut([]string{"a", "b", "c"}, p, func(s string) string { return s })
		if err != nil {
			return nil, err
		}
		if _, err := r.Flag("all", false); err != nil {
			return nil, err
		}
		if _, err := rest.ParseTime("changes-since", r.Query.Get("changes-since")); err != nil {
			return nil, err
		}
		return rest.OK(map[string]any{"id": r.Value("id"), "part": part, "next": r.Next("x", 1), "first": r.First()}), nil
	}
	routes := []rest.Route{{Method: "GET", Path: "/things/{id}", Handle: handle}, {Method: "POST", Path: "/things/{id}", Handle: handle}}
	frame, err := rest.New(rest.Config{Store: s, APIs: []rest.API{
		{Service: rest.Identity, Routes: routes},
		{Service: rest.Compute, Min: rest.V(2, 1), Max: rest.V(2, 96), Routes: append([]rest.Route{}, routes...)},
		{Service: rest.Image, Routes: append([]rest.Route{}, routes...)},
	}, Authenticate: func(context.Context, string) (*identity.Principal, error) {
		return &identity.Principal{UserID: "u"}, nil
	}})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, path, query, version, key string) {
		for _, method := range []string{"GET", "HEAD", "POST"} {
			r := httptest.NewRequest(method, "/", nil)
			r.Header.Set("X-Auth-Token", "t")
			r.Header.Set("OpenStack-API-Version", version)
			r.Header.Set("Idempotency-Key", key)
			r.URL = &url.URL{Path: path, RawQuery: query}
			w := httptest.NewRecorder()
			frame.ServeHTTP(w, r)
			require.Less(t, w.Code, 500, "%s %q %q", method, path, query)
		}
	})
}
