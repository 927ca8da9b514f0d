package nova

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// rule says what a value of a JSON body may be. at is its path in the body.
type rule func(at string, v any, minor int) error

// prop is a property of an object in a body.
type prop struct {
	name string
	rule rule
	// since and until are the minor versions that know it, both included; 0 means no bound.
	since, until int
	// must is the minor version from which it is required; 0 means it is not.
	must int
}

// props is an object that has these properties and no others.
type props []prop

// read checks a body against its shape and decodes it.
func read[T any](r *rest.Request, shape rule) (*T, error) {
	var tree any
	if err := r.Decode(&tree, rest.Loose); err != nil {
		return nil, err
	}
	if err := shape("", tree, minor(r)); err != nil {
		return nil, err
	}
	v := new(T)
	if err := r.Decode(v, rest.Loose); err != nil {
		return nil, err
	}
	return v, nil
}

// under is the shape {"name": inner} of nearly every body.
func under(name string, inner rule) rule { return props{{name: name, rule: inner, must: 1}}.check }

func (p props) check(at string, v any, minor int) error {
	m, ok := v.(object)
	if !ok {
		return wrong(at, v, "it must be an object")
	}
	known := 0
	for i := range p {
		f := &p[i]
		if minor < f.since || f.until != 0 && minor > f.until {
			continue
		}
		value, given := m[f.name]
		if !given {
			if f.must != 0 && minor >= f.must {
				return &fault.Error{Code: fault.Invalid, Field: join(at, f.name), Msg: "is missing: it is a required property"}
			}
			continue
		}
		known++
		if err := f.rule(join(at, f.name), value, minor); err != nil {
			return err
		}
	}
	if known < len(m) {
		return p.unknown(at, m, minor)
	}
	return nil
}

// unknown names the property that is too much, and in which versions it would not be.
func (p props) unknown(at string, m object, minor int) error {
	for _, name := range slices.Sorted(keys(m)) {
		i := slices.IndexFunc(p, func(f prop) bool {
			return f.name == name && minor >= f.since && (f.until == 0 || minor <= f.until)
		})
		if i >= 0 {
			continue
		}
		remedy := "leave it out, or look for a spelling mistake"
		for _, f := range p {
			switch {
			case f.name == name && minor < f.since:
				remedy = fmt.Sprintf("leave it out, or use microversion 2.%d or newer", f.since)
			case f.name == name:
				remedy = fmt.Sprintf("leave it out: it was removed after microversion 2.%d", f.until)
			}
		}
		return &fault.Error{Code: fault.Invalid, Field: join(at, name),
			Msg: fmt.Sprintf("%s is not valid: additional properties are not allowed (%q was unexpected); %s", quote(m[name]), name, remedy)}
	}
	return nil
}

func keys[V any](m map[string]V) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

func wrong(at string, v any, remedy string) error {
	if at == "" {
		at = "body"
	}
	return &fault.Error{Code: fault.Invalid, Field: at, Msg: quote(v) + " is not valid: " + remedy}
}

// quote shows a value in a message, shortened.
func quote(v any) string {
	text, err := json.Marshal(v)
	if err != nil || !utf8.Valid(text) {
		return "the value"
	}
	const most = 80
	if len(text) > most {
		return strings.ToValidUTF8(string(text[:most]), "") + "..."
	}
	return string(text)
}

// anything passes.
func anything(string, any, int) error { return nil }

// nullable passes null and what inner passes.
func nullable(inner rule) rule {
	return func(at string, v any, minor int) error {
		if v == nil {
			return nil
		}
		return inner(at, v, minor)
	}
}

// text is a string of min to max characters that ok accepts; nil accepts all.
func text(min, max int, remedy string, ok func(string) bool) rule {
	return func(at string, v any, _ int) error {
		s, isText := v.(string)
		if !isText {
			return wrong(at, v, "it must be a string")
		}
		if n := utf8.RuneCountInString(s); n < min || n > max {
			return wrong(at, v, fmt.Sprintf("it must have %d to %d characters", min, max))
		}
		if ok != nil && !ok(s) {
			return wrong(at, v, remedy)
		}
		return nil
	}
}

// oneOf is one of some strings.
func oneOf(values ...string) rule {
	return func(at string, v any, _ int) error {
		if s, ok := v.(string); ok && slices.Contains(values, s) {
			return nil
		}
		return wrong(at, v, "it must be one of "+strings.Join(values, ", "))
	}
}

// integer is a number, or a string of its digits, of min to max.
func integer(min, max int64) rule {
	return func(at string, v any, _ int) error {
		digits := ""
		switch n := v.(type) {
		case json.Number:
			digits = n.String()
		case string:
			digits = n
		}
		i, err := strconv.ParseInt(digits, 10, 64)
		switch {
		case err != nil || strings.HasPrefix(digits, "+"):
			return wrong(at, v, "it must be an integer")
		case i < min || i > max:
			return wrong(at, v, fmt.Sprintf("it must be from %d to %d", min, max))
		}
		return nil
	}
}

// boolean is true or false, or one of the words for them.
func boolean(at string, v any, _ int) error {
	if _, ok := v.(bool); ok {
		return nil
	}
	switch v {
	case "True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes",
		"False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no":
		return nil
	}
	return wrong(at, v, "it must be true or false")
}

// list is an array of min to max values.
func list(min, max int, each rule) rule {
	return func(at string, v any, minor int) error {
		values, ok := v.([]any)
		if !ok {
			return wrong(at, v, "it must be a list")
		}
		if len(values) < min || len(values) > max {
			return wrong(at, v, fmt.Sprintf("it must have %d to %d entries", min, max))
		}
		for i, value := range values {
			if err := each(fmt.Sprintf("%s[%d]", at, i), value, minor); err != nil {
				return err
			}
		}
		return nil
	}
}

// mapping is an object of min to max entries whose names key accepts.
func mapping(min, max int, key func(string) bool, each rule) rule {
	return func(at string, v any, minor int) error {
		m, ok := v.(object)
		if !ok {
			return wrong(at, v, "it must be an object")
		}
		if len(m) < min || len(m) > max {
			return wrong(at, v, fmt.Sprintf("it must have %d to %d entries", min, max))
		}
		for _, name := range slices.Sorted(keys(m)) {
			if !key(name) {
				return wrong(join(at, name), name, "a key has 1 to 255 letters, digits, '-', '_', ':', '.' and spaces")
			}
			if err := each(join(at, name), m[name], minor); err != nil {
				return err
			}
		}
		return nil
	}
}

// either passes what one of two rules passes; the error is that of the second.
func either(a, b rule) rule {
	return func(at string, v any, minor int) error {
		if a(at, v, minor) == nil {
			return nil
		}
		return b(at, v, minor)
	}
}

const unbounded = math.MaxInt32
