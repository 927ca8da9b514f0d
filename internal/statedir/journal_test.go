package statedir_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/statedir"
)

const journalName = "documents.log"

// with opens the directory's journal for one Do.
func with(t testing.TB, dir string, f func(docs *statedir.Table[doc]) error) error {
	t.Helper()
	s, err := statedir.Open(dir, false)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	docs := statedir.In[doc](s, "docs")
	return s.Do(func() error { return f(docs) })
}

// all returns every document.
func all(docs *statedir.Table[doc]) (map[string]int, error) {
	got := map[string]int{}
	err := docs.Each(func(k string, d doc) error { got[k] = d.N; return nil })
	return got, err
}

// A process that is killed while it writes, or a disk that is full, leaves the documents as they were before, at whatever byte it ends.
func TestTornLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, journalName)
	var sizes []int64
	size := func() {
		info, err := os.Stat(path)
		require.NoError(t, err)
		sizes = append(sizes, info.Size())
	}
	require.NoError(t, with(t, dir, func(docs *statedir.Table[doc]) error {
		for i := range 3 {
			require.NoError(t, docs.Put("a", doc{N: i + 1}))
			size()
		}
		require.NoError(t, docs.Delete("a"))
		size()
		return nil
	}))
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for n := range whole {
		for _, rest := range []string{"", strings.Repeat("\x00", 5), "\x00\x00\n"} {
			if rest != "" && whole[max(0, n-1)] != '\n' {
				rest += strings.Repeat("\x00", 3) // in the middle of a line
			}
			require.NoError(t, os.WriteFile(path, []byte(string(whole[:n])+rest), 0o600))
			want := map[string]int{}
			for i, s := range sizes[:3] {
				if int64(n) >= s {
					want["a"] = i + 1
				}
			}
			require.NoError(t, with(t, dir, func(docs *statedir.Table[doc]) error {
				got, err := all(docs)
				require.Equal(t, want, got, "%d bytes and %q", n, rest)
				require.NoError(t, docs.Put("b", doc{N: 7}))
				return err
			}), "%d bytes and %q", n, rest)
			want["b"] = 7
			require.NoError(t, with(t, dir, func(docs *statedir.Table[doc]) error {
				got, err := all(docs)
				require.Equal(t, want, got)
				return err
			}))
		}
	}
}

// A journal of which most is in vain is written anew; others who have it open go on with the new one.
func TestShrink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, journalName)
	other, err := statedir.Open(dir, false)
	require.NoError(t, err)
	defer other.Close()
	others := statedir.In[doc](other, "docs")
	require.NoError(t, other.Do(func() error { return others.Put("mine", doc{N: 1}) }))
	before, err := os.Stat(path)
	require.NoError(t, err)
	const n = 20000
	require.NoError(t, with(t, dir, func(docs *statedir.Table[doc]) error {
		for i := range n {
			k := fmt.Sprint("k", i%10)
			if i%7 == 0 {
				require.NoError(t, docs.Delete(k))
			}
			require.NoError(t, docs.Put(k, doc{N: i, List: []string{strings.Repeat("x", 100)}}))
		}
		return nil
	}))
	after, err := os.Stat(path)
	require.NoError(t, err)
	require.False(t, os.SameFile(before, after))
	require.Less(t, after.Size(), int64(300<<10))
	want := map[string]int{"mine": 1}
	for i := n - 10; i < n; i++ {
		want[fmt.Sprint("k", i%10)] = i
	}
	require.NoError(t, other.Do(func() error {
		got, err := all(others)
		require.Equal(t, want, got)
		require.NoError(t, others.Put("mine", doc{N: 2}))
		return err
	}))
	want["mine"] = 2
	require.NoError(t, with(t, dir, func(docs *statedir.Table[doc]) error {
		got, err := all(docs)
		require.Equal(t, want, got)
		return err
	}))
	require.NoFileExists(t, filepath.Join(dir, ".new-"+journalName))
}

// A journal that cannot be written anew goes on as it is.
func TestShrinkFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, ".new-"+journalName, "in the way"), 0o755))
	require.NoError(t, with(t, dir, func(docs *statedir.Table[doc]) error {
		for i := range 10000 {
			if err := docs.Put("a", doc{N: i, List: []string{strings.Repeat("x", 100)}}); err != nil {
				return err
			}
		}
		return nil
	}))
	require.NoError(t, with(t, dir, func(docs *statedir.Table[doc]) error {
		got, err := all(docs)
		require.Equal(t, map[string]int{"a": 9999}, got)
		return err
	}))
}

// The directory goes away while it is in use, as a machine's disk does that is replaced: nothing is left, and it begins anew.
func TestDirectoryGone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := statedir.Open(dir, false)
	require.NoError(t, err)
	defer s.Close()
	docs := statedir.In[doc](s, "docs")
	require.NoError(t, s.Do(func() error { return docs.Put("a", doc{N: 1}) }))
	require.NoError(t, os.Remove(filepath.Join(dir, journalName)))
	require.NoError(t, s.Do(func() error {
		got, err := all(docs)
		require.Empty(t, got)
		require.NoError(t, docs.Put("b", doc{N: 2}))
		return err
	}))
	require.NoError(t, with(t, dir, func(docs *statedir.Table[doc]) error {
		got, err := all(docs)
		require.Equal(t, map[string]int{"b": 2}, got)
		return err
	}))
}

