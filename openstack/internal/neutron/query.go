package neutron

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// maxPage is the most items of one page.
const maxPage = 100_000

// reserved are the parameters of a list that are not filters on attributes.
var reserved = []string{"fields", "limit", "marker", "page_reverse", "sort_key", "sort_dir"}

// filter is what a list call asks for. The service takes what it has an index for; admits decides.
type filter struct {
	values map[string][]string
	fixed  fixedFilter
}

// fixedFilter selects ports by one of their addresses: all that is given must hold for the same one.
type fixedFilter struct {
	subnets, addrs, parts []string
}

func readFilter(r *rest.Request, attributes []string) (f filter, err error) {
	f.values = map[string][]string{}
	for key, values := range r.Query {
		switch {
		case slices.Contains(reserved, key):
		case key == "fixed_ips" && slices.Contains(attributes, key):
			for _, v := range values {
				name, value, _ := strings.Cut(v, "=")
				switch name {
				case "subnet_id":
					f.fixed.subnets = append(f.fixed.subnets, value)
				case "ip_address":
					f.fixed.addrs = append(f.fixed.addrs, value)
				case "ip_address_substr":
					f.fixed.parts = append(f.fixed.parts, value)
				default:
					return f, fault.InvalidField("fixed_ips", v, "write it as ip_address=, ip_address_substr= or subnet_id= and a value")
				}
			}
		case key == "tenant_id":
			f.values["project_id"] = append(f.values["project_id"], values...)
		case slices.Contains(attributes, key), slices.Contains(attributes, "tags") && strings.Contains(" tags-any not-tags not-tags-any ", " "+key+" "):
			f.values[key] = append(f.values[key], values...)
		default:
			return f, fault.InvalidField(key, values, "this is not an attribute to filter by")
		}
	}
	return f, nil
}

// one returns the only value that is asked for of an attribute, or "".
func (f filter) one(key string) string {
	if v := f.values[key]; len(v) == 1 {
		return v[0]
	}
	return ""
}

// addrs returns the addresses that are asked for, nil when they do not narrow the search.
func (f filter) addrs() []netip.Addr {
	var out []netip.Addr
	for _, text := range f.fixed.addrs {
		if a, err := netip.ParseAddr(text); err == nil {
			out = append(out, a)
		}
	}
	return out
}

// admits reports whether an object is one that the caller asked for.
func (f filter) admits(o object) bool {
	for key, wanted := range f.values {
		switch key {
		case "tags", "tags-any", "not-tags", "not-tags-any":
			if !admitsTags(key, wanted, o["tags"]) {
				return false
			}
		default:
			if !slices.ContainsFunc(wanted, func(w string) bool { return matches(o[key], w) }) {
				return false
			}
		}
	}
	return f.fixed.admits(o)
}

func (f fixedFilter) admits(o object) bool {
	if f.subnets == nil && f.addrs == nil && f.parts == nil {
		return true
	}
	list, _ := o["fixed_ips"].([]object)
	return slices.ContainsFunc(list, func(ip object) bool {
		addr, _ := ip["ip_address"].(string)
		subnet, _ := ip["subnet_id"].(string)
		same := func(text string) bool {
			a, err := netip.ParseAddr(text)
			return text == addr || err == nil && a.String() == addr
		}
		return (f.subnets == nil || slices.Contains(f.subnets, subnet)) && (f.addrs == nil || slices.ContainsFunc(f.addrs, same)) &&
			(f.parts == nil || slices.ContainsFunc(f.parts, func(p string) bool { return strings.Contains(addr, p) }))
	})
}

func admitsTags(key string, wanted []string, tags any) bool {
	have, _ := tags.([]string)
	asked := strings.Split(strings.Join(wanted, ","), ",")
	has := func(t string) bool { return slices.Contains(have, t) }
	all := !slices.ContainsFunc(asked, func(t string) bool { return !has(t) })
	switch key {
	case "tags":
		return all
	case "tags-any":
		return slices.ContainsFunc(asked, has)
	case "not-tags":
		return !all
	}
	return !slices.ContainsFunc(asked, has)
}

// matches compares an attribute with a text of the query. Of a list any element may match.
func matches(v any, text string) bool {
	switch v := v.(type) {
	case nil:
		return text == "" || text == "None"
	case bool:
		b, ok := parseBool(text)
		return ok && b == v
	case []string:
		return slices.Contains(v, text)
	case string:
		return v == text
	}
	return fmt.Sprint(v) == text
}

func parseBool(text string) (v, ok bool) {
	switch strings.ToLower(text) {
	case "true", "1":
		return true, true
	case "false", "0":
		return false, true
	}
	return false, false
}

// pageOf sorts, cuts, and answers a list with its links.
func pageOf(r *rest.Request, page rest.Page, plural string, list []object) (*rest.Response, error) {
	if len(page.Sort) > 0 {
		slices.SortStableFunc(list, func(a, b object) int {
			for _, k := range page.Sort {
				c := compare(a[k.Key], b[k.Key])
				if k.Desc {
					c = -c
				}
				if c != 0 {
					return c
				}
			}
			return 0
		})
	}
	part, more, err := rest.Cut(list, page, func(o object) string { return o["id"].(string) })
	if err != nil {
		return nil, err
	}
	shown := make([]object, len(part))
	for i, o := range part {
		shown[i] = only(o, r)
	}
	out := object{plural: shown}
	if !page.Asked || len(part) == 0 {
		return rest.OK(out), nil
	}
	var links []rest.Link
	link := func(rel string, id any, reverse bool) {
		q := url.Values{}
		for k, v := range r.Query {
			q[k] = v
		}
		q.Del("page_reverse")
		if reverse {
			q.Set("page_reverse", "True")
		}
		q.Set("limit", strconv.Itoa(page.Limit))
		q.Set("marker", id.(string))
		links = append(links, rest.Link{Rel: rel, Href: r.Base() + r.HTTP.URL.EscapedPath() + "?" + q.Encode()})
	}
	if more && !page.Reverse || page.Reverse && page.Marker != "" {
		link("next", part[len(part)-1]["id"], false)
	}
	if more && page.Reverse || !page.Reverse && page.Marker != "" {
		link("previous", part[0]["id"], true)
	}
	if links != nil {
		out[plural+"_links"] = links
	}
	return rest.OK(out), nil
}

// compare orders two values of an attribute; null comes first.
func compare(a, b any) int {
	switch x := a.(type) {
	case string:
		if y, ok := b.(string); ok {
			return cmp.Compare(x, y)
		}
	case int:
		if y, ok := b.(int); ok {
			return cmp.Compare(x, y)
		}
	case int64:
		if y, ok := b.(int64); ok {
			return cmp.Compare(x, y)
		}
	case bool:
		if y, ok := b.(bool); ok && x != y {
			if y {
				return -1
			}
			return 1
		}
		return 0
	case nil:
		if b != nil {
			return -1
		}
		return 0
	}
	if b == nil {
		return 1
	}
	return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b))
}

// only keeps the fields that the call asks for.
func only(o object, r *rest.Request) object {
	fields := r.Query["fields"]
	if len(fields) == 0 {
		return o
	}
	out := object{}
	for _, f := range strings.Split(strings.Join(fields, ","), ",") {
		if v, ok := o[f]; ok {
			out[f] = v
		}
	}
	return out
}
