package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/store"
)

type thing struct {
	ID    string   `json:"id"`
	Name  string   `json:"name"`
	Group string   `json:"group"`
	N     int      `json:"n"`
	Tags  []string `json:"tags,omitempty"`
}

func thingIndexes() []store.Index[thing] {
	return []store.Index[thing]{
		{Name: "name", Unique: true, Keys: func(v *thing) []store.Tuple {
			if v.Name == "" {
				return nil
			}
			return []store.Tuple{{v.Name}}
		}},
		{Name: "group", Keys: func(v *thing) []store.Tuple { return []store.Tuple{{v.Group, v.N}} }},
		{Name: "tag", Keys: func(v *thing) (out []store.Tuple) {
			for _, tag := range v.Tags {
				out = append(out, store.Tuple{tag})
			}
			return out
		}},
	}
}

func defineThings(indexes ...store.Index[thing]) *store.Collection[thing] {
	return store.Define(store.Spec[thing]{Kind: "thing", Version: 1, ID: func(v *thing) string { return v.ID }, Tombstones: true, Indexes: indexes})
}

func ids(list []*thing) string {
	var out []string
	for _, v := range list {
		out = append(out, v.ID)
	}
	return strings.Join(out, " ")
}

func testCollection(t *testing.T, h Harness) {
	s, things := newStore(t, h.open(t)), defineThings(thingIndexes()...)
	update(t, s, func(tx *store.Tx) error {
		for i := range 5 {
			if err := things.Insert(tx, &thing{ID: fmt.Sprint(i), Name: fmt.Sprint("n", i), Group: "g", N: 9 - i, Tags: []string{"all", fmt.Sprint("t", i%2), "all"}}); err != nil {
				return err
			}
		}
		return things.Insert(tx, &thing{ID: "x", Group: "g\x00", N: 1})
	})
	refused := func(code fault.Code, fn func(tx *store.Tx) error) {
		t.Helper()
		err := s.Update(context.Background(), fn)
		require.True(t, fault.Is(err, code), "%v", err)
	}
	refused(fault.Exists, func(tx *store.Tx) error { return things.Insert(tx, &thing{ID: "1"}) })
	refused(fault.Exists, func(tx *store.Tx) error { return things.Insert(tx, &thing{ID: "y", Name: "n1"}) })
	refused(fault.Exists, func(tx *store.Tx) error { return things.Put(tx, &thing{ID: "0", Name: "n1"}) })
	refused(fault.NotFound, func(tx *store.Tx) error { return things.Delete(tx, "y") })
	refused(fault.Internal, func(tx *store.Tx) error { return things.Put(tx, &thing{}) })

	list := func(tx *store.Tx, q store.Query[thing], want string) {
		t.Helper()
		got, err := things.List(tx, q)
		require.NoError(t, err)
		require.Equal(t, want, ids(got))
	}
	look := func(tx *store.Tx) error {
		v, err := things.Get(tx, "2")
		require.NoError(t, err)
		require.Equal(t, &thing{ID: "2", Name: "n2", Group: "g", N: 7, Tags: []string{"all", "t0", "all"}}, v)
		_, err = things.Get(tx, "none")
		require.True(t, fault.Is(err, fault.NotFound))
		ok, err := things.Has(tx, "2")
		require.NoError(t, err)
		require.True(t, ok)
		v, err = things.Find(tx, "name", "n3")
		require.NoError(t, err)
		require.Equal(t, "3", v.ID)
		_, err = things.Find(tx, "name", "n")
		require.True(t, fault.Is(err, fault.NotFound))
		list(tx, store.Query[thing]{}, "0 1 2 3 4 x")
		list(tx, store.Query[thing]{Index: "id", From: store.Tuple{"3"}, Reverse: true}, "x 4 3")
		list(tx, store.Query[thing]{Prefix: store.Tuple{"3"}}, "3")
		list(tx, store.Query[thing]{Index: "group", Prefix: store.Tuple{"g"}}, "4 3 2 1 0")
		list(tx, store.Query[thing]{Index: "group", Prefix: store.Tuple{"g"}, Reverse: true, Limit: 2}, "0 1")
		list(tx, store.Query[thing]{Index: "group", Prefix: store.Tuple{"g"}, From: store.Tuple{6}, To: store.Tuple{8}}, "3 2")
		list(tx, store.Query[thing]{Index: "group", Prefix: store.Tuple{"g", 6}}, "3")
		list(tx, store.Query[thing]{Index: "group", Prefix: store.Tuple{"g"}, After: v}, "2 1 0")
		list(tx, store.Query[thing]{Index: "group", Prefix: store.Tuple{"g"}, After: v, Reverse: true}, "4")
		list(tx, store.Query[thing]{Index: "group", Prefix: store.Tuple{"g"}, From: store.Tuple{8}, After: v}, "1 0")
		list(tx, store.Query[thing]{Index: "tag", Prefix: store.Tuple{"t0"}}, "0 2 4")
		list(tx, store.Query[thing]{Index: "tag", Prefix: store.Tuple{"all"}, Filter: func(v *thing) bool { return v.N%2 == 0 }, Limit: 1}, "1")
		return nil
	}
	view(t, s, look)
	update(t, s, look)
	update(t, s, func(tx *store.Tx) error {
		require.NoError(t, things.Put(tx, &thing{ID: "2", Name: "new", Group: "h"}))
		require.NoError(t, things.Delete(tx, "1"))
		require.NoError(t, things.Insert(tx, &thing{ID: "y", Name: "n2", Group: "g", N: 7}), "the name is free again")
		require.NoError(t, things.Insert(tx, &thing{ID: "1", Name: "n1", Group: "h", N: -1}))
		list(tx, store.Query[thing]{Index: "group", Prefix: store.Tuple{"g"}, Limit: 3}, "4 3 y")
		list(tx, store.Query[thing]{Index: "group", Prefix: store.Tuple{"h"}}, "1 2")
		list(tx, store.Query[thing]{Index: "tag", Prefix: store.Tuple{"all"}}, "0 3 4")
		list(tx, store.Query[thing]{Reverse: true, Limit: 2}, "y x")
		return nil
	})
	view(t, s, func(tx *store.Tx) error {
		list(tx, store.Query[thing]{Index: "group", Prefix: store.Tuple{"g"}}, "4 3 y 0")
		list(tx, store.Query[thing]{Index: "tag", Prefix: store.Tuple{"t0"}}, "0 4")
		_, rev, err := things.GetRev(tx, "2")
		require.EqualValues(t, 2, rev)
		revs := map[string]int64{}
		for r, err := range things.EachRev(tx, store.Query[thing]{Index: "group", Prefix: store.Tuple{"h"}}) {
			require.NoError(t, err)
			revs[r.Doc.ID] = r.Rev
		}
		require.Equal(t, map[string]int64{"1": 1, "2": 2}, revs)
		return err
	})
	found, err := store.Check(context.Background(), s, things)
	require.NoError(t, err)
	require.Empty(t, found)
}

