// Package scheduler decides which host gets a server, and can say of every
// other host why it did not. It is pure: no store, no clock, no randomness
// but the seed in the request, so the same input gives the same Decision.
//
// A [Snapshot] is an immutable set of hosts that is cheap to change by one
// host. A [Scheduler] is a list of filters, which refuse hosts, and of
// weighers, which order the rest. [Scheduler.Pick] returns the best
// candidates in order: whoever loses the race for the first takes the next.
// A pick is advice; the claim on the host's ledger decides.
//
// Packages filter and weigh hold the usual filters and weighers.
package scheduler
