package statedir

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nubecula/cloud/fault"
)

// format is what this code writes; a file of another format is refused, not guessed at.
const format = 1

// Table holds documents of one type by key. In memory it keeps the values it was given: do not
// change what they point to. Use it only inside Space.Do.
type Table[T any] struct {
	s   *Space
	dir string
	mem map[string]T
}

// file is what is written for one document.
type file[T any] struct {
	Format int    `json:"format"`
	Key    string `json:"key"`
	Doc    *T     `json:"doc"`
}

// In returns the Space's table of that name, a subdirectory.
func In[T any](s *Space, name string) *Table[T] {
	if s.path == "" {
		return &Table[T]{s: s, mem: map[string]T{}}
	}
	return &Table[T]{s: s, dir: filepath.Join(s.path, name)}
}

func (t *Table[T]) file(key string) string { return filepath.Join(t.dir, key+".json") }

// Get returns the document and whether there is one. A damaged file is fault.Corrupt.
func (t *Table[T]) Get(key string) (doc T, found bool, err error) {
	if t.mem != nil {
		doc, found = t.mem[key]
		return doc, found, nil
	}
	if err := Key(key); err != nil {
		return doc, false, err
	}
	data, err := os.ReadFile(t.file(key))
	if errors.Is(err, fs.ErrNotExist) {
		return doc, false, nil
	}
	if err != nil {
		return doc, false, Explain(t.file(key), err)
	}
	if len(data) == 0 && !t.s.sync {
		return doc, false, nil // its name reached the disk before a power cut, its content did not
	}
	doc, err = decode[T](key, data)
	if err != nil {
		return doc, false, fault.New(fault.Corrupt, "file %s is damaged: %w; restore it, or move it away to give up what it describes", t.file(key), err)
	}
	return doc, true, nil
}

func decode[T any](key string, data []byte) (doc T, err error) {
	var f file[T]
	if err := json.Unmarshal(data, &f); err != nil {
		return doc, err
	}
	switch {
	case f.Format != format:
		return doc, fault.New(fault.Corrupt, "it has format %d, this program knows %d", f.Format, format)
	case f.Key != key:
		return doc, fault.New(fault.Corrupt, "it is about %q", f.Key)
	case f.Doc == nil:
		return doc, fault.New(fault.Corrupt, "it holds no document")
	}
	return *f.Doc, nil
}

// Put keeps the document.
func (t *Table[T]) Put(key string, doc T) error {
	if err := Key(key); err != nil {
		return err
	}
	if t.mem != nil {
		t.mem[key] = doc
		return nil
	}
	data, err := json.Marshal(file[T]{format, key, &doc})
	if err != nil {
		return fault.New(fault.Internal, "encode %s: %w", key, err)
	}
	replace := replaceQuickly
	if t.s.sync {
		replace = Replace
	}
	err = replace(t.file(key), append(data, '\n'))
	if errors.Is(err, fs.ErrNotExist) { // the first document of this table
		if err = os.MkdirAll(t.dir, 0o755); err == nil {
			err = replace(t.file(key), append(data, '\n'))
		}
		if err == nil && t.s.sync {
			err = SyncDir(t.s.path)
		}
	}
	return Explain(t.file(key), err)
}

// Delete removes the document, damaged or whole; absent is success.
func (t *Table[T]) Delete(key string) error {
	if t.mem != nil {
		delete(t.mem, key)
		return nil
	}
	if err := Key(key); err != nil {
		return err
	}
	err := os.Remove(t.file(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && t.s.sync {
		err = SyncDir(t.dir)
	}
	return Explain(t.file(key), err)
}

// Keys returns all keys in order.
func (t *Table[T]) Keys() ([]string, error) {
	if t.mem != nil {
		keys := make([]string, 0, len(t.mem))
		for k := range t.mem {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		return keys, nil
	}
	entries, err := os.ReadDir(t.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, Explain(t.dir, err)
	}
	var keys []string
	for _, e := range entries {
		if key, ok := strings.CutSuffix(e.Name(), ".json"); ok && Key(key) == nil {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys, nil
}

// Greatest keeps the greatest value ever given for a key, from 1 on, and returns it; 0 as the value only asks. Use it
// only inside Space.Do.
func Greatest(t *Table[int64], key string, value int64) (greatest int64, err error) {
	if err := Key(key); err != nil {
		return 0, err
	}
	greatest, _, err = t.Get(key)
	if err != nil || value <= greatest {
		return greatest, err
	}
	return value, t.Put(key, value)
}

// Each calls f for all documents in the order of their keys, until one of them fails.
func (t *Table[T]) Each(f func(key string, doc T) error) error {
	keys, err := t.Keys()
	if err != nil {
		return err
	}
	for _, k := range keys {
		doc, found, err := t.Get(k)
		if err == nil && found {
			err = f(k, doc)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
