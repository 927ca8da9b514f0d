// Package quota counts what each project uses and refuses what would go over
// its limits. The count is a ledger kept in the same transaction as the
// things it counts, so it is exact; Verify compares it with a recount.
//
// A Book holds the resources of one service. It keeps one document per
// project, so that projects do not get into each other's way.
package quota

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

// Unlimited as a limit means no limit.
const Unlimited = -1

// Resource is one thing that is counted.
type Resource struct {
	Name    string // "port"; never changed
	Label   string // for messages, in the plural: "ports"; "" means Name
	Default int64  // limit of a project that has none of its own; -1 means unlimited
	// Uncounted resources have a limit but no ledger: whoever asks checks with Limit.
	Uncounted bool
}

// Book is the ledger of one service. It has no state of its own.
type Book struct {
	service   string
	resources []Resource
}

// Collections lists the kinds of documents that this package keeps.
func Collections() []store.AnyCollection { return []store.AnyCollection{accounts} }

// NewBook returns the Book of a service: a short name that never changes.
func NewBook(service string, resources ...Resource) *Book {
	return &Book{service, resources}
}

// Usage is one line of a project's ledger.
type Usage struct {
	Used  int64
	Limit int64 // -1 means unlimited
}

// account is the document of a project; the one with the project "" holds the defaults.
type account struct {
	Service   string           `json:"service"`
	ProjectID string           `json:"project_id"`
	Limits    map[string]int64 `json:"limits,omitempty"`
	Used      map[string]int64 `json:"used,omitempty"`
}

// accounts holds the ledgers of all services.
var accounts = store.Define(store.Spec[account]{
	Kind: "quota", Version: 1,
	ID: func(a *account) string { return a.Service + "/" + a.ProjectID },
	Indexes: []store.Index[account]{
		{Name: "service", Keys: func(a *account) []store.Tuple { return []store.Tuple{{a.Service, a.ProjectID}} }},
	},
})

// Exceeded lists what would have gone over its limit; it is the cause of a Quota error.
type Exceeded struct {
	ProjectID string
	Over      []Over
}

// Over is one resource that is asked for beyond its limit.
type Over struct {
	Resource Resource
	Used     int64
	Limit    int64
	Asked    int64
}

// Error names every resource with its numbers.
func (e *Exceeded) Error() string {
	parts := make([]string, len(e.Over))
	for i, o := range e.Over {
		parts[i] = fmt.Sprintf("%d of %d %s, %d more asked", o.Used, o.Limit, o.Resource.label(), o.Asked)
	}
	return fmt.Sprintf("project %s has %s; delete some or ask for a higher quota", e.ProjectID, strings.Join(parts, "; "))
}

func (r Resource) label() string {
	if r.Label != "" {
		return r.Label
	}
	return r.Name
}

// Resources returns what the Book knows, in its order.
func (b *Book) Resources() []Resource { return slices.Clone(b.resources) }

// Reserve counts amounts, by resource name, for a project, all or nothing. Quota when any would go
// over its limit; the error holds an *Exceeded. An amount of 0 is never refused.
func (b *Book) Reserve(tx *store.Tx, projectID string, amounts map[string]int64) error {
	a, defaults, err := b.open(tx, projectID)
	if err != nil {
		return err
	}
	var over []Over
	for _, name := range slices.Sorted(maps.Keys(amounts)) {
		r, err := b.resource(name)
		if err != nil {
			return err
		}
		n := amounts[name]
		if n < 0 || r.Uncounted {
			return fault.New(fault.Internal, "quota: %d of %s cannot be reserved", n, name)
		}
		limit, used := limitOf(r, a, defaults), a.Used[name]
		if n > 0 && limit >= 0 && (used > limit || n > limit-used) {
			over = append(over, Over{r, used, limit, n})
		}
		a.add(name, n)
	}
	if over != nil {
		cause := &Exceeded{projectID, over}
		return &fault.Error{Code: fault.Quota, Msg: "over quota", Err: cause}
	}
	return b.keep(tx, a)
}

// Count counts amounts without a look at the limits, for what comes with something else.
func (b *Book) Count(tx *store.Tx, projectID string, amounts map[string]int64) error {
	a, _, err := b.open(tx, projectID)
	if err != nil {
		return err
	}
	for name, n := range amounts {
		if r, err := b.resource(name); err != nil || n < 0 || r.Uncounted {
			return fault.New(fault.Internal, "quota: %d of %s cannot be counted", n, name)
		}
		a.add(name, n)
	}
	return b.keep(tx, a)
}

// Release takes amounts off the count of a project.
func (b *Book) Release(tx *store.Tx, projectID string, amounts map[string]int64) error {
	a, _, err := b.open(tx, projectID)
	if err != nil {
		return err
	}
	for name, n := range amounts {
		if _, err := b.resource(name); err != nil {
			return err
		}
		if n < 0 || a.Used[name] < n {
			return fault.New(fault.Corrupt, "quota: project %s uses %d of %s, %d cannot be released", projectID, a.Used[name], name, n)
		}
		a.add(name, -n)
	}
	return b.keep(tx, a)
}

// Adjust changes counts by signed amounts, for a resize: what grows is checked as in Reserve, what
// shrinks is given back.
func (b *Book) Adjust(tx *store.Tx, projectID string, amounts map[string]int64) error {
	up, down := map[string]int64{}, map[string]int64{}
	for name, n := range amounts {
		if n < 0 {
			down[name] = -n
		} else {
			up[name] = n
		}
	}
	if err := b.Release(tx, projectID, down); err != nil {
		return err
	}
	return b.Reserve(tx, projectID, up)
}

