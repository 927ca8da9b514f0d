package rest

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/nubecula/cloud/fault"
)

// Page is which part of a list a client wants, and in which order.
type Page struct {
	// Limit is the most items to return, already bounded by the service's maximum. 0 is an empty list,
	// except for Neutron, where a client's 0 means the maximum.
	Limit int
	// Asked reports whether the client set the limit itself.
	Asked bool
	// Marker is the id of the last item of the page before; "" means from the start.
	Marker string
	// Reverse walks to the page before the marker (Neutron's page_reverse).
	Reverse bool
	// Sort is the order, most significant key first; empty means the service's own.
	Sort []SortKey
}

// SortKey is one key of an order.
type SortKey struct {
	Key  string
	Desc bool
}

// Page reads limit, marker, page_reverse, sort_key, sort_dir and sort. max bounds the limit; a sort key that is
// not among keys is Invalid. No keys at all: sorting is ignored.
func (r *Request) Page(max int, keys ...string) (Page, error) {
	p := Page{Limit: max, Marker: r.Query.Get("marker")}
	if r.Query.Get("limit") != "" {
		n, err := r.Number("limit", max)
		if err != nil {
			return p, err
		}
		p.Limit, p.Asked = min(n, max), true
		if n == 0 && r.version == mounts[Network].version {
			p.Limit, p.Asked = max, false
		}
	}
	var err error
	if p.Reverse, err = r.Flag("page_reverse", false); err != nil {
		return p, err
	}
	if len(keys) == 0 {
		return p, nil
	}
	p.Sort, err = sortKeys(r.Query, keys)
	return p, err
}

func sortKeys(q url.Values, allowed []string) ([]SortKey, error) {
	var out []SortKey
	add := func(key, dir string) error {
		key = strings.TrimSpace(key)
		if !slices.Contains(allowed, key) {
			return fault.InvalidField("sort_key", key, "sort by one of "+strings.Join(allowed, ", "))
		}
		desc, err := descending(dir)
		out = append(out, SortKey{Key: key, Desc: desc})
		return err
	}
	if sort := q.Get("sort"); sort != "" {
		if q.Has("sort_key") || q.Has("sort_dir") {
			return nil, fault.New(fault.Invalid, "sort and sort_key or sort_dir are given together: use one of the two forms")
		}
		for _, item := range strings.Split(sort, ",") {
			key, dir, _ := strings.Cut(item, ":")
			if err := add(key, dir); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	dirs := q["sort_dir"]
	for _, dir := range dirs { // also those without a key
		if _, err := descending(dir); err != nil {
			return nil, err
		}
	}
	for i, key := range q["sort_key"] {
		dir := ""
		switch {
		case i < len(dirs):
			dir = dirs[i]
		case len(dirs) == 1:
			dir = dirs[0]
		}
		if err := add(key, dir); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func descending(dir string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(dir)) {
	case "", "asc":
		return false, nil
	case "desc":
		return true, nil
	}
	return false, fault.InvalidField("sort_dir", dir, "it must be asc or desc")
}

// Cut returns the part of a list, already in order, that a page wants, and whether more follows it.
// Invalid: the marker is not in the list.
func Cut[T any](list []T, p Page, id func(T) string) (part []T, more bool, err error) {
	at := -1
	if p.Marker != "" {
		if at = slices.IndexFunc(list, func(v T) bool { return id(v) == p.Marker }); at < 0 {
			return nil, false, fault.InvalidField("marker", p.Marker, "nothing in this list has that id: list again from the start")
		}
	}
	if p.Reverse {
		if at >= 0 {
			list = list[:at]
		}
		from := max(0, len(list)-p.Limit)
		return list[from:], from > 0, nil
	}
	list = list[at+1:]
	if len(list) > p.Limit {
		return list[:p.Limit], true, nil
	}
	return list, false, nil
}

// Next returns the URL of the page that follows the item with id last: this request with that marker and limit.
func (r *Request) Next(last string, limit int) string {
	q := url.Values{}
	for k, v := range r.Query {
		q[k] = v
	}
	q.Set("marker", last)
	q.Set("limit", strconv.Itoa(limit))
	return r.base + r.HTTP.URL.EscapedPath() + "?" + q.Encode()
}

// First returns the path and query of this request without its marker.
func (r *Request) First() string {
	q := url.Values{}
	for k, v := range r.Query {
		if k != "marker" {
			q[k] = v
		}
	}
	return withQuery(r.HTTP.URL.EscapedPath(), q)
}

func withQuery(path string, q url.Values) string {
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}
