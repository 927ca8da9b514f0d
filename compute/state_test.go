package compute

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
)

var rewriteStates = flag.Bool("rewrite-states", false, "write the diagram in doc.go anew")

// diagram draws the tables of states and moves, as doc.go shows them.
func diagram() string {
	var b strings.Builder
	name := func(s VMState) string {
		if s == "" {
			return "nothing"
		}
		return string(s)
	}
	for _, m := range moves {
		fmt.Fprintf(&b, "//\t%-9s --%s--> %s\n", name(m.from), m.by, m.to)
	}
	b.WriteString("//\n// What may be asked, besides delete:\n//\n")
	for _, s := range states {
		var verbs []string
		for _, v := range s.allows {
			verbs = append(verbs, string(v))
		}
		if len(verbs) == 0 {
			verbs = []string{"-"}
		}
		fmt.Fprintf(&b, "//\t%-9s %-8s %s\n", s.state, s.status, strings.Join(verbs, ", "))
	}
	return b.String()
}

// TestDiagram keeps the diagram of doc.go true.
func TestDiagram(t *testing.T) {
	t.Parallel()
	const begin, end = "// # States\n//\n", "package compute\n"
	body, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	head, rest, found := strings.Cut(string(body), begin)
	require.True(t, found)
	if *rewriteStates {
		require.NoError(t, os.WriteFile("doc.go", []byte(head+begin+diagram()+end), 0o644))
		return
	}
	require.Equal(t, diagram()+end, rest, "go test ./compute -run Diagram -rewrite-states accepts the change")
}

// TestTables: every state is in the table, is reached, and can be left by delete.
func TestTables(t *testing.T) {
	t.Parallel()
	for _, s := range states {
		if s.state == Deleted {
			continue
		}
		var in, out bool
		for _, m := range moves {
			in = in || m.to == s.state
			out = out || m.from == s.state && m.by == "delete" && m.to == Deleted
		}
		require.True(t, in && out, "%s cannot be reached or not be left", s.state)
	}
	for _, m := range moves {
		require.NotEqual(t, StatusUnknown, (&Server{VMState: m.to}).Status(), m.to)
	}
	require.Equal(t, StatusUnknown, (&Server{VMState: "no such state"}).Status())
}

// TestAllow checks every verb in every state and task against the tables.
func TestAllow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		state VMState
		task  TaskState
		verb  verb
		ok    bool
	}{
		{Active, NoTask, doStop, true}, {Active, NoTask, doReboot, true}, {Active, NoTask, doHardReboot, true}, {Active, NoTask, doStart, false},
		{Stopped, NoTask, doStart, true}, {Stopped, NoTask, doReboot, false}, {Stopped, NoTask, doHardReboot, true},
		{Error, NoTask, doStart, false}, {Error, NoTask, doHardReboot, true}, {Building, NoTask, doStop, false}, {Deleted, NoTask, doStart, false},
		{Active, PoweringOff, doStop, false}, {Active, Rebooting, doHardReboot, true}, {Active, Rebooting, doReboot, false},
		{Active, RebootingHard, doHardReboot, false}, {Active, Deleting, doHardReboot, false}, {Building, Scheduling, doStop, false},
	} {
		err := (&Server{ID: "x", VMState: c.state, TaskState: c.task}).allow(c.verb)
		require.Equal(t, c.ok, err == nil, "%+v: %v", c, err)
		if err != nil {
			require.True(t, fault.Is(err, fault.Conflict))
			want := "vm_state " + string(c.state)
			if c.task != NoTask {
				want = "task_state " + string(c.task)
			}
			require.ErrorContains(t, err, want)
		}
	}
}

func TestHostname(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"Web One": "web-one", "a_b.c": "a-b-c", "--x--": "x", "日本": "server-id", strings.Repeat("a", 70): strings.Repeat("a", 63), "ünï1": "n1",
	} {
		require.Equal(t, want, hostname(name, "id"))
		require.True(t, validHostname(hostname(name, "id")))
	}
	for _, bad := range []string{"", "-a", "a-", "a..b", "a_b", strings.Repeat("a", 64), strings.Repeat("a.", 130)} {
		require.False(t, validHostname(bad), bad)
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "", 1: "c\n", 2: "b\nc\n", 3: "a\nb\nc\n", 9: "a\nb\nc\n"} {
		require.Equal(t, want, string(tail([]byte("a\nb\nc\n"), n)), n)
	}
	require.Equal(t, "c", string(tail([]byte("a\nb\nc"), 1)))
	require.Empty(t, tail(nil, 5))
}

func TestPassword(t *testing.T) {
	t.Parallel()
	zeros := func(n int) []byte { return make([]byte, n) }
	require.Equal(t, "222222222222", password(zeros))
}