// testPages walks a long list in pieces while it changes.
func testPages(t *testing.T, h Harness) {
	s, things := newStore(t, h.open(t)), defineThings(thingIndexes()...)
	update(t, s, func(tx *store.Tx) error {
		for i := range 2500 {
			if err := things.Insert(tx, &thing{ID: fmt.Sprintf("%04d", i), Group: "g", N: i}); err != nil {
				return err
			}
		}
		return nil
	})
	for _, reverse := range []bool{false, true} {
		var after *thing
		n := 0
		for {
			var page []*thing
			view(t, s, func(tx *store.Tx) (err error) {
				page, err = things.List(tx, store.Query[thing]{Index: "group", Prefix: store.Tuple{"g"}, After: after, Limit: 700, Reverse: reverse})
				return err
			})
			if len(page) == 0 {
				break
			}
			after = page[len(page)-1]
			n += len(page)
			update(t, s, func(tx *store.Tx) error { return things.Delete(tx, after.ID) }) // the cursor need not exist
		}
		require.Equal(t, map[bool]int{false: 2500, true: 2496}[reverse], n)
	}
	update(t, s, func(tx *store.Tx) error {
		n := 0
		for v, err := range things.Each(tx, store.Query[thing]{}) {
			if err != nil {
				return err
			}
			if err := things.Delete(tx, v.ID); err != nil {
				return err
			}
			n++
		}
		require.Equal(t, 2492, n, "deleting what is walked over")
		return nil
	})
}

