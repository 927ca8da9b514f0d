package metrics_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/cloudtest"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/metrics"
	"github.com/nubecula/cloud/openstack"
)

// scrape returns the text of all metrics and the values of those series that are the cloud's.
func scrape(t *testing.T, env *cloudtest.Env) (text []byte, values map[string]float64) {
	t.Helper()
	w := httptest.NewRecorder()
	metrics.Handler(env.Cloud).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	require.Equal(t, http.StatusOK, w.Code, "%s", w.Body)
	values = map[string]float64{}
	for _, line := range strings.Split(w.Body.String(), "\n") {
		if series, value, ok := strings.Cut(line, "} "); strings.HasPrefix(line, "nubecula_") {
			if series += "}"; !ok {
				series, value, _ = strings.Cut(line, " ")
			}
			v, err := strconv.ParseFloat(value, 64)
			require.NoError(t, err, line)
			values[series] = v
		}
	}
	return w.Body.Bytes(), values
}

// TestNumbersMove boots servers, of which one fails, and looks at every number that should tell of it.
func TestNumbersMove(t *testing.T) {
	t.Parallel()
	env := cloudtest.New(t, cloudtest.Options{Hosts: 2, Once: true})
	_, before := scrape(t, env)
	get, err := http.NewRequest("GET", env.URL()+"/compute/v2.1/servers/none", nil)
	require.NoError(t, err)
	get.Header.Set("X-Auth-Token", env.DemoToken())
	resp, err := http.DefaultClient.Do(get)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
	resp, err = http.Get(env.URL() + "/nowhere/" + strings.Repeat("x", 30))
	require.NoError(t, err)
	resp.Body.Close()

	env.Fail(inject.Rule{Method: "Define", Nth: 1, Err: fault.New(fault.Exhausted, "full")})
	env.Boot("one")
	env.Settle()
	hang := env.Fail(inject.Rule{Method: "Define", Err: fault.New(fault.Unavailable, "away")})
	two := env.Boot("two")
	env.Advance(time.Second)
	text, now := scrape(t, env)
	require.NotContains(t, string(text), two, "no id is a label")
	for series, want := range map[string]float64{
		`nubecula_api_requests_total{route="GET /servers/{id}",service="compute",status="404"}`:                              1,
		`nubecula_api_request_duration_seconds_count{route="GET /servers/{id}",service="compute"}`:                           1,
		`nubecula_api_requests_total{route="none",service="identity",status="404"}`:                                          1,
		`nubecula_operations{kind="server.create",state="running",step="define"}`:                                            1,
		`nubecula_operations_ended_total{kind="server.create",state="done"}`:                                                 1,
		`nubecula_operation_step_duration_seconds_count{code="exhausted",direction="do",kind="server.create",step="define"}`: 1,
		`nubecula_operation_step_duration_seconds_count{code="ok",direction="do",kind="server.create",step="start"}`:         1,
		`nubecula_driver_call_duration_seconds_count{code="ok",driver="compute",method="Start"}`:                             1,
		`nubecula_engine_waiting_operations`:                                                                                 1,
		`nubecula_engine_queued_operations`:                                                                                  0,
		`nubecula_engine_abandoned_calls`:                                                                                    0,
		`nubecula_hosts{state="up"}`:                                                                                         2,
		`nubecula_hosts{state="down"}`:                                                                                       0,
		`nubecula_capacity_vcpus{state="up"}`:                                                                                128,
		`nubecula_capacity_used_vcpus{state="up"}`:                                                                           2,
		`nubecula_capacity_used_memory_bytes{state="up"}`:                                                                    2 * 192 << 20,
		`nubecula_replicas`:      1,
		`nubecula_scrape_failed`: 0,
	} {
		got, there := now[series]
		require.True(t, there, "%s is not there:\n%s", series, text)
		require.Equal(t, want, got, series)
	}
	for _, name := range []string{"nubecula_store_updates_total", "nubecula_store_commits_total", "nubecula_store_events_total", "nubecula_store_commit_duration_seconds_count"} {
		require.Greater(t, now[name], before[name], name)
	}
	require.Contains(t, string(text), "go_build_info")
	hang()
	env.Settle()
	_, now = scrape(t, env)
	require.Equal(t, 2.0, now[`nubecula_operations_ended_total{kind="server.create",state="done"}`])
	require.NotContains(t, now, `nubecula_operations{kind="server.create",state="running",step="define"}`)

	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	require.NoError(t, err)
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "nubecula_") { // the others are the client library's own
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// TestQueues: what waits, is at work or is sent, and what was refused.
func TestQueues(t *testing.T) {
	t.Parallel()
	env := cloudtest.New(t)
	server := httptest.NewServer(openstack.Handler(env.Cloud, &openstack.Options{Writes: 3, Waiting: 1}))
	defer server.Close()
	token := env.DemoToken()
	post := func(body io.Reader) int {
		req, err := http.NewRequest("POST", server.URL+"/compute/v2.1/os-keypairs", body)
		require.NoError(t, err)
		req.Header.Set("X-Auth-Token", token)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		resp.Body.Close()
		return resp.StatusCode
	}
	_, before := scrape(t, env)
	calls := func(state string) string { return `nubecula_api_calls{sort="writes",state="` + state + `"}` }
	refused := func(reason string) string { return `nubecula_api_refused_total{reason="` + reason + `",sort="writes"}` }
	require.Zero(t, before[calls("open")])
	require.Contains(t, before, refused("owner"), "it is there before the first, so that a rate sees that one")

	body, client := io.Pipe()
	done := make(chan int)
	go func() { done <- post(body) }()
	_, err := client.Write([]byte(`{"keypair": {"name"`)) // the client has begun; whether the server has a ticket for it
	require.NoError(t, err)
	for {
		if _, now := scrape(t, env); now[calls("open")] == 1 { // is seen here
			break
		}
	}
	require.Equal(t, http.StatusTooManyRequests, post(strings.NewReader(`{"keypair": {"name": "two"}}`)))
	_, now := scrape(t, env)
	require.Equal(t, 1.0, now[refused("owner")])
	require.Equal(t, 0.0, now[refused("patience")])
	require.Equal(t, 0.0, now[calls("waiting")]+now[calls("running")])
	require.Contains(t, []float64{3, 3 + 16}, now[`nubecula_api_slots{sort="writes"}`], "of this handler, and of the one that gave out the token")
	_, err = client.Write([]byte(`: "one"}}`))
	require.NoError(t, err)
	require.NoError(t, client.Close())
	require.Equal(t, http.StatusOK, <-done)
	for now[calls("open")] > 0 { // the ticket is given back behind the answer
		_, now = scrape(t, env)
	}
}

// TestStoreAway: what the process itself counts is there even when the store cannot be read.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	env := cloudtest.New(t)
	require.NoError(t, env.Cloud.Store().Close())
	text, now := scrape(t, env)
	require.Equal(t, 1.0, now["nubecula_scrape_failed"], "%s", text)
	require.Contains(t, now, "nubecula_store_commits_total")
	require.NotContains(t, now, `nubecula_hosts{state="up"}`)
}

// TestTable: doc/operations.md names every metric and no other.
func TestTable(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../doc/operations.md")
	require.NoError(t, err)
	named := map[string]bool{}
	for _, m := range regexp.MustCompile("`(nubecula_\\w+)`").FindAllStringSubmatch(string(doc), -1) {
		named[m[1]] = true
	}
	for _, d := range metrics.Descriptions() {
		name := regexp.MustCompile(`fqName: "(\w+)"`).FindStringSubmatch(d.String())[1]
		require.True(t, named[name], "doc/operations.md does not tell of %s", name)
		delete(named, name)
	}
	require.Empty(t, named, "doc/operations.md tells of metrics that are not there")
}
