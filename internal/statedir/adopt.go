package statedir

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
)

// adopt takes over the documents that an earlier version of this program has kept as a file each.
func (j *journal) adopt() error {
	old := &files{dir: j.dir, lenient: true}
	tables, err := old.tables()
	if err != nil || len(tables) == 0 {
		return err
	}
	err = j.write(func(add func(table, key string, doc []byte) error) error {
		for _, table := range tables {
			keys, err := old.keys(table)
			if err != nil {
				return err
			}
			for _, key := range keys {
				doc, err := old.get(table, key)
				if err == nil && doc != nil {
					err = add(table, key, bytes.ReplaceAll(doc, []byte{'\n'}, []byte{' '}))
				}
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		j.forget()
		j.at = nil // the next one tries again
		return err
	}
	for _, table := range tables { // what fails to go is in nobody's way
		names, _ := os.ReadDir(filepath.Join(j.dir, table))
		for _, e := range names {
			if strings.HasSuffix(e.Name(), ".json") || e.Name() == ".spare" {
				_ = os.Remove(filepath.Join(j.dir, table, e.Name()))
			}
		}
		_ = os.Remove(filepath.Join(j.dir, table))
	}
	return nil
}
