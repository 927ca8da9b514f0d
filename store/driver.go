package store

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/nubecula/cloud/event"
)

// Driver is what a database must do for a Store: hold documents, index
// entries and events, and commit a batch of them at once. It knows nothing
// of what they mean. It is safe for concurrent use; suite: storetest.
type Driver interface {
	// Begin starts a transaction that sees one state of the database. In a Store there is one
	// writable transaction at a time, two if the driver is not exclusive. If such a transaction reads from several
	// states, its Commit or Validate finds out.
	Begin(ctx context.Context, writable bool) (Txn, error)
	// Resolve settles the fate of a commit whose outcome is unknown: true when it
	// has happened; after false it never will. Only the latest commits can be asked for.
	Resolve(ctx context.Context, commitID string) (bool, error)
	// Now returns the database's time.
	Now(ctx context.Context) (Instant, error)
	// Exclusive reports whether nobody else can use the database while this driver
	// has it open; then every lease of an earlier run is void.
	Exclusive() bool
	// Prune drops events and commit ids written before t. Cursors older than what is left are Gone.
	Prune(ctx context.Context, before time.Time) error
	// Close ends the use of the database; open transactions fail.
	Close() error
}

// Txn is one transaction. It is used by one goroutine at a time.
type Txn interface {
	// Get returns a document and whether it exists.
	Get(kind, id string) (Doc, bool, error)
	// Scan returns the entries of a range in key order, each with its document.
	Scan(r Range) ([]Entry, error)
	// Events returns up to limit events with Seq > after; Gone when some of those were pruned.
	Events(after int64, limit int) ([]event.Event, error)
	// Apply adds a batch; later reads of this transaction see it. After an error only Rollback may follow.
	Apply(b *Batch) error
	// Validate ends a transaction that applied nothing: ErrConflict when what it has read was not one state of the database
	// at some time since Begin, so that what was made of it is void: run it again. nil where Begin takes a snapshot.
	Validate(ctx context.Context) error
	// Commit makes everything applied durable and visible under a commit id, and returns the Seq of
	// the first event of this transaction (0 when it has none). ErrConflict: nothing happened, run it
	// again. ErrUnknown: ask Resolve, which fails with ErrBroken in its chain when it cannot tell before the
	// driver is opened again. Any other error: nothing happened.
	Commit(ctx context.Context, commitID string) (firstSeq int64, err error)
	// Rollback drops the transaction. After Commit it does nothing.
	Rollback()
}

// ErrConflict says that another transaction was first; the same work may succeed when run again.
var ErrConflict = errors.New("store: transaction conflict")

// ErrUnknown says that the connection or the disk failed inside Commit, which may have happened or not.
var ErrUnknown = errors.New("store: outcome of the commit is unknown")

// ErrFull is in the chain of every error that Update and View return because the disk of the database is full: of what a driver
// says with the code Exhausted. It tells this lack of room from that of a host or an address pool, which is Exhausted, too.
var ErrFull = errors.New("store: the disk is full")

// ErrBroken is in the chain of every error of a driver that refuses work until it is opened again, as after a failed fsync.
var ErrBroken = errors.New("store: the driver must be opened again")

// Instant is a moment as the database tells it.
type Instant struct {
	Wall  time.Time // for people and documents; never goes back in a store
	Lease time.Time // for leases and back-off: runs evenly whatever people do to the machine's clock
}

// Doc is a stored document.
type Doc struct {
	Kind, ID string
	Version  int    // of the format of Body
	Rev      int64  // counts its writes, from 1
	Body     []byte // JSON; never changed once it is handed over, in either direction
	Memo     *Memo  // of exactly this Body; handed back with it by a driver that keeps documents. nil is fine
}

// Notifier is a Driver that tells when there may be new events. Without it a Store knows only of its own commits.
type Notifier interface {
	// Notify has f called after each commit, whoever made it, until stop is called. f is quick.
	Notify(f func()) (stop func())
}

// Keeper is a Driver that can keep a copy of its database. Prepare has it do so before a newer version of the program
// writes what an older one cannot read. Without it a roll-back needs a backup of the operator's.
type Keeper interface {
	// Keep writes a copy, durably, under a name that contains why, and returns the name. It replaces a copy of the
	// same name, which an upgrade that was broken off has left.
	Keep(ctx context.Context, why string) (string, error)
}

// Range is a part of one index, From included, To excluded; a nil To is the end of the index.
// Index "" stands for the documents themselves, by id: the keys are the ids.
type Range struct {
	Kind, Index string
	From, To    []byte
	Reverse     bool
	Limit       int // 0 means all

	new bool // nothing stored is in it: only what a transaction has written may be
}

// point returns the one key that a range can hold, if it is such a range.
func (r *Range) point() ([]byte, bool) {
	n := len(r.From)
	return r.From, len(r.To) == n+1 && r.To[n] == 0 && bytes.Equal(r.To[:n], r.From)
}

// pointRange is the range of one key.
func pointRange(kind, index string, key []byte) Range {
	return Range{Kind: kind, Index: index, From: key, To: append(bytes.Clone(key), 0), Limit: 1}
}

// Entry is one entry of an index. If its document is missing, which only damage can cause, Doc has
// Kind and ID alone.
type Entry struct {
	Key []byte
	Doc Doc
}

// DocWrite puts or deletes a document.
type DocWrite struct {
	Doc
	Delete bool
}

// IndexWrite puts or deletes an index entry. Keys are unique in an index.
type IndexWrite struct {
	Kind, Index string
	Key         []byte
	ID          string
	Delete      bool
}

// Batch is what one Update wants written. Index deletes come before index puts.
type Batch struct {
	Docs   []DocWrite
	Index  []IndexWrite
	Events []event.Event // Seq is given by Commit
}

// Empty reports whether there is nothing to write.
func (b *Batch) Empty() bool { return len(b.Docs) == 0 && len(b.Index) == 0 && len(b.Events) == 0 }
