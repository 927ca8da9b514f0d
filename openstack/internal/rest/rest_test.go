package rest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/request"
	"github.com/nubecula/cloud/openstack/internal/rest"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
)

type note struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

var notes = store.Define(store.Spec[note]{Kind: "note", Version: 1, ID: func(n *note) string { return n.ID }})

// lab is a frame with one API that keeps notes.
type lab struct {
	t     *testing.T
	url   string
	clock *clock.Manual
	store *store.Store
	log   *bytes.Buffer
	// stalled is closed when the route /stall has lost its client.
	stalled chan struct{}
}

func newLab(t *testing.T, change func(*rest.Config)) *lab {
	l := &lab{t: t, clock: clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)), log: &bytes.Buffer{}, stalled: make(chan struct{})}
	var err error
	l.store, err = store.New(memory.New(&memory.Options{Clock: l.clock}), store.Options{Key: store.NewKey(), Clock: l.clock, Rerun: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.store.Close()) })
	cfg := rest.Config{
		Store: l.store, Clock: l.clock,
		Log: slog.New(request.Handler(slog.NewTextHandler(l.log, nil))),
		Authenticate: func(_ context.Context, token string) (*identity.Principal, error) {
			project, ok := strings.CutPrefix(token, "token-")
			if !ok {
				return nil, fault.New(fault.Unauthenticated, "no such token")
			}
			return &identity.Principal{UserID: "u", ProjectID: project}, nil
		},
		APIs: []rest.API{
			{Service: rest.Identity, Routes: []rest.Route{{Method: "GET", Path: "/things/{id}", Handle: failing}}},
			{Service: rest.Compute, Min: rest.V(2, 1), Max: rest.V(2, 37), Routes: l.routes()},
			{Service: rest.Image, Routes: []rest.Route{
				{Method: "GET", Path: "/things/{id}", Handle: failing},
				{Method: "GET", Path: "/data", Handle: func(context.Context, *rest.Request) (*rest.Response, error) {
					return &rest.Response{Stream: io.NopCloser(strings.NewReader("abc")), Size: 5}, nil
				}},
			}},
			{Service: rest.Network, Routes: []rest.Route{
				{Method: "GET", Path: "/security-groups", Handle: failing},
				{Method: "GET", Path: "/things/{id}", Handle: failing},
			}},
		},
	}
	if change != nil {
		change(&cfg)
	}
	f, err := rest.New(cfg)
	require.NoError(t, err)
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	l.url = srv.URL
	return l
}

// failing answers with the fault that the id of the path names.
func failing(_ context.Context, r *rest.Request) (*rest.Response, error) {
	var c fault.Code
	_ = c.UnmarshalText([]byte(r.Value("id")))
	return nil, (&fault.Error{Code: c, Msg: "secret of the inside"}).About("thing", "t1")
}

func (l *lab) routes() []rest.Route {
	return []rest.Route{
		{Method: "POST", Path: "/notes", Handle: func(ctx context.Context, r *rest.Request) (*rest.Response, error) {
			in, err := rest.Wrapped[note](r, "note", rest.Strict)
			if err != nil {
				return nil, err
			}
			err = l.store.Update(ctx, func(tx *store.Tx) error {
				in.ID = tx.NewID()
				return notes.Insert(tx, in)
			})
			if in.Text == "bad" {
				return nil, fault.New(fault.Conflict, "no")
			}
			return rest.Accepted(map[string]any{"note": in}).With("Location", r.URL("/notes/"+in.ID)), err
		}},
		{Method: "GET", Path: "/notes/{id}", Handle: func(_ context.Context, r *rest.Request) (*rest.Response, error) {
			return rest.OK(map[string]any{"id": r.Value("id"), "links": r.Links("/notes/x"), "version": r.Version.String()}), nil
		}},
		{Method: "GET", Path: "/notes/detail", Handle: func(_ context.Context, r *rest.Request) (*rest.Response, error) {
			return rest.OK(map[string]any{"id": "DETAIL"}), nil
		}},
		{Method: "GET", Path: "/old", Until: rest.V(2, 35), Handle: func(context.Context, *rest.Request) (*rest.Response, error) { return rest.NoContent(), nil }},
		{Method: "GET", Path: "/things/{id}", Handle: failing},
		{Method: "GET", Path: "/panic", Handle: func(context.Context, *rest.Request) (*rest.Response, error) { panic("boom") }},
		{Method: "PUT", Path: "/stall", Stream: true, Handle: func(_ context.Context, r *rest.Request) (*rest.Response, error) {
			_, err := io.ReadAll(r.Stream)
			close(l.stalled)
			return nil, err
		}},
	}
}

