package operator_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/cloudtest"
	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/operator"
)

// word gives an operator's word, and returns the answer.
func word(t *testing.T, env *cloudtest.Env, path, body string) (a operator.Accepted) {
	t.Helper()
	require.Equal(t, 200, call(t, env, nil, "POST", path, body, &a))
	return a
}

// refused gives one that is refused, and returns why.
func refused(t *testing.T, env *cloudtest.Env, path, body string, status int) string {
	t.Helper()
	var e operator.Error
	require.Equal(t, status, call(t, env, nil, "POST", path, body, &e), "%v", e)
	return e.Error.Message
}

func stranger(env *cloudtest.Env, n int) computedriver.GuestState {
	id := fmt.Sprintf("5c5a3b3e-4d55-4d31-9c1b-%012d", n)
	return computedriver.GuestState{Mark: computedriver.Mark{Cloud: env.Cloud.ID(), ID: id, Generation: 1}, Name: id}
}

// TestAcceptRemoval: what the check gives as removable goes when it is named, and nothing else does.
func TestAcceptRemoval(t *testing.T) {
	t.Parallel()
	env := cloudtest.New(t, cloudtest.Options{Hosts: 1})
	kept := env.Boot("kept")
	env.Settle()
	one, other := stranger(env, 1), stranger(env, 2)
	env.Orphan(0, one)
	env.Orphan(0, other)
	body := fmt.Sprintf(`{"ids": [%q, %q]}`, one.Mark.ID, kept)

	a := word(t, env, "/accept-removal?dry_run=true", body)
	require.Equal(t, operator.Accepted{IDs: []string{one.Mark.ID}, Left: []string{kept}, Text: a.Text}, a)
	require.Contains(t, a.Text[0], "host-1 has guest "+one.Mark.ID)
	require.Contains(t, a.Text[0], "it would be removed")
	require.Contains(t, a.Text[1], kept+" would be left as it is")
	require.Len(t, env.Guests(), 3, "nothing was done")

	a = word(t, env, "/accept-removal", body)
	require.True(t, a.Accepted)
	require.Equal(t, []string{one.Mark.ID}, a.IDs)
	require.Equal(t, []string{one.Mark.ID + " was removed", kept + " is left as it is: the check gives nothing of that id as removable"}, a.Text)
	require.Len(t, env.Guests(), 2)
	for _, query := range []string{"", "?dry_run=1"} {
		require.Contains(t, refused(t, env, "/accept-removal"+query, body, 404), "nothing as removable that has the id "+one.Mark.ID)
		require.Contains(t, refused(t, env, "/accept-removal"+query, `{"ids": []}`, 400), "ids")
		require.Contains(t, refused(t, env, "/accept-removal"+query, `{"all": true}`, 400), "all")
	}
	require.Contains(t, refused(t, env, "/accept-removal?dry_run=maybe", body, 400), "dry_run")
	require.Len(t, env.Guests(), 2)
}

// TestAcceptLoss: servers whose guests are missing in great number go to ERROR on an operator's word.
func TestAcceptLoss(t *testing.T) {
	t.Parallel()
	env := cloudtest.New(t, cloudtest.Options{Hosts: 2, Cloud: func(o *cloud.Options) { o.Brake = 1 }})
	ids := []string{env.Boot("a"), env.Boot("b"), env.Boot("c"), env.Boot("d")}
	env.Settle()
	on := map[string][]string{}
	at := ""
	for _, id := range ids {
		h := env.Server(id).Host
		if on[h] = append(on[h], id); len(on[h]) > len(on[at]) {
			at = h
		}
	}
	lost := on[at]
	env.LoseGuest(lost...)
	env.Reconcile()
	require.Equal(t, compute.StatusActive, env.Server(lost[0]).Status(), "too many are missing")

	body := fmt.Sprintf(`{"host": %q}`, at)
	a := word(t, env, "/accept-loss?dry_run=true", body)
	require.False(t, a.Accepted)
	require.ElementsMatch(t, lost, a.IDs)
	require.Contains(t, a.Text[0], "it would go to ERROR")
	require.Equal(t, compute.StatusActive, env.Server(lost[0]).Status())
	a = word(t, env, "/accept-loss", body)
	require.True(t, a.Accepted)
	require.ElementsMatch(t, lost, a.IDs)
	for _, id := range ids {
		require.Equal(t, env.Server(id).Host == at, env.Server(id).Status() == compute.StatusError)
	}
	a = word(t, env, "/accept-loss", body)
	require.Empty(t, a.IDs)
	require.Contains(t, a.Text[0], "no server of the host went to ERROR")

	for _, query := range []string{"", "?dry_run=1"} {
		require.Contains(t, refused(t, env, "/accept-loss"+query, `{"host": "none"}`, 404), "host none")
		calm := env.Fail(inject.Rule{Driver: at, Err: fault.New(fault.Unavailable, "no route")})
		require.Contains(t, refused(t, env, "/accept-loss"+query, body, 503), "no route")
		calm()
	}
}

