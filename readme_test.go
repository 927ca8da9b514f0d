package cloud_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReadme wants every line of Go in the README from a file that is compiled and run.
func TestReadme(t *testing.T) {
	t.Parallel()
	var compiled string
	for _, path := range []string{"example_test.go", "cloudtest/example_test.go"} {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		compiled += flush(string(text))
	}
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	blocks := strings.Split(string(readme), "```go\n")[1:]
	require.GreaterOrEqual(t, len(blocks), 2)
	for _, b := range blocks {
		code, _, closed := strings.Cut(b, "```")
		require.True(t, closed)
		for _, part := range strings.Split(flush(code), "\n\n") {
			require.Contains(t, compiled, strings.Trim(part, "\n")+"\n", "the README's code must be somewhere in example_test.go or cloudtest/example_test.go")
		}
	}
}

// flush takes the indentation away, so that code may stand deeper in a file than on the page.
func flush(code string) string {
	lines := strings.Split(code, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimLeft(l, "\t ")
	}
	return strings.Join(lines, "\n") + "\n"
}
