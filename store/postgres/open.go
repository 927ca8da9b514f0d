package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nubecula/cloud/fault"
)

const (
	schemaVersion = 1
	oldestServer  = 150000
	oldestName    = "15"
)

// schema hardly ever changes: documents bring their own versions.
const schema = `
CREATE TABLE doc(kind TEXT NOT NULL, id BYTEA NOT NULL, version INT8 NOT NULL, rev INT8 NOT NULL, body TEXT NOT NULL, PRIMARY KEY(kind, id));
CREATE TABLE entry(kind TEXT NOT NULL, name TEXT NOT NULL, key BYTEA NOT NULL, id BYTEA NOT NULL, PRIMARY KEY(kind, name, key));
CREATE TABLE event(seq INT8 NOT NULL PRIMARY KEY, at INT8 NOT NULL, body TEXT NOT NULL);
CREATE TABLE commits(n INT8 NOT NULL PRIMARY KEY, id TEXT NOT NULL UNIQUE, replica TEXT NOT NULL, seq INT8 NOT NULL, wall INT8 NOT NULL, lease INT8 NOT NULL);
CREATE TABLE change(n INT8 NOT NULL PRIMARY KEY, body BYTEA NOT NULL);
CREATE TABLE meta(name TEXT NOT NULL PRIMARY KEY, value INT8 NOT NULL);
CREATE VIEW document AS SELECT kind, encode(id, 'escape') AS id, version, rev, body::JSONB AS body FROM doc;
INSERT INTO commits(n, id, replica, seq, wall, lease) VALUES(0, '', '', 0, 0, 0);
INSERT INTO meta(name, value) VALUES('floor', 0), ('turn', 0), ('version', %d);
`

// tuning is for PostgreSQL alone: every statement goes by primary key, whatever the statistics say, and change is not worth compressing.
const tuning = `SET plan_cache_mode=force_generic_plan; SET enable_seqscan=off; SET enable_hashjoin=off; SET enable_mergejoin=off; SET jit=off; SET synchronous_commit=on`

// Open opens the database that a DSN names (a postgres:// URL or key=value words, TLS and all: see
// pgx and libpq), and makes the tables in it when there are none. The password may come from PGPASSWORD or a .pgpass file; no
// error shows it. Every replica opens the same schema, with the same key in store.Options: give
// each a copy of the file that store.KeyFile made, or the bytes from wherever secrets are kept.
//
// Invalid: the DSN or an option is wrong. Unavailable: the server is not reachable, or is a read-only standby.
// Denied: wrong user or password, or no right to make tables. NotFound: there is no such database. Unsupported: the
// server is older than 15. Corrupt: the tables are of a newer version of this program, or of another.
func Open(ctx context.Context, dsn string, opt *Options) (*Driver, error) {
	d := &Driver{dsn: dsn, replica: newReplica(), notify: map[int]func(){}, company: -1, commits: map[string]time.Duration{}}
	if opt != nil {
		d.opt = *opt
	}
	if err := d.opt.fill(); err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fault.New(fault.Invalid, "the DSN of PostgreSQL cannot be read: write postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full: %w", err)
	}
	d.configure(config)
	if err := d.start(ctx, config); err != nil {
		return nil, err
	}
	return d, nil
}

func (o *Options) fill() error {
	var errs []error
	if o.Schema == "" {
		o.Schema = "nubecula"
	}
	if len(o.Schema) > 60 || strings.ContainsAny(o.Schema, "\x00\"',;") {
		errs = append(errs, fault.InvalidField("Schema", o.Schema, "give a plain name of up to 60 letters"))
	}
	for name, n := range map[string]int64{"Readers": int64(o.Readers), "CacheBytes": int64(o.CacheBytes), "Poll": int64(o.Poll), "Timeout": int64(o.Timeout)} {
		if n < 0 {
			errs = append(errs, fault.InvalidField(name, n, "give 0 or more"))
		}
	}
	if o.Readers == 0 {
		o.Readers = 16
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 64 << 20
	}
	if o.Poll == 0 {
		o.Poll = 250 * time.Millisecond
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	return errors.Join(errs...)
}

// configure sets what every connection has.
func (d *Driver) configure(config *pgxpool.Config) {
	c := config.ConnConfig
	d.where = fmt.Sprintf("PostgreSQL at %s:%d, database %s, user %s", c.Host, c.Port, c.Database, c.User)
	if c.Database == "" {
		d.where = fmt.Sprintf("PostgreSQL at %s:%d, user %s", c.Host, c.Port, c.User)
	}
	params := map[string]string{
		"search_path":                         pgx.Identifier{d.opt.Schema}.Sanitize(),
		"statement_timeout":                   fmt.Sprint(d.opt.Timeout.Milliseconds()),
		"idle_in_transaction_session_timeout": "300000",
	}
	for name, value := range params {
		c.RuntimeParams[name] = value
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "nubecula " + d.replica
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = d.opt.Timeout
	}
	if d.opt.dial != nil {
		c.DialFunc = d.opt.dial
	}
	c.OnNotice = func(*pgconn.PgConn, *pgconn.Notice) {}
	config.MinConns = 0
	config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false } // a dead one is noticed and replaced
}

