package keystone

import (
	"math"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// listOptions reads name, name__contains and the like, marker and limit. It asks for one more than the
// limit, so that list can tell whether there is a next page.
func listOptions(r *rest.Request) (identity.ListOptions, error) {
	o := identity.ListOptions{Name: r.Query.Get("name")}
	page, err := r.Page(math.MaxInt32)
	if err != nil {
		return o, err
	}
	o.Marker = page.Marker
	if page.Asked && page.Limit > 0 {
		o.Limit = page.Limit + 1
	}
	for key, values := range r.Query {
		op, ok := strings.CutPrefix(key, "name__")
		if !ok {
			continue
		}
		for _, v := range values {
			f := identity.TextFilter{Op: op, Value: v}
			if !f.Valid() {
				return o, fault.InvalidField(key, v, "compare with contains, startswith, endswith, or icontains, istartswith, iendswith")
			}
			o.Names = append(o.Names, f)
		}
	}
	return o, nil
}

// enabled reads the filter of that name; nil means both.
func enabled(r *rest.Request) (*bool, error) {
	if !r.Query.Has("enabled") {
		return nil, nil
	}
	v, err := r.Flag("enabled", true)
	return &v, err
}

// tagList reads a filter of tags, which are separated by commas.
func tagList(r *rest.Request, name string) []string {
	if r.Query.Get(name) == "" {
		return nil
	}
	return strings.Split(r.Query.Get(name), ",")
}

func listLinks(r *rest.Request, next string) object {
	return object{"self": r.Base() + r.HTTP.URL.RequestURI(), "previous": nil, "next": orNull(next)}
}

// list answers with a page.
func list[T any](r *rest.Request, key string, found []*T, o identity.ListOptions, id func(*T) string, view func(*rest.Request, *T) object) (*rest.Response, error) {
	next := ""
	if o.Limit > 0 && len(found) == o.Limit {
		found = found[:o.Limit-1]
		next = r.Next(id(found[len(found)-1]), o.Limit-1)
	}
	out := make([]object, 0, len(found))
	for _, v := range found {
		out = append(out, view(r, v))
	}
	return rest.OK(object{key: out, "links": listLinks(r, next)}), nil
}
