package cloudtest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/compute/fakecompute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/internal/id"
	"github.com/nubecula/cloud/network/networkdriver"
)

// logged is an environment whose log the test reads.
type logged struct {
	*Env
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// lines returns how many lines of the log have a text.
func (l *logged) lines(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for line := range strings.Lines(l.b.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func newLogged(t *testing.T, opt Options) *logged {
	l := &logged{}
	opt.Log = slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelWarn}))
	l.Env = New(t, opt)
	return l
}

// rules returns what Inspect finds, by rule.
func (l *logged) rules() map[string][]cloud.Finding {
	l.t.Helper()
	all, err := l.Cloud.Inspect(l.ctx())
	l.must(err)
	out := map[string][]cloud.Finding{}
	for _, f := range all {
		require.NotEmpty(l.t, f.Means, f.Rule)
		require.NotEmpty(l.t, f.Do, f.Rule)
		require.NotEmpty(l.t, f.Text, f.Rule)
		out[f.Rule] = append(out[f.Rule], f)
	}
	return out
}

func (l *logged) mark(server string, generation int64) computedriver.Mark {
	return computedriver.Mark{Cloud: l.Cloud.ID(), ID: server, Generation: generation}
}

// TestOrphans: a guest that came back after its server was deleted goes; one that nobody knows stays, with an alarm; so does what is not ours.
func TestOrphans(t *testing.T) {
	t.Parallel()
	l := newLogged(t, Options{})
	kept, gone := l.Boot("kept"), l.Boot("gone")
	l.Settle()
	at := l.HostOf(gone)
	l.must(l.Demo().Compute.DeleteServer(l.ctx(), gone))
	l.Settle()
	stranger, theirs := id.Random(), id.Random()
	l.Orphan(at, computedriver.GuestState{Mark: l.mark(gone, 1), Name: "gone"})
	l.Orphan(0, computedriver.GuestState{Mark: l.mark(stranger, 3), Name: "stranger"})
	l.Orphan(0, computedriver.GuestState{Mark: computedriver.Mark{Cloud: "another", ID: theirs, Generation: 1}, Name: "theirs"})
	l.Orphan(1, computedriver.GuestState{Name: "by-hand"})

	found := l.rules()
	require.Len(t, found["guest-orphan"], 1)
	require.Contains(t, found["guest-orphan"][0].Text, gone)
	require.Len(t, found["guest-unknown"], 1)
	require.True(t, found["guest-unknown"][0].Removable)
	require.Len(t, found["guest-foreign"], 2)

	l.Reconcile()
	ids := map[string]bool{}
	for _, g := range l.Guests() {
		ids[g.Mark.ID+g.Name] = true
	}
	require.Len(t, ids, 4, "%v", ids)
	require.True(t, ids[kept+"kept"] && ids[stranger+"stranger"] && ids[theirs+"theirs"] && ids["by-hand"], "%v", ids)
	require.Equal(t, 1, l.lines("a guest whose placement is over"))
	require.Equal(t, 1, l.lines("under this cloud's mark that the store does not know"), "told once")
	require.Equal(t, 1, l.lines("that no cloud has marked"), "told once")
	require.Equal(t, 1, l.lines("guests of another cloud"), "told once")
	grave, err := l.Hosts[at].Tombstone(gone)
	l.must(err)
	require.EqualValues(t, 1, grave)
	require.Equal(t, compute.StatusActive, l.Server(kept).Status())

	removed, err := l.Cloud.AcceptRemoval(l.ctx(), stranger, theirs, kept)
	l.must(err)
	require.Equal(t, []string{stranger}, removed, "what is another cloud's, or belongs to a server, is not removed whatever anybody says")
	require.Empty(t, l.rules()["guest-unknown"])
	require.Len(t, l.Guests(), 3)
	l.Check()
}