// start connects, looks whom it has there, and makes what is missing.
func (d *Driver) start(ctx context.Context, config *pgxpool.Config) error {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return d.explain(err)
	}
	defer conn.Close(context.Background())
	if err := d.checkServer(ctx, conn); err != nil {
		return err
	}
	if err := d.makeSchema(ctx, conn); err != nil {
		return err
	}
	if !d.cock {
		config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.PgConn().Exec(ctx, tuning).ReadAll()
			return err
		}
	}
	d.clock = newClock(d.opt.Clock)
	d.cache = newCache(d.opt.CacheBytes)
	var said time.Time
	var last commit
	err = conn.QueryRow(ctx, "SELECT n, seq, wall, lease, clock_timestamp() FROM commits ORDER BY n DESC LIMIT 1").Scan(&last.n, &last.seq, &last.wall, &last.lease, &said)
	if err != nil {
		return d.explain(err)
	}
	d.clock.observe(said)
	d.clock.start(last.wall, last.lease)
	d.cache.reset(last.n, last.seq)
	for pool, size := range map[**pgxpool.Pool]int{&d.readers: d.opt.Readers, &d.writers: maxWriters} {
		c := config.Copy()
		c.MaxConns = int32(size)
		if *pool, err = pgxpool.NewWithConfig(context.Background(), c); err != nil {
			return d.explain(err)
		}
	}
	feeding, stop := context.WithCancel(context.Background())
	d.stop = stop
	d.work.Go(func() { d.feed(feeding, config.ConnConfig.Copy()) })
	return nil
}

// checkServer refuses what cannot work.
func (d *Driver) checkServer(ctx context.Context, conn *pgx.Conn) error {
	var version, readOnly string
	if err := conn.QueryRow(ctx, "SELECT version()").Scan(&version); err != nil {
		return d.explain(err)
	}
	d.cock = strings.Contains(version, "CockroachDB")
	var number int
	if err := conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::INT8, current_setting('transaction_read_only')").Scan(&number, &readOnly); err != nil {
		return d.explain(err)
	}
	return d.checkAnswers(version, number, readOnly)
}

func (d *Driver) checkAnswers(version string, number int, readOnly string) error {
	if !d.cock && number < oldestServer {
		return fault.New(fault.Unsupported, "%s is version %d (%s): upgrade it to PostgreSQL %s or newer", d.where, number/10000, version, oldestName)
	}
	if readOnly == "on" {
		return d.readOnly(nil)
	}
	return nil
}

func (d *Driver) readOnly(cause error) error {
	text := d.where + " can only be read: it is a standby, or default_transaction_read_only is set: give the address of the primary (or all of them, with target_session_attrs=read-write in the DSN)"
	if cause == nil {
		return fault.New(fault.Unavailable, "%s", text)
	}
	return fault.New(fault.Unavailable, "%s: %w", text, cause)
}

// makeSchema makes the tables when there are none; another replica may be at it too.
func (d *Driver) makeSchema(ctx context.Context, conn *pgx.Conn) error {
	var err error
	for range 10 {
		var ours, others bool
		err = conn.QueryRow(ctx, `SELECT count(*) FILTER (WHERE table_name = 'meta') > 0, count(*) > 0
			FROM information_schema.tables WHERE table_schema = $1`, d.opt.Schema).Scan(&ours, &others)
		if err != nil {
			return d.explain(err)
		}
		if ours {
			return d.checkVersion(ctx, conn)
		}
		if others {
			return fault.New(fault.Corrupt, "%s: schema %s holds tables of another program: choose another with Options.Schema", d.where, d.opt.Schema)
		}
		if err = d.create(ctx, conn); err == nil {
			return nil
		}
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code == insufficientPrivilege {
			break
		}
		switch pg.Code {
		case uniqueViolation, duplicateTable, duplicateSchema, duplicateObject, serializationFailure, deadlock, internalError:
			continue // another was first: look again
		}
		break
	}
	return d.explain(err)
}

func (d *Driver) create(ctx context.Context, conn *pgx.Conn) error {
	name := pgx.Identifier{d.opt.Schema}.Sanitize()
	var there bool
	if err := conn.QueryRow(ctx, "SELECT count(*) > 0 FROM information_schema.schemata WHERE schema_name = $1", d.opt.Schema).Scan(&there); err != nil {
		return err
	}
	if !there {
		if _, err := conn.Exec(ctx, "CREATE SCHEMA "+name); err != nil {
			return err
		}
	}
	sql := "BEGIN;" + fmt.Sprintf(schema, schemaVersion)
	if !d.cock {
		sql += "ALTER TABLE change ALTER body SET STORAGE EXTERNAL;"
	}
	if _, err := conn.PgConn().Exec(ctx, sql+"COMMIT").ReadAll(); err != nil {
		conn.Exec(ctx, "ROLLBACK")
		return err
	}
	return nil
}

func (d *Driver) checkVersion(ctx context.Context, conn *pgx.Conn) error {
	var version int
	err := conn.QueryRow(ctx, "SELECT value FROM meta WHERE name = 'version'").Scan(&version)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fault.New(fault.Corrupt, "%s: schema %s holds tables of another program: choose another with Options.Schema", d.where, d.opt.Schema)
	case err != nil:
		return d.explain(err)
	case version > schemaVersion:
		return fault.New(fault.Corrupt, "%s: schema %s was written by a newer version (format %d, this program knows %d): use that version", d.where, d.opt.Schema, version, schemaVersion)
	case version < 1:
		return fault.New(fault.Corrupt, "%s: schema %s is damaged (format %d): restore it from a backup", d.where, d.opt.Schema, version)
	}
	return nil
}
