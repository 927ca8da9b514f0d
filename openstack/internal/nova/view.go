package nova

import (
	"hash/fnv"

	"github.com/nubecula/cloud/openstack/internal/rest"
)

// field is something shown of a T.
type field[T any] struct {
	name string
	// since and until are the minor versions in which it is shown, both included; 0 means no bound.
	since, until int
	// value returns what JSON shows; absent{} leaves the field out.
	value func(v T) any
}

// absent as a value leaves a field out.
type absent struct{}

// show adds to doc the fields that a version has, and returns it.
func show[T any](doc object, fields []field[T], v T, minor int) object {
	for i := range fields {
		f := &fields[i]
		if minor < f.since || f.until != 0 && minor > f.until {
			continue
		}
		if value := f.value(v); value != any(absent{}) {
			doc[f.name] = value
		}
	}
	return doc
}

// write is show for lists, in which maps would cost too much.
func write[T any](doc rest.Doc, fields []field[T], v T, minor int) rest.Doc {
	for i := range fields {
		f := &fields[i]
		if minor < f.since || f.until != 0 && minor > f.until {
			continue
		}
		if value := f.value(v); value != any(absent{}) {
			doc = append(doc, rest.Field{Name: f.name, Value: value})
		}
	}
	return doc
}

// orNull is null in place of the zero value.
func orNull[T comparable](v T) any {
	var zero T
	if v == zero {
		return nil
	}
	return v
}

// number returns a stable positive integer for what only has a text as id, for versions in which Nova's
// ids were numbers. It fits the 53 bits that JSON readers keep.
func number(id string) int64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	return int64(h.Sum64()>>16) + 1
}
