package postgres_test

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/postgres"
	"github.com/nubecula/cloud/store/storetest"
)

// server is the DSN of a real PostgreSQL, whose user may make schemas and databases. internal/real/postgres.sh starts one.
func server(t testing.TB) string {
	t.Helper()
	dsn := os.Getenv("NUBECULA_POSTGRES_DSN")
	if dsn == "" {
		t.Skip("no PostgreSQL: set NUBECULA_POSTGRES_DSN, or run internal/real/postgres.sh")
	}
	return dsn
}

var schemas atomic.Int64

// newSchema names a schema of the test's own, which goes with it.
func newSchema(t testing.TB) string {
	name := fmt.Sprintf("test_%d_%d", os.Getpid(), schemas.Add(1))
	t.Cleanup(func() { sql(t, "DROP SCHEMA IF EXISTS "+name+" CASCADE") })
	return name
}

// sql runs a statement on a connection of its own.
func sql(t testing.TB, statement string) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), server(t))
	require.NoError(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(context.Background(), statement)
	require.NoError(t, err)
}

func open(t testing.TB, opt postgres.Options) *postgres.Driver {
	t.Helper()
	if opt.Schema == "" {
		opt.Schema = newSchema(t)
	}
	d, err := postgres.Open(context.Background(), server(t), &opt)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

func TestDriver(t *testing.T) {
	t.Parallel()
	server(t)
	run := func(name string, opt postgres.Options, reopen func(t testing.TB, d *postgres.Driver) store.Driver) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, storetest.Harness{
				Open: func(t testing.TB, c clock.Clock) store.Driver {
					o := opt
					o.Clock = c
					return open(t, o)
				},
				Reopen: func(t testing.TB, d store.Driver) store.Driver { return reopen(t, d.(*postgres.Driver)) },
				Share:  func(t testing.TB, d store.Driver) store.Driver { return open(t, *postgres.Reuse(d.(*postgres.Driver))) },
			})
		})
	}
	run("closed", postgres.Options{}, func(t testing.TB, d *postgres.Driver) store.Driver {
		require.NoError(t, d.Close())
		return open(t, *postgres.Reuse(d))
	})
	run("small cache", postgres.Options{CacheBytes: 4000}, func(t testing.TB, d *postgres.Driver) store.Driver {
		again, err := d.Restart()
		require.NoError(t, err)
		t.Cleanup(func() { again.Close() })
		return again
	})
}