// SetLimits changes limits of a project and leaves those alone that are not named. A limit may be
// below the use: then nothing more can be reserved. -1 means unlimited. Invalid for an unknown
// resource or a limit below -1. The project "" sets the defaults of all projects.
func (b *Book) SetLimits(tx *store.Tx, projectID string, limits map[string]int64) error {
	a, _, err := b.open(tx, projectID)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		if _, err := b.resource(name); err != nil {
			return err
		}
		if limits[name] < Unlimited {
			return fault.InvalidField(name, limits[name], "a limit is -1 for unlimited, or at least 0")
		}
		if a.Limits == nil {
			a.Limits = map[string]int64{}
		}
		a.Limits[name] = limits[name]
	}
	return b.keep(tx, a)
}

// ResetLimits gives a project the defaults again; for the project "" the defaults of the Book.
func (b *Book) ResetLimits(tx *store.Tx, projectID string) error {
	a, _, err := b.open(tx, projectID)
	if err != nil {
		return err
	}
	a.Limits = nil
	return b.keep(tx, a)
}

// Usage returns every resource of a project, by name.
func (b *Book) Usage(tx *store.Tx, projectID string) (map[string]Usage, error) {
	a, defaults, err := b.open(tx, projectID)
	if err != nil {
		return nil, err
	}
	out := make(map[string]Usage, len(b.resources))
	for _, r := range b.resources {
		out[r.Name] = Usage{Used: a.Used[r.Name], Limit: limitOf(r, a, defaults)}
	}
	return out, nil
}

// Limit returns one limit of a project; -1 means unlimited.
func (b *Book) Limit(tx *store.Tx, projectID, name string) (int64, error) {
	all, err := b.Usage(tx, projectID)
	return all[name].Limit, err
}

// Projects lists the projects with limits of their own, in order.
func (b *Book) Projects(tx *store.Tx) ([]string, error) {
	var out []string
	err := b.each(tx, func(a *account) {
		if a.ProjectID != "" && len(a.Limits) > 0 {
			out = append(out, a.ProjectID)
		}
	})
	return out, err
}

// Verify compares the ledger with counts, by project and resource name, of what really exists, and
// returns one line for each difference. Only resources in names are compared; none means all.
func (b *Book) Verify(tx *store.Tx, counts map[string]map[string]int64, names ...string) ([]string, error) {
	used := map[string]map[string]int64{}
	if err := b.each(tx, func(a *account) { used[a.ProjectID] = a.Used }); err != nil {
		return nil, err
	}
	projects := map[string]bool{}
	for p := range used {
		projects[p] = true
	}
	for p := range counts {
		projects[p] = true
	}
	var out []string
	for _, p := range slices.Sorted(maps.Keys(projects)) {
		for _, r := range b.resources {
			if r.Uncounted || len(names) > 0 && !slices.Contains(names, r.Name) {
				continue
			}
			if have, want := used[p][r.Name], counts[p][r.Name]; have != want {
				out = append(out, fmt.Sprintf("quota of project %s counts %d %s, there are %d", p, have, r.label(), want))
			}
		}
	}
	return out, nil
}

func (b *Book) each(tx *store.Tx, f func(*account)) error {
	for a, err := range accounts.Each(tx, store.Query[account]{Index: "service", Prefix: store.Tuple{b.service}}) {
		if err != nil {
			return err
		}
		f(a)
	}
	return nil
}

// open returns the account of a project and that of the defaults, either of which may be new.
func (b *Book) open(tx *store.Tx, projectID string) (a, defaults *account, err error) {
	if a, err = b.load(tx, projectID); err != nil || projectID == "" {
		return a, a, err
	}
	defaults, err = b.load(tx, "")
	return a, defaults, err
}

func (b *Book) load(tx *store.Tx, projectID string) (*account, error) {
	a, err := accounts.Get(tx, b.service+"/"+projectID)
	if fault.Is(err, fault.NotFound) {
		return &account{Service: b.service, ProjectID: projectID}, nil
	}
	return a, err
}

// keep stores an account, or deletes it when nothing is left in it.
func (b *Book) keep(tx *store.Tx, a *account) error {
	if len(a.Used) > 0 || len(a.Limits) > 0 {
		return accounts.Put(tx, a)
	}
	had, err := accounts.Has(tx, a.Service+"/"+a.ProjectID)
	if err != nil || !had {
		return err
	}
	return accounts.Delete(tx, a.Service+"/"+a.ProjectID)
}

func (b *Book) resource(name string) (Resource, error) {
	for _, r := range b.resources {
		if r.Name == name {
			return r, nil
		}
	}
	return Resource{}, fault.InvalidField(name, name, "this is not a resource with a quota here")
}

func (a *account) add(name string, n int64) {
	if a.Used == nil {
		a.Used = map[string]int64{}
	}
	if a.Used[name] += n; a.Used[name] == 0 {
		delete(a.Used, name)
	}
}

func limitOf(r Resource, a, defaults *account) int64 {
	if v, ok := a.Limits[r.Name]; ok {
		return v
	}
	if v, ok := defaults.Limits[r.Name]; ok {
		return v
	}
	return r.Default
}
