package operator_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/cloudtest"
	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/operator"
)

// call asks the operator's handler of an environment.
func call(t *testing.T, env *cloudtest.Env, opt *operator.Options, method, path, body string, out any) int {
	t.Helper()
	w := httptest.NewRecorder()
	operator.Handler(env.Cloud, opt).ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	if out != nil {
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), out), "%s", w.Body)
	}
	return w.Code
}

func reasons(t *testing.T, env *cloudtest.Env, status int) map[string]string {
	t.Helper()
	var h cloud.Health
	require.Equal(t, status, call(t, env, nil, "GET", "/readyz", "", &h), "%v", h)
	require.Equal(t, status == 200, h.Ready)
	out := map[string]string{}
	for _, c := range h.Conditions {
		out[c.Name] = c.State + " " + c.Reason
	}
	return out
}

func TestReady(t *testing.T) {
	t.Parallel()
	env := cloudtest.New(t, cloudtest.Options{Hosts: 2})
	require.Equal(t, map[string]string{"store": "ok ", "lease": "ok ", "hosts": "ok 2 of 2 hosts take new servers", "operations": "ok 0 under way"}, reasons(t, env, 200))

	calm := env.Fail(inject.Rule{Driver: "host-2", Err: fault.New(fault.Unavailable, "no route")})
	env.Advance(2 * time.Minute)
	hosts := reasons(t, env, 200)["hosts"]
	require.Contains(t, hosts, "warn 1 of 2 hosts")
	require.Contains(t, hosts, "host-2 (silent since 20")
	yes := true
	_, err := env.Admin().Compute.UpdateHost(context.Background(), "host-1", compute.UpdateHost{Disabled: &yes})
	require.NoError(t, err)
	require.Contains(t, reasons(t, env, 503)["hosts"], "fail 0 of 2 hosts")
	calm()
	no := false
	_, err = env.Admin().Compute.UpdateHost(context.Background(), "host-1", compute.UpdateHost{Disabled: &no})
	require.NoError(t, err)
	env.Settle()
	env.Advance(30 * time.Second)

	// An operation that fails again and again is told of; the cloud serves.
	id := env.Boot("web")
	env.Settle()
	calm = env.Fail(inject.Rule{Method: "Undefine", Err: fault.New(fault.Unavailable, "permission denied")})
	require.NoError(t, env.Demo().Compute.DeleteServer(context.Background(), id))
	env.Advance(10 * time.Minute)
	ops := reasons(t, env, 200)["operations"]
	for _, word := range []string{"warn 1 under way", "server.delete", id, "step undefine", "permission denied", "is tried again"} {
		require.Contains(t, ops, word)
	}
	calm()
	env.Settle()

	// A full disk under the store.
	calm = env.Fail(inject.Rule{Driver: "store", Method: "Commit", Err: fault.New(fault.Exhausted, "the disk is full")})
	require.Contains(t, reasons(t, env, 503)["store"], "the disk is full")
	calm()
	env.Cloud.Engine().Freeze()
	env.Advance(time.Minute)
	require.Contains(t, reasons(t, env, 503)["store"], "frozen")
	env.Cloud.Engine().Thaw()
	require.Contains(t, reasons(t, env, 503)["lease"], "had run out")
	require.Equal(t, "ok ", reasons(t, env, 200)["lease"])
	require.Equal(t, 200, call(t, env, nil, "GET", "/healthz", "", nil))
}

func TestCheckAndLevel(t *testing.T) {
	t.Parallel()
	env := cloudtest.New(t)
	var checked operator.Checked
	require.Equal(t, 200, call(t, env, nil, "GET", "/check", "", &checked))
	require.NotNil(t, checked.Findings)
	require.Empty(t, checked.Findings)

	level := new(slog.LevelVar)
	opt := &operator.Options{Level: level}
	var is operator.Level
	require.Equal(t, 200, call(t, env, opt, "GET", "/log-level", "", &is))
	require.Equal(t, "info", is.Level)
	require.Equal(t, 200, call(t, env, opt, "PUT", "/log-level", `{"level": "DEBUG"}`, &is))
	require.Equal(t, "debug", is.Level)
	require.Equal(t, slog.LevelDebug, level.Level())
	var failed operator.Error
	for _, body := range []string{`{"level": "loud"}`, `{"Niveau": 1}`, ``, `{"level": "` + strings.Repeat("x", 100<<10) + `"}`} {
		require.Equal(t, 400, call(t, env, opt, "PUT", "/log-level", body, &failed))
		require.Equal(t, "invalid", failed.Error.Code)
	}
	require.Equal(t, slog.LevelDebug, level.Level())
	require.Equal(t, 501, call(t, env, nil, "GET", "/log-level", "", &failed))
	require.Equal(t, 404, call(t, env, nil, "GET", "/metrics", "", nil))
}

func TestBackup(t *testing.T) {
	t.Parallel()
	env := cloudtest.New(t)
	var failed operator.Error
	require.Equal(t, 501, call(t, env, nil, "POST", "/backup", `{"path": "/x"}`, &failed))
	path := filepath.Join(t.TempDir(), "copy")
	opt := &operator.Options{Backup: func(_ context.Context, path string) error {
		if _, err := os.Stat(path); err == nil {
			return fault.New(fault.Exists, "%s exists", path)
		}
		return os.WriteFile(path, []byte("12345"), 0o600)
	}}
	require.Equal(t, 400, call(t, env, opt, "POST", "/backup", `{"path": "relative"}`, &failed))
	require.Contains(t, failed.Error.Message, "absolute")
	var done operator.BackedUp
	require.Equal(t, 200, call(t, env, opt, "POST", "/backup", `{"path": "`+path+`"}`, &done))
	require.Equal(t, operator.BackedUp{Path: path, Bytes: 5}, done)
	require.Equal(t, 409, call(t, env, opt, "POST", "/backup", `{"path": "`+path+`"}`, &failed))
	require.Equal(t, "exists", failed.Error.Code)
}
