package nova

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// query says which parameters a call has.
type query struct {
	params []param
	// strict is the minor version from which others are refused; 0 means never.
	strict int
}

// param is a parameter of a query.
type param struct {
	name  string
	since int // the minor version from which it has a meaning; before, it is ignored
	once  bool
}

// check refuses what the version does not take, and removes what it ignores.
func (q query) check(r *rest.Request) error {
	for _, name := range slices.Sorted(keys(r.Query)) {
		i := slices.IndexFunc(q.params, func(p param) bool { return p.name == name })
		switch {
		case i >= 0 && minor(r) >= q.params[i].since:
			if q.params[i].once && len(r.Query[name]) > 1 {
				return fault.InvalidField(name, r.Query[name], "give it once")
			}
		case q.strict != 0 && minor(r) >= q.strict:
			remedy := "leave it out"
			if i >= 0 {
				remedy = fmt.Sprintf("leave it out, or use microversion 2.%d or newer", q.params[i].since)
			}
			return fault.InvalidField(name, strings.Join(r.Query[name], ","), "additional properties are not allowed in the query; "+remedy)
		default:
			delete(r.Query, name)
		}
	}
	return nil
}

// known makes params that always had a meaning.
func known(names ...string) []param {
	out := make([]param, len(names))
	for i, n := range names {
		out[i].name = n
	}
	return out
}

// timeParam reads a time of the query; the zero time when it is not there.
func timeParam(r *rest.Request, name string) (time.Time, error) {
	if !r.Query.Has(name) {
		return time.Time{}, nil
	}
	return rest.ParseTime(name, r.Query.Get(name))
}

// period reads changes-since and changes-before.
func period(r *rest.Request) (since, before time.Time, err error) {
	if since, err = timeParam(r, "changes-since"); err != nil {
		return since, before, err
	}
	if before, err = timeParam(r, "changes-before"); err != nil {
		return since, before, err
	}
	if !since.IsZero() && !before.IsZero() && before.Before(since) {
		return since, before, fault.InvalidField("changes-since", r.Query.Get("changes-since"), "it must not be later than changes-before")
	}
	return since, before, nil
}

// addNext adds the link to the next page under key, when there is one.
func addNext(doc object, key string, r *rest.Request, more bool, last string, limit int) {
	if more {
		doc[key] = []rest.Link{{Rel: "next", Href: r.Next(last, limit)}}
	}
}

// only is the query of a call whose parameters are refused, once it is strict, unless they are known.
func only(strict int, names ...string) query { return query{params: known(names...), strict: strict} }