// TestAcceptStore: the word for a restored store, and what is refused before it.
func TestAcceptStore(t *testing.T) {
	t.Parallel()
	env := cloudtest.New(t, cloudtest.Options{Hosts: 1})
	for _, query := range []string{"", "?dry_run=1"} {
		require.Contains(t, refused(t, env, "/accept-store"+query, "", 409), "nothing to accept")
	}
	env.Reconcile()
	backup := env.Backup()
	env.Reconcile()
	newer := env.Boot("newer")
	env.Settle()
	env.Restore(backup)
	for _, query := range []string{"", "?dry_run=1"} {
		require.Contains(t, refused(t, env, "/accept-removal"+query, fmt.Sprintf(`{"ids": [%q]}`, newer), 503), "accept")
	}
	a := word(t, env, "/accept-store?dry_run=true", "")
	text := strings.Join(a.Text, "\n")
	require.Contains(t, text, "held since "+env.Now().UTC().Format(time.DateOnly))
	require.Contains(t, text, "deletes that wait would go on")
	require.Contains(t, text, "would stay until accept-removal names them")
	_, why := env.Cloud.Held()
	require.NotEmpty(t, why)
	require.True(t, word(t, env, "/accept-store", "").Accepted)
	_, why = env.Cloud.Held()
	require.Empty(t, why)
	a = word(t, env, "/accept-removal", fmt.Sprintf(`{"ids": [%q]}`, newer))
	require.Equal(t, []string{newer}, a.IDs)
	_, err := env.Cloud.AcceptRemoval(context.Background())
	require.NoError(t, err)
}

// TestHostGone: the word for a host that never comes back, and how its state is told.
func TestHostGone(t *testing.T) {
	t.Parallel()
	env := cloudtest.New(t, cloudtest.Options{Hosts: 2})
	id := env.Boot("web")
	env.Settle()
	at := env.Server(id).Host
	body := fmt.Sprintf(`{"host": %q}`, at)
	for _, query := range []string{"", "?dry_run=1"} {
		require.Contains(t, refused(t, env, "/host-gone"+query, body, 409), at+" cannot be declared gone: its last heartbeat was at")
		require.Contains(t, refused(t, env, "/host-gone"+query, `{"host": "none"}`, 404), "host none")
	}
	env.Hosts[env.HostOf(id)].SetDown(fault.New(fault.Unavailable, "no route"))
	env.Advance(2 * time.Minute)
	require.Contains(t, reasons(t, env, 200)["hosts"], "warn 1 of 2")
	a := word(t, env, "/host-gone?dry_run=1", body)
	require.Equal(t, []string{id}, a.IDs)
	require.Contains(t, a.Text[0], "would be gone for good")
	require.Contains(t, a.Text[1], "server "+id+" would go to ERROR")
	require.Equal(t, compute.StatusActive, env.Server(id).Status())
	a = word(t, env, "/host-gone", body)
	require.True(t, a.Accepted)
	require.Contains(t, a.Text[1], "server "+id+" is in ERROR now")
	require.Equal(t, compute.StatusError, env.Server(id).Status())
	require.Equal(t, "ok 1 of 2 hosts take new servers; declared gone: "+at, reasons(t, env, 200)["hosts"])
	env.Hosts[env.HostOf(id)].SetDown(nil)
	env.Reconcile()
	require.Contains(t, reasons(t, env, 200)["hosts"], "warn 1 of 2 hosts take new servers; down: "+at+" (declared gone, and answers")
}