type answer struct {
	status int
	header http.Header
	text   string
	json   map[string]any
}

// do sends a request; headers are pairs.
func (l *lab) do(method, path, body string, headers ...string) answer {
	l.t.Helper()
	req, err := http.NewRequest(method, l.url+path, strings.NewReader(body))
	require.NoError(l.t, err)
	req.Header.Set("X-Auth-Token", "token-p")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	require.NoError(l.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(l.t, err)
	a := answer{status: resp.StatusCode, header: resp.Header, text: string(text)}
	_ = json.Unmarshal(text, &a.json)
	require.True(l.t, request.Valid(resp.Header.Get("X-Openstack-Request-Id")), resp.Header)
	return a
}

func TestDiscovery(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	for path, want := range map[string]struct {
		status int
		part   string
	}{
		"/":               {300, `"href":"` + l.url + `/v3/"`},
		"/v3":             {200, `"version":{"id":"v3.14"`},
		"/v3/":            {200, `"status":"stable"`},
		"/identity":       {300, `"href":"` + l.url + `/identity/v3/"`},
		"/identity/v3":    {200, `"version":{`},
		"/compute":        {200, `"version":"2.37"`},
		"/compute/v2.1/":  {200, `"min_version":"2.1"`},
		"/image":          {300, `"status":"CURRENT"`},
		"/image/versions": {200, `"versions":[`},
		"/image/v2/":      {200, `"versions":[`},
		"/network/":       {200, `"id":"v2.0"`},
		"/network/v2.0":   {200, `{"collection":"security_groups","links":[{"rel":"self","href":"` + l.url + `/network/v2.0/security-groups"}],"name":"security_group"}`},
	} {
		a := l.do("GET", path, "", "X-Auth-Token", "")
		require.Equal(t, want.status, a.status, path)
		require.Contains(t, a.text, want.part, path)
		h := l.do("HEAD", path, "", "X-Auth-Token", "")
		require.Equal(t, want.status, h.status, path)
		require.Empty(t, h.text)
		require.Equal(t, 405, l.do("POST", path, "").status, path)
	}
}

func TestPublicURL(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	require.Contains(t, l.do("GET", "/compute/v2.1/notes/1", "", "X-Forwarded-Proto", "https").text, `"https://`)
	l = newLab(t, func(c *rest.Config) { c.PublicURL = "https://cloud.example/" })
	require.Contains(t, l.do("GET", "/compute/v2.1/notes/1", "").text, `"https://cloud.example/compute/v2.1/notes/x"`)
	require.Contains(t, l.do("GET", "/compute/v2.1/notes/1", "").text, `"https://cloud.example/compute/notes/x"`)
	_, err := rest.New(rest.Config{PublicURL: "nonsense", APIs: []rest.API{{Service: "dance"}}})
	require.ErrorContains(t, err, "nonsense")
	require.ErrorContains(t, err, "dance")
}

func TestRouting(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	require.Equal(t, "DETAIL", l.do("GET", "/compute/v2.1/notes/detail", "").json["id"])
	require.Equal(t, "a/b c", l.do("GET", "/compute//v2.1/notes/a%2Fb%20c/", "").json["id"])
	a := l.do("DELETE", "/compute/v2.1/notes/7", "")
	require.Equal(t, 405, a.status)
	require.Equal(t, "GET, HEAD", a.header.Get("Allow"))
	require.Contains(t, a.json, "badMethod")
	for path, key := range map[string]string{"/nothing": "error", "/compute/v2.1/nothing": "itemNotFound", "/compute/v9": "itemNotFound",
		"/image/v2/nothing": "title", "/network/v2.0/nothing": "NeutronError"} {
		a := l.do("GET", path, "")
		require.Equal(t, 404, a.status, path)
		require.Contains(t, a.json, key, path)
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	for _, token := range []string{"", "wrong"} {
		a := l.do("GET", "/compute/v2.1/notes/1", "", "X-Auth-Token", token)
		require.Equal(t, 401, a.status)
		require.Equal(t, `Keystone uri="`+l.url+`/identity"`, a.header.Get("WWW-Authenticate"))
		require.Contains(t, a.json, "error")
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	for _, c := range []struct {
		code                              string
		identity, compute, image, network int
		nova, neutron                     string
	}{
		{"invalid", 400, 400, 400, 400, "badRequest", "HTTPBadRequest"},
		{"denied", 403, 403, 403, 403, "forbidden", "PolicyNotAuthorized"},
		{"not found", 404, 404, 404, 404, "itemNotFound", "ThingNotFound"},
		{"conflict", 409, 409, 409, 409, "conflictingRequest", "ThingInUse"},
		{"quota", 403, 403, 413, 409, "forbidden", "OverQuota"},
		{"exhausted", 503, 503, 413, 409, "serviceUnavailable", "IpAddressGenerationFailure"},
		{"unavailable", 503, 503, 503, 503, "serviceUnavailable", "HTTPInternalServerError"},
		{"unsupported", 501, 501, 501, 501, "notImplemented", "HTTPNotImplemented"},
		{"too large", 413, 413, 413, 413, "overLimit", "HTTPRequestEntityTooLarge"},
		{"internal", 500, 500, 500, 500, "computeFault", "HTTPInternalServerError"},
		{"corrupt", 500, 500, 500, 500, "computeFault", "HTTPInternalServerError"},
	} {
		path := "/things/" + strings.ReplaceAll(c.code, " ", "%20")
		a := l.do("GET", "/v3"+path, "")
		require.Equal(t, c.identity, a.status, c.code)
		require.EqualValues(t, c.identity, a.json["error"].(map[string]any)["code"])
		a = l.do("GET", "/compute/v2.1"+path, "")
		require.Equal(t, c.compute, a.status, c.code)
		require.Contains(t, a.json, c.nova)
		require.Equal(t, a.header.Get("X-Openstack-Request-Id"), a.header.Get("X-Compute-Request-Id"))
		hidden := c.compute == 500 || c.code == "unavailable"
		require.Equal(t, !hidden, strings.Contains(a.text, "secret of the inside"), a.text)
		require.Equal(t, hidden, strings.Contains(a.text, a.header.Get("X-Openstack-Request-Id")), a.text)
		a = l.do("GET", "/image/v2"+path, "")
		require.Equal(t, c.image, a.status, c.code)
		require.Contains(t, a.json["code"], http.StatusText(c.image))
		a = l.do("GET", "/network/v2.0"+path, "")
		require.Equal(t, c.network, a.status, c.code)
		require.Equal(t, c.neutron, a.json["NeutronError"].(map[string]any)["type"])
	}
	html := l.do("GET", "/image/v2/things/invalid", "", "Accept", "text/html")
	require.Contains(t, html.header.Get("Content-Type"), "text/html")
	require.Contains(t, l.log.String(), "secret of the inside")
}

func TestMicroversions(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	get := func(headers ...string) answer { return l.do("GET", "/compute/v2.1/notes/1", "", headers...) }
	for want, headers := range map[string][]string{
		"2.1":  nil,
		"2.12": {"OpenStack-API-Version", "compute 2.12"},
		"2.37": {"OpenStack-API-Version", "volume 3.1, compute latest"},
		"2.5":  {"X-OpenStack-Nova-API-Version", "2.5"},
		"2.3":  {"X-OpenStack-Nova-API-Version", "2.5", "OpenStack-API-Version", "compute 2.3"},
	} {
		a := get(headers...)
		require.Equal(t, want, a.json["version"])
		require.Equal(t, "compute "+want, a.header.Get("OpenStack-API-Version"))
		require.Equal(t, want, a.header.Get("X-OpenStack-Nova-API-Version"))
		require.Equal(t, []string{"OpenStack-API-Version", "X-OpenStack-Nova-API-Version"}, a.header.Values("Vary"))
	}
	for _, v := range []string{"2.38", "3.0", "1.0", "2.999999"} {
		require.Equal(t, 406, get("OpenStack-API-Version", "compute "+v).status, v)
	}
	for _, v := range []string{"2", "2.01", "two", "2.1.1", "-2.1", "2.99999999999999999999"} {
		require.Equal(t, 400, get("OpenStack-API-Version", "compute "+v).status, v)
	}
	require.Equal(t, 204, l.do("GET", "/compute/v2.1/old", "", "OpenStack-API-Version", "compute 2.35").status)
	require.Equal(t, 404, l.do("GET", "/compute/v2.1/old", "", "OpenStack-API-Version", "compute 2.36").status)
}

func TestLimits(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rest.Config) { c.MaxBody = 64 })
	require.Equal(t, 202, l.do("POST", "/compute/v2.1/notes", `{"note":{"text":"x"}}`).status)
	require.Equal(t, 413, l.do("POST", "/compute/v2.1/notes", `{"note":{"text":"`+strings.Repeat("x", 64)+`"}}`).status)

	// a body without a declared length
	pr, pw := io.Pipe()
	go func() {
		_, _ = pw.Write(bytes.Repeat([]byte(" "), 65))
		pw.Close()
	}()
	req, err := http.NewRequest("POST", l.url+"/compute/v2.1/notes", pr)
	require.NoError(t, err)
	req.Header.Set("X-Auth-Token", "token-p")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 413, resp.StatusCode)
}

