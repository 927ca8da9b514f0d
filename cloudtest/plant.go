package cloudtest

import (
	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/chaos"
	"github.com/nubecula/cloud/store/memory"
)

// Orphan puts a running guest on the i-th host, from 0, behind the cloud's back, under its mark unless the Mark names
// another Cloud or nobody's. An id of a server makes it a copy of that server's guest.
func (e *Env) Orphan(i int, s computedriver.GuestState) {
	e.t.Helper()
	if s.Power == "" {
		s.Power = computedriver.Running
	}
	key := s.Mark.ID
	if key == "" {
		key = "foreign-" + s.Name
	}
	e.must(e.Hosts[i].AddForeign(key, s))
}

// HostOf returns the number of the host that a server is on, from 0; it fails the test when it is on none.
func (e *Env) HostOf(id string) int {
	e.t.Helper()
	v := e.Server(id)
	for i := range e.Hosts {
		if v.Host == HostName(i) {
			return i
		}
	}
	e.t.Fatalf("cloudtest: server %s is on no host (%s)", id, v.Status())
	return -1
}

// LoseGuest takes the guests of servers away behind the cloud's back, disks and all. Several go at once: nobody looks in between.
func (e *Env) LoseGuest(ids ...string) {
	e.t.Helper()
	if len(ids) > 1 {
		atOnce := e.Fail(inject.Rule{Method: "Guests"})
		defer func() {
			e.Settle()
			atOnce()
		}()
	}
	for _, id := range ids {
		e.must(e.Hosts[e.HostOf(id)].Lose(id))
	}
}

// TearGuest takes what describes a server's guest away behind the cloud's back, as virsh undefine does; its disk stays.
func (e *Env) TearGuest(id string) {
	e.t.Helper()
	e.must(e.Hosts[e.HostOf(id)].Tear(id))
}

// Guests returns the guests of all hosts, in order.
func (e *Env) Guests() (all []computedriver.GuestState) {
	e.t.Helper()
	for _, h := range e.Hosts {
		some, err := h.Guests()
		e.must(err)
		all = append(all, some...)
	}
	return all
}

// Reconcile lets enough time pass for every loop that compares records with drivers to come round twice.
func (e *Env) Reconcile() {
	e.t.Helper()
	e.Advance(2 * reconciled)
}

// Backup is a copy of the store.
type Backup struct{ db store.Driver }

// Backup copies the store as it is now. It needs a Database that can be restarted, as the default one.
func (e *Env) Backup() *Backup {
	e.t.Helper()
	db, err := e.main.driver().Copy()
	e.must(err)
	return &Backup{db}
}

// Restore ends the Cloud's process and starts another on the copy, while the drivers' back ends stay as they are. A nil
// Backup is an empty store.
func (e *Env) Restore(b *Backup) {
	e.t.Helper()
	e.Kill()
	e.Cloud.Store().Close()
	var db store.Driver = memory.New(&memory.Options{Clock: e.clock})
	if b != nil {
		var err error
		db, err = chaos.New(b.db, nil).Copy() // the backup can be restored again
		e.must(err)
	}
	e.main.mu.Lock()
	e.main.inner = db
	e.main.mu.Unlock()
	e.must(e.main.start())
}
