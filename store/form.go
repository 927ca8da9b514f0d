package store

import (
	"bytes"
	"encoding"
	"encoding/json"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nubecula/cloud/fault"
)

// form is what can be done with values of a document's type without their JSON. It is compiled from
// the type once; a type that it does not understand - interfaces, private fields, marshallers of its own -
// has none, and its documents are decoded each time they are read.
type form struct {
	// copy makes a shallow copy of a value that keep has made own all it points to.
	copy fix
	// keep makes a shallow copy of any value what decoding its JSON would give, owning all it points to,
	// or says why it has no JSON.
	keep fix
}

// fix changes a value in place; nil leaves it as it is.
type fix func(v reflect.Value) error

func (f fix) run(v reflect.Value) error {
	if f == nil {
		return nil
	}
	return f(v)
}

func formOf[T any]() *form {
	t := reflect.TypeFor[T]()
	var f form
	var ok1, ok2 bool
	f.copy, ok1 = compiler{}.fix(t, false)
	f.keep, ok2 = compiler{keep: true}.fix(t, false)
	if !ok1 || !ok2 {
		return nil
	}
	return &f
}

// compiler makes fixes: for keep, or for copy.
type compiler struct {
	keep bool
	path []reflect.Type // types around this one
}

var (
	timeType   = reflect.TypeFor[time.Time]()
	addrType   = reflect.TypeFor[netip.Addr]()
	prefixType = reflect.TypeFor[netip.Prefix]()
	rawType    = reflect.TypeFor[json.RawMessage]()
)

// fix returns what makes a shallow copy of a t whole; omit says that it is left out of the JSON when it is empty.
func (c compiler) fix(t reflect.Type, omit bool) (f fix, ok bool) {
	for _, outer := range c.path {
		if outer == t {
			return nil, false
		}
	}
	c.path = append(c.path[:len(c.path):len(c.path)], t)
	switch t {
	case timeType:
		return c.when(keepTime), true
	case addrType:
		return nil, true
	case prefixType:
		return c.when(keepPrefix), true
	case rawType:
		if c.keep {
			return keepRaw(omit), true
		}
		return copyBytes, true
	}
	if own(t) {
		plain, ok := compiler{path: c.path}.kind(t, omit)
		return c.when(keepOwn), ok && plain == nil
	}
	return c.kind(t, omit)
}

// own reports whether a type has a JSON form of its own.
func own(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[json.Marshaler]()) || p.Implements(reflect.TypeFor[encoding.TextMarshaler]()) ||
		p.Implements(reflect.TypeFor[json.Unmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// kind is fix by the kind of a type.
func (c compiler) kind(t reflect.Type, omit bool) (f fix, ok bool) {
	switch t.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return nil, true
	case reflect.Float64:
		return c.when(keepFloat), true
	case reflect.String:
		return c.when(keepString), true
	case reflect.Struct:
		return c.structure(t)
	case reflect.Slice:
		return c.slice(t, omit)
	case reflect.Map:
		return c.table(t, omit)
	case reflect.Pointer:
		return c.pointer(t)
	}
	return nil, false
}

// when returns f if it is keep that is compiled.
func (c compiler) when(f fix) fix {
	if c.keep {
		return f
	}
	return nil
}

func (c compiler) structure(t reflect.Type) (fix, bool) {
	type part struct {
		field int
		fix   fix
	}
	var parts []part
	for i := range t.NumField() {
		f := t.Field(i)
		name, rest, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case !f.IsExported() && !(f.Anonymous && f.Type.Kind() == reflect.Struct):
			return nil, false
		case name == "-" && rest == "":
			if c.keep {
				parts = append(parts, part{i, func(v reflect.Value) error { v.SetZero(); return nil }})
			}
			continue
		}
		fix, ok := c.fix(f.Type, strings.Contains(rest, "omitempty"))
		if !ok {
			return nil, false
		}
		if fix != nil {
			parts = append(parts, part{i, fix})
		}
	}
	if parts == nil {
		return nil, true
	}
	return func(v reflect.Value) error {
		for i := range parts {
			if err := parts[i].fix(v.Field(parts[i].field)); err != nil {
				return err
			}
		}
		return nil
	}, true
}