// A damaged document is named and stops only what is about it; a line that is none stops the directory. Nothing is changed.
func TestDamage(t *testing.T) {
	t.Parallel()
	const head = "nubecula documents 2\n"
	for text, says := range map[string]string{
		"nubecula documents 3\n":             "use the program that wrote it",
		"\n":                                 "use the program that wrote it",
		head + "docs a {\"N\":1}\nrubbish\n": "is damaged at byte 36",
		head + "docs ../a {\"N\":1}\ndocs b {\"N\":2}\n":      "is damaged at byte 21",
		head + "docs a {\"N\":1\ndocs b {\"N\":2}\n":          "document docs a in ",
		head + "docs a {\"N\":\"x\"}\ndocs b {\"N\":2}\n":     "document docs a in ",
		head + "docs a null\ndocs b {\"N\":2}\n":              "it holds no document",
		head + "docs a {\"N\":1}{}\ndocs b {\"N\":2}\ndocs\n": "is damaged",
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, journalName)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		err := with(t, dir, func(docs *statedir.Table[doc]) error {
			got, found, err := docs.Get("b")
			require.NoError(t, err, "another document")
			require.True(t, found)
			require.Equal(t, 2, got.N)
			_, _, err = docs.Get("a")
			return err
		})
		require.Equal(t, fault.Corrupt.String(), fault.CodeOf(err).String(), text)
		require.ErrorContains(t, err, says)
		require.ErrorContains(t, err, path)
		left, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, text, string(left))
	}
}

// Documents that an earlier version has kept as files are taken over, all or, if one is damaged, none.
func TestAdopt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put := func(name, text string) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	put("docs/a.json", "{\"format\":1,\"key\":\"a\",\"doc\":{\"N\":1,\n\"List\":[\"x y\"]}}\n")
	put("docs/b.json", `{"format":1,"key":"b","doc":{"N":2}}`)
	put("docs/empty.json", "") // a power cut has left its name alone
	put("docs/.spare", "{")
	put("docs/notes.txt", "mine")
	put("numbers/n.json", `{"format":1,"key":"n","doc":7}`)
	put("numbers/m.json", `{"format":1,"key":"other","doc":7}`)
	err := with(t, dir, func(*statedir.Table[doc]) error { return nil })
	require.Equal(t, fault.Corrupt, fault.CodeOf(err))
	require.ErrorContains(t, err, filepath.Join(dir, "numbers", "m.json"))
	require.FileExists(t, filepath.Join(dir, "docs", "a.json"))
	require.NoFileExists(t, filepath.Join(dir, journalName))

	require.NoError(t, os.Remove(filepath.Join(dir, "numbers", "m.json")))
	for range 2 {
		s, err := statedir.Open(dir, false)
		require.NoError(t, err)
		docs, numbers := statedir.In[doc](s, "docs"), statedir.In[int](s, "numbers")
		require.NoError(t, s.Do(func() error {
			got, err := all(docs)
			require.NoError(t, err)
			require.Equal(t, map[string]int{"a": 1, "b": 2}, got)
			a, _, err := docs.Get("a")
			require.NoError(t, err)
			require.Equal(t, []string{"x y"}, a.List)
			n, _, err := numbers.Get("n")
			require.Equal(t, 7, n)
			return err
		}))
		require.NoError(t, s.Close())
	}
	require.NoDirExists(t, filepath.Join(dir, "numbers"))
	require.NoFileExists(t, filepath.Join(dir, "docs", "a.json"))
	require.FileExists(t, filepath.Join(dir, "docs", "notes.txt"))
}

// FuzzJournal: whatever is in the file, its documents are read and written, or it is refused by name and left as it is.
func FuzzJournal(f *testing.F) {
	f.Add([]byte("nubecula documents 2\ndocs a {\"N\":1}\ndocs b {\"N\":2,\"List\":[\"x\"]}\ndocs a \n"))
	f.Add([]byte("nubecula documents 2\ndocs a {\"N\":1}\ndocs a {\"N"))
	f.Add([]byte("nubecula documents 2\ndocs a null\nother a 5\n"))
	f.Add([]byte("nubecula"))
	f.Add([]byte("nubecula documents 2\n  \n"))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, journalName)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		var before map[string]int
		err := with(t, dir, func(docs *statedir.Table[doc]) (err error) {
			if before, err = all(docs); err != nil {
				return err
			}
			before["new"] = 9
			return docs.Put("new", doc{N: 9})
		})
		if err != nil {
			require.Equal(t, fault.Corrupt, fault.CodeOf(err))
			require.ErrorContains(t, err, path)
			left, err := os.ReadFile(path)
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(string(data), string(left)), "no more than a torn end is cut off")
			return
		}
		require.NoError(t, with(t, dir, func(docs *statedir.Table[doc]) error {
			after, err := all(docs)
			require.Equal(t, before, after)
			return err
		}))
	})
}