func testNested(t *testing.T, h Harness) {
	s, things := newStore(t, h.open(t)), defineThings(thingIndexes()...)
	boom := errors.New("boom")
	var hooks []string
	update(t, s, func(tx *store.Tx) error {
		hooks = nil
		require.NoError(t, s.Update(tx.Context(), func(tx *store.Tx) error {
			tx.OnCommit(func() { hooks = append(hooks, "kept") })
			require.NoError(t, s.Update(tx.Context(), func(tx *store.Tx) error { return things.Insert(tx, &thing{ID: "deep", Name: "d"}) }))
			return things.Insert(tx, &thing{ID: "kept", Name: "k"})
		}))
		err := s.Update(tx.Context(), func(tx *store.Tx) error {
			tx.OnCommit(func() { hooks = append(hooks, "dropped") })
			require.NoError(t, things.Delete(tx, "kept"))
			require.NoError(t, things.Put(tx, &thing{ID: "deep", Name: "k", Group: "lost"}))
			list, err := things.List(tx, store.Query[thing]{})
			require.NoError(t, err)
			require.Equal(t, "deep", ids(list))
			require.NoError(t, s.View(tx.Context(), func(tx *store.Tx) error {
				_, err := things.Get(tx, "kept")
				require.True(t, fault.Is(err, fault.NotFound))
				return nil
			}))
			return boom
		})
		require.ErrorIs(t, err, boom)
		v, err := things.Find(tx, "name", "d")
		require.NoError(t, err)
		v.N = 1
		return things.Put(tx, v)
	})
	require.Equal(t, []string{"kept"}, hooks)
	view(t, s, func(tx *store.Tx) error {
		list, err := things.List(tx, store.Query[thing]{Index: "group"})
		require.NoError(t, err)
		require.Equal(t, "kept deep", ids(list))
		return s.View(tx.Context(), func(tx *store.Tx) error { _, err := things.Get(tx, "deep"); return err })
	})
	require.Error(t, s.View(context.Background(), func(tx *store.Tx) error {
		return s.Update(tx.Context(), func(*store.Tx) error { return nil })
	}))
	found, err := store.Check(context.Background(), s, things)
	require.NoError(t, err)
	require.Empty(t, found)
}

// oldThing is a document as version 1 of a program wrote it.
const oldThing = `{"id":"old","title":"n","extra":{"a":[1,2]}}`

func testUpgrade(t *testing.T, h Harness) {
	d := h.open(t)
	commit(t, d, &store.Batch{Docs: []store.DocWrite{doc("thing", "old", oldThing)}})
	s := newStore(t, d)
	move := func(from, to string) func([]byte) ([]byte, error) {
		return func(body []byte) ([]byte, error) {
			var m map[string]json.RawMessage
			if err := json.Unmarshal(body, &m); err != nil {
				return nil, err
			}
			m[to] = m[from]
			delete(m, from)
			return json.Marshal(m)
		}
	}
	things := store.Define(store.Spec[thing]{Kind: "thing", Version: 3, ID: func(v *thing) string { return v.ID }, Indexes: thingIndexes(),
		Upgrade: map[int]func([]byte) ([]byte, error){1: move("title", "label"), 2: move("label", "name")}})
	require.NoError(t, s.Prepare(context.Background(), things))
	view(t, s, func(tx *store.Tx) error {
		v, err := things.Find(tx, "name", "n")
		require.NoError(t, err)
		require.Equal(t, &thing{ID: "old", Name: "n"}, v)
		return nil
	})
	update(t, s, func(tx *store.Tx) error { return things.Put(tx, &thing{ID: "old", Name: "m"}) })
	read(t, d, func(txn store.Txn) {
		got, _, err := txn.Get("thing", "old")
		require.NoError(t, err)
		require.Equal(t, 3, got.Version, "written back in the new form")
		require.NotContains(t, string(got.Body), "title")
	})
	commit(t, d, &store.Batch{Docs: []store.DocWrite{doc("thing", "bad", `{"id":`)}})
	view(t, s, func(tx *store.Tx) error {
		_, err := things.Get(tx, "bad")
		require.True(t, fault.Is(err, fault.Corrupt), "%v", err)
		require.ErrorContains(t, err, "bad")
		return nil
	})
}