// stuck sends headers and half a body, and reports what the server answers once the clock has moved.
func (l *lab) stuck(method, path string, d time.Duration) int {
	pr, pw := io.Pipe()
	defer pw.Close()
	go func() { _, _ = pw.Write([]byte("{")) }()
	req, err := http.NewRequest(method, l.url+path, pr)
	require.NoError(l.t, err)
	req.Header.Set("X-Auth-Token", "token-p")
	done, answered := make(chan int), make(chan struct{})
	go func() {
		resp, err := http.DefaultClient.Do(req)
		close(answered)
		if err != nil {
			done <- -1
			return
		}
		resp.Body.Close()
		done <- resp.StatusCode
	}()
	for {
		select {
		case <-answered:
			return <-done
		case <-l.stalled:
			return <-done
		default:
			l.clock.Advance(d)
		}
	}
}

func TestSlowClients(t *testing.T) {
	t.Parallel()
	// the answer has more time than this clock can pass while it is sent
	patient := newLab(t, func(c *rest.Config) { c.Stall = 1e6 * time.Hour })
	require.Equal(t, 408, patient.stuck("POST", "/compute/v2.1/notes", time.Minute))
	require.Equal(t, 500, newLab(t, nil).stuck("PUT", "/compute/v2.1/stall", 10*time.Second))
}

