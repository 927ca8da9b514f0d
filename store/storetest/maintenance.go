package storetest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

// testPrepare: an index that a new version of a program adds is filled, one that it changes is
// built anew, one that it drops goes.
func testPrepare(t *testing.T, h Harness) {
	s, ctx := newStore(t, h.open(t)), context.Background()
	all := thingIndexes()
	v1 := defineThings(all[0])
	require.NoError(t, s.Prepare(ctx, v1))
	update(t, s, func(tx *store.Tx) error {
		for _, id := range []string{"c", "a", "b"} {
			if err := v1.Insert(tx, &thing{ID: id, Name: id, Group: "g" + id, Tags: []string{"t"}}); err != nil {
				return err
			}
		}
		return nil
	})
	list := func(c *store.Collection[thing], index, want string) {
		t.Helper()
		view(t, s, func(tx *store.Tx) error {
			got, err := c.List(tx, store.Query[thing]{Index: index})
			require.Equal(t, want, ids(got))
			return err
		})
		found, err := store.Check(ctx, s, c)
		require.NoError(t, err)
		require.Empty(t, found)
	}
	list(v1, "name", "a b c")
	v2 := defineThings(all...)
	require.NoError(t, s.Prepare(ctx, v2))
	list(v2, "group", "a b c")
	list(v2, "tag", "a b c")
	commits := s.Stats().Commits.Load()
	require.NoError(t, s.Prepare(ctx, v2))
	require.Equal(t, commits, s.Stats().Commits.Load(), "nothing to do")

	all[1].Version, all[1].Keys = 1, func(v *thing) []store.Tuple { return []store.Tuple{{v.Group == "gb", v.N}} }
	v3 := defineThings(all[1])
	require.NoError(t, s.Prepare(ctx, v3))
	list(v3, "group", "a c b")
	update(t, s, func(tx *store.Tx) error { return v3.Put(tx, &thing{ID: "a", Name: "b"}) }) // no index "name" any more
	require.NoError(t, s.Prepare(ctx, defineThings(all[1])))
	err := s.Prepare(ctx, v2)
	require.True(t, fault.Is(err, fault.Exists), "two have the name: %v", err)
	update(t, s, func(tx *store.Tx) error { return v3.Put(tx, &thing{ID: "a", Name: "z"}) })
	require.NoError(t, s.Prepare(ctx, v2))
	list(v2, "name", "b c a")
}

func testPrepareKey(t *testing.T, h Harness) {
	d := h.open(t)
	s := newStore(t, d)
	require.NoError(t, s.Prepare(context.Background()))
	require.NoError(t, s.Prepare(context.Background()))
	other, err := store.New(shared{d}, store.Options{Key: store.NewKey()})
	require.NoError(t, err)
	defer other.Close()
	require.True(t, fault.Is(other.Prepare(context.Background()), fault.Corrupt))
}

// shared is a driver that somebody else closes.
type shared struct{ store.Driver }

func (shared) Close() error { return nil }

func testCheck(t *testing.T, h Harness) {
	d := h.open(t)
	s, things, ctx := newStore(t, d), defineThings(thingIndexes()...), context.Background()
	update(t, s, func(tx *store.Tx) error {
		for _, id := range []string{"a", "b", "c"} {
			if err := things.Insert(tx, &thing{ID: id, Name: id, Group: "g"}); err != nil {
				return err
			}
		}
		return nil
	})
	key := func(tuple ...any) []byte { return store.Tuple(tuple).Encode() }
	name := func(name, id string, del bool) store.IndexWrite {
		return store.IndexWrite{Kind: "thing", Index: "name", Key: key(name), ID: id, Delete: del}
	}
	tests := []struct {
		damage, repair store.Batch
		want           string
	}{
		{store.Batch{Index: []store.IndexWrite{name("a", "", true)}}, store.Batch{Index: []store.IndexWrite{name("a", "a", false)}}, `thing a: index name: missing entry "\x05a\x00"`},
		{store.Batch{Index: []store.IndexWrite{name("z", "b", false)}}, store.Batch{Index: []store.IndexWrite{name("z", "b", true)}}, `thing b: index name: surplus entry "\x05z\x00"`},
		{store.Batch{Index: []store.IndexWrite{name("c", "b", false)}}, store.Batch{Index: []store.IndexWrite{name("c", "c", false)}}, `thing c: index name: entry "\x05c\x00" points to b`},
		{store.Batch{Docs: []store.DocWrite{doc("thing", "d", `{`)}}, store.Batch{Docs: []store.DocWrite{{Doc: store.Doc{Kind: "thing", ID: "d"}, Delete: true}}}, "thing d: store: thing d cannot be read: unexpected end of JSON input"},
	}
	for _, test := range tests {
		found, err := store.Check(ctx, s, things)
		require.NoError(t, err)
		require.Empty(t, found)
		commit(t, d, &test.damage)
		found, err = store.Check(ctx, s, things)
		require.NoError(t, err)
		require.Len(t, found, 1)
		require.Equal(t, test.want, found[0].String())
		commit(t, d, &test.repair)
	}
}

// testKept: an index that is only kept holds what was written meanwhile; the version that reads it builds it whole.
func testKept(t *testing.T, h Harness) {
	s, ctx := newStore(t, h.open(t)), context.Background()
	all := thingIndexes()
	kept := all[1]
	kept.Kept = true
	v1, v2, v3 := defineThings(all[0]), defineThings(all[0], kept), defineThings(all[0], all[1])
	put := func(c *store.Collection[thing], id, group string) {
		update(t, s, func(tx *store.Tx) error { return c.Put(tx, &thing{ID: id, Name: id, Group: group}) })
	}
	require.NoError(t, s.Prepare(ctx, v1))
	put(v1, "a", "3")
	require.NoError(t, s.Prepare(ctx, v2))
	put(v2, "b", "2")
	found, err := store.Check(ctx, s, v2)
	require.NoError(t, err)
	require.Empty(t, found)
	put(v1, "b", "1") // by a replica that does not know the index
	require.NoError(t, s.Prepare(ctx, v3))
	found, err = store.Check(ctx, s, v3)
	require.NoError(t, err)
	require.Empty(t, found)
	view(t, s, func(tx *store.Tx) error {
		in, err := v3.List(tx, store.Query[thing]{Index: "group"})
		require.Equal(t, "b a", ids(in))
		return err
	})
}