func (c compiler) slice(t reflect.Type, omit bool) (fix, bool) {
	elem, ok := c.fix(t.Elem(), false)
	return func(v reflect.Value) error {
		n := v.Len()
		if n == 0 {
			if omit && c.keep {
				v.SetZero()
			}
			return nil
		}
		own := reflect.MakeSlice(t, n, n)
		reflect.Copy(own, v)
		v.Set(own)
		for i := 0; elem != nil && i < n; i++ {
			if err := elem(own.Index(i)); err != nil {
				return err
			}
		}
		return nil
	}, ok
}

func (c compiler) table(t reflect.Type, omit bool) (fix, bool) {
	elem, ok := c.fix(t.Elem(), false)
	if t.Key().Kind() != reflect.String || t.Key().Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return nil, false
	}
	return func(v reflect.Value) error {
		if v.Len() == 0 {
			if omit && c.keep {
				v.SetZero()
			} else if !v.IsNil() {
				v.Set(reflect.MakeMap(t))
			}
			return nil
		}
		own := reflect.MakeMapWithSize(t, v.Len())
		key, value := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
		for it := v.MapRange(); it.Next(); {
			key.SetIterKey(it)
			value.SetIterValue(it)
			if c.keep {
				if err := keepString(key); err != nil {
					return err
				}
			}
			if err := elem.run(value); err != nil {
				return err
			}
			own.SetMapIndex(key, value)
		}
		v.Set(own)
		return nil
	}, ok
}

func (c compiler) pointer(t reflect.Type) (fix, bool) {
	elem, ok := c.fix(t.Elem(), false)
	return func(v reflect.Value) error {
		if v.IsNil() {
			return nil
		}
		own := reflect.New(t.Elem())
		own.Elem().Set(v.Elem())
		v.Set(own)
		return elem.run(own.Elem())
	}, ok
}

func copyBytes(v reflect.Value) error {
	v.SetBytes(bytes.Clone(v.Bytes()))
	return nil
}

// keepTime drops what JSON does not carry: the monotonic reading and the zone's name.
func keepTime(v reflect.Value) error {
	t := v.Addr().Interface().(*time.Time)
	if _, offset := t.Zone(); offset == 0 && t.Year() >= 0 && t.Year() <= 9999 {
		*t = t.UTC().Round(0)
		return nil
	}
	text, err := t.MarshalJSON()
	if err != nil {
		return err
	}
	return t.UnmarshalJSON(text)
}

func keepPrefix(v reflect.Value) error {
	if p := v.Addr().Interface().(*netip.Prefix); !p.IsValid() && *p != (netip.Prefix{}) {
		return fault.New(fault.Internal, "a network prefix is not valid")
	}
	return nil
}

func keepFloat(v reflect.Value) error {
	if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
		return fault.New(fault.Internal, "JSON has no number %v", f)
	}
	return nil
}

// keepOwn takes the way through JSON.
func keepOwn(v reflect.Value) error {
	text, err := json.Marshal(v.Addr().Interface())
	if err != nil {
		return err
	}
	v.SetZero()
	return json.Unmarshal(text, v.Addr().Interface())
}

// keepString replaces each byte that is no UTF-8, as JSON does.
func keepString(v reflect.Value) error {
	if s := v.String(); !utf8.ValidString(s) {
		v.SetString(string([]rune(s)))
	}
	return nil
}

// keepRaw writes JSON inside JSON as encoding does: without blanks, and safe inside HTML.
func keepRaw(omit bool) fix {
	return func(v reflect.Value) error {
		raw := v.Bytes()
		switch {
		case len(raw) == 0 && omit:
			v.SetZero()
			return nil
		case v.IsNil():
			v.SetBytes([]byte("null"))
			return nil
		}
		own, err := json.Marshal(json.RawMessage(raw))
		if err == nil {
			v.SetBytes(own)
		}
		return err
	}
}
