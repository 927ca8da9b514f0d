package neutron

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// body reads the fields of a resource one by one: a field may be absent, null, or have a value. The
// first mistake is kept; done reports it, and fields that nobody asked for.
type body struct {
	fields map[string]json.RawMessage
	used   map[string]bool
	err    error
}

// maxBulk is how many things one call may create.
const maxBulk = 1000

// newBody takes a resource apart; name is where in the request it is.
func newBody(raw json.RawMessage, name string) (*body, error) {
	b := &body{used: map[string]bool{}}
	if err := rest.DecodeJSON(raw, &b.fields, rest.Loose); err != nil || b.fields == nil {
		return nil, invalid(name, raw, "it must be an object")
	}
	return b, nil
}

// invalid quotes the beginning of what a client sent.
func invalid(field string, raw []byte, remedy string) error {
	text := string(raw)
	if len(text) > 80 {
		text = strings.ToValidUTF8(text[:80], "") + "..."
	}
	return &fault.Error{Code: fault.Invalid, Field: field, Msg: text + " is not valid: " + remedy}
}

// again returns the body unread, for a closure that may run more than once.
func (b *body) again() *body { return &body{fields: b.fields, used: map[string]bool{}} }

// readBody reads {"name": {...}}.
func readBody(r *rest.Request, name string) (*body, error) {
	all, _, err := readBodies(r, name, "")
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// readBodies reads {"name": {...}} or, unless plural is "", {"plural": [{...}, ...]}.
func readBodies(r *rest.Request, name, plural string) (out []*body, bulk bool, err error) {
	var outer map[string]json.RawMessage
	if err := r.Decode(&outer, rest.Loose); err != nil {
		return nil, false, err
	}
	one, isOne := outer[name]
	several, isSeveral := outer[plural]
	if len(outer) != 1 || !isOne && (!isSeveral || plural == "") {
		return nil, false, invalid("body", r.Body, `it must be an object {"`+name+`": {...}}`)
	}
	if isOne {
		b, err := newBody(one, name)
		return []*body{b}, false, err
	}
	var list []json.RawMessage
	if json.Unmarshal(several, &list) != nil || len(list) == 0 || len(list) > maxBulk {
		return nil, false, invalid(plural, several, "it must be a list of 1 to "+strconv.Itoa(maxBulk)+" objects")
	}
	for i, item := range list {
		b, err := newBody(item, plural+"["+strconv.Itoa(i)+"]")
		if err != nil {
			return nil, false, err
		}
		out = append(out, b)
	}
	return out, true, nil
}

// field returns a field's value; ok is false when it is absent.
func (b *body) field(name string) (raw json.RawMessage, ok bool) {
	b.used[name] = true
	raw, ok = b.fields[name]
	return raw, ok
}

func (b *body) bad(name, remedy string) {
	if b.err == nil {
		b.err = invalid(name, b.fields[name], remedy)
	}
}

// done reports the first mistake.
func (b *body) done() error {
	if b.err != nil {
		return b.err
	}
	var unknown []string
	for name := range b.fields {
		if !b.used[name] {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return &fault.Error{Code: fault.Invalid, Field: unknown[0], Msg: "unrecognized attribute(s) '" + strings.Join(unknown, ", ") + "'; leave them out"}
	}
	return nil
}

// need notes a required field that is absent.
func (b *body) need(name string) {
	if _, ok := b.fields[name]; !ok && b.err == nil {
		b.err = &fault.Error{Code: fault.Invalid, Field: name, Msg: "required attribute '" + name + "' not specified"}
	}
}

// get reads a field of some type. nil: it is absent. null is the zero value.
func get[T any](b *body, name, remedy string) *T {
	raw, ok := b.field(name)
	if !ok {
		return nil
	}
	v := new(T)
	if err := json.Unmarshal(raw, v); err != nil {
		b.bad(name, remedy)
		return nil
	}
	return v
}

func (b *body) text(name string) *string { return get[string](b, name, "it must be a string") }

func (b *body) flag(name string) *bool {
	v := get[rest.Bool](b, name, "it must be true or false")
	if v == nil {
		return nil
	}
	return (*bool)(v)
}

// number reads an integer; null counts as absent.
func (b *body) number(name string) *int {
	raw, ok := b.field(name)
	if !ok || string(raw) == "null" {
		return nil
	}
	v := get[rest.Int](b, name, "it must be an integer")
	if v == nil {
		return nil
	}
	if int64(int(*v)) != int64(*v) {
		b.bad(name, "it is too large")
		return nil
	}
	n := int(*v)
	return &n
}

func (b *body) texts(name string) *[]string {
	return get[[]string](b, name, "it must be a list of strings")
}

// str is text with a default of "".
func (b *body) str(name string) string { return deref(b.text(name)) }

func deref[T any](v *T) (out T) {
	if v != nil {
		out = *v
	}
	return out
}

// is reads a flag that is off when absent.
func (b *body) is(name string) bool { return deref(b.flag(name)) }

// project reads the owner under either of its names.
func (b *body) project() string {
	old, name := b.str("tenant_id"), b.str("project_id")
	if old != "" && name != "" && old != name {
		b.bad("tenant_id", "it differs from project_id; give one of the two")
	}
	if name == "" {
		return old
	}
	return name
}

// tags reads the tags that a create call may give.
func (b *body) tags() []string { return deref(b.texts("tags")) }

// addr reads an address; null is the zero Addr.
func (b *body) addr(name string) *netip.Addr {
	text := b.text(name)
	if text == nil {
		return nil
	}
	a, err := parseAddr(*text)
	if err != nil {
		b.bad(name, "it must be an IP address")
		return nil
	}
	return &a
}

// parseAddr reads an address in its usual form; "" is the zero Addr.
func parseAddr(text string) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(text)
	if err == nil && (a.Zone() != "" || a.Is4In6()) {
		return a, fault.InvalidField("ip_address", text, "without zone, IPv4 as such")
	}
	return a, err
}

// addrs reads a list of addresses.
func (b *body) addrs(name string) *[]netip.Addr {
	list := b.texts(name)
	if list == nil {
		return nil
	}
	out := []netip.Addr{}
	for _, text := range *list {
		a, err := parseAddr(text)
		if err != nil || !a.IsValid() {
			b.bad(name, "it must be a list of IP addresses, not "+strconv.Quote(text))
			return nil
		}
		out = append(out, a)
	}
	return &out
}

// objects reads a list of objects whose fields are strings, of which only the named ones may appear.
func (b *body) objects(name string, fields ...string) *[]map[string]string {
	list := get[[]map[string]*string](b, name, "it must be a list of objects of strings")
	if list == nil {
		return nil
	}
	out := []map[string]string{}
	for _, item := range *list {
		if item == nil {
			b.bad(name, "it must be a list of objects")
			return nil
		}
		o := map[string]string{}
		for k, v := range item {
			if !slices.Contains(fields, k) {
				b.bad(name, strconv.Quote(k)+" is not one of "+strings.Join(fields, ", "))
				return nil
			}
			o[k] = deref(v)
		}
		out = append(out, o)
	}
	return &out
}
