package statedir

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"

	"github.com/nubecula/cloud/fault"
)

// Table holds documents of one type by key. In memory it keeps the values it was given: do not
// change what they point to. Use it only inside Space.Do.
type Table[T any] struct {
	s    *Space
	name string
	mem  map[string]T
}

// In returns the Space's table of that name, which is a Key; always of the same T.
func In[T any](s *Space, name string) *Table[T] {
	t := &Table[T]{s: s, name: name}
	if s.disk == nil {
		mem, _ := s.tables.LoadOrStore(name, map[string]T{})
		t.mem = mem.(map[string]T)
	}
	return t
}

// Get returns the document and whether there is one. A damaged one is fault.Corrupt.
func (t *Table[T]) Get(key string) (doc T, found bool, err error) {
	if t.mem != nil {
		doc, found = t.mem[key]
		return doc, found, nil
	}
	if err := Key(key); err != nil {
		return doc, false, err
	}
	data, err := t.s.disk.get(t.name, key)
	if err != nil || data == nil {
		return doc, false, err
	}
	if bytes.Equal(data, []byte("null")) {
		err = fault.New(fault.Corrupt, "it holds no document")
	} else {
		err = json.Unmarshal(data, &doc)
	}
	if err != nil {
		var none T
		return none, false, damaged(t.s.disk.where(t.name, key), err)
	}
	return doc, true, nil
}

func damaged(what string, err error) error {
	return fault.New(fault.Corrupt, "%s is damaged: %w; restore it, or move it away to give up what it describes", what, err)
}

// Put keeps the document.
func (t *Table[T]) Put(key string, doc T) error {
	if err := errors.Join(Key(key), Key(t.name)); err != nil {
		return err
	}
	if t.mem != nil {
		t.mem[key] = doc
		return nil
	}
	data, err := json.Marshal(&doc)
	if err != nil {
		return fault.New(fault.Internal, "encode %s: %w", key, err)
	}
	return t.s.disk.put(t.name, key, data)
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
	return t.s.disk.remove(t.name, key)
}

// Keys returns all keys in order.
func (t *Table[T]) Keys() ([]string, error) {
	if t.mem == nil {
		return t.s.disk.keys(t.name)
	}
	keys := make([]string, 0, len(t.mem))
	for k := range t.mem {
		keys = append(keys, k)
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

// Visit is Each in any order, for a f that changes nothing: of many documents in memory Each spends most of its time on their order.
func (t *Table[T]) Visit(f func(key string, doc T) error) error {
	if t.mem == nil {
		return t.Each(f)
	}
	for k, doc := range t.mem {
		if err := f(k, doc); err != nil {
			return err
		}
	}
	return nil
}
