package statedir_test

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/statedir"
)

const indexName = "documents.index"

// indexed returns a directory with a journal of a hundred documents and more, and what they are. Its index lists all but "late".
func indexed(t *testing.T) (dir string, want map[string]int) {
	t.Helper()
	dir, want = t.TempDir(), map[string]int{}
	require.NoError(t, with(t, dir, func(docs *statedir.Table[doc]) error {
		for i := range 130 {
			k := fmt.Sprint("k", i%110)
			want[k] = i
			require.NoError(t, docs.Put(k, doc{N: i, List: []string{strings.Repeat("x", 1000)}}))
		}
		delete(want, "k50")
		return docs.Delete("k50")
	}))
	require.FileExists(t, filepath.Join(dir, indexName))
	want["late"] = 7
	require.NoError(t, with(t, dir, func(docs *statedir.Table[doc]) error { return docs.Put("late", doc{N: 7}) }))
	return dir, want
}

func same(t *testing.T, dir string, want map[string]int) {
	t.Helper()
	require.NoError(t, with(t, dir, func(docs *statedir.Table[doc]) error {
		got, err := all(docs)
		require.Equal(t, want, got)
		return err
	}))
}

// overwrite puts text of the same length in the place of some in a file.
func overwrite(t *testing.T, path, old, text string) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, 1, bytes.Count(data, []byte(old)))
	require.Len(t, text, len(old))
	require.NoError(t, os.WriteFile(path, bytes.Replace(data, []byte(old), []byte(text), 1), 0o600))
}

// Who opens a journal that has an index does not read what the index lists: damage there is found when it is asked for, and told as without an index.
func TestIndex(t *testing.T) {
	t.Parallel()
	dir, want := indexed(t)
	same(t, dir, want)
	path := filepath.Join(dir, journalName)
	overwrite(t, path, "docs k60 {", "rubbish60{")
	require.NoError(t, with(t, dir, func(docs *statedir.Table[doc]) error {
		for _, k := range []string{"k0", "k61", "late"} {
			got, found, err := docs.Get(k)
			require.NoError(t, err)
			require.True(t, found)
			require.Equal(t, want[k], got.N)
		}
		return docs.Put("later", doc{N: 8})
	}))
	for range 2 { // with the index, and without
		err := with(t, dir, func(docs *statedir.Table[doc]) error {
			_, _, err := docs.Get("k60")
			return err
		})
		require.Equal(t, fault.Corrupt, fault.CodeOf(err))
		require.ErrorContains(t, err, path+" is damaged at byte ")
		require.NoFileExists(t, filepath.Join(dir, indexName))
	}
	overwrite(t, path, "rubbish60{", "docs k60 {")
	want["later"] = 8
	same(t, dir, want)
}

// An index that is not of this journal is as good as none.
func TestWrongIndex(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(t *testing.T, dir string, want map[string]int){
		"damaged": func(t *testing.T, dir string, _ map[string]int) {
			overwrite(t, filepath.Join(dir, indexName), "\nk7 ", "\nk8 ")
		},
		"damaged in its head": func(t *testing.T, dir string, _ map[string]int) {
			overwrite(t, filepath.Join(dir, indexName), "\ndocs ", "\ndoes ")
		},
		"of another version": func(t *testing.T, dir string, _ map[string]int) {
			overwrite(t, filepath.Join(dir, indexName), "nubecula index 1 ", "nubecula index 2 ")
		},
		"cut off": func(t *testing.T, dir string, _ map[string]int) {
			require.NoError(t, os.Truncate(filepath.Join(dir, indexName), 1000))
		},
		"empty": func(t *testing.T, dir string, _ map[string]int) {
			require.NoError(t, os.Truncate(filepath.Join(dir, indexName), 0))
		},
		"a journal that is cut off": func(t *testing.T, dir string, want map[string]int) {
			cutBefore(t, filepath.Join(dir, journalName), "docs k90 ")
			for i := 90; i < 130; i++ {
				delete(want, fmt.Sprint("k", i%110))
			}
			for i := range 20 { // the first of two
				want[fmt.Sprint("k", i)] = i
			}
			want["k50"] = 50
			delete(want, "late")
		},
		"another journal": func(t *testing.T, dir string, want map[string]int) {
			other, docs := indexed(t)
			require.NoError(t, with(t, other, func(docs *statedir.Table[doc]) error { return docs.Delete("k1") }))
			data, err := os.ReadFile(filepath.Join(other, journalName))
			require.NoError(t, err)
			data = append([]byte("nubecula documents 2\ndocs first {\"N\":1}\n"), data[len("nubecula documents 2\n"):]...)
			require.NoError(t, os.WriteFile(filepath.Join(dir, journalName), data, 0o600))
			clear(want)
			for k, n := range docs {
				want[k] = n
			}
			want["first"] = 1
			delete(want, "k1")
		},
		"a line that was moved": func(t *testing.T, dir string, want map[string]int) {
			overwrite(t, filepath.Join(dir, journalName), "docs k30 {", "docs kxx {")
			delete(want, "k30")
			want["kxx"] = 30
			require.NoError(t, with(t, dir, func(docs *statedir.Table[doc]) error {
				_, found, err := docs.Get("k30")
				require.False(t, found)
				return err
			}))
		},
		"a hole": func(t *testing.T, dir string, want map[string]int) { // as a power cut can leave it: the journal ends there
			path := filepath.Join(dir, journalName)
			overwrite(t, path, "docs k95 {", strings.Repeat("\x00", len("docs k95 {")))
			require.NoError(t, with(t, dir, func(docs *statedir.Table[doc]) error {
				_, found, err := docs.Get("k95")
				require.False(t, found)
				return err
			}))
			for i := 95; i < 110; i++ {
				delete(want, fmt.Sprint("k", i))
			}
			for i := range 20 {
				want[fmt.Sprint("k", i)] = i
			}
			want["k50"] = 50
			delete(want, "late")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, want := indexed(t)
			change(t, dir, want)
			same(t, dir, want)
			want["new"] = 1
			require.NoError(t, with(t, dir, func(docs *statedir.Table[doc]) error { return docs.Put("new", doc{N: 1}) }))
			same(t, dir, want)
		})
	}
}

