package cloud_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/cloudtest"
	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/fault/inject"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
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

// TestDocuments guards the form of stored documents: the fields of every kind that a small cloud writes, and its version.
func TestDocuments(t *testing.T) {
	t.Parallel()
	ctx, db := context.Background(), memory.New(nil)
	env := cloudtest.New(t, cloudtest.Options{Database: db})
	key, err := env.Demo().Compute.CreateKeypair(ctx, compute.CreateKeypair{Name: "key"})
	require.NoError(t, err)
	want := env.Small("web")
	want.KeyName, want.UserData, want.Metadata = key.Name, []byte("data"), map[string]string{"k": "v"}
	_, err = env.Demo().Compute.CreateServer(ctx, want)
	require.NoError(t, err)
	env.Settle()
	env.DemoToken()
	too := env.Small("big")
	too.FlavorID = "4"
	env.Fail(inject.Rule{Method: "Define", Err: fault.New(fault.Exhausted, "full")})
	_, err = env.Demo().Compute.CreateServer(ctx, too)
	require.NoError(t, err)
	env.Settle()

	txn, err := db.Begin(ctx, false)
	require.NoError(t, err)
	defer txn.Rollback()
	var out strings.Builder
	for _, c := range cloud.Collections() {
		entries, err := txn.Scan(store.Range{Kind: c.Kind()})
		require.NoError(t, err)
		fields, version := map[string]bool{}, 0
		for _, e := range entries {
			var doc map[string]json.RawMessage
			require.NoError(t, json.Unmarshal(e.Doc.Body, &doc))
			version = e.Doc.Version
			for name := range doc {
				fields[name] = true
			}
		}
		if len(entries) > 0 {
			fmt.Fprintf(&out, "%s %d: %s\n", c.Kind(), version, strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
		}
	}
	golden(t, "documents.golden", out.String(), "people's stores hold these documents: a new field is fine, one that is renamed, dropped or "+
		"means something else needs a new Version with an Upgrade, and a test with an old document")
}