// TestBrake: many orphans at once are not removed before an operator says so.
func TestBrake(t *testing.T) {
	t.Parallel()
	l := newLogged(t, Options{Hosts: 1, Cloud: func(o *cloud.Options) { o.Brake = 3 }})
	var ids []string
	for i := range 4 {
		v := l.Boot(fmt.Sprint("vm", i))
		ids = append(ids, v)
	}
	l.Settle()
	for _, v := range ids {
		l.must(l.Demo().Compute.DeleteServer(l.ctx(), v))
	}
	l.Settle()
	for _, v := range ids {
		l.Orphan(0, computedriver.GuestState{Mark: l.mark(v, 1), Name: v})
	}
	l.Reconcile()
	require.Len(t, l.Guests(), 4)
	require.Equal(t, 1, l.lines("too much is wrong with the guests of a host at once"))
	removed, err := l.Cloud.AcceptRemoval(l.ctx(), ids...)
	l.must(err)
	require.ElementsMatch(t, ids, removed)
	require.Empty(t, l.Guests())
	l.Check()

	for i := range ids {
		ids[i] = l.Boot(fmt.Sprint("again", i))
	}
	l.Settle()
	l.LoseGuest(ids...)
	l.Reconcile()
	require.Equal(t, compute.StatusActive, l.Server(ids[0]).Status(), "too many are missing")
	require.Len(t, l.rules()["guest-missing"], 4)
	lost, err := l.Cloud.AcceptLoss(l.ctx(), l.Server(ids[0]).Host)
	l.must(err)
	require.ElementsMatch(t, ids, lost)
	lost, err = l.Cloud.AcceptLoss(l.ctx(), l.Server(ids[0]).HostID)
	l.must(err)
	require.Empty(t, lost, "they are lost already")
	for _, v := range ids {
		require.Equal(t, compute.StatusError, l.Server(v).Status())
	}
}

// TestLostGuest: a server whose guest is gone says so, and is back when its guest is.
func TestLostGuest(t *testing.T) {
	t.Parallel()
	l := newLogged(t, Options{})
	v := l.Boot("vm")
	l.Settle()
	at := l.HostOf(v)
	l.LoseGuest(v)
	l.Reconcile()
	s := l.Server(v)
	require.Equal(t, compute.StatusError, s.Status())
	require.Contains(t, s.Fault.Message, "not on host "+s.Host)
	require.Equal(t, 1, l.lines("a server has lost its guest"))
	l.must(l.Demo().Compute.RebootServer(l.ctx(), v, compute.Hard))
	l.Settle()
	s = l.Server(v)
	require.Equal(t, compute.StatusError, s.Status(), "there is no disk to start from, and a new one is not made in its place")
	require.Contains(t, s.Fault.Message, "disk")
	require.Empty(t, l.Guests())

	l.Orphan(at, computedriver.GuestState{Mark: l.mark(v, 1), Name: "vm", Power: computedriver.Off}) // its storage is mounted
	l.Reconcile()
	require.Equal(t, compute.StatusShutoff, l.Server(v).Status())
	require.Nil(t, l.Server(v).Fault)
	l.NoLeaks()

	l.LoseGuest(v)
	l.Reconcile()
	l.must(l.Demo().Compute.DeleteServer(l.ctx(), v))
	l.Settle()
	l.NoLeaks()
	l.Check()
}

// TestTornGuest: a guest whose definition is gone is made whole around its disk.
func TestTornGuest(t *testing.T) {
	t.Parallel()
	l := newLogged(t, Options{})
	v := l.Boot("vm")
	l.Settle()
	l.TearGuest(v)
	require.Len(t, l.rules()["guest-torn"], 1)
	l.Reconcile()
	s := l.Server(v)
	require.Equal(t, compute.StatusError, s.Status())
	require.Contains(t, s.Fault.Message, "--hard")
	l.must(l.Demo().Compute.RebootServer(l.ctx(), v, compute.Hard))
	l.Settle()
	require.Equal(t, compute.StatusActive, l.Server(v).Status())
	l.NoLeaks()
	l.Check()
}

