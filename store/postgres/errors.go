package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

// SQLSTATE codes that mean something to us.
const (
	notNullViolation      = "23502"
	uniqueViolation       = "23505"
	readOnlyTransaction   = "25006"
	idleInTransaction     = "25P03"
	invalidAuthorization  = "28000"
	invalidPassword       = "28P01"
	noSuchDatabase        = "3D000"
	noSuchSchema          = "3F000"
	serializationFailure  = "40001"
	completionUnknown     = "40003"
	deadlock              = "40P01"
	insufficientPrivilege = "42501"
	duplicateSchema       = "42P06"
	duplicateTable        = "42P07"
	duplicateObject       = "42710"
	undefinedTable        = "42P01"
	diskFull              = "53100"
	outOfMemory           = "53200"
	tooManyConnections    = "53300"
	limitExceeded         = "54000"
	lockNotAvailable      = "55P03"
	queryCanceled         = "57014"
	internalError         = "XX000"
	dataCorrupted         = "XX001"
	indexCorrupted        = "XX002"
)

// explain turns what the database or the network said into a fault that names the database and the remedy.
func (d *Driver) explain(err error) error {
	var known *fault.Error
	if err == nil || errors.As(err, &known) || errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrUnknown) {
		return err
	}
	if d.usable() != nil {
		return errClosed()
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return d.explainCode(pg, err)
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fault.New(fault.Unavailable, "%s did not answer within %s: check the server and the network to it: %w", d.where, d.opt.Timeout, err)
	}
	return fault.New(fault.Unavailable, "%s is not reachable; it is tried again with the next request: check that the server runs and takes connections from here: %w", d.where, err)
}

func (d *Driver) explainCode(pg *pgconn.PgError, err error) error {
	switch pg.Code {
	case serializationFailure, deadlock:
		return store.ErrConflict
	case invalidPassword, invalidAuthorization:
		return fault.New(fault.Denied, "%s: the user or the password is wrong, or pg_hba.conf does not let it in: correct the DSN, or PGPASSWORD: %w", d.where, err)
	case noSuchDatabase:
		return fault.New(fault.NotFound, "%s: there is no such database: make it first (createdb NAME): %w", d.where, err)
	case insufficientPrivilege:
		return fault.New(fault.Denied, "%s: the user may not make or use the tables in schema %[2]s: as a superuser, CREATE SCHEMA %[2]s AUTHORIZATION the user, or GRANT CREATE ON DATABASE to it: %[3]w", d.where, d.opt.Schema, err)
	case readOnlyTransaction:
		return d.readOnly(err)
	case undefinedTable, noSuchSchema:
		return fault.New(fault.Corrupt, "%s: a table in schema %s is missing: somebody has dropped it while the program ran; restore it from a backup: %w", d.where, d.opt.Schema, err)
	case diskFull:
		return fault.New(fault.Exhausted, "%s: the disk of the server is full: free some space; nothing was changed: %w", d.where, err)
	case outOfMemory:
		return fault.New(fault.Unavailable, "%s: the server is out of memory; it is tried again with the next request: %w", d.where, err)
	case tooManyConnections:
		return fault.New(fault.Unavailable, "%s has no connection left: raise max_connections, or lower Options.Readers of each replica (%d): %w", d.where, d.opt.Readers, err)
	case limitExceeded:
		return fault.New(fault.TooLarge, "%s: a document or an index key is too large (an index key may have some 2,600 bytes): %w", d.where, err)
	case queryCanceled, lockNotAvailable:
		return fault.New(fault.Unavailable, "%s took longer than %s, or another replica kept its turn for so long: look at pg_stat_activity for what blocks it: %w", d.where, d.opt.Timeout, err)
	case dataCorrupted, indexCorrupted:
		return fault.New(fault.Corrupt, "%s is damaged: stop every replica, keep a copy, and restore it from a backup: %w", d.where, err)
	}
	switch pg.Code[:2] {
	case "08", "57", "53", "25":
		return fault.New(fault.Unavailable, "%s does not work at the moment; it is tried again with the next request: %w", d.where, err)
	}
	return fault.New(fault.Internal, "%s: %w", d.where, err)
}

// mayHaveHappened reports whether a commit that ended in this error may have happened: the server did not say that it has not.
func mayHaveHappened(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Severity == "FATAL" || pg.Severity == "PANIC" || pg.Code == completionUnknown
	}
	return !pgconn.SafeToRetry(err)
}
