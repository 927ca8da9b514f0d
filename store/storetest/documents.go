package storetest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/store"
)

func requireDoc(t testing.TB, txn store.Txn, want store.Doc) {
	t.Helper()
	got, ok, err := txn.Get(want.Kind, want.ID)
	require.NoError(t, err)
	require.True(t, ok, "%s %q is missing", want.Kind, want.ID)
	got.Memo, want.Memo = nil, nil
	require.Equal(t, want, got)
}

// bare drops what a driver may keep with its documents or not.
func bare(entries []store.Entry) []store.Entry {
	for i := range entries {
		entries[i].Doc.Memo = nil
	}
	return entries
}

func requireNoDoc(t testing.TB, txn store.Txn, kind, id string) {
	t.Helper()
	_, ok, err := txn.Get(kind, id)
	require.NoError(t, err)
	require.False(t, ok, "%s %q is there", kind, id)
}

func testDocuments(t *testing.T, h Harness) {
	d := h.open(t)
	one := store.DocWrite{Doc: store.Doc{Kind: "a", ID: "1", Version: 3, Rev: 7, Body: []byte(`{"n":1}`)}}
	read(t, d, func(txn store.Txn) { requireNoDoc(t, txn, "a", "1") })
	commit(t, d, &store.Batch{Docs: []store.DocWrite{one, doc("a", "2", `{}`), doc("b", "1", `[]`)}})
	read(t, d, func(txn store.Txn) {
		requireDoc(t, txn, one.Doc)
		requireDoc(t, txn, doc("b", "1", `[]`).Doc)
		requireNoDoc(t, txn, "b", "2")
	})
	one.Version, one.Rev, one.Body = 4, 8, []byte(`{"n":2}`)
	commit(t, d, &store.Batch{Docs: []store.DocWrite{one, {Doc: store.Doc{Kind: "a", ID: "2"}, Delete: true}, {Doc: store.Doc{Kind: "a", ID: "3"}, Delete: true}}})
	read(t, d, func(txn store.Txn) {
		requireDoc(t, txn, one.Doc)
		requireNoDoc(t, txn, "a", "2")
		requireNoDoc(t, txn, "a", "3")
	})
}

func testRollback(t *testing.T, h Harness) {
	d := h.open(t)
	commit(t, d, &store.Batch{Docs: []store.DocWrite{doc("a", "1", `1`)}})
	txn, err := d.Begin(context.Background(), true)
	require.NoError(t, err)
	require.NoError(t, txn.Apply(&store.Batch{Docs: []store.DocWrite{doc("a", "1", `2`), doc("a", "2", `2`)}, Index: []store.IndexWrite{entry("a", "x", "k", "2")}}))
	requireDoc(t, txn, doc("a", "1", `2`).Doc) // its own writes
	got, err := txn.Scan(store.Range{Kind: "a", Index: "x"})
	require.NoError(t, err)
	require.Equal(t, []store.Entry{{Key: []byte("k"), Doc: doc("a", "2", `2`).Doc}}, bare(got))
	require.NoError(t, txn.Apply(&store.Batch{Docs: []store.DocWrite{doc("a", "2", `3`)}}))
	requireDoc(t, txn, doc("a", "2", `3`).Doc)
	txn.Rollback()
	txn.Rollback()
	read(t, d, func(txn store.Txn) {
		requireDoc(t, txn, doc("a", "1", `1`).Doc)
		requireNoDoc(t, txn, "a", "2")
		got, err := txn.Scan(store.Range{Kind: "a", Index: "x"})
		require.NoError(t, err)
		require.Empty(t, got)
	})
}

// awkward are names that a driver must keep apart.
var awkward = []string{"a", "A", "a ", "a\x00", "a\x00b", "\x00", "\xff", "\xff\xfe", "é", "e\u0301", "'", `"`, "%", "_", "1", "01", "1.0", "null", strings.Repeat("x", 5000)}

