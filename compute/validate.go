package compute

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/nubecula/cloud/fault"
)

// check collects everything that is wrong with a request.
type check struct{ errs []error }

func (v *check) bad(field string, value any, remedy string) {
	v.errs = append(v.errs, fault.InvalidField(field, value, remedy))
}

// text checks the length in characters.
func (v *check) text(field, value string, min, max int) {
	if n := utf8.RuneCountInString(value); n < min || n > max || !utf8.ValidString(value) {
		if n > 64 {
			value = string([]rune(value)[:64]) + "..."
		}
		v.bad(field, value, fmt.Sprintf("it must have %d to %d characters", min, max))
	}
}

func (v *check) number(field string, value, min, max int64) {
	if value < min || value > max {
		v.bad(field, value, fmt.Sprintf("it must be between %d and %d", min, max))
	}
}

// err returns nil, the only error, or an Invalid error of all.
func (v *check) err() error {
	switch len(v.errs) {
	case 0:
		return nil
	case 1:
		return v.errs[0]
	}
	return &fault.Error{Code: fault.Invalid, Err: errors.Join(v.errs...)}
}

// maxPage is the most that a list returns at once.
const maxPage = 1000

// paged cuts a page out of a sorted list. Invalid: the marker is not in it.
func paged[T any](all []T, marker string, limit int, id func(T) string) (page []T, more bool, err error) {
	if marker != "" {
		at := -1
		for i := range all {
			if id(all[i]) == marker {
				at = i
			}
		}
		if at < 0 {
			return nil, false, unknownMarker(marker)
		}
		all = all[at+1:]
	}
	limit = pageSize(limit)
	if len(all) > limit {
		return all[:limit], true, nil
	}
	return all, false, nil
}

func unknownMarker(marker string) error {
	return fault.InvalidField("marker", marker, "it must be the id of something that the same list shows")
}

func pageSize(limit int) int {
	if limit <= 0 || limit > maxPage {
		return maxPage
	}
	return limit
}
