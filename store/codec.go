package store

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"

	"github.com/nubecula/cloud/fault"
)

func (c *Collection[T]) decode(doc Doc) (*T, error) {
	doc, err := doc.encoded()
	if err != nil {
		return nil, err
	}
	if doc.Body == nil {
		return nil, fault.New(fault.Corrupt, "store: %s %s is in an index but not there: run a check of the store", doc.Kind, doc.ID)
	}
	body := doc.Body
	for v := doc.Version; v < c.spec.Version; v++ {
		up := c.spec.Upgrade[v]
		if up == nil {
			return nil, fault.New(fault.Corrupt, "store: %s %s has version %d, which never was", doc.Kind, doc.ID, doc.Version)
		}
		if body, err = up(body); err != nil {
			return nil, fault.New(fault.Corrupt, "store: %s %s of version %d cannot be upgraded: %w", doc.Kind, doc.ID, doc.Version, err)
		}
	}
	out := new(T)
	if err := json.Unmarshal(body, out); err != nil {
		return nil, fault.New(fault.Corrupt, "store: %s %s cannot be read: %w", doc.Kind, doc.ID, err)
	}
	return out, nil
}

// keepUnknown returns body with those top-level fields of old that T does not know: a newer
// version of this program wrote them, and an older one must not lose them.
func (c *Collection[T]) keepUnknown(old, body []byte) ([]byte, error) {
	var was, is map[string]json.RawMessage
	if err := json.Unmarshal(old, &was); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(body, &is); err != nil {
		return nil, err
	}
	for k, v := range was {
		if !c.known()[strings.ToLower(k)] {
			is[k] = v
		}
	}
	return json.Marshal(is)
}

// jsonFields returns the names of T's top-level JSON fields in lower case, as decoding ignores case.
func jsonFields[T any]() map[string]bool {
	out := map[string]bool{}
	addFields(out, reflect.TypeFor[T]())
	return out
}

func addFields(out map[string]bool, t reflect.Type) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return
	}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "" && f.Anonymous:
			addFields(out, f.Type)
		case name == "":
			out[strings.ToLower(f.Name)] = true
		default:
			out[strings.ToLower(name)] = true
		}
	}
}

func contains(keys [][]byte, key []byte) bool {
	for _, k := range keys {
		if bytes.Equal(k, key) {
			return true
		}
	}
	return false
}
