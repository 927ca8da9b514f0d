// Package finding is how checks tell a person what is not as it should be:
// what it is, what it means, and what can be done about it.
package finding

import (
	"fmt"
	"io"
	"strings"
)

// Finding is something that is not as it should be. Rule says what kind of thing is wrong, by a name that stays the
// same; the texts may change.
type Finding struct {
	Service string `json:"service"`         // whose it is: "store", "identity", "image", "network", "compute", "cloud"
	Rule    string `json:"rule"`            // "server-stuck"
	Kind    string `json:"kind"`            // of the thing that is wrong: "server", "guest", "subnet"
	ID      string `json:"id"`              // of that thing; "" means none
	Where   string `json:"where,omitempty"` // id of the host, or "network" or "image", whose driver holds it; "" means the store
	Text    string `json:"text"`            // what is wrong with what
	Means   string `json:"means"`           // what that means for users and operators
	Do      string `json:"do"`              // what a person can do
	// Removable findings are about something that a driver holds and that Cloud.AcceptRemoval removes.
	Removable bool `json:"removable,omitempty"`
}

// String is the finding in one line.
func (f Finding) String() string { return f.Service + ": " + f.Text }

// Rule is a kind of thing that may be wrong.
type Rule struct {
	Name, Means, Do string
	Removable       bool
}

// List collects what a service finds.
type List struct {
	Service string
	Found   []Finding
}

// Add notes a finding about the thing of a kind and id.
func (l *List) Add(r Rule, kind, id, format string, args ...any) *Finding {
	l.Found = append(l.Found, Finding{Service: l.Service, Rule: r.Name, Kind: kind, ID: id, Text: fmt.Sprintf(format, args...),
		Means: r.Means, Do: r.Do, Removable: r.Removable})
	return &l.Found[len(l.Found)-1]
}

// Lines notes a finding for each line about the thing of a kind and id.
func (l *List) Lines(r Rule, kind, id string, lines []string) {
	for _, line := range lines {
		l.Add(r, kind, id, "%s", line)
	}
}

// QuotaWrong is a quota ledger that differs from what there is; several services have one.
var QuotaWrong = Rule{Name: "quota-wrong",
	Means: "the project can have more, or less, than its quota says; what runs is not concerned",
	Do:    "set the project's quota so much higher or lower that it works out (openstack quota set); tell it with the log of the time"}

// Write writes the findings for a person to read: what is wrong with what, and once for each rule what it means and what can
// be done.
func Write(w io.Writer, all []Finding) error {
	var b strings.Builder
	for _, group := range byRule(all) {
		first := group[0]
		fmt.Fprintf(&b, "%s, %s: %d found\n", first.Service, first.Rule, len(group))
		for i, f := range group {
			if i == shown {
				fmt.Fprintf(&b, "  ... and %d more\n", len(group)-shown)
				break
			}
			fmt.Fprintf(&b, "  - %s\n", f.Text)
		}
		fmt.Fprintf(&b, "  It means: %s\n  To do:    %s\n", first.Means, first.Do)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

const shown = 100 // findings of one rule that Write names

// byRule groups the findings, in the order in which their rules come first.
func byRule(all []Finding) (groups [][]Finding) {
	at := map[string]int{}
	for _, f := range all {
		key := f.Service + "/" + f.Rule
		i, ok := at[key]
		if !ok {
			i = len(groups)
			at[key] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], f)
	}
	return groups
}