// TestDriftedGuest: the state follows the guest, in both directions.
func TestDriftedGuest(t *testing.T) {
	t.Parallel()
	l := newLogged(t, Options{})
	v := l.Boot("vm")
	l.Settle()
	at := l.HostOf(v)
	l.must(l.Hosts[at].PowerOff(v, l.Now()))
	l.Reconcile()
	require.Equal(t, compute.StatusShutoff, l.Server(v).Status())
	l.must(l.Hosts[at].PowerOn(v, l.Now()))
	l.Reconcile()
	require.Equal(t, compute.StatusActive, l.Server(v).Status())
	require.Empty(t, l.rules())
	events := map[string]int{}
	ctx, cancel := context.WithCancel(l.ctx())
	defer cancel()
	for e, err := range l.Cloud.Events(ctx, 0) {
		l.must(err)
		if e.ID == v {
			events[e.Type]++
		}
		if events["compute.instance.power_on.end"] > 0 {
			break
		}
	}
	require.Equal(t, 1, events["compute.instance.power_off.end"])
}

// TestBrokenListing: what a listing that broke off does not name is not missing.
func TestBrokenListing(t *testing.T) {
	t.Parallel()
	l := newLogged(t, Options{})
	v := l.Boot("vm")
	l.Settle()
	defer l.Fail(inject.Rule{Method: "Guests", Err: fault.New(fault.Unavailable, "the list broke off")})()
	l.Advance(10 * time.Minute)
	require.Equal(t, compute.StatusActive, l.Server(v).Status())
	require.Len(t, l.rules()["host-not-compared"], 3)
}

// TestEmptyStore: next to hosts full of guests it deletes nothing, and says what it looks like.
func TestEmptyStore(t *testing.T) {
	t.Parallel()
	l := newLogged(t, Options{Hosts: 1})
	for i := range 5 {
		l.Boot(fmt.Sprint("vm", i))
	}
	l.Settle()
	before, networks, images := l.Guests(), len(l.networks()), len(l.Images.Images())
	l.Restore(nil)
	l.Reconcile()
	require.Equal(t, before, l.Guests())
	require.Len(t, l.networks(), networks)
	require.Len(t, l.Images.Images(), images)
	require.Equal(t, 1, l.lines("this store has no servers, and a host is full of another cloud's guests"))
	require.Len(t, l.rules()["guest-foreign"], 5)
	require.Len(t, l.rules()["network-unknown"], networks)
	require.Len(t, l.rules()["image-data-unknown"], images)
}

func (l *logged) networks() []networkdriver.NetworkState {
	l.t.Helper()
	all, err := l.Networks.Networks()
	l.must(err)
	return all
}

