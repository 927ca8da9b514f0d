package compute_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/scheduler"
)

// TestEveryHostFails ends in ERROR after three hosts, with nothing left behind.
func TestEveryHostFails(t *testing.T) {
	t.Parallel()
	e := newEnv(t, config{hosts: 5})
	e.faults.Fail(inject.Rule{Method: "Define", Err: fault.New(fault.Exhausted, "the disk is full")})
	v := e.boot("unlucky")
	require.Equal(t, compute.StatusError, v.Status())
	require.Contains(t, v.Fault.Message, "hosts tried: 3; host-")
	require.Equal(t, 3, strings.Count(v.Fault.Message, ": define failed: the disk is full"), v.Fault.Message)
	var details struct {
		Step     string
		Tried    map[string]string
		Decision scheduler.Decision
	}
	require.NoError(t, json.Unmarshal([]byte(v.Fault.Details), &details))
	require.Equal(t, "define", details.Step)
	require.Len(t, details.Tried, 3)
	for host, why := range details.Tried {
		require.Contains(t, v.Fault.Message, "; "+host+": "+why)
		require.Contains(t, []string{"host-1", "host-2", "host-3", "host-4", "host-5"}, host)
	}
	require.Equal(t, 5, details.Decision.Hosts)
	require.Len(t, details.Decision.Candidates, 3, "two had failed before the last decision")
	require.Equal(t, int64(3), v.Generation)
	require.Empty(t, v.HostID)
	e.sound()
	require.NoError(t, e.alice.DeleteServer(e.ctx, v.ID))
	e.settle()
	e.sound()
}

// TestFaultIsBounded: many hosts with long errors make no long message.
func TestFaultIsBounded(t *testing.T) {
	t.Parallel()
	e := newEnv(t, config{hosts: 8, options: func(o *compute.Options) { o.MaxAttempts = 7 }})
	e.faults.Fail(inject.Rule{Method: "Start", Err: fault.New(fault.Exhausted, "%s", strings.Repeat("é", 5000))})
	v := e.boot("verbose")
	require.Contains(t, v.Fault.Message, "hosts tried: 7; ")
	require.Contains(t, v.Fault.Message, "...; and 2 hosts more")
	require.Less(t, len(v.Fault.Message), 2000)
	require.True(t, utf8.ValidString(v.Fault.Message))
	e.sound()
}

// TestOnlyHostIsNamed: also a failure after which no other host is tried says where it was.
func TestOnlyHostIsNamed(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"Bind", "Define", "Start"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, config{hosts: 1})
			e.faults.Fail(inject.Rule{Method: method, Err: fault.New(fault.Internal, "no such thing as a tap")})
			v := e.boot("unlucky")
			require.Contains(t, v.Fault.Message, "hosts tried: 1; host-1: "+strings.ToLower(method)+" failed: ")
			require.Contains(t, v.Fault.Message, "no such thing as a tap")
			require.Contains(t, v.Fault.Details, `"tried":{"host-1":"`)
			e.sound()
		})
	}
}

// TestLogKeys: no record of a boot or of a failing boot has a key twice, and all of an operation name the server.
func TestLogKeys(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	good := e.boot("good")
	e.faults.Fail(inject.Rule{Method: "Define", Err: fault.New(fault.Exhausted, "the disk is full")})
	bad := e.boot("bad")
	require.Equal(t, compute.StatusError, bad.Status())
	require.NoError(t, e.alice.DeleteServer(e.ctx, good.ID))
	e.settle()
	told := map[string]string{}
	for line := range strings.Lines(e.log.String()) {
		keys := map[string]string{}
		d := json.NewDecoder(strings.NewReader(line))
		_, err := d.Token()
		require.NoError(t, err)
		for d.More() {
			key, err := d.Token()
			require.NoError(t, err)
			var value json.RawMessage
			require.NoError(t, d.Decode(&value))
			require.NotContains(t, keys, key, line)
			keys[key.(string)] = strings.Trim(string(value), `"`)
		}
		told[keys["msg"]] = keys["server_id"]
	}
	require.Contains(t, []string{good.ID, bad.ID}, told["server placed"])
	require.Equal(t, bad.ID, told["a server could not be built; it is in ERROR, and costs no host anything: see the reason, then delete it and create it anew"])
}
