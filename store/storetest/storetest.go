// Package storetest is the suite that every store driver passes: what a
// Driver promises, and what a Store over it does.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/store"
)

// Harness makes the databases that the suite works on.
type Harness struct {
	// Open returns an empty database that tells the time of c. It ends with the test.
	Open func(t testing.TB, c clock.Clock) store.Driver
	// Reopen closes a database and returns it opened again. nil: it keeps nothing.
	Reopen func(t testing.TB, d store.Driver) store.Driver
	// Share returns one more use of a database, as another replica has; it ends with the test. nil: the driver is exclusive.
	Share func(t testing.TB, d store.Driver) store.Driver
	// OneWriter: a writable transaction waits for the one before it to end, also in a shared database.
	OneWriter bool
	// Raw returns all bytes that a database keeps outside the process. nil: it keeps none.
	Raw func(t testing.TB, d store.Driver) []byte
}

// Run runs the suite. A driver may answer any Commit with ErrConflict or ErrUnknown.
func Run(t *testing.T, h Harness) {
	tests := []struct {
		name string
		run  func(t *testing.T, h Harness)
	}{
		{"Documents", testDocuments}, {"Rollback", testRollback}, {"Keys", testKeys}, {"BigDocument", testBigDocument},
		{"Scan", testScan}, {"ScanRandom", testScanRandom}, {"BigIndex", testBigIndex},
		{"Snapshot", testSnapshot}, {"Concurrent", testConcurrent}, {"Resolve", testResolve}, {"Ended", testEnded},
		{"Events", testEvents}, {"EventsPruned", testEventsPruned}, {"Subscribers", testSubscribers},
		{"Clock", testClock}, {"Reopen", testReopen}, {"ReopenClock", testReopenClock},
		{"Store/Collection", testCollection}, {"Store/Pages", testPages}, {"Store/Nested", testNested}, {"Store/Model", testModel},
		{"Store/Upgrade", testUpgrade}, {"Store/NewerVersion", testNewerVersion}, {"Store/Tombstones", testTombstones},
		{"Store/Seal", testSeal}, {"Store/Impure", testImpure}, {"Store/SameIDs", testSameIDs}, {"Store/MadeIDs", testMadeIDs},
		{"Store/ReadConflict", testReadConflict}, {"Store/GroupUnseen", testGroupUnseen}, {"Store/GroupFails", testGroupFails}, {"Store/GroupOrder", testGroupOrder}, {"Store/Counter", testCounter},
		{"Store/Panic", testPanic}, {"Store/ContextEnds", testContextEnds}, {"Store/Broken", testBroken}, {"Store/Close", testClose}, {"Store/Misuse", testMisuse},
		{"Store/Prepare", testPrepare}, {"Store/PrepareKey", testPrepareKey}, {"Store/Kept", testKept}, {"Store/Check", testCheck},
		{"Shared/Counter", testSharedCounter}, {"Shared/Unique", testSharedUnique}, {"Shared/Skew", testSharedSkew}, {"Shared/Phantom", testSharedPhantom},
		{"Shared/Fresh", testSharedFresh}, {"Shared/Events", testSharedEvents}, {"Shared/Pruned", testSharedPruned}, {"Shared/Woken", testSharedWoken},
		{"Shared/Clock", testSharedClock}, {"Shared/Close", testSharedClose}, {"Shared/Urgent", testSharedUrgent},
		{"Shared/Prepare", testSharedPrepare}, {"Shared/Versions", testSharedVersions},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, h)
		})
	}
}

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func (h Harness) open(t testing.TB) store.Driver { return h.Open(t, clock.NewManual(start)) }

// commit commits a batch as a Store would: again after a conflict, asking after an unknown outcome.
func commit(t testing.TB, d store.Driver, b *store.Batch) {
	t.Helper()
	for {
		txn, err := d.Begin(context.Background(), true)
		require.NoError(t, err)
		require.NoError(t, txn.Apply(b))
		if commitTxn(t, d, txn) {
			return
		}
	}
}

func commitTxn(t testing.TB, d store.Driver, txn store.Txn) (happened bool) {
	t.Helper()
	defer txn.Rollback()
	id := commitID()
	_, err := txn.Commit(context.Background(), id)
	switch {
	case errors.Is(err, store.ErrConflict):
		return false
	case errors.Is(err, store.ErrUnknown):
		txn.Rollback()
		happened, err = d.Resolve(context.Background(), id)
		require.NoError(t, err)
		return happened
	}
	require.NoError(t, err)
	return true
}

func commitID() string { return fmt.Sprintf("commit-%016x", rand.Uint64()) }

// read runs f in a transaction that only reads.
func read(t testing.TB, d store.Driver, f func(txn store.Txn)) {
	t.Helper()
	txn, err := d.Begin(context.Background(), false)
	require.NoError(t, err)
	defer txn.Rollback()
	f(txn)
}

func doc(kind, id, body string) store.DocWrite {
	return store.DocWrite{Doc: store.Doc{Kind: kind, ID: id, Version: 1, Rev: 1, Body: []byte(body)}}
}

func entry(kind, index, key, id string) store.IndexWrite {
	return store.IndexWrite{Kind: kind, Index: index, Key: []byte(key), ID: id}
}

// newStore opens a Store that runs every closure twice.
func newStore(t testing.TB, d store.Driver) *store.Store {
	t.Helper()
	s, err := store.New(d, store.Options{Key: make([]byte, store.KeySize), Rerun: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func update(t testing.TB, s *store.Store, fn func(tx *store.Tx) error) {
	t.Helper()
	require.NoError(t, s.Update(context.Background(), fn))
}

func view(t testing.TB, s *store.Store, fn func(tx *store.Tx) error) {
	t.Helper()
	require.NoError(t, s.View(context.Background(), fn))
}
