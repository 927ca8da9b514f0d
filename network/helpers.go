package network

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/store"
)

func sprint(format string, args ...any) string { return fmt.Sprintf(format, args...) }

// yes is the value of an optional flag that is on when it is not given.
func yes(v *bool) bool { return v == nil || *v }

// set changes a field if there is a value for it.
func set[T any](field *T, v *T) {
	if v != nil {
		*field = *v
	}
}

// tidy returns tags sorted and each once.
func tidy(tags []string) []string { return slices.Compact(slices.Sorted(slices.Values(tags))) }

func oneOf(wanted []string, v string) bool { return len(wanted) == 0 || slices.Contains(wanted, v) }

const (
	maxText = 255
	maxTag  = 60
	maxTags = 50
)

func validTexts(kind, name, description string, tags []string) error {
	for field, text := range map[string]string{"name": name, "description": description} {
		if !utf8.ValidString(text) || utf8.RuneCountInString(text) > maxText {
			return fault.InvalidField(field, fmt.Sprintf("%.20s...", text), fmt.Sprintf("at most %d characters of UTF-8", maxText))
		}
	}
	if len(tags) > maxTags {
		return fault.InvalidField("tags", len(tags), fmt.Sprintf("a %s has at most %d tags", kind, maxTags))
	}
	for _, t := range tags {
		if t == "" || utf8.RuneCountInString(t) > maxTag || strings.ContainsAny(t, ",/") || !utf8.ValidString(t) {
			return fault.InvalidField("tags", t, fmt.Sprintf("a tag has 1 to %d characters, no comma and no slash", maxTag))
		}
	}
	return nil
}

func atRevision(want *int64, have int64, kind, id string) error {
	if want == nil || *want == have {
		return nil
	}
	return &fault.Error{Code: fault.Conflict, Kind: kind, ID: id, Field: "revision_number", Err: RevisionMismatch,
		Msg: fmt.Sprintf("is at revision %d, not %d; read it again", have, *want)}
}

// needs is an action and whether a request needs it.
type needs struct {
	action string
	needed bool
}

func (s *Service) checkAll(tx *store.Tx, t identity.Target, all []needs) error {
	for _, n := range all {
		if n.needed {
			if err := s.check(tx, n.action, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// seesAll reports whether lists show the principal what every project has.
func (s *Service) seesAll(kind string) bool {
	return s.policy.Check(s.who, "network:"+kind+":list_all_projects", identity.Target{Kind: kind}) == nil
}

// gather returns the documents with the given ids, or else those of every query, each once, that keep admits.
func gather[T any](tx *store.Tx, c *store.Collection[T], idOf func(*T) string, ids []string, sets []store.Query[T], keep func(*T) bool) ([]*T, error) {
	var out []*T
	if len(ids) > 0 {
		for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
			v, err := c.Get(tx, id)
			if fault.Is(err, fault.NotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if keep(v) {
				out = append(out, v)
			}
		}
		return out, nil
	}
	seen := map[string]bool{}
	for _, q := range sets {
		for v, err := range c.Each(tx, q) {
			if err != nil {
				return nil, err
			}
			if id := idOf(v); len(sets) > 1 {
				if seen[id] {
					continue
				}
				seen[id] = true
			}
			if keep(v) {
				out = append(out, v)
			}
		}
	}
	return out, nil
}

// parseMAC returns a unicast address in lower case with colons.
func parseMAC(text string) (string, bool) {
	b, err := hex.DecodeString(strings.NewReplacer(":", "", "-", "").Replace(text))
	if err != nil || len(b) != 6 || len(text) != 17 || b[0]&1 != 0 || slices.Equal(b, make([]byte, 6)) {
		return "", false
	}
	return formatMAC(b), true
}

func formatMAC(b []byte) string {
	parts := make([]string, len(b))
	for i, v := range b {
		parts[i] = fmt.Sprintf("%02x", v)
	}
	return strings.Join(parts, ":")
}

// parsePrefix reads the first three bytes of the addresses that are given out.
func parsePrefix(text string) (out [3]byte, ok bool) {
	mac, ok := parseMAC(text + ":00:00:01")
	if !ok {
		return out, false
	}
	b, _ := hex.DecodeString(strings.ReplaceAll(mac, ":", "")[:6])
	return [3]byte(b), true
}

func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// anyOf is nil when the action is admitted to any of the targets, and otherwise the last refusal that
// admits that the thing is there.
func (s *Service) anyOf(action string, targets []identity.Target) error {
	return first(targets, func(t identity.Target) error { return s.policy.Check(s.who, action, t) })
}

// checkAny is anyOf inside the transaction of the action.
func (s *Service) checkAny(tx *store.Tx, action string, targets []identity.Target) error {
	return first(targets, func(t identity.Target) error { return s.check(tx, action, t) })
}

func first(targets []identity.Target, check func(identity.Target) error) (refusal error) {
	for _, t := range targets {
		err := check(t)
		if err == nil {
			return nil
		}
		if refusal == nil || fault.Is(refusal, fault.NotFound) {
			refusal = err
		}
	}
	return refusal
}

// networksOf returns a function that loads each network once.
func (s *Service) networksOf(tx *store.Tx) func(id string) (*Network, error) {
	known := map[string]*Network{}
	return func(id string) (*Network, error) {
		if n := known[id]; n != nil {
			return n, nil
		}
		n, err := networks.Get(tx, id)
		if err == nil {
			known[id] = n
		}
		return n, err
	}
}

// macBytes returns the bytes of an address that parseMAC accepted.
func macBytes(mac string) [6]byte {
	var out [6]byte
	b, _ := hex.DecodeString(strings.ReplaceAll(mac, ":", ""))
	copy(out[:], b)
	return out
}
