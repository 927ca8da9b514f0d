package scheduler

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/nubecula/cloud/fault"
)

// Request is what a server needs of its host. The zero value fits every host.
type Request struct {
	Need Resources // amounts of 0 or less ask for nothing and fit a host that is over-full
	Zone string    // availability zone; "" means any

	// Exclude maps the ids of hosts that must not be chosen to the reason, as text for people.
	Exclude map[string]string
	// Destination is the name or id of the only host wanted; it must pass every filter. "" means any.
	Destination string
	// ForceHosts are names or ids of the only hosts to consider, as in Nova's
	// "zone:host". On these neither the zone nor being disabled counts; one
	// that is down, full or excluded is refused still. Empty means any.
	ForceHosts []string

	Project string              // id of the project that asks; may be empty
	Hints   map[string][]string // scheduler hints, for filters that know them

	// Now is the instant that heartbeats are measured at. The zero time
	// means that heartbeats do not count.
	Now time.Time
	// Seed orders hosts of equal weight. Give each request another, and a
	// repetition of a request the same.
	Seed uint64
	// Explain makes Pick explain every refusal, however long that takes.
	Explain bool
}

// Filter refuses hosts. It is safe for concurrent use and pure: the answer
// depends on its arguments and on nothing else.
type Filter interface {
	// Name is what refusals are recorded under: short, lower-case, unique in a Scheduler.
	Name() string
	// Keep removes from m each host that may not take r. It does not add any.
	Keep(s *Snapshot, r *Request, m Mask)
	// Reason says, with numbers, why Keep removes h. It is called only for
	// hosts that were removed, and only when somebody wants to know.
	Reason(h *Host, r *Request) string
}

// Weigher says how much it likes hosts. Safe for concurrent use and pure, like a Filter.
type Weigher interface {
	// Name is for people: short, lower-case.
	Name() string
	// Weigh sets w[p] for each position p in m; more is better. Only
	// differences count, since Pick scales the weights of one Pick to 0..1.
	// NaN counts as the least, and values beyond 1e300 as 1e300.
	Weigh(s *Snapshot, r *Request, m Mask, w []float64)
}

// Weight is a Weigher and its importance.
type Weight struct {
	By Weigher
	// Multiplier of the scaled weight. 0 means 1. Negative turns the order
	// round: free RAM times -1 fills the fullest host first.
	Multiplier float64
}

// Options of a Scheduler.
type Options struct {
	// Filters in order; a host is refused by the first that removes it. At least one.
	Filters []Filter
	// Weighers, added up. None means an order by seed alone.
	Weighers []Weight
	// Candidates is how many a Decision names at most; 0 means 10.
	Candidates int
	// SubsetSize is how many of the best hosts are put in random order, by
	// seed, so that pickers who see the same hosts do not all take the same
	// one; 0 means 1, the best host always first.
	SubsetSize int
	// Reasons is how many different reasons a Decision keeps for one filter; 0 means 8.
	Reasons int
}

// Scheduler picks hosts. It is safe for concurrent use.
type Scheduler struct {
	opts    Options
	scratch sync.Pool
}

// New returns a Scheduler. Invalid, for everything wrong at once, when there
// is no filter, one is nil or has another's name, or a number makes no sense.
func New(opts *Options) (*Scheduler, error) {
	if opts == nil {
		opts = &Options{}
	}
	o := *opts
	var errs []error
	bad := func(field string, value any, remedy string) {
		errs = append(errs, fault.InvalidField(field, value, remedy))
	}
	if len(o.Filters) == 0 {
		bad("Filters", 0, "give at least one filter, or any server fits any host; filter.Default() has the usual ones")
	}
	names := make(map[string]bool)
	for i, f := range o.Filters {
		field := fmt.Sprintf("Filters[%d]", i)
		switch {
		case f == nil:
			bad(field, nil, "must not be nil")
		case f.Name() == "" || names[f.Name()]:
			bad(field, f.Name(), "each filter needs a name of its own")
		default:
			names[f.Name()] = true
		}
	}
	o.Filters = append([]Filter(nil), o.Filters...)
	o.Weighers = append([]Weight(nil), o.Weighers...)
	for i := range o.Weighers {
		w, field := &o.Weighers[i], fmt.Sprintf("Weighers[%d]", i)
		if w.By == nil {
			bad(field, nil, "must not be nil")
		}
		if math.IsNaN(w.Multiplier) || math.Abs(w.Multiplier) > 1e6 {
			bad(field, w.Multiplier, "a multiplier must be between -1e6 and 1e6")
		}
		if w.Multiplier == 0 {
			w.Multiplier = 1
		}
	}
	for _, n := range []struct {
		field string
		value *int
		def   int
	}{{"Candidates", &o.Candidates, 10}, {"SubsetSize", &o.SubsetSize, 1}, {"Reasons", &o.Reasons, 8}} {
		if *n.value < 0 {
			bad(n.field, *n.value, "must not be negative")
		}
		if *n.value == 0 {
			*n.value = n.def
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Scheduler{opts: o}, nil
}
