package neutron_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/network/fakenetwork"
	"github.com/nubecula/cloud/openstack/internal/neutron"
	"github.com/nubecula/cloud/openstack/internal/rest"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
)

// lab is Neutron's API over a network service in memory. A token is "user:project:role,role".
type lab struct {
	t     *testing.T
	ctx   context.Context
	url   string // of the service
	store *store.Store
	svc   *network.Service
	admin *gophercloud.ServiceClient
	alice *gophercloud.ServiceClient // member of project "a"
	bob   *gophercloud.ServiceClient // member of project "b"
}

const (
	adminToken = "root:admin:admin,member,reader"
	aliceToken = "alice:a:member,reader"
	bobToken   = "bob:b:member,reader"
)

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, ctx: context.Background()}
	clk := clock.NewManual(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC))
	var err error
	l.store, err = store.New(memory.New(&memory.Options{Clock: clk}), store.Options{Key: store.NewKey(), Clock: clk, Rerun: 1})
	require.NoError(t, err)
	eng, err := engine.New(engine.Options{Store: l.store, Clock: clk})
	require.NoError(t, err)
	provider, err := fakenetwork.New(fakenetwork.Options{})
	require.NoError(t, err)
	l.svc, err = network.New(network.Options{Store: l.store, Engine: eng, Provider: provider, Clock: clk})
	require.NoError(t, err)
	require.NoError(t, eng.Start(l.ctx))
	frame, err := rest.New(rest.Config{Store: l.store, Clock: clk, APIs: []rest.API{neutron.New(l.svc)},
		Authenticate: func(_ context.Context, token string) (*identity.Principal, error) {
			part := strings.Split(token, ":")
			if len(part) != 3 {
				return nil, fault.New(fault.Unauthenticated, "no such token")
			}
			return &identity.Principal{UserID: part[0], ProjectID: part[1], Roles: strings.Split(part[2], ",")}, nil
		}})
	require.NoError(t, err)
	srv := httptest.NewServer(frame)
	t.Cleanup(func() {
		srv.Close()
		require.NoError(t, eng.Close(10*time.Second))
		require.NoError(t, l.store.Close())
	})
	l.url = srv.URL + "/network/v2.0"
	client := func(token string) *gophercloud.ServiceClient {
		return &gophercloud.ServiceClient{ProviderClient: &gophercloud.ProviderClient{TokenID: token}, Endpoint: srv.URL + "/network/", ResourceBase: l.url + "/"}
	}
	l.admin, l.alice, l.bob = client(adminToken), client(aliceToken), client(bobToken)
	return l
}

// settle waits until every operation has ended.
func (l *lab) settle() {
	for {
		changed := l.store.Changed()
		active := 0
		require.NoError(l.t, l.store.View(l.ctx, func(tx *store.Tx) error {
			for o, err := range operation.Collection.Each(tx, store.Query[operation.Operation]{}) {
				if err != nil {
					return err
				}
				if !o.State.Ended() {
					active++
				}
			}
			return nil
		}))
		if active == 0 {
			return
		}
		<-changed
	}
}

// do makes a call by hand and returns status, body and headers.
func (l *lab) do(token, method, path, body string, header ...string) (int, map[string]any, http.Header) {
	l.t.Helper()
	req, err := http.NewRequest(method, l.url+path, bytes.NewBufferString(body))
	require.NoError(l.t, err)
	req.Header.Set("X-Auth-Token", token)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(l.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(l.t, err)
	var out map[string]any
	if len(text) > 0 {
		require.NoError(l.t, json.Unmarshal(text, &out), "%s", text)
	}
	return resp.StatusCode, out, resp.Header
}

// refused checks status and Neutron's type of an error.
func (l *lab) refused(status int, kind string, got int, body map[string]any) {
	l.t.Helper()
	require.Equal(l.t, status, got, "%v", body)
	e, _ := body["NeutronError"].(map[string]any)
	require.Equal(l.t, kind, e["type"], "%v", body)
	require.NotEmpty(l.t, e["message"])
	require.Equal(l.t, "", e["detail"])
}

// requireStatus checks the HTTP status of an error of gophercloud.
func requireStatus(t *testing.T, status int, err error) {
	t.Helper()
	var e gophercloud.ErrUnexpectedResponseCode
	require.True(t, errors.As(err, &e), "%v", err)
	require.Equal(t, status, e.Actual, "%s", e.Body)
}

func ptr[T any](v T) *T { return &v }
