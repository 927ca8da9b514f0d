package identity

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/nubecula/cloud/fault"
)

// dashless writes a UUID as OpenStack's identity does.
func dashless(uuid string) string { return strings.ReplaceAll(uuid, "-", "") }

func checkName(field, name string, longest int) error {
	if strings.TrimSpace(name) == "" || utf8.RuneCountInString(name) > longest {
		return fault.InvalidField(field, name, fmt.Sprintf("give between 1 and %d characters that are not all blank", longest))
	}
	return nil
}

// The resource options that clients may set, with the shape of their values.
var (
	lockOptions = map[string]func(json.RawMessage) bool{"immutable": isJSON[bool]}
	userOptions = map[string]func(json.RawMessage) bool{
		"ignore_change_password_upon_first_use": isJSON[bool],
		"ignore_password_expiry":                isJSON[bool],
		"ignore_lockout_failure_attempts":       isJSON[bool],
		"ignore_user_inactivity":                isJSON[bool],
		"lock_password":                         isJSON[bool],
		"multi_factor_auth_enabled":             isJSON[bool],
		"multi_factor_auth_rules":               isJSON[[][]string],
	}
)

func isJSON[T any](raw json.RawMessage) bool { return json.Unmarshal(raw, new(T)) == nil }

func checkOptions(known map[string]func(json.RawMessage) bool, options Extra) error {
	for name, value := range options {
		valid := known[name]
		if valid == nil {
			return fault.InvalidField("options."+name, string(value), "there is no such option; known are "+strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
		if !valid(value) {
			return fault.InvalidField("options."+name, string(value), "the value has the wrong type")
		}
	}
	return nil
}

// merge returns old with the values of patch; null takes a value away.
func (old Extra) merge(patch Extra) Extra {
	out := maps.Clone(old)
	for name, value := range patch {
		if string(value) == "null" {
			delete(out, name)
			continue
		}
		if out == nil {
			out = Extra{}
		}
		out[name] = value
	}
	return out
}

// checkMutable refuses to change what is immutable, unless the change takes just that option away.
func checkMutable(kind, id string, options, patch Extra, onlyOptions bool) error {
	if string(options["immutable"]) != "true" || onlyOptions && string(patch["immutable"]) != "true" && patch["immutable"] != nil {
		return nil
	}
	return &fault.Error{Code: fault.Denied, Kind: kind, ID: id, Msg: "is immutable; set its option immutable to false first"}
}

func checkTags(tags []string) error {
	if len(tags) > 80 {
		return fault.InvalidField("tags", len(tags), "give at most 80 tags")
	}
	for i, t := range tags {
		if t == "" || utf8.RuneCountInString(t) > 255 || strings.ContainsAny(t, ",/") {
			return fault.InvalidField("tags", t, "a tag has 1 to 255 characters, neither comma nor slash")
		}
		if slices.Contains(tags[:i], t) {
			return fault.InvalidField("tags", t, "a tag may be given only once")
		}
	}
	return nil
}

func sortedTags(tags []string) []string {
	if len(tags) == 0 {
		return nil
	}
	return slices.Sorted(slices.Values(tags))
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}

func orTrue(v *bool) bool { return v == nil || *v }