func testKeys(t *testing.T, h Harness) {
	d := h.open(t)
	var b store.Batch
	for i, name := range awkward {
		b.Docs = append(b.Docs, doc("k", name, fmt.Sprint(i)), doc(name, "id", fmt.Sprint(i)))
		b.Index = append(b.Index, entry("k", "i", name, name), entry("k", "of "+name, "key", name))
	}
	commit(t, d, &b)
	sorted := slices.Sorted(slices.Values(awkward))
	read(t, d, func(txn store.Txn) {
		for i, name := range awkward {
			requireDoc(t, txn, doc("k", name, fmt.Sprint(i)).Doc)
			requireDoc(t, txn, doc(name, "id", fmt.Sprint(i)).Doc)
			got, err := txn.Scan(store.Range{Kind: "k", Index: "of " + name})
			require.NoError(t, err)
			require.Equal(t, []store.Entry{{Key: []byte("key"), Doc: doc("k", name, fmt.Sprint(i)).Doc}}, bare(got))
		}
		for _, index := range []string{"", "i"} {
			got, err := txn.Scan(store.Range{Kind: "k", Index: index})
			require.NoError(t, err)
			require.Equal(t, sorted, keysOf(got))
		}
	})
}

func keysOf(entries []store.Entry) []string {
	var out []string
	for _, e := range entries {
		out = append(out, string(e.Key))
	}
	return out
}

func testBigDocument(t *testing.T, h Harness) {
	d := h.open(t)
	big := doc("a", "big", `"`+strings.Repeat("0123456789abcdef", 1<<18)+`"`) // 4 MiB
	commit(t, d, &store.Batch{Docs: []store.DocWrite{big}})
	commit(t, d, &store.Batch{Docs: []store.DocWrite{doc("a", "small", `1`)}})
	read(t, d, func(txn store.Txn) {
		requireDoc(t, txn, big.Doc)
		requireDoc(t, txn, doc("a", "small", `1`).Doc)
	})
}

// fill puts n documents "d000".. in index "i" under the same keys, and neighbours around them.
func fill(t testing.TB, d store.Driver, n int) {
	var b store.Batch
	for i := range n {
		id := fmt.Sprintf("d%03d", i)
		b.Docs = append(b.Docs, doc("k", id, fmt.Sprint(i)))
		b.Index = append(b.Index, entry("k", "i", id, id))
	}
	for _, kind := range []string{"j", "k\x00", "kk"} {
		b.Docs = append(b.Docs, doc(kind, "d001", `0`))
		b.Index = append(b.Index, entry(kind, "i", "d001", "d001"))
	}
	b.Index = append(b.Index, entry("k", "h", "d001", "d001"), entry("k", "i\x00", "d001", "d001"), entry("k", "ii", "d001", "d001"))
	commit(t, d, &b)
}

func testScan(t *testing.T, h Harness) {
	d := h.open(t)
	fill(t, d, 6)
	tests := []struct {
		name string
		r    store.Range
		want []string
	}{
		{"all", store.Range{}, []string{"d000", "d001", "d002", "d003", "d004", "d005"}},
		{"all, backwards", store.Range{Reverse: true}, []string{"d005", "d004", "d003", "d002", "d001", "d000"}},
		{"from", store.Range{From: []byte("d004")}, []string{"d004", "d005"}},
		{"to", store.Range{To: []byte("d002")}, []string{"d000", "d001"}},
		{"from and to", store.Range{From: []byte("d001"), To: []byte("d003")}, []string{"d001", "d002"}},
		{"from and to, backwards", store.Range{From: []byte("d001"), To: []byte("d003"), Reverse: true}, []string{"d002", "d001"}},
		{"between keys", store.Range{From: []byte("d0011"), To: []byte("d0031"), Reverse: true}, []string{"d003", "d002"}},
		{"to just behind", store.Range{From: []byte("d001"), To: []byte("d001\x00")}, []string{"d001"}},
		{"empty To", store.Range{To: []byte{}}, nil},
		{"upside down", store.Range{From: []byte("d003"), To: []byte("d001")}, nil},
		{"limit", store.Range{Limit: 2}, []string{"d000", "d001"}},
		{"limit, backwards", store.Range{Limit: 2, Reverse: true}, []string{"d005", "d004"}},
		{"limit over", store.Range{From: []byte("d004"), Limit: 9}, []string{"d004", "d005"}},
		{"behind the end", store.Range{From: []byte("e")}, nil},
	}
	read(t, d, func(txn store.Txn) {
		for _, index := range []string{"i", ""} {
			for _, test := range tests {
				test.r.Kind, test.r.Index = "k", index
				got, err := txn.Scan(test.r)
				require.NoError(t, err)
				require.Equal(t, test.want, keysOf(got), "%s in index %q", test.name, index)
				for _, e := range got {
					requireDoc(t, txn, e.Doc)
					require.Equal(t, string(e.Key), e.Doc.ID)
				}
			}
		}
		got, err := txn.Scan(store.Range{Kind: "k", Index: "none"})
		require.NoError(t, err)
		require.Empty(t, got)
	})
	commit(t, d, &store.Batch{Index: []store.IndexWrite{entry("k", "lost", "x", "nobody")}})
	read(t, d, func(txn store.Txn) {
		got, err := txn.Scan(store.Range{Kind: "k", Index: "lost"})
		require.NoError(t, err)
		require.Equal(t, []store.Entry{{Key: []byte("x"), Doc: store.Doc{Kind: "k", ID: "nobody"}}}, bare(got), "an entry without its document")
	})
}

