package cloudtest_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/cloudtest"
	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/identity"
)

// t is what `go test` gives to a test; TestExamples sets it.
var t *testing.T

func TestWebServerBoots(t *testing.T) {
	env := cloudtest.New(t)
	id := env.Boot("web")
	env.Settle()
	require.Equal(t, compute.StatusActive, env.Server(id).Status())
}

// A server boots, and its test tells whether anything is left behind.
func ExampleNew() {
	env := cloudtest.New(t)
	id := env.Boot("web")
	env.Settle()
	require.Equal(t, compute.StatusActive, env.Server(id).Status())
	env.NoLeaks()
}

// The first host has no room for the disk: the server goes to another one. The second start loses its
// answer, and is repeated.
func ExampleEnv_Fail() {
	env := cloudtest.New(t)
	env.Fail(inject.Rule{Method: "Define", Nth: 1, Err: fault.New(fault.Exhausted, "no space left")})
	env.Fail(inject.Rule{Method: "Start", Times: 1, When: inject.After})
	id := env.Boot("web")
	env.Settle()
	require.Equal(t, compute.StatusActive, env.Server(id).Status())
	for _, c := range env.Faults.Calls() {
		t.Log(c.Driver, c.Method, c.Err)
	}
	env.NoLeaks()
}

// The process dies in the middle of a boot, just after its third commit from here on; the next one finishes the work.
func ExampleEnv_CrashAtCommit() {
	env := cloudtest.New(t)
	env.CrashAtCommit(3, true)
	id := env.Boot("web")
	for !env.Crashed() {
		env.Advance(0)
	}
	env.Restart()
	env.Settle()
	require.Equal(t, compute.StatusActive, env.Server(id).Status())
	env.NoLeaks()
}

// Any client can talk to it; one that logs in itself gets URL()+"/v3" and a password.
func ExampleEnv_URL() {
	env := cloudtest.New(t)
	req, err := http.NewRequest("GET", env.URL()+"/compute/v2.1/servers", nil)
	require.NoError(t, err)
	req.Header.Set("X-Auth-Token", env.DemoToken())
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
}

// weekend lets nobody delete a server.
type weekend struct{ identity.Policy }

func (w weekend) Check(p *identity.Principal, action string, on identity.Target) error {
	if action == "compute:server:delete" {
		return fault.New(fault.Denied, "servers are deleted on weekdays; ask again on Monday")
	}
	return w.Policy.Check(p, action, on)
}

// Whatever a program composes differently, a test can too: here a Policy of its own.
func ExampleOptions() {
	env := cloudtest.New(t, cloudtest.Options{Hosts: 1, Cloud: func(o *cloud.Options) {
		o.Policy = weekend{identity.DefaultPolicy()}
	}})
	id := env.Boot("web")
	env.Settle()
	err := env.Demo().Compute.DeleteServer(context.Background(), id)
	require.True(t, fault.Is(err, fault.Denied))
	require.ErrorContains(t, err, "Monday")
}

func TestExamples(tt *testing.T) {
	for i, example := range []func(){ExampleNew, ExampleEnv_Fail, ExampleEnv_CrashAtCommit, ExampleEnv_URL, ExampleOptions} {
		tt.Run(fmt.Sprint(i), func(tt *testing.T) {
			t = tt
			example()
		})
	}
}