// TestRestoredStore: an older store deletes nothing and gives out no address before an operator has accepted it.
func TestRestoredStore(t *testing.T) {
	t.Parallel()
	l := newLogged(t, Options{Hosts: 1})
	old, dying := l.Boot("old"), l.Boot("dying")
	l.Settle()
	l.Reconcile()
	backup := l.Backup()
	l.Reconcile()
	newer := l.Boot("newer")
	l.must(l.Demo().Compute.DeleteServer(l.ctx(), dying))
	l.Settle()
	l.Reconcile()
	before, images := l.Guests(), l.Images.Images()
	require.Len(t, before, 2)

	l.Restore(backup)
	since, why := l.Cloud.Held()
	require.NotEmpty(t, why)
	require.False(t, since.IsZero())
	require.NotZero(t, l.lines("this store is older than what a driver has seen"))
	l.must(l.Demo().Compute.DeleteServer(l.ctx(), old))
	_, err := l.Demo().Compute.CreateServer(l.ctx(), l.Small("another"))
	require.True(t, fault.Is(err, fault.Unavailable), "no address is given out: %v", err)
	require.ErrorContains(t, err, "AcceptStore")
	l.Reconcile()
	require.Equal(t, before, l.Guests(), "nothing is deleted")
	require.Equal(t, images, l.Images.Images())
	require.Equal(t, compute.Deleting, l.Server(old).TaskState, "the delete waits")
	require.Equal(t, compute.StatusError, l.Server(dying).Status(), "its guest is gone")
	found := l.rules()
	require.NotEmpty(t, found["store-held"])
	require.Len(t, found["guest-unknown"], 1)
	require.Contains(t, found["guest-unknown"][0].Text, newer)
	_, err = l.Cloud.AcceptRemoval(l.ctx(), newer)
	require.True(t, fault.Is(err, fault.Unavailable), err)

	l.Crash() // it is not forgotten
	_, why = l.Cloud.Held()
	require.NotEmpty(t, why)

	l.must(l.Cloud.AcceptStore(l.ctx()))
	require.True(t, fault.Is(l.Cloud.AcceptStore(l.ctx()), fault.Conflict))
	l.Settle()
	l.Reconcile()
	_, why = l.Cloud.Held()
	require.Empty(t, why, "one word is enough")
	require.Equal(t, "gone", status(l.Env, old))
	require.Len(t, l.Guests(), 1, "what the store does not know stays")
	removed, err := l.Cloud.AcceptRemoval(l.ctx(), newer)
	l.must(err)
	require.Equal(t, []string{newer}, removed)
	l.must(l.Demo().Compute.DeleteServer(l.ctx(), dying))
	l.Boot("after")
	l.Settle()
	l.Crash()
	l.Reconcile()
	_, why = l.Cloud.Held()
	require.Empty(t, why)
	l.Check()
	require.Empty(t, l.rules()["guest-unknown"])
}

// TestRestoredWithinARound: a copy of the store that is younger than the last round is known as older too, by the guest that it lacks.
func TestRestoredWithinARound(t *testing.T) {
	t.Parallel()
	l := newLogged(t, Options{Hosts: 1})
	old := l.Boot("old")
	l.Settle()
	backup := l.Backup()
	l.Boot("newer")
	l.must(l.Demo().Compute.DeleteServer(l.ctx(), old))
	l.Settle()
	before, images := l.Guests(), l.Images.Images()
	require.Len(t, before, 1)
	l.Restore(backup)
	l.Settle()
	l.Reconcile()
	_, why := l.Cloud.Held()
	require.Contains(t, why, "a guest that was made by a newer state of this store")
	require.Len(t, l.rules()["guest-unknown"], 1)
	require.Equal(t, before, l.Guests())
	require.Equal(t, images, l.Images.Images())

	// With Cloud.AfterBackup, as package operator calls it, no guest is needed.
	l.must(l.Cloud.AcceptStore(l.ctx()))
	l.Settle()
	backup = l.Backup()
	l.must(l.Cloud.AfterBackup(l.ctx()))
	l.Restore(backup)
	_, why = l.Cloud.Held()
	require.Contains(t, why, "remembers a newer state of this store")
}

// TestRestoredWithItsDrivers: a store that was restored together with what the drivers remembered is known by its guests.
func TestRestoredWithItsDrivers(t *testing.T) {
	t.Parallel()
	l := newLogged(t, Options{Hosts: 1})
	l.Reconcile()
	l.Orphan(0, computedriver.GuestState{Mark: l.mark(id.Random(), 1), Epoch: 1, Name: "older than the retention"})
	l.Reconcile()
	_, why := l.Cloud.Held()
	require.Empty(t, why, "a guest of an epoch that the store knows is no evidence")
	l.Orphan(0, computedriver.GuestState{Mark: l.mark(id.Random(), 1), Epoch: 1 << 30, Name: "newer than the store"})
	l.Reconcile()
	_, why = l.Cloud.Held()
	require.Contains(t, why, "newer state of this store")
	l.must(l.Cloud.AcceptStore(l.ctx()))
	l.Reconcile()
	_, why = l.Cloud.Held()
	require.Empty(t, why)
}

