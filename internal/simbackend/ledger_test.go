package simbackend

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/network/networkdriver"
)

// TestViolations: the ledger finds what the fakes would refuse, so it is asked directly.
func TestViolations(t *testing.T) {
	t.Parallel()
	mark := func(generation int64) computedriver.Mark {
		return computedriver.Mark{Cloud: "c", ID: "s", Generation: generation}
	}
	for name, c := range map[string]struct {
		do   func(l *ledger)
		want string
	}{
		"define behind tombstone": {func(l *ledger) { l.undefined("h", mark(2).Ref(), false); l.defined("h", mark(1)) }, "Define of server s generation 1 on h behind the tombstone of generation 2"},
		"start behind tombstone": {func(l *ledger) {
			l.defined("h", mark(1))
			l.undefined("h", mark(1).Ref(), true)
			l.started("h", mark(1).Ref())
		}, "Start of server s generation 1 on h behind the tombstone of generation 1"},
		"twice":             {func(l *ledger) { l.defined("h", mark(1)); l.defined("h", mark(1)) }, "defined 2 times"},
		"two hosts":         {func(l *ledger) { l.defined("h", mark(1)); l.defined("i", mark(1)) }, "one placement, two hosts"},
		"older after newer": {func(l *ledger) { l.defined("h", mark(2)); l.defined("i", mark(1)) }, "generation 1 was defined on i after generation 2"},
		"not defined":       {func(l *ledger) { l.started("h", mark(1).Ref()) }, "where it was not defined"},
		"late stop": {func(l *ledger) {
			l.defined("h", mark(1))
			l.started("h", computedriver.Ref{ID: "s", Generation: 1, Turn: 3})
			l.stopped("h", computedriver.Ref{ID: "s", Generation: 1, Turn: 2})
		}, "Stop of server s generation 1 on h in turn 2, after turn 3"},
		"two clouds": {func(l *ledger) {
			l.defined("h", mark(1))
			l.defined("h", computedriver.Mark{Cloud: "d", ID: "s", Generation: 1})
		}, "for cloud c and for cloud d"},
		"bind": {func(l *ledger) {
			l.unbind("p", networkdriver.Bind{Host: "h", Generation: 1})
			l.bound("p", networkdriver.Bind{Host: "h", Generation: 1})
		}, "port p was bound to h with generation 1 behind"},
		"apply":  {func(l *ledger) { l.remove("n"); l.applied("n") }, "Apply of network n behind its tombstone"},
		"change": {func(l *ledger) { l.remove("n"); l.changed("n") }, "Change of network n behind its tombstone"},
	} {
		l := newLedger()
		c.do(l)
		require.Len(t, l.report().Violations, 1, name)
		require.Contains(t, l.report().Violations[0], c.want, name)
	}
	l := newLedger() // a life: placed, stopped, started, placed anew elsewhere
	l.defined("h", mark(1))
	l.started("h", mark(1).Ref())
	l.stopped("h", mark(1).Ref())
	l.started("h", mark(1).Ref())
	l.undefined("h", mark(1).Ref(), true)
	l.defined("i", mark(2))
	l.started("i", mark(2).Ref())
	l.undefined("i", mark(2).Ref(), true)
	r := l.report()
	require.Empty(t, r.Violations)
	require.Equal(t, Tally{Placements: 2, Starts: 3, Stops: 1, Undefines: 2}, r.Servers["s"])
}
