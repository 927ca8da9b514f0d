package keystone_test

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

	"github.com/gophercloud/gophercloud/v2"
	gopher "github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/openstack/internal/keystone"
	"github.com/nubecula/cloud/openstack/internal/rest"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
)

const adminPassword = "secret-of-admin"

// lab is a Keystone with nothing but what Bootstrap makes.
type lab struct {
	*testing.T
	ctx   context.Context
	url   string
	log   *bytes.Buffer
	svc   *identity.Service
	admin string // a token
}

func newLab(t *testing.T) *lab {
	l := &lab{T: t, ctx: context.Background(), log: &bytes.Buffer{}}
	c := clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 678000, time.UTC))
	s, err := store.New(memory.New(&memory.Options{Clock: c}), store.Options{Key: store.NewKey(), Clock: c, Rerun: 1})
	require.NoError(t, err)
	log := slog.New(slog.NewTextHandler(l.log, nil))
	l.svc, err = identity.New(identity.Options{Store: s, Clock: c, PasswordCost: 4, Log: log})
	require.NoError(t, err)
	require.NoError(t, l.svc.Bootstrap(l.ctx, identity.BootstrapOptions{AdminPassword: adminPassword}))
	f, err := rest.New(rest.Config{Store: s, Clock: c, Authenticate: l.svc.Validate, Log: log,
		APIs: []rest.API{keystone.New(l.svc, keystone.Options{Services: []rest.Service{rest.Identity, rest.Compute, rest.Network}})}})
	require.NoError(t, err)
	srv := httptest.NewServer(f)
	t.Cleanup(func() {
		srv.Close()
		require.NoError(t, s.View(l.ctx, func(tx *store.Tx) error {
			found, err := l.svc.Check(tx)
			require.Empty(t, found)
			return err
		}))
		require.NoError(t, s.Close())
		require.NotContains(t, l.log.String(), "secret", "a secret is in the log")
	})
	l.url = srv.URL
	l.admin = l.login("admin", adminPassword, `{"project":{"name":"admin","domain":{"id":"default"}}}`)
	return l
}

// client is gophercloud's, as the user admin.
func (l *lab) client() *gophercloud.ServiceClient {
	p, err := gopher.AuthenticatedClient(l.ctx, gophercloud.AuthOptions{IdentityEndpoint: l.url + "/v3", Username: "admin", Password: adminPassword,
		DomainID: "default", TenantName: "admin"})
	require.NoError(l, err)
	c, err := gopher.NewIdentityV3(p, gophercloud.EndpointOpts{Region: "RegionOne"})
	require.NoError(l, err)
	return c
}

func (l *lab) login(user, password, scope string) string {
	l.Helper()
	a := l.do("POST", "/v3/auth/tokens", auth(user, password, scope))
	require.Equal(l, 201, a.status, a.text)
	return a.header.Get("X-Subject-Token")
}

func auth(user, password, scope string) string {
	if scope != "" {
		scope = `,"scope":` + scope
	}
	return `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"` + user + `","domain":{"name":"Default"},"password":"` + password + `"}}}` + scope + `}}`
}

type answer struct {
	status int
	header http.Header
	text   string
	json   map[string]any
}

// at returns the value at a path of the body.
func (a answer) at(path ...string) any {
	var v any = a.json
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

func (a answer) id(name string) string { id, _ := a.at(name, "id").(string); return id }

// do sends a request with the admin's token; headers are pairs.
func (l *lab) do(method, path, body string, headers ...string) answer {
	l.Helper()
	req, err := http.NewRequest(method, l.url+path, strings.NewReader(body))
	require.NoError(l, err)
	if l.admin != "" {
		req.Header.Set("X-Auth-Token", l.admin)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(l, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(l, err)
	a := answer{status: resp.StatusCode, header: resp.Header, text: string(raw)}
	if len(raw) > 0 {
		require.NoError(l, json.Unmarshal(raw, &a.json), a.text)
	}
	return a
}

// ok is do for a call that must give a status.
func (l *lab) ok(status int, method, path, body string, headers ...string) answer {
	l.Helper()
	a := l.do(method, path, body, headers...)
	require.Equal(l, status, a.status, "%s %s: %s", method, path, a.text)
	return a
}
