package sqlite_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
	"github.com/nubecula/cloud/store/sqlite"
)

// record is about as big as a server.
type record struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Project  string            `json:"project"`
	Host     string            `json:"host"`
	Status   string            `json:"status"`
	Step     int               `json:"step"`
	Metadata map[string]string `json:"metadata"`
	Text     string            `json:"text"`
}

var records = store.Define(store.Spec[record]{
	Kind: "record", Version: 1, ID: func(r *record) string { return r.ID },
	Indexes: []store.Index[record]{
		{Name: "project", Keys: func(r *record) []store.Tuple { return []store.Tuple{{r.Project, r.Name}} }},
		{Name: "host", Keys: func(r *record) []store.Tuple { return []store.Tuple{{r.Host}} }},
		{Name: "status", Keys: func(r *record) []store.Tuple { return []store.Tuple{{r.Status, r.Step}} }},
	},
})

func newRecord(id string) *record {
	return &record{ID: id, Name: "server-" + id, Project: "p", Host: "h1", Status: "BUILD", Metadata: map[string]string{"a": "b", "c": "d"},
		Text: "some six hundred bytes of text " + fmt.Sprintf("%560d", 1)}
}

func each(b *testing.B, f func(b *testing.B, s *store.Store)) {
	open := func(b *testing.B, d store.Driver, err error) *store.Store {
		require.NoError(b, err)
		s, err := store.New(d, store.Options{Key: make([]byte, store.KeySize)})
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, s.Close()) })
		return s
	}
	b.Run("memory", func(b *testing.B) { f(b, open(b, memory.New(nil), nil)) })
	b.Run("sqlite", func(b *testing.B) {
		d, err := sqlite.Open(filepath.Join(b.TempDir(), "cloud.db"), nil)
		f(b, open(b, d, err))
	})
}

// BenchmarkStep is the commit of one step of an operation: one document changes, one event.
func BenchmarkStep(b *testing.B) {
	for _, clients := range []int{1, 16, 64} {
		b.Run(fmt.Sprint("clients=", clients), func(b *testing.B) {
			each(b, func(b *testing.B, s *store.Store) { parallel(b, s, clients, step) })
		})
	}
}

// BenchmarkCreate is like a server's creation: a hot ledger is read and written, five documents and two events are made.
func BenchmarkCreate(b *testing.B) {
	for _, clients := range []int{1, 16, 64} {
		b.Run(fmt.Sprint("clients=", clients), func(b *testing.B) {
			each(b, func(b *testing.B, s *store.Store) { parallel(b, s, clients, create) })
		})
	}
}

// BenchmarkView reads one document in a transaction of its own.
func BenchmarkView(b *testing.B) {
	each(b, func(b *testing.B, s *store.Store) {
		ids := seed(b, s, 1000)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			require.NoError(b, s.View(context.Background(), func(tx *store.Tx) error {
				_, err := records.Get(tx, ids[i%len(ids)])
				return err
			}))
		}
	})
}

// BenchmarkGet reads one document inside a transaction.
func BenchmarkGet(b *testing.B) {
	each(b, func(b *testing.B, s *store.Store) {
		ids := seed(b, s, 1000)
		b.ReportAllocs()
		require.NoError(b, s.View(context.Background(), func(tx *store.Tx) error {
			for i := 0; b.Loop(); i++ {
				if _, err := records.Get(tx, ids[i%len(ids)]); err != nil {
					return err
				}
			}
			return nil
		}))
	})
}

// BenchmarkList reads 1,000 documents of an index.
func BenchmarkList(b *testing.B) {
	each(b, func(b *testing.B, s *store.Store) {
		seed(b, s, 1000)
		b.ReportAllocs()
		for b.Loop() {
			require.NoError(b, s.View(context.Background(), func(tx *store.Tx) error {
				_, err := records.List(tx, store.Query[record]{Index: "project", Prefix: store.Tuple{"p"}})
				return err
			}))
		}
	})
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

func parallel(b *testing.B, s *store.Store, clients int, work func(tx *store.Tx, n int, id string) error) {
	ids := seed(b, s, 1000)
	var n atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(max(1, clients/2)) // times GOMAXPROCS
	if clients == 1 {
		for i := 0; b.Loop(); i++ {
			require.NoError(b, s.Update(context.Background(), func(tx *store.Tx) error { return work(tx, i, ids[i%len(ids)]) }))
		}
	} else {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				i := int(n.Add(1))
				if err := s.Update(context.Background(), func(tx *store.Tx) error { return work(tx, i, ids[i%len(ids)]) }); err != nil {
					b.Error(err)
				}
			}
		})
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
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

func create(tx *store.Tx, n int, _ string) error {
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

// BenchmarkDriverGet is the driver's part of a read, with the row cache and without.
func BenchmarkDriverGet(b *testing.B) {
	for name, bytes := range map[string]int{"cached": 0, "uncached": 1} {
		b.Run(name, func(b *testing.B) {
			d, err := sqlite.Open(filepath.Join(b.TempDir(), "cloud.db"), &sqlite.Options{CacheBytes: bytes})
			require.NoError(b, err)
			s, err := store.New(d, store.Options{Key: make([]byte, store.KeySize)})
			require.NoError(b, err)
			defer s.Close()
			ids := seed(b, s, 1000)
			txn, err := d.Begin(context.Background(), false)
			require.NoError(b, err)
			defer txn.Rollback()
			for i := 0; b.Loop(); i++ {
				if _, ok, err := txn.Get("record", ids[i%len(ids)]); err != nil || !ok {
					b.Fatal(ok, err)
				}
			}
		})
	}
}

// BenchmarkOpen opens a file of 64 MB, which is checked for damage.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "cloud.db")
	d, err := sqlite.Open(path, nil)
	require.NoError(b, err)
	s, err := store.New(d, store.Options{Key: make([]byte, store.KeySize)})
	require.NoError(b, err)
	for range 40 {
		seed(b, s, 1000)
	}
	require.NoError(b, s.Close())
	for b.Loop() {
		d, err := sqlite.Open(path, nil)
		require.NoError(b, err)
		require.NoError(b, d.Close())
	}
	st, err := os.Stat(path)
	require.NoError(b, err)
	b.ReportMetric(float64(st.Size())/1e6, "MB")
}