func TestPanicAndBrokenDownload(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	a := l.do("GET", "/compute/v2.1/panic", "")
	require.Equal(t, 500, a.status)
	require.NotContains(t, a.text, "boom")
	req, err := http.NewRequest("GET", l.url+"/image/v2/data", nil)
	require.NoError(t, err)
	req.Header.Set("X-Auth-Token", "token-p")
	resp, err := http.DefaultClient.Do(req)
	if err == nil { // the headers may have come through
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	require.Error(t, err)
}

func TestAccessRecord(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	global := request.NewID()
	a := l.do("POST", "/compute/v2.1/notes?x=query", `{"note":{"text":"in the body"}}`, "X-OpenStack-Request-ID", global)
	require.NotEqual(t, global, a.header.Get("X-Openstack-Request-Id"))
	l.do("GET", "/compute/v2.1/nothing", "", "X-OpenStack-Request-ID", "req-\"evil")
	text := l.log.String()
	require.Contains(t, text, "method=POST path=/compute/v2.1/notes status=202 took=0s global_request_id="+global+" user_id=u project_id=p request_id="+a.header.Get("X-Openstack-Request-Id"))
	require.NotContains(t, text, "token-p")
	require.NotContains(t, text, "in the body")
	require.NotContains(t, text, "query")
	require.NotContains(t, text, "evil")
}
