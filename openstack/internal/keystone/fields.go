package keystone

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// fields are the attributes of a resource in a request. What nobody takes is an extra attribute, which
// Keystone keeps. The first error stays in err.
type fields struct {
	at  string
	raw map[string]json.RawMessage
	err error
}

// read takes the attributes out of {"name": {...}}. Those that only the server sets are dropped.
func read(r *rest.Request, name string) (*fields, error) {
	raw, err := rest.Wrapped[map[string]json.RawMessage](r, name, rest.Strict)
	if err != nil {
		return nil, err
	}
	delete(*raw, "links")
	return &fields{at: name, raw: *raw}, nil
}

// take decodes an attribute; nil when it is absent, the zero value when it is null.
func take[T any](f *fields, name, want string) *T {
	raw, ok := f.raw[name]
	if !ok {
		return nil
	}
	delete(f.raw, name)
	v := new(T)
	if err := json.Unmarshal(raw, v); err != nil && f.err == nil {
		f.err = &fault.Error{Code: fault.Invalid, Field: f.at + "." + name, Msg: "is not valid: it must be " + want}
	}
	return v
}

func (f *fields) text(name string) *string { return take[string](f, name, "a string") }

func (f *fields) texts(name string) *[]string { return take[[]string](f, name, "a list of strings") }

// flag is true, false or absent; null is refused, for it could mean either.
func (f *fields) flag(name string) *bool {
	if bytes.Equal(f.raw[name], []byte("null")) && f.err == nil {
		f.err = &fault.Error{Code: fault.Invalid, Field: f.at + "." + name, Msg: "is not valid: it must be true or false"}
	}
	return take[bool](f, name, "true or false")
}

// word is text, "" when absent.
func (f *fields) word(name string) string { return value(f.text(name)) }

func (f *fields) options() identity.Extra {
	return value(take[identity.Extra](f, "options", "an object"))
}

// rest returns the attributes that are left, and the first error. It is called last.
func (f *fields) rest() (identity.Extra, error) {
	delete(f.raw, "id")
	for name := range f.raw {
		if len(name) > 255 || strings.TrimSpace(name) == "" {
			return nil, &fault.Error{Code: fault.Invalid, Field: f.at, Msg: "has an attribute whose name is blank or longer than 255 bytes"}
		}
	}
	return identity.Extra(f.raw), f.err
}

func value[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}

// show returns the JSON of a resource: its extra attributes, over which its own go, and a link to itself.
func show(r *rest.Request, path string, extra identity.Extra, own object) object {
	out := object{}
	for name, raw := range extra {
		out[name] = raw
	}
	for name, v := range own {
		out[name] = v
	}
	out["links"] = object{"self": r.URL(path)}
	return out
}

// options are shown as an object even when there are none.
func options(o identity.Extra) identity.Extra {
	if o == nil {
		return identity.Extra{}
	}
	return o
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
