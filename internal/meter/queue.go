package meter

import "sync/atomic"

// Refusal is why a call was turned away before anything was done.
type Refusal int

// Refusals by whom or what was too much.
const (
	OwnersLimit Refusal = iota // its project, user or address has too many calls here
	AllLimit                   // all together have
	Patience                   // it was not its turn in time
	Left                       // its client went away while it waited
	Bodies                     // bodies of other calls fill the memory for them
	refusals
)

// Refusals lists all of them with their names.
func Refusals() [refusals]string {
	return [refusals]string{"owner", "all", "patience", "left", "bodies"}
}

// Queue is where calls of one sort wait for their turn; several handlers of one Cloud share it. The zero value is ready.
type Queue struct {
	Slots   atomic.Int64 // calls that may be at work at once
	Here    atomic.Int64 // calls that are here, those of the next two included
	Waiting atomic.Int64 // of them in line
	Running atomic.Int64 // of them at work
	Refused [refusals]atomic.Int64
}

// Queue returns the queue of a sort of calls; on the nil *Meters one that nobody reads.
func (m *Meters) Queue(sort string) *Queue {
	if m == nil {
		return &Queue{}
	}
	return find(&m.queues.mu, &m.queues.m, sort)
}

// EachQueue calls f for every queue.
func (m *Meters) EachQueue(f func(sort string, q *Queue)) {
	m.queues.mu.RLock()
	defer m.queues.mu.RUnlock()
	for sort, q := range m.queues.m {
		f(sort, q)
	}
}
