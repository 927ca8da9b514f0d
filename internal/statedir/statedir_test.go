package statedir_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/statedir"
)

type doc struct {
	N    int
	List []string
}

// spaces returns a Space of each kind.
func spaces(t *testing.T) map[string]*statedir.Space {
	t.Helper()
	all := map[string]*statedir.Space{"memory": statedir.Memory()}
	for name, durable := range map[string]bool{"files": false, "durable files": true} {
		s, err := statedir.Open(filepath.Join(t.TempDir(), "state"), durable)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		all[name] = s
	}
	return all
}

func TestTable(t *testing.T) {
	t.Parallel()
	for name, s := range spaces(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			docs, other := statedir.In[doc](s, "docs"), statedir.In[int](s, "other")
			require.NoError(t, s.Do(func() error {
				_, found, err := docs.Get("a")
				require.NoError(t, err)
				require.False(t, found)
				keys, err := docs.Keys()
				require.NoError(t, err)
				require.Empty(t, keys)
				require.NoError(t, docs.Delete("a"), "absent is success")

				for i, k := range []string{"b", "a", "a-b", "a.b"} {
					require.NoError(t, docs.Put(k, doc{N: i}))
				}
				require.NoError(t, docs.Put("a", doc{N: 9, List: []string{"x"}}))
				require.NoError(t, other.Put("a", 7))
				got, found, err := docs.Get("a")
				require.NoError(t, err)
				require.True(t, found)
				require.Equal(t, doc{N: 9, List: []string{"x"}}, got)

				keys, err = docs.Keys()
				require.NoError(t, err)
				require.Equal(t, []string{"a", "a-b", "a.b", "b"}, keys)
				require.NoError(t, docs.Delete("a-b"))
				var seen []string
				require.NoError(t, docs.Each(func(k string, d doc) error {
					seen = append(seen, k)
					return nil
				}))
				require.Equal(t, []string{"a", "a.b", "b"}, seen)
				seen = nil
				require.NoError(t, docs.Visit(func(k string, d doc) error {
					seen = append(seen, k)
					return nil
				}))
				require.ElementsMatch(t, []string{"a", "a.b", "b"}, seen)
				stop := errors.New("stop")
				require.ErrorIs(t, docs.Each(func(string, doc) error { return stop }), stop)
				require.ErrorIs(t, docs.Visit(func(string, doc) error { return stop }), stop)
				require.Equal(t, fault.Invalid, fault.CodeOf(docs.Put("../x", doc{})))
				return nil
			}))
		})
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "0f5e-_.Z", strings.Repeat("x", 200)} {
		require.NoError(t, statedir.Key(good))
	}
	for _, bad := range []string{"", ".", "..", ".a", "a/b", `a\b`, "a b", "ä", "a\x00", strings.Repeat("x", 201)} {
		require.Equal(t, fault.Invalid, fault.CodeOf(statedir.Key(bad)), "%q", bad)
	}
}

// Two Spaces on one directory are as two processes: what one did inside Do, the other sees whole.
func TestSpacesExcludeEachOther(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		s, err := statedir.Open(dir, false)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		count := statedir.In[int](s, "n")
		for range 2 {
			wg.Go(func() {
				for range 50 {
					if err := s.Do(func() error {
						n, _, err := count.Get("n")
						return errors.Join(err, count.Put("n", n+1))
					}); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	s, err := statedir.Open(dir, false)
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.Do(func() error {
		n, _, err := statedir.In[int](s, "n").Get("n")
		require.Equal(t, 400, n)
		return err
	}))
}

func TestClosed(t *testing.T) {
	t.Parallel()
	s, err := statedir.Open(t.TempDir(), false)
	require.NoError(t, err)
	require.NoError(t, s.Do(func() error { return nil }))
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	require.Equal(t, fault.Unavailable, fault.CodeOf(s.Do(func() error { return nil })))
	_, err = statedir.Open("", false)
	require.Equal(t, fault.Invalid, fault.CodeOf(err))
}

// What a killed process left of an unfinished document is not seen, and is not in the way.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := statedir.Open(dir, true)
	require.NoError(t, err)
	defer s.Close()
	docs := statedir.In[doc](s, "docs")
	require.NoError(t, s.Do(func() error {
		require.NoError(t, docs.Put("a", doc{N: 1}))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "docs", ".new-a.json"), []byte(`{"form`), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "docs", "notes.txt"), []byte("mine"), 0o600))
		keys, err := docs.Keys()
		require.NoError(t, err)
		require.Equal(t, []string{"a"}, keys)
		require.NoError(t, docs.Put("a", doc{N: 2}))
		got, _, err := docs.Get("a")
		require.Equal(t, 2, got.N)
		return err
	}))
}

func TestExplain(t *testing.T) {
	t.Parallel()
	require.NoError(t, statedir.Explain("p", nil))
	for errno, want := range map[syscall.Errno]fault.Code{
		syscall.ENOSPC: fault.Exhausted, syscall.EDQUOT: fault.Exhausted,
		syscall.EROFS: fault.Unavailable, syscall.EACCES: fault.Unavailable, syscall.EPERM: fault.Unavailable,
		syscall.EMFILE: fault.Unavailable, syscall.EIO: fault.Unavailable, syscall.ENOTDIR: fault.Internal,
	} {
		err := statedir.Explain("/the/path", &os.PathError{Op: "write", Path: "x", Err: errno})
		require.Equal(t, want.String(), fault.CodeOf(err).String(), errno)
		require.ErrorIs(t, err, errno)
		require.ErrorContains(t, err, "/the/path")
	}
	own := fault.New(fault.Corrupt, "already said")
	require.Equal(t, error(own), statedir.Explain("p", own))
}

func TestFileInTheWay(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	s, err := statedir.Open(path, false)
	require.NoError(t, err)
	require.ErrorContains(t, s.Do(func() error { return nil }), path)
}

// FuzzDocument: a file holds a document, or is refused by name and left as it is.
func FuzzDocument(f *testing.F) {
	f.Add([]byte(`{"format":1,"key":"a","doc":{"N":1}}`))
	f.Add([]byte(`{"format":1,"key":"a","doc":null}`))
	f.Add([]byte(`{"format":2,"key":"a","doc":{}}`))
	f.Add([]byte(`{"format":1,"key":"b","doc":{}}`))
	f.Add([]byte(`{"format":1,"key":"a","doc":{"N":"x"}}{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		file := filepath.Join(dir, "docs", "a.json")
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, data, 0o600))
		s, err := statedir.Open(dir, true)
		require.NoError(t, err)
		defer s.Close()
		docs := statedir.In[doc](s, "docs")
		require.NoError(t, s.Do(func() error {
			got, found, err := docs.Get("a")
			if err != nil {
				require.Equal(t, fault.Corrupt, fault.CodeOf(err))
				require.ErrorContains(t, err, file)
				left, err := os.ReadFile(file)
				require.Equal(t, data, left)
				return err
			}
			require.True(t, found)
			require.NoError(t, docs.Put("a", got))
			again, _, err := docs.Get("a")
			require.Equal(t, got, again)
			return err
		}))
	})
}