// testNewerVersion: a program keeps the fields of a later version that it does not know, and can clear those that it does.
func testNewerVersion(t *testing.T, h Harness) {
	d := h.open(t)
	newer := store.DocWrite{Doc: store.Doc{Kind: "thing", ID: "x", Version: 9, Rev: 4, Body: []byte(`{"id":"x","name":"n","Tags":["a"],"colour":{"r":1}}`)}}
	commit(t, d, &store.Batch{Docs: []store.DocWrite{newer}})
	s, things := newStore(t, d), defineThings(thingIndexes()...)
	update(t, s, func(tx *store.Tx) error {
		v, err := things.Get(tx, "x")
		require.NoError(t, err)
		require.Equal(t, &thing{ID: "x", Name: "n", Tags: []string{"a"}}, v)
		v.Name, v.Tags = "m", nil
		return things.Put(tx, v)
	})
	read(t, d, func(txn store.Txn) {
		got, _, err := txn.Get("thing", "x")
		require.NoError(t, err)
		require.Equal(t, 9, got.Version)
		require.EqualValues(t, 5, got.Rev)
		require.JSONEq(t, `{"id":"x","name":"m","group":"","n":0,"colour":{"r":1}}`, string(got.Body))
	})
}

func testTombstones(t *testing.T, h Harness) {
	c := clock.NewManual(start)
	s, things := newStore(t, h.Open(t, c)), defineThings(thingIndexes()...)
	for i := range 3 {
		id := fmt.Sprint(i)
		update(t, s, func(tx *store.Tx) error { return things.Insert(tx, &thing{ID: id, N: i}) })
		update(t, s, func(tx *store.Tx) error { return things.Delete(tx, id) })
		c.Advance(time.Hour)
	}
	deleted := func(since time.Time) (out string) {
		view(t, s, func(tx *store.Tx) error {
			list, err := things.ListDeleted(tx, since)
			require.NoError(t, err)
			for _, d := range list {
				out += d.Doc.ID
			}
			return nil
		})
		return out
	}
	require.Equal(t, "012", deleted(time.Time{}))
	require.Equal(t, "12", deleted(start.Add(time.Hour)))
	view(t, s, func(tx *store.Tx) error {
		d, err := things.GetDeleted(tx, "1")
		require.NoError(t, err)
		require.Equal(t, &thing{ID: "1", N: 1}, d.Doc)
		require.True(t, d.DeletedAt.Equal(start.Add(time.Hour)))
		return nil
	})
	require.NoError(t, s.Prune(context.Background(), start.Add(90*time.Minute)))
	require.Equal(t, "2", deleted(time.Time{}))
	view(t, s, func(tx *store.Tx) error {
		_, err := things.GetDeleted(tx, "1")
		require.True(t, fault.Is(err, fault.NotFound))
		return nil
	})
}

func testSeal(t *testing.T, h Harness) {
	d := h.open(t)
	s, things := newStore(t, d), defineThings()
	const secret = "correct horse battery staple"
	update(t, s, func(tx *store.Tx) error {
		sealed := tx.Seal([]byte(secret))
		require.NotEqual(t, sealed, tx.Seal([]byte(secret)), "each has its own nonce")
		return things.Put(tx, &thing{ID: "x", Name: sealed})
	})
	view(t, s, func(tx *store.Tx) error {
		v, err := things.Get(tx, "x")
		require.NoError(t, err)
		plain, err := tx.Unseal(v.Name)
		require.NoError(t, err)
		require.Equal(t, secret, string(plain))
		for _, damaged := range []string{"", "plain", v.Name[:len(v.Name)-4], v.Name[:20] + "AAAA" + v.Name[24:]} {
			_, err = tx.Unseal(damaged)
			require.True(t, fault.Is(err, fault.Corrupt), "%v", err)
		}
		return nil
	})
	if h.Raw != nil {
		raw := string(h.Raw(t, d))
		require.Contains(t, raw, "sealed:v1:")
		require.NotContains(t, raw, secret)
		require.NotContains(t, raw, "horse")
	}
}
