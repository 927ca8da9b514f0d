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

// files keeps each document as a file of its own, on the disk before put returns. A file is replaced whole.
type files struct {
	dir string
	// lenient says that a power cut may have left a file's name without its content. That was so before there were journals.
	lenient bool
}

// file is what is written for one document.
type file struct {
	Format int             `json:"format"`
	Key    string          `json:"key"`
	Doc    json.RawMessage `json:"doc"`
}

func (s *files) file(table, key string) string { return filepath.Join(s.dir, table, key+".json") }

func (s *files) where(table, key string) string { return "file " + s.file(table, key) }

func (s *files) refresh() error { return nil }

func (s *files) rest() {}

func (s *files) close() {}

func (s *files) get(table, key string) ([]byte, error) {
	data, err := os.ReadFile(s.file(table, key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, Explain(s.file(table, key), err)
	}
	if len(data) == 0 && s.lenient {
		return nil, nil
	}
	var f file
	err = json.Unmarshal(data, &f)
	switch {
	case err != nil:
	case f.Format != format:
		err = fault.New(fault.Corrupt, "it has format %d, this program knows %d", f.Format, format)
	case f.Key != key:
		err = fault.New(fault.Corrupt, "it is about %q", f.Key)
	case len(f.Doc) == 0:
		err = fault.New(fault.Corrupt, "it holds no document")
	}
	if err != nil {
		return nil, damaged(s.where(table, key), err)
	}
	return f.Doc, nil
}

func (s *files) put(table, key string, doc []byte) error {
	path := s.file(table, key)
	data, err := json.Marshal(file{format, key, doc})
	if err != nil {
		return fault.New(fault.Internal, "encode %s: %w", path, err)
	}
	err = Replace(path, append(data, '\n'))
	if errors.Is(err, fs.ErrNotExist) { // the first document of this table
		if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			err = Replace(path, append(data, '\n'))
		}
		if err == nil {
			err = SyncDir(s.dir)
		}
	}
	return Explain(path, err)
}

func (s *files) remove(table, key string) error {
	path := s.file(table, key)
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = SyncDir(filepath.Dir(path))
	}
	return Explain(path, err)
}

func (s *files) keys(table string) ([]string, error) {
	dir := filepath.Join(s.dir, table)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, Explain(dir, err)
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

// tables returns those that have documents.
func (s *files) tables() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, Explain(s.dir, err)
	}
	var tables []string
	for _, e := range entries {
		if !e.IsDir() || Key(e.Name()) != nil {
			continue
		}
		keys, err := s.keys(e.Name())
		if err != nil {
			return nil, err
		}
		if len(keys) > 0 {
			tables = append(tables, e.Name())
		}
	}
	return tables, nil
}
