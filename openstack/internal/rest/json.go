package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"

	"github.com/nubecula/cloud/fault"
)

// Fields is what Decode does about fields that the target does not have.
type Fields int

const (
	// Strict refuses them. It is the zero value.
	Strict Fields = iota
	// Loose ignores them.
	Loose
)

// maxDepth is how deep a JSON body may nest.
const maxDepth = 32

// Decode reads the JSON body into v. Invalid names the field, the value and what would be right: for syntax,
// a field given twice, anything after the value, more than 32 levels, a wrong type, an unknown field if Strict.
func (r *Request) Decode(v any, f Fields) error { return DecodeJSON(r.Body, v, f) }

// Wrapped reads a body of the form {"name": {...}} and returns the inner object; other fields beside name are refused if Strict.
func Wrapped[T any](r *Request, name string, f Fields) (*T, error) {
	var outer map[string]json.RawMessage
	if err := DecodeJSON(r.Body, &outer, f); err != nil {
		return nil, err
	}
	inner, ok := outer[name]
	if !ok || string(inner) == "null" {
		return nil, &fault.Error{Code: fault.Invalid, Field: name, Msg: `is missing: the body must be an object {"` + name + `": {...}}`}
	}
	if f == Strict && len(outer) > 1 {
		for other := range outer {
			if other != name {
				return nil, unknownField(other)
			}
		}
	}
	v := new(T)
	if err := decodeAt(inner, v, f, name); err != nil {
		return nil, err
	}
	return v, nil
}

// DecodeJSON is Request.Decode for other bytes.
func DecodeJSON(data []byte, v any, f Fields) error { return decodeAt(data, v, f, "") }

func decodeAt(data []byte, v any, f Fields, at string) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return fault.New(fault.Invalid, "the request has no body: send a JSON object")
	}
	if err := scan(data); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if f == Strict {
		d.DisallowUnknownFields()
	}
	err := d.Decode(v)
	if err == nil {
		return nil
	}
	var te *json.UnmarshalTypeError
	if errors.As(err, &te) {
		field := te.Field
		if at != "" {
			field = strings.TrimSuffix(at+"."+field, ".")
		}
		if field == "" {
			field = "body"
		}
		value := valueAt(data, te)
		if name := strings.ToLower(field); strings.Contains(name, "pass") || strings.Contains(name, "user_data") {
			value = te.Value // secrets are not quoted
		}
		return &fault.Error{Code: fault.Invalid, Field: field, Msg: fmt.Sprintf("%s is not valid: it must be %s", value, want(te.Type))}
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		if text, uerr := strconv.Unquote(name); uerr == nil {
			name = text
		}
		return unknownField(name)
	}
	if fe := (*fault.Error)(nil); errors.As(err, &fe) {
		return fe
	}
	return fault.New(fault.Invalid, "the body cannot be read: %s", strings.TrimPrefix(err.Error(), "json: "))
}

func unknownField(name string) error {
	return &fault.Error{Code: fault.Invalid, Field: name, Msg: "is not known here: leave it out, or look for a spelling mistake"}
}

// scan checks what encoding/json lets pass: fields given twice, depth, a second value.
func scan(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var open []map[string]bool // fields seen; nil for an array
	name := false              // the next token is a field's name
	for first := true; ; first = false {
		t, err := d.Token()
		if err == io.EOF && !first {
			if len(open) > 0 {
				return fault.New(fault.Invalid, "the body is not JSON: it breaks off")
			}
			return nil
		}
		if err != nil {
			return fault.New(fault.Invalid, "the body is not JSON: %v (near byte %d)", err, d.InputOffset())
		}
		if !first && len(open) == 0 {
			return fault.New(fault.Invalid, "the body goes on after its JSON value: send one value alone (byte %d)", d.InputOffset())
		}
		if text, ok := t.(string); ok && name {
			seen := open[len(open)-1]
			if seen[text] {
				return &fault.Error{Code: fault.Invalid, Field: text, Msg: "is given twice in one object: give it once"}
			}
			seen[text] = true
			name = false
			continue
		}
		switch t {
		case json.Delim('{'):
			open = append(open, map[string]bool{})
		case json.Delim('['):
			open = append(open, nil)
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		}
		if len(open) > maxDepth {
			return fault.New(fault.Invalid, "the body nests more than %d levels deep: make it flatter", maxDepth)
		}
		name = len(open) > 0 && open[len(open)-1] != nil
	}
}

// valueAt quotes the value that has the wrong type, where it can be found.
func valueAt(data []byte, te *json.UnmarshalTypeError) string {
	var v any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return te.Value
	}
	for _, name := range strings.Split(te.Field, ".") {
		if name == "" {
			break
		}
		m, ok := v.(map[string]any)
		if !ok {
			return te.Value
		}
		if v, ok = m[name]; !ok {
			return te.Value
		}
	}
	text, _ := json.Marshal(v)
	if len(text) > 64 {
		return te.Value
	}
	return string(text)
}

// want describes a type for people.
func want(t reflect.Type) string {
	if t == nil {
		return "of another type"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return want(t.Elem())
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "an integer"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a non-negative integer"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "a list"
	}
	return "an object"
}

// Int is an integer that may also be given as a string, as OpenStack's APIs allow for most numbers.
type Int int64

// UnmarshalJSON implements json.Unmarshaler.
func (i *Int) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	n, err := strconv.ParseInt(strings.TrimSpace(unquote(b)), 10, 64)
	if err != nil {
		return &json.UnmarshalTypeError{Value: string(b), Type: reflect.TypeFor[int64]()}
	}
	*i = Int(n)
	return nil
}

// Bool is a boolean that may also be given as one of the words that OpenStack's APIs allow.
type Bool bool

// UnmarshalJSON implements json.Unmarshaler.
func (v *Bool) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	ok := false
	if *v, ok = boolWord(unquote(b)); !ok {
		return &json.UnmarshalTypeError{Value: string(b), Type: reflect.TypeFor[bool]()}
	}
	return nil
}

func boolWord(s string) (v Bool, ok bool) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "true", "1", "yes", "on", "t", "y":
		return true, true
	case "false", "0", "no", "off", "f", "n":
		return false, true
	}
	return false, false
}

func unquote(b []byte) string {
	var s string
	if len(b) > 0 && b[0] == '"' && json.Unmarshal(b, &s) == nil {
		return s
	}
	return string(b)
}
