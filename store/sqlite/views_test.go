package sqlite_test

import (
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/sqlite"
)

// A View sees the moment at which it began, whether it has asked SQLite before commits came after it or only then, and
// whatever of it the cache has kept, forgotten, or known to be absent.
func TestViewAfterCommits(t *testing.T) {
	t.Parallel()
	for name, opt := range map[string]*sqlite.Options{"cache": nil, "tiny cache": {CacheBytes: 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t, openFile(t, filepath.Join(t.TempDir(), "cloud.db"), opt))
			require.NoError(t, put(s, "a", "old"))
			require.NoError(t, put(s, "b", "old"))
			text := func(tx *store.Tx, id string) string {
				v, err := things.Get(tx, id)
				if fault.Is(err, fault.NotFound) {
					return "none"
				}
				require.NoError(t, err)
				return v.Text
			}
			list := func(tx *store.Tx) (all []string) {
				found, err := things.List(tx, store.Query[thing]{})
				require.NoError(t, err)
				for _, v := range found {
					all = append(all, v.ID+" "+v.Text)
				}
				return all
			}
			require.NoError(t, s.View(t.Context(), func(tx *store.Tx) error { require.Equal(t, "none", text(tx, "c")); return nil }))
			for _, asked := range []func(tx *store.Tx){
				func(tx *store.Tx) {},
				func(tx *store.Tx) { text(tx, "a") },
				func(tx *store.Tx) { text(tx, "c") },
				func(tx *store.Tx) { list(tx) },
			} {
				require.NoError(t, s.View(t.Context(), func(tx *store.Tx) error {
					asked(tx)
					var all sync.WaitGroup // a View's goroutine must not write
					all.Go(func() {
						for _, id := range []string{"a", "c", "b"} {
							require.NoError(t, put(s, id, "new"))
						}
						require.NoError(t, s.Update(t.Context(), func(tx *store.Tx) error { return things.Delete(tx, "b") }))
						require.NoError(t, s.View(t.Context(), func(tx *store.Tx) error {
							require.Equal(t, []string{"a new", "c new"}, list(tx))
							require.Equal(t, "none", text(tx, "b"))
							return nil
						}))
					})
					all.Wait()
					require.Equal(t, "old", text(tx, "a"))
					require.Equal(t, "none", text(tx, "c"))
					require.Equal(t, []string{"a old", "b old"}, list(tx))
					require.Equal(t, "old", text(tx, "b"))
					return nil
				}))
				require.NoError(t, put(s, "a", "old"))
				require.NoError(t, put(s, "b", "old"))
				require.NoError(t, s.Update(t.Context(), func(tx *store.Tx) error { return things.Delete(tx, "c") }))
			}
		})
	}
}

// Views that begin at any instant of commits see one state each: all documents are written together, and alike.
func TestViewsDuringCommits(t *testing.T) {
	t.Parallel()
	s := newStore(t, openFile(t, filepath.Join(t.TempDir(), "cloud.db"), nil))
	write := func(n int) error {
		return s.Update(t.Context(), func(tx *store.Tx) error {
			for _, id := range []string{"a", "b", "c"} {
				if err := things.Put(tx, &thing{id, strconv.Itoa(n)}); err != nil {
					return err
				}
			}
			if n%2 == 0 {
				return things.Put(tx, &thing{"even", strconv.Itoa(n)})
			}
			return things.Delete(tx, "even")
		})
	}
	require.NoError(t, write(0))
	var all sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		all.Go(func() {
			for last := 0; ; {
				select {
				case <-stop:
					return
				default:
				}
				if err := s.View(t.Context(), func(tx *store.Tx) error {
					a, err := things.Get(tx, "a")
					if err != nil {
						return err
					}
					n, _ := strconv.Atoi(a.Text)
					even, err := things.Has(tx, "even")
					if err != nil {
						return err
					}
					found, err := things.List(tx, store.Query[thing]{})
					if err != nil {
						return err
					}
					if even != (n%2 == 0) || n < last || even && len(found) != 4 || !even && len(found) != 3 {
						t.Errorf("at %d, after %d: even is there: %v, %d documents", n, last, even, len(found))
					}
					last = n
					for _, v := range found {
						if v.Text != a.Text {
							t.Errorf("%s is %s, a is %s", v.ID, v.Text, a.Text)
						}
					}
					return nil
				}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for n := 1; n <= 300; n++ {
		require.NoError(t, write(n))
	}
	close(stop)
	all.Wait()
}
