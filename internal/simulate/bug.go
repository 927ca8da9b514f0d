package main

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/network/networkdriver"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/chaos"
)

// bug is a mistake in the program that is planted, to see that histories find it.
type bug struct {
	name, what string
	cloud      func(o *cloud.Options)            // nil changes nothing
	database   func(d store.Driver) store.Driver // nil changes nothing
}

// bugs returns one of each kind. They sit where the program meets drivers and database, so that the program itself
// has no switches for them.
func bugs() []*bug {
	return []*bug{
		{"lazy-start", "a hypervisor says that every fifth guest runs, and does not start it", lazyHosts, nil},
		{"no-unbind", "a network provider forgets to unbind", func(o *cloud.Options) { o.Network = badNetwork{o.Network} }, nil},
		{"no-claim", "an Update now and then skips the ledger of a host", nil, onWrites(everyNth(6, "host-ledger"))},
		{"no-quota", "an Update now and then skips the ledger of the quota", nil, onWrites(everyNth(7, "quota"))},
		{"no-debt", "the engine forgets what is owed on a host that is down", nil, onWrites(everyNth(1, "guest-debt"))},
		{"lost-commit", "a commit now and then is acknowledged and lost", nil, func(d store.Driver) store.Driver { return &badStore{Driver: d, lose: 40} }},
		{"wrong-fate", "a commit of unknown outcome is always taken for one that never happened", nil, func(d store.Driver) store.Driver { return &badStore{Driver: d, wrongFate: true} }},
		{"event-gap", "a reader of events is not shown each thirtieth", nil, func(d store.Driver) store.Driver { return &badStore{Driver: d, hide: 30} }},
	}
}

func bugNamed(name string) *bug {
	for _, b := range bugs() {
		if b.name == name {
			return b
		}
	}
	return nil
}

func lazyHosts(o *cloud.Options) {
	for i := range o.Hypervisors {
		o.Hypervisors[i].Driver = &lazyHost{Hypervisor: o.Hypervisors[i].Driver}
	}
}

// lazyHost is a hypervisor with a mistake.
type lazyHost struct {
	computedriver.Hypervisor
	starts atomic.Int64
}

func (h *lazyHost) Unwrap() computedriver.Hypervisor { return h.Hypervisor }

func (h *lazyHost) Start(ctx context.Context, r computedriver.Ref) error {
	if h.starts.Add(1)%5 == 0 {
		return nil
	}
	return h.Hypervisor.Start(ctx, r)
}

// badNetwork is a provider with a mistake.
type badNetwork struct{ networkdriver.Provider }

func (badNetwork) Unbind(context.Context, string, networkdriver.Bind) error { return nil }

// badStore is a database with mistakes.
type badStore struct {
	store.Driver
	drop      func(d store.DocWrite) bool // writes of documents that are left out
	lose      int64                       // each so many-th commit is lost
	wrongFate bool
	hide      int64 // each so many-th event is not shown
	commits   atomic.Int64
}

func onWrites(drop func() func(store.DocWrite) bool) func(store.Driver) store.Driver {
	return func(d store.Driver) store.Driver { return &badStore{Driver: d, drop: drop()} }
}

// everyNth drops each n-th write of a kind of document.
func everyNth(n int64, kind string) func() func(store.DocWrite) bool {
	return func() func(store.DocWrite) bool {
		var count atomic.Int64
		return func(d store.DocWrite) bool { return d.Kind == kind && !d.Delete && count.Add(1)%n == 0 }
	}
}

func (b *badStore) Restart() (store.Driver, error) {
	inner, err := b.Driver.(chaos.Restarter).Restart()
	if err != nil || inner == b.Driver {
		return b, err
	}
	return &badStore{Driver: inner, drop: b.drop, lose: b.lose, wrongFate: b.wrongFate, hide: b.hide}, nil
}

func (b *badStore) Notify(f func()) (stop func()) { return b.Driver.(store.Notifier).Notify(f) }

func (b *badStore) Resolve(ctx context.Context, commitID string) (bool, error) {
	happened, err := b.Driver.Resolve(ctx, commitID)
	return happened && !b.wrongFate, err
}

func (b *badStore) Begin(ctx context.Context, writable bool) (store.Txn, error) {
	t, err := b.Driver.Begin(ctx, writable)
	if err != nil {
		return nil, err
	}
	return &badTxn{t, b}, nil
}

type badTxn struct {
	store.Txn
	b *badStore
}

func (t *badTxn) Apply(batch *store.Batch) error {
	if t.b.drop != nil {
		kept := *batch
		kept.Docs = slices.DeleteFunc(slices.Clone(batch.Docs), t.b.drop)
		batch = &kept
	}
	return t.Txn.Apply(batch)
}

func (t *badTxn) Commit(ctx context.Context, commitID string) (int64, error) {
	if n := t.b.commits.Add(1); t.b.lose > 0 && n > 30 && n%t.b.lose == 0 {
		t.Txn.Rollback()
		return 1, nil
	}
	return t.Txn.Commit(ctx, commitID)
}

func (t *badTxn) Events(after int64, limit int) ([]event.Event, error) {
	list, err := t.Txn.Events(after, limit)
	if t.b.hide > 0 {
		list = slices.DeleteFunc(slices.Clone(list), func(e event.Event) bool { return e.Seq%t.b.hide == 0 })
	}
	return list, err
}
