package postgres_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/postgres"
)

// record is about as big as a server.
type record struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Project string `json:"project"`
	Host    string `json:"host"`
	Step    int    `json:"step"`
	Text    string `json:"text"`
}

var records = store.Define(store.Spec[record]{
	Kind: "record", Version: 1, ID: func(r *record) string { return r.ID },
	Indexes: []store.Index[record]{
		{Name: "project", Keys: func(r *record) []store.Tuple { return []store.Tuple{{r.Project, r.Name}} }},
		{Name: "host", Keys: func(r *record) []store.Tuple { return []store.Tuple{{r.Host}} }},
		{Name: "status", Keys: func(r *record) []store.Tuple { return []store.Tuple{{"BUILD", r.Step}} }},
	},
})

func newRecord(id string) *record {
	return &record{ID: id, Name: "server-" + id, Project: "p", Host: "h1", Text: "some six hundred bytes of text " + fmt.Sprintf("%560d", 1)}
}

func seed(b *testing.B, s *store.Store, n int) []string {
	ids := make([]string, n)
	require.NoError(b, s.Update(context.Background(), func(tx *store.Tx) error {
		for i := range ids {
			ids[i] = tx.NewID()
			if err := records.Insert(tx, newRecord(ids[i])); err != nil {
				return err
			}
		}
		return nil
	}))
	return ids
}

func step(tx *store.Tx, n int, id string) error {
	r, err := records.Get(tx, id)
	if err != nil {
		return err
	}
	r.Step = n
	tx.Emit(event.Event{Type: "record.step", Kind: "record", ID: id, ProjectID: r.Project})
	return records.Put(tx, r)
}

func create(tx *store.Tx, _ int, _ string) error {
	ledger, err := records.Get(tx, "ledger")
	if err != nil {
		ledger = &record{ID: "ledger"}
	}
	ledger.Step++
	if err := records.Put(tx, ledger); err != nil {
		return err
	}
	for range 5 {
		if err := records.Insert(tx, newRecord(tx.NewID())); err != nil {
			return err
		}
	}
	tx.Emit(event.Event{Type: "record.create.start", Kind: "record", ID: "x"})
	tx.Emit(event.Event{Type: "record.create.end", Kind: "record", ID: "x"})
	return nil
}

// parallel has clients work at each of some replicas.
func parallel(b *testing.B, replicas, clients int, work func(tx *store.Tx, n int, id string) error) {
	opt := postgres.Options{Schema: newSchema(b)}
	var stores []*store.Store
	for range replicas {
		stores = append(stores, newStore(b, open(b, opt)))
	}
	ids := seed(b, stores[0], 1000)
	var n, who atomic.Int64
	b.SetParallelism(max(1, clients*replicas/2)) // times GOMAXPROCS
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		s := stores[int(who.Add(1))%replicas]
		for pb.Next() {
			i := int(n.Add(1))
			if err := s.Update(context.Background(), func(tx *store.Tx) error { return work(tx, i, ids[i%len(ids)]) }); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
	var commits, conflicts int64
	for _, s := range stores {
		commits += s.Stats().Commits.Load()
		conflicts += s.Stats().Conflicts.Load()
	}
	b.ReportMetric(float64(b.N)/float64(max(1, commits)), "tx/commit")
	b.ReportMetric(float64(conflicts)/float64(max(1, commits)), "reruns/commit")
}

// BenchmarkStep is the commit of one step of an operation: one document changes, one event.
func BenchmarkStep(b *testing.B) {
	for _, replicas := range []int{1, 2, 3} {
		for _, clients := range []int{2, 16, 64} {
			b.Run(fmt.Sprintf("replicas=%d/clients=%d", replicas, clients), func(b *testing.B) { parallel(b, replicas, clients, step) })
		}
	}
}

// BenchmarkCreate is like a server's creation: a hot ledger is read and written, five documents and two events are made.
func BenchmarkCreate(b *testing.B) {
	for _, replicas := range []int{1, 2, 3} {
		for _, clients := range []int{2, 16, 64} {
			b.Run(fmt.Sprintf("replicas=%d/clients=%d", replicas, clients), func(b *testing.B) { parallel(b, replicas, clients, create) })
		}
	}
}

// BenchmarkView reads one document in a transaction of its own.
func BenchmarkView(b *testing.B) {
	s := newStore(b, open(b, postgres.Options{}))
	ids := seed(b, s, 1000)
	for i := 0; b.Loop(); i++ {
		require.NoError(b, s.View(context.Background(), func(tx *store.Tx) error {
			_, err := records.Get(tx, ids[i%len(ids)])
			return err
		}))
	}
}

// BenchmarkList reads 1,000 documents of an index.
func BenchmarkList(b *testing.B) {
	s := newStore(b, open(b, postgres.Options{}))
	seed(b, s, 1000)
	for b.Loop() {
		require.NoError(b, s.View(context.Background(), func(tx *store.Tx) error {
			_, err := records.List(tx, store.Query[record]{Index: "project", Prefix: store.Tuple{"p"}})
			return err
		}))
	}
}
