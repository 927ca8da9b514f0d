package cloudtest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/cloudtest"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
)

// journal collects log records.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// TestOneRequestID follows a boot from the API call to its event by its request id alone, and looks
// for what was told in confidence.
func TestOneRequestID(t *testing.T) {
	t.Parallel()
	var j journal
	env := cloudtest.New(t, cloudtest.Options{Log: slog.New(slog.NewJSONHandler(&j, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	token := env.DemoToken()
	body := `{"server": {"name": "web", "flavorRef": "42", "imageRef": "` + env.Seeded.ImageID + `", "networks": [{"uuid": "` + env.Seeded.NetworkID + `"}],
		"adminPass": "told-in-confidence", "user_data": "dG9sZC1pbi1jb25maWRlbmNl", "personality": [{"path": "/etc/secret", "contents": "dG9sZC1pbi1jb25maWRlbmNl"}]}}`
	req, err := http.NewRequest("POST", env.URL()+"/compute/v2.1/servers", strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("X-Auth-Token", token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	answer, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusAccepted, resp.StatusCode, "%s", answer)
	var created struct{ Server struct{ ID string } }
	require.NoError(t, json.Unmarshal(answer, &created))
	env.Settle()
	id := resp.Header.Get("X-Openstack-Request-Id")
	require.Regexp(t, "^req-", id)

	var seen []string
	for _, l := range strings.Split(strings.TrimSpace(j.String()), "\n") {
		var r struct {
			Msg, Step, Instance, Error string
			RequestID                  string `json:"request_id"`
			OperationID                string `json:"operation_id"`
		}
		require.NoError(t, json.Unmarshal([]byte(l), &r))
		if r.RequestID != id {
			continue
		}
		switch {
		case r.Msg == "step ran" && r.OperationID != "" && strings.HasPrefix(r.Instance, "host/"):
			seen = append(seen, "driver "+r.Step)
		case r.Msg == "api call", r.Msg == "server accepted", r.Msg == "server placed", r.Msg == "operation ended":
			seen = append(seen, r.Msg)
		}
	}
	for _, want := range []string{"api call", "server accepted", "server placed", "driver define", "driver start", "operation ended"} {
		require.Contains(t, seen, want, "no record with the request id %s tells of it", id)
	}
	events, err := env.Cloud.Store().Events(context.Background(), 0, 1000)
	require.NoError(t, err)
	var types []string
	for _, e := range events {
		if e.ID == created.Server.ID && e.RequestID == id {
			types = append(types, e.Type)
		}
	}
	require.Subset(t, types, []string{"compute.instance.create.start", "compute.instance.create.end"})

	for _, secret := range []string{"told-in-confidence", "dG9sZC1pbi1jb25maWRlbmNl", token, cloudtest.DemoPassword, cloudtest.AdminPassword} {
		require.NotContains(t, j.String(), secret)
	}
	text, err := json.Marshal(events)
	require.NoError(t, err)
	require.NotContains(t, string(text), "told-in-confidence")
}

// TestSecretsAreNotLogged logs in, fails to, makes and changes users and key pairs and boots, all at level debug, and looks in what
// was logged and in the events for everything that was told in confidence or handed out so.
func TestSecretsAreNotLogged(t *testing.T) {
	t.Parallel()
	var j journal
	env := cloudtest.New(t, cloudtest.Options{Log: slog.New(slog.NewJSONHandler(&j, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	token := ""
	call := func(method, path, body string, want int) (http.Header, string) {
		t.Helper()
		req, err := http.NewRequest(method, env.URL()+path, strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		if token != "" {
			req.Header.Set("X-Auth-Token", token)
			req.Header.Set("Idempotency-Key", fmt.Sprint("key-in-confidence", len(j.String())))
		}
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		answer, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, want, resp.StatusCode, "%s", answer)
		return resp.Header, string(answer)
	}
	login := func(user, password, project string, want int) string {
		t.Helper()
		h, _ := call("POST", "/v3/auth/tokens", `{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "`+user+`", "domain": {"id": "default"}, "password": "`+
			password+`"}}}, "scope": {"project": {"name": "`+project+`", "domain": {"id": "default"}}}}}`, want)
		return h.Get("X-Subject-Token")
	}
	login("demo", "wrong-in-confidence", "demo", http.StatusUnauthorized)
	first := login("admin", cloudtest.AdminPassword, "admin", http.StatusCreated)
	token = first
	_, made := call("POST", "/v3/users", `{"user": {"name": "ann", "password": "made-in-confidence"}}`, http.StatusCreated)
	var user struct{ User struct{ ID string } }
	require.NoError(t, json.Unmarshal([]byte(made), &user))
	call("PATCH", "/v3/users/"+user.User.ID, `{"user": {"password": "changed-in-confidence"}}`, http.StatusOK)
	call("POST", "/v3/users", `{"user": {"name": "bob", "password": {"a": "mistyped-in-confidence"}}}`, http.StatusBadRequest)
	_, pair := call("POST", "/compute/v2.1/os-keypairs", `{"keypair": {"name": "pair"}}`, http.StatusOK)
	var made2 struct {
		Keypair struct {
			Private string `json:"private_key"`
		}
	}
	require.NoError(t, json.Unmarshal([]byte(pair), &made2))
	keyLines := strings.Split(made2.Keypair.Private, "\n")
	require.Greater(t, len(keyLines), 4)
	env.Fail(inject.Rule{Method: "Define", Err: fault.New(fault.Exhausted, "full")})
	_, server := call("POST", "/compute/v2.1/servers", `{"server": {"name": "web", "flavorRef": "42", "imageRef": "`+env.Seeded.ImageID+`", "networks": [{"uuid": "`+env.Seeded.NetworkID+`"}], "key_name": "pair",
		"adminPass": "pass-in-confidence", "user_data": "dG9sZC1pbi1jb25maWRlbmNl"}}`, http.StatusAccepted)
	require.Contains(t, server, "pass-in-confidence", "the caller is told")
	env.Settle()
	events, err := env.Cloud.Store().Events(context.Background(), 0, 1000)
	require.NoError(t, err)
	text, err := json.Marshal(events)
	require.NoError(t, err)
	require.Contains(t, j.String(), "step ran", "level debug")
	for _, secret := range []string{"in-confidence", "dG9sZC1pbi1jb25maWRlbmNl", first, cloudtest.AdminPassword, keyLines[3]} {
		require.NotContains(t, j.String(), secret)
		require.NotContains(t, string(text), secret)
	}
}