// testScanRandom compares an index with a sorted list, over random writes and ranges.
func testScanRandom(t *testing.T, h Harness) {
	d := h.open(t)
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 1))
	commit(t, d, &store.Batch{Docs: []store.DocWrite{doc("k", "0", `0`), doc("k", "1", `1`)}})
	key := func() []byte {
		b := make([]byte, rnd.IntN(4))
		for i := range b {
			b[i] = []byte{0, 1, 'a', 0xff}[rnd.IntN(4)]
		}
		return b
	}
	have := map[string]string{}
	for round := range 30 {
		var b store.Batch
		for range 10 {
			w := store.IndexWrite{Kind: "k", Index: "i", Key: key(), ID: fmt.Sprint(rnd.IntN(2)), Delete: rnd.IntN(3) == 0}
			if w.Delete {
				delete(have, string(w.Key))
			} else {
				have[string(w.Key)] = w.ID
			}
			b.Index = append(b.Index, w)
		}
		commit(t, d, &b)
		read(t, d, func(txn store.Txn) {
			for range 10 {
				r := store.Range{Kind: "k", Index: "i", From: key(), Reverse: rnd.IntN(2) == 0, Limit: rnd.IntN(4)}
				if rnd.IntN(2) == 0 {
					r.To = key()
				}
				var want []string
				for k, id := range have {
					if k >= string(r.From) && (r.To == nil || k < string(r.To)) {
						want = append(want, k+"="+id)
					}
				}
				slices.Sort(want)
				slices.SortFunc(want, func(a, b string) int { return strings.Compare(a[:len(a)-2], b[:len(b)-2]) })
				if r.Reverse {
					slices.Reverse(want)
				}
				if r.Limit > 0 && len(want) > r.Limit {
					want = want[:r.Limit]
				}
				entries, err := txn.Scan(r)
				require.NoError(t, err)
				var got []string
				for _, e := range entries {
					got = append(got, string(e.Key)+"="+e.Doc.ID)
				}
				require.Equal(t, want, got, "seed %d, round %d, %+v", seed, round, r)
			}
		})
	}
}

func testBigIndex(t *testing.T, h Harness) {
	d := h.open(t)
	const n = 10000
	var b store.Batch
	for i := range n {
		id := fmt.Sprintf("%05d", i*7919%n)
		b.Docs = append(b.Docs, doc("k", id, id[4:]))
		b.Index = append(b.Index, entry("k", "i", id, id))
	}
	commit(t, d, &b)
	read(t, d, func(txn store.Txn) {
		for _, index := range []string{"", "i"} {
			all, err := txn.Scan(store.Range{Kind: "k", Index: index})
			require.NoError(t, err)
			require.Len(t, all, n)
			require.True(t, slices.IsSortedFunc(all, func(a, b store.Entry) int { return bytes.Compare(a.Key, b.Key) }))
			last, err := txn.Scan(store.Range{Kind: "k", Index: index, Reverse: true, Limit: 1})
			require.NoError(t, err)
			require.Equal(t, []string{"09999"}, keysOf(last))
			page, err := txn.Scan(store.Range{Kind: "k", Index: index, From: []byte("05000"), Limit: 3})
			require.NoError(t, err)
			require.Equal(t, []string{"05000", "05001", "05002"}, keysOf(page))
		}
	})
}
