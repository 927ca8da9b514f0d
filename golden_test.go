package cloud_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/cloudtest"
)

var rewrite = flag.Bool("rewrite", false, "write golden files anew")

// golden compares text with a file of testdata. accept says when -rewrite is right.
func golden(t *testing.T, name, text, accept string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), text, "%s; `go test . -run %s -rewrite` accepts the change", accept, t.Name())
}

// TestKinds guards what rows in people's stores refer to: names, versions and steps of the kinds of operations.
func TestKinds(t *testing.T) {
	t.Parallel()
	env := cloudtest.New(t)
	kinds := strings.Join(env.Cloud.Engine().Kinds(), "\n") + "\n"
	golden(t, "kinds.golden", kinds, "stored operations name these steps: a kind whose steps change gets a new Version, and none loses its name")
}