// TestLateStart: what a frozen worker does late, on a host that the server has left, makes no second copy, also when host and process restart in between.
func TestLateStart(t *testing.T) {
	t.Parallel()
	e := New(t)
	v := e.Boot("vm")
	e.Settle()
	first := e.HostOf(v)
	e.must(e.Demo().Compute.DeleteServer(e.ctx(), v))
	e.Settle()
	e.Crash()
	h := e.hypervisor(first)
	guest := computedriver.Guest{Mark: computedriver.Mark{Cloud: e.Cloud.ID(), ID: v, Generation: 1}, Name: "vm", VCPUs: 1, MemoryMiB: 64, Root: computedriver.Disk{SizeGiB: 1}}
	require.True(t, fault.Is(h.Define(e.ctx(), guest), fault.Stale))
	require.True(t, fault.Is(h.Start(e.ctx(), guest.Mark.Ref()), fault.Stale))
	require.Empty(t, e.Guests())
}

// TestNetworkSweep: networks and bindings that are over go, those that nobody knows stay, those that the provider lost come back.
func TestNetworkSweep(t *testing.T) {
	t.Parallel()
	l := newLogged(t, Options{})
	v := l.Boot("vm")
	l.Settle()
	dead := someNetwork(l.Env)
	l.must(l.Demo().Network.DeleteNetwork(l.ctx(), dead))
	l.Settle()
	unknown, port := id.Random(), id.Random()
	l.must(l.Networks.Plant(networkdriver.Topology{NetworkID: unknown, Revision: 1}))
	l.must(l.Networks.PlantBinding(networkdriver.Port{ID: port, NetworkID: l.Seeded.NetworkID}, networkdriver.Bind{Host: "h", Generation: 1}))
	mine := l.Server(v).NICs[0].PortID
	found := l.rules()
	require.Len(t, found["network-unknown"], 1)
	require.Len(t, found["binding-unknown"], 1)
	l.must(l.Networks.Lose(mine))
	require.Len(t, l.rules()["binding-missing"], 1)
	l.Reconcile()
	require.Empty(t, l.rules()["binding-missing"], "it is bound again")
	require.Equal(t, 1, l.lines("the provider has a network that this cloud does not know"), "told once")
	require.Equal(t, 1, l.lines("the provider has a port bound that this cloud does not know"), "told once")
	removed, err := l.Cloud.AcceptRemoval(l.ctx(), unknown, port, mine, l.Seeded.NetworkID)
	l.must(err)
	require.ElementsMatch(t, []string{unknown, port}, removed)
	require.Empty(t, l.rules())
	l.NoLeaks()
	l.Check()
}

// TestImageSweep: data that nobody knows stays until an operator says so, and an image without its data is told.
func TestImageSweep(t *testing.T) {
	t.Parallel()
	l := newLogged(t, Options{})
	stray := id.Random()
	l.Images.Plant(stray, []byte("stray"))
	l.Reconcile()
	require.Equal(t, 1, l.lines("the image store holds data that no record knows"), "told once")
	require.Len(t, l.rules()["image-data-unknown"], 1)
	removed, err := l.Cloud.AcceptRemoval(l.ctx(), stray)
	l.must(err)
	require.Equal(t, []string{stray}, removed)
	require.Empty(t, l.rules())
	i, err := l.Admin().Image.Get(l.ctx(), l.Seeded.ImageID)
	l.must(err)
	l.Images.Lose(i.DataID)
	found := l.rules()["image-data-missing"]
	require.Len(t, found, 1)
	require.Equal(t, i.ID, found[0].ID)
	var text strings.Builder
	l.must(cloud.WriteFindings(&text, found))
	require.Contains(t, text.String(), "upload it again")
}

// hypervisor opens one more connection to the i-th host, as a process that is about to be too late has one.
func (e *Env) hypervisor(i int) computedriver.Hypervisor {
	h, err := fakecompute.New(fakecompute.Options{Name: HostName(i), Backend: e.Hosts[i], Clock: e.clock})
	e.must(err)
	return h
}