// An index that goes while the journal is open, or is replaced, before its lines were asked for.
func TestIndexGone(t *testing.T) {
	t.Parallel()
	for _, change := range []func(name string) error{
		os.Remove,
		func(name string) error { return os.WriteFile(name, []byte("another"), 0o600) },
	} {
		dir, want := indexed(t)
		s, err := statedir.Open(dir, false)
		require.NoError(t, err)
		docs := statedir.In[doc](s, "docs")
		require.NoError(t, s.Do(func() error { return nil }))
		require.NoError(t, change(filepath.Join(dir, indexName)))
		want["new"] = 1
		require.NoError(t, s.Do(func() error { return docs.Put("new", doc{N: 1}) }))
		require.NoError(t, s.Do(func() error {
			got, err := all(docs)
			require.Equal(t, want, got)
			return err
		}))
		require.NoError(t, s.Close())
		same(t, dir, want)
	}
}

// cutBefore cuts a file off before a text.
func cutBefore(t *testing.T, path, text string) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	at := bytes.Index(data, []byte(text))
	require.Positive(t, at)
	require.NoError(t, os.Truncate(path, int64(at)))
}

// A journal that is written anew has no index before it is closed again, whoever has it open.
func TestShrinkWithIndex(t *testing.T) {
	t.Parallel()
	dir, want := indexed(t)
	other, err := statedir.Open(dir, false)
	require.NoError(t, err)
	others := statedir.In[doc](other, "docs")
	require.NoError(t, other.Do(func() error { _, err := others.Keys(); return err }))
	require.NoError(t, with(t, dir, func(docs *statedir.Table[doc]) error {
		before, err := os.Stat(filepath.Join(dir, journalName))
		require.NoError(t, err)
		for i := 0; ; i++ {
			require.NoError(t, docs.Put("k1", doc{N: i, List: []string{strings.Repeat("y", 1000)}}))
			want["k1"] = i
			if info, err := os.Stat(filepath.Join(dir, journalName)); err != nil || !os.SameFile(before, info) {
				require.NoError(t, err)
				require.NoFileExists(t, filepath.Join(dir, indexName))
				return nil
			}
		}
	}))
	require.FileExists(t, filepath.Join(dir, indexName))
	require.NoError(t, other.Do(func() error {
		got, err := all(others)
		require.Equal(t, want, got)
		return err
	}))
	require.NoError(t, other.Close())
	same(t, dir, want)
}

// FuzzIndex: an index that says anything at all hides documents at worst; what it names is what the journal says, and the journal stays.
func FuzzIndex(f *testing.F) {
	head := "nubecula documents 2\n"
	journal := head + "docs a {\"N\":1}\ndocs b {\"N\":2}\n" + "other c \"" + strings.Repeat("x", 70_000) + "\"\n"
	end, sample := len(journal), crc(journal[len(journal)-1024:])
	for _, section := range []string{"a 28 7\nb 43 7\n", "a 43 7\n", "a 43 70000000\n", "b 43 7", "a 0 0\n", "../a 28 7\n", ""} {
		f.Add(fmt.Sprintf("%d 70000 %s", end, sample), "docs", section, strings.Repeat("x", 3000))
	}
	f.Add(fmt.Sprintf("36 15 %s", crc(journal[:36])), "docs", "a 28 7\n", "")
	f.Add("0 0 0", "\n", "a 28 7\n", "")
	f.Fuzz(func(t *testing.T, first, table, section, other string) {
		dir := t.TempDir()
		path := filepath.Join(dir, journalName)
		require.NoError(t, os.WriteFile(path, []byte(journal), 0o600))
		lines := fmt.Sprintf("%s\nother %d %s\n%s %d %s", first, len(other), crc(other), table, len(section), crc(section))
		index := fmt.Sprintf("nubecula index 1 %s\n%s\n\n%s%s", crc(lines), lines, other, section)
		require.NoError(t, os.WriteFile(filepath.Join(dir, indexName), []byte(index), 0o600))
		require.NoError(t, with(t, dir, func(docs *statedir.Table[doc]) error {
			keys, err := docs.Keys()
			require.NoError(t, err)
			for _, k := range append(keys, "a", "b") {
				got, found, err := docs.Get(k)
				if statedir.Key(k) != nil {
					require.Error(t, err)
					continue
				}
				require.NoError(t, err)
				if found {
					require.Equal(t, map[string]int{"a": 1, "b": 2}[k], got.N)
				}
			}
			return nil
		}))
		left, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, journal, string(left))
	})
}

func crc(s string) string {
	return fmt.Sprintf("%x", crc32.Checksum([]byte(s), crc32.MakeTable(crc32.Castagnoli)))
}
