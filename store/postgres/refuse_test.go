package postgres_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/postgres"
)

// dsn changes the server's DSN.
func dsn(t testing.TB, change func(u *url.URL, q url.Values)) string {
	u, err := url.Parse(server(t))
	require.NoError(t, err)
	q := u.Query()
	change(u, q)
	u.RawQuery = q.Encode()
	return u.String()
}

func refused(t *testing.T, dsn string, opt *postgres.Options, code fault.Code, says string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	d, err := postgres.Open(ctx, dsn, opt)
	if err == nil {
		d.Close()
	}
	require.True(t, fault.Is(err, code), "%v", err)
	require.ErrorContains(t, err, says)
	require.NotContains(t, err.Error(), "s3cret")
}

// TestRefuseWithoutServer: what can be told without a server.
func TestRefuseWithoutServer(t *testing.T) {
	t.Parallel()
	refused(t, "postgres://nubecula:s3cret@[::/db", nil, fault.Invalid, "postgres://USER")
	refused(t, "host=localhost port=many password=s3cret", nil, fault.Invalid, "cannot be read")
	refused(t, "postgres://127.0.0.1/db", &postgres.Options{Readers: -1}, fault.Invalid, "Readers")
	refused(t, "postgres://127.0.0.1/db", &postgres.Options{Schema: `a"b`}, fault.Invalid, "Schema")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	refused(t, fmt.Sprintf("postgres://nubecula:s3cret@%s/db", l.Addr()), nil, fault.Unavailable, "is not reachable")
}

// TestRefuse: what Open refuses names the remedy, and never the password.
func TestRefuse(t *testing.T) {
	t.Parallel()
	refused(t, dsn(t, func(u *url.URL, q url.Values) { u.Path = "/nowhere" }), nil, fault.NotFound, "createdb")
	refused(t, dsn(t, func(u *url.URL, q url.Values) { q.Set("default_transaction_read_only", "on") }), nil, fault.Unavailable, "standby")
	refused(t, dsn(t, func(u *url.URL, q url.Values) { q.Set("sslmode", "require") }), nil, fault.Unavailable, "TLS")

	role := newSchema(t)
	sql(t, fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD 's3cret'", role))
	t.Cleanup(func() { sql(t, "DROP ROLE "+role) })
	as := func(password string) string {
		return dsn(t, func(u *url.URL, q url.Values) { u.User = url.UserPassword(role, password) })
	}
	refused(t, as("s3cret"), nil, fault.Denied, "AUTHORIZATION")
	if conn, err := pgx.Connect(context.Background(), as("s3cret wrong")); err == nil {
		conn.Close(context.Background())
		t.Log("this server trusts everybody: a wrong password was not tried")
	} else {
		refused(t, as("s3cret wrong"), nil, fault.Denied, "password is wrong")
	}

	opt := &postgres.Options{Schema: newSchema(t)}
	sql(t, "CREATE SCHEMA "+opt.Schema+"; CREATE TABLE "+opt.Schema+".theirs(x int)")
	refused(t, server(t), opt, fault.Corrupt, "another program")
	opt = &postgres.Options{Schema: newSchema(t)}
	d := open(t, *opt)
	sql(t, "UPDATE "+opt.Schema+".meta SET value=99 WHERE name='version'")
	refused(t, server(t), opt, fault.Corrupt, "newer version")
	err := d.CheckAnswers("PostgreSQL 14.9", 140009, "off")
	require.True(t, fault.Is(err, fault.Unsupported), "%v", err)
	require.ErrorContains(t, err, "upgrade it to PostgreSQL 15")
}

// TestDropped: a table that somebody drops, a key that is too long, and a wrong sealing key are told.
func TestDropped(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	opt := postgres.Options{Schema: newSchema(t)}
	s := newStore(t, open(t, opt))
	require.NoError(t, s.Prepare(ctx, items))
	other := newStoreWith(t, open(t, opt), store.NewKey())
	require.True(t, fault.Is(other.Prepare(ctx, items), fault.Corrupt))
	err := s.Update(ctx, func(tx *store.Tx) error {
		return items.Put(tx, &item{ID: "x", Name: tx.NewID() + string(randomText(9000))})
	})
	require.True(t, fault.Is(err, fault.TooLarge), "%v", err)
	require.NoError(t, s.Update(ctx, func(tx *store.Tx) error { return bump(tx, "x") }), "and nothing else is the worse for it")
	sql(t, "DROP TABLE "+opt.Schema+".doc CASCADE")
	err = s.Update(ctx, func(tx *store.Tx) error { return bump(tx, "y") })
	require.True(t, fault.Is(err, fault.Corrupt), "%v", err)
	require.ErrorContains(t, err, "missing")
}

// randomText does not compress.
func randomText(n int) []byte {
	out := make([]byte, 0, n)
	for len(out) < n {
		out = append(out, fmt.Sprintf("%x", store.NewKey())...)
	}
	return out[:n]
}

// TestOperatorReads: the documents can be asked for by their fields.
func TestOperatorReads(t *testing.T) {
	t.Parallel()
	opt := postgres.Options{Schema: newSchema(t)}
	s := newStore(t, open(t, opt))
	require.NoError(t, s.Update(context.Background(), func(tx *store.Tx) error { return items.Put(tx, &item{ID: "i-1", Name: "web"}) }))
	conn, err := pgx.Connect(context.Background(), server(t))
	require.NoError(t, err)
	defer conn.Close(context.Background())
	var id, name string
	require.NoError(t, conn.QueryRow(context.Background(), "SELECT id, body->>'name' FROM "+opt.Schema+".document WHERE kind='item'").Scan(&id, &name))
	require.Equal(t, "i-1 web", id+" "+name)
}
