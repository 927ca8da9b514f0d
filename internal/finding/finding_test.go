package finding_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/internal/finding"
)

func TestWrite(t *testing.T) {
	t.Parallel()
	stuck := finding.Rule{Name: "server-stuck", Means: "nobody works on it", Do: "reset its state"}
	lost := finding.Rule{Name: "guest-lost", Means: "its disk is gone", Do: "delete it"}
	l := finding.List{Service: "compute"}
	l.Add(stuck, "server", "a", "server %s is stuck", "a")
	l.Add(lost, "server", "b", "server b has no guest")
	for i := range 101 {
		l.Add(stuck, "server", fmt.Sprint(i), "server %d is stuck", i)
	}
	var b strings.Builder
	require.NoError(t, finding.Write(&b, l.Found))
	text := b.String()
	require.Contains(t, text, "compute, server-stuck: 102 found\n  - server a is stuck\n  - server 0 is stuck\n")
	require.Contains(t, text, "  - server 98 is stuck\n  ... and 2 more\n  It means: nobody works on it\n  To do:    reset its state\n")
	require.Contains(t, text, "compute, guest-lost: 1 found\n  - server b has no guest\n")
	require.Equal(t, 1, strings.Count(text, "It means: nobody works"))
	require.Equal(t, "compute: server a is stuck", l.Found[0].String())
}
