package openstack_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/cloudtest"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
)

// answered is an answer over HTTP; words are all texts in its body, by field.
type answered struct {
	status int
	header http.Header
	body   string
	words  map[string]string
}

func ask(t *testing.T, env *cloudtest.Env, token, method, path, contentType, key, body string) answered {
	t.Helper()
	req, err := http.NewRequest(method, env.URL()+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("X-Auth-Token", token)
	req.Header.Set("Content-Type", contentType)
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	a := answered{resp.StatusCode, resp.Header, string(text), map[string]string{}}
	var doc map[string]any
	if json.Unmarshal(text, &doc) == nil {
		a.read(doc)
	}
	return a
}

func (a answered) read(doc map[string]any) {
	for name, v := range doc {
		switch v := v.(type) {
		case string:
			a.words[name] = v
		case map[string]any:
			a.words["in"] = name
			a.read(v)
		}
	}
}

// TestFullStore: when the disk of the store is full, whoever asks hears that, in every service, and not of a quota.
func TestFullStore(t *testing.T) {
	t.Parallel()
	env := cloudtest.New(t)
	id := env.Boot("web")
	env.Settle()
	admin, demo := env.AdminToken(), env.DemoToken()
	queued := ask(t, env, demo, "POST", "/image/v2/images", "application/json", "", `{"name": "queued", "disk_format": "raw", "container_format": "bare"}`)
	require.Equal(t, http.StatusCreated, queued.status, queued.body)
	full := fault.New(fault.Exhausted, "the disk that holds /secret/place/nubecula.db is full: free some space; nothing was changed: sqlite: database or disk is full (13)")
	const jsonType = "application/json"
	for _, c := range []struct {
		name, token, method, path, contentType, body string
		in                                           string // what the error is wrapped in
		want                                         int    // once there is room again
	}{
		{"keystone", admin, "POST", "/v3/projects", jsonType, `{"project": {"name": "p"}}`, "error", 201},
		{"keystone, change", admin, "PATCH", "/v3/projects/" + env.Seeded.ProjectID, jsonType, `{"project": {"description": "d"}}`, "error", 200},
		{"nova", demo, "POST", "/compute/v2.1/servers", jsonType, `{"server": {"name": "s", "flavorRef": "42", "imageRef": "` + env.Seeded.ImageID +
			`", "networks": [{"uuid": "` + env.Seeded.NetworkID + `"}]}}`, "computeFault", 202},
		{"nova, action", demo, "POST", "/compute/v2.1/servers/" + id + "/action", jsonType, `{"os-stop": null}`, "computeFault", 202},
		{"nova, delete", demo, "DELETE", "/compute/v2.1/servers/" + id, jsonType, "", "computeFault", 204},
		{"nova, key pair", demo, "POST", "/compute/v2.1/os-keypairs", jsonType, `{"keypair": {"name": "k"}}`, "computeFault", 200},
		{"neutron", demo, "POST", "/network/v2.0/networks", jsonType, `{"network": {"name": "n"}}`, "NeutronError", 201},
		{"neutron, port", demo, "POST", "/network/v2.0/ports", jsonType, `{"port": {"network_id": "` + env.Seeded.NetworkID + `"}}`, "NeutronError", 201},
		{"glance", demo, "POST", "/image/v2/images", jsonType, `{"name": "i", "disk_format": "raw", "container_format": "bare"}`, "", 201},
		{"glance, data", demo, "PUT", "/image/v2/images/" + queued.words["id"] + "/file", "application/octet-stream", "data", "", 204},
	} {
		for _, key := range []string{"", "key of " + c.name} {
			remove := env.Fail(inject.Rule{Driver: "store", Method: "Commit", Err: full})
			a := ask(t, env, c.token, c.method, c.path, c.contentType, strings.ReplaceAll(key, " ", "-"), c.body)
			remove()
			require.Equal(t, http.StatusInsufficientStorage, a.status, "%s: %s", c.name, a.body)
			require.Equal(t, c.in, a.words["in"], c.name)
			text := a.words["message"]
			require.Contains(t, text, "the cloud's disk is full", c.name)
			require.Contains(t, text, "not a quota", c.name)
			require.Contains(t, text, "ask the operator of the cloud to free some space", c.name)
			require.Contains(t, text, a.header.Get("X-Openstack-Request-Id"), c.name)
			require.NotContains(t, a.body, "secret", "%s: where the store is, is the operator's business", c.name)
			if c.in == "NeutronError" {
				require.Equal(t, "HTTPInsufficientStorage", a.words["type"], c.name)
			}
		}
		a := ask(t, env, c.token, c.method, c.path, c.contentType, strings.ReplaceAll("key of "+c.name, " ", "-"), c.body)
		require.Equal(t, c.want, a.status, "%s: with room it goes through: %s", c.name, a.body)
	}
	env.Settle()
	env.Check()
	env.NoLeaks()
}
