// Package witness recognises a store that is older than what the drivers have
// seen, as after a restore from a backup, and keeps the Cloud from deleting
// anything until an operator has said that this store is the one to go on with.
//
// For each driver there is a number, the epoch, in the store and with the
// driver. Now and then the Cloud compares them and raises both: first the
// driver's is read, then the store's; the store's is raised by one and
// committed, and only then the driver's. So a driver never knows a greater
// epoch than the store, unless the store lost commits. Guests bear the epoch
// that they were defined in, which tells the same of drivers whose own memory
// was restored together with the store.
//
// The number is kept for each driver apart, so that a driver which was away
// while the store was restored cannot be overtaken by it.
package witness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

// Rememberer is the optional part of every driver that keeps epochs; computedriver, networkdriver and imagedriver describe it.
type Rememberer interface {
	Remember(ctx context.Context, cloud string, epoch int64) (newest int64, err error)
}

// epoch is how often a driver was met, or the newest that an operator has accepted.
type epoch struct {
	Driver   string `json:"driver"` // "host/<id>", "network", "image"
	N        int64  `json:"n"`
	Accepted int64  `json:"accepted,omitempty"` // epochs up to this one that the store did not know are no evidence any more
}

// Held says that and why nothing is deleted; once an operator has accepted the store, that it was so.
type Held struct {
	Since    time.Time  `json:"since"`
	Evidence []Evidence `json:"evidence"` // one for each driver
	Accepted time.Time  `json:"accepted,omitzero"`
}

// Evidence is what one driver has seen that the store has not.
type Evidence struct {
	Driver string `json:"driver"`
	Knew   int64  `json:"knew"` // the store's epoch
	Seen   int64  `json:"seen"` // the driver's
	What   string `json:"what"`
}

const heldKey = "held"

var (
	epochs = store.Define(store.Spec[epoch]{Kind: "epoch", Version: 1, ID: func(e *epoch) string { return e.Driver }})
	helds  = store.Define(store.Spec[Held]{Kind: "held", Version: 1, ID: func(*Held) string { return heldKey }})
)

// Collections lists the kinds of documents that this package keeps.
func Collections() []store.AnyCollection { return []store.AnyCollection{epochs, helds} }

// Witness is safe for concurrent use. A nil Witness allows everything and remembers nothing.
type Witness struct {
	store *store.Store
	cloud string
	log   *slog.Logger

	mu   sync.Mutex
	held *Held
	met  map[string]*known
}

// known is what this process knows of a driver.
type known struct {
	driver any
	knew   int64 // the store's epoch when this process met the driver first, and later when it was last compared
	now    int64
	first  bool // nothing was compared since the first contact
}

// New returns the Witness of a Cloud as its store says.
func New(ctx context.Context, s *store.Store, cloud string, log *slog.Logger) (*Witness, error) {
	w := &Witness{store: s, cloud: cloud, log: log, met: map[string]*known{}}
	return w, w.Refresh(ctx)
}

// Refresh reads what other processes have found or accepted.
func (w *Witness) Refresh(ctx context.Context) error {
	if w == nil {
		return nil
	}
	var h *Held
	err := w.store.View(ctx, func(tx *store.Tx) (err error) {
		h, err = get(tx)
		return err
	})
	if err == nil {
		w.mu.Lock()
		w.held = h
		w.mu.Unlock()
	}
	return err
}

func get(tx *store.Tx) (*Held, error) {
	h, err := helds.Get(tx, heldKey)
	if fault.Is(err, fault.NotFound) || err == nil && !h.Accepted.IsZero() {
		return nil, nil
	}
	return h, err
}

// Held returns why nothing is deleted; nil when all is well.
func (w *Witness) Held() *Held {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held
}

// Allow is nil when things may be deleted and addresses given out, and Unavailable otherwise.
func (w *Witness) Allow() error {
	if w.Held() == nil {
		return nil
	}
	return fault.New(fault.Unavailable, "the store is older than what the drivers have seen, so nothing is deleted and no address given out; "+
		"restore a newer backup, or let an operator accept this store (Cloud.AcceptStore)")
}

// AllowAt is Allow for a driver that may not have been met yet.
func (w *Witness) AllowAt(ctx context.Context, driver string, d any) error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	met := w.met[driver] != nil
	w.mu.Unlock()
	if !met {
		if err := w.Meet(ctx, driver, d); err != nil {
			return err
		}
	}
	return w.Allow()
}

// Meet compares the store with what a driver remembers and raises both epochs. Call it before the driver is used, and
// now and then. A driver that is no Rememberer remembers nothing. It calls the driver, so it runs outside of transactions.
func (w *Witness) Meet(ctx context.Context, driver string, d any) error {
	m, err := w.Ask(ctx, driver, d)
	if err == nil {
		err = w.Compare(ctx, m)
	}
	if err == nil {
		err = w.Tell(ctx, m)
	}
	return err
}

// Meeting is a Meet under way: Ask, then Compare, which does many in one transaction, then Tell.
type Meeting struct {
	name   string
	driver any
	seen   int64 // the driver's epoch
	was    epoch // the store's, before
	next   int64 // and after
}

// Ask reads the driver's epoch; Compare and Tell go on.
func (w *Witness) Ask(ctx context.Context, driver string, d any) (*Meeting, error) {
	m := &Meeting{name: driver, driver: d}
	r, can := d.(Rememberer)
	if w == nil || !can {
		return m, nil
	}
	var err error
	m.seen, err = r.Remember(ctx, w.cloud, 0)
	return m, err
}

// Compare compares the store with what drivers said and raises the store's epochs.
func (w *Witness) Compare(ctx context.Context, all ...*Meeting) error {
	if w == nil || len(all) == 0 {
		return nil
	}
	err := w.store.Update(ctx, func(tx *store.Tx) error {
		for _, m := range all {
			if err := w.compare(tx, m); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range all {
		k := w.met[m.name]
		if k == nil {
			k = &known{knew: max(m.was.N, m.was.Accepted), first: true}
			w.met[m.name] = k
		}
		k.driver, k.now = m.driver, max(k.now, m.next)
	}
	return nil
}

func (w *Witness) compare(tx *store.Tx, m *Meeting) error {
	e, err := epochs.Get(tx, m.name)
	if fault.Is(err, fault.NotFound) {
		e, err = &epoch{Driver: m.name}, nil
	}
	if err != nil {
		return err
	}
	m.was, m.next = *e, e.N
	if m.seen > max(e.N, e.Accepted) {
		return w.raise(tx, Evidence{Driver: m.name, Knew: e.N, Seen: m.seen, What: "its driver remembers a newer state of this store"})
	}
	e.N = max(e.N, e.Accepted) + 1
	m.next = e.N
	return epochs.Put(tx, e)
}

// Tell raises the driver's epoch to the store's, which is committed by now.
func (w *Witness) Tell(ctx context.Context, m *Meeting) error {
	r, can := m.driver.(Rememberer)
	if w == nil || !can || m.seen > m.next {
		return nil
	}
	if m.seen == 0 && m.was.N > 0 {
		w.log.WarnContext(ctx, "a driver has lost what it remembered of this cloud: its state directory is new or was replaced, and with it its tombstones are gone; "+
			"what it runs is compared with the records as always", "driver", m.name, "epoch", m.was.N)
	}
	_, err := r.Remember(ctx, w.cloud, m.next)
	return err
}

// MeetAll meets every driver again that was met before, now instead of in its next round: whatever copy of the store was made
// before is then older than what the drivers have seen. It returns what each driver that could not be met said.
func (w *Witness) MeetAll(ctx context.Context) error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	all := map[string]any{}
	for name, k := range w.met {
		all[name] = k.driver
	}
	w.mu.Unlock()
	said := make(chan error, len(all))
	for name, d := range all {
		go func() {
			err := w.Meet(ctx, name, d)
			if err != nil {
				err = fmt.Errorf("%s: %w", name, err)
			}
			said <- err
		}()
	}
	var errs []error
	for range all {
		select {
		case err := <-said:
			errs = append(errs, err)
		case <-ctx.Done(): // a driver that does not return is left behind
			return errors.Join(append(errs, context.Cause(ctx))...)
		}
	}
	return errors.Join(errs...)
}

// Epoch is what guests defined at a driver now should bear; 0 before Meet.
func (w *Witness) Epoch(driver string) int64 {
	if w == nil {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if k := w.met[driver]; k != nil {
		return k.now
	}
	return 0
}

// Saw tells that a driver holds something which the store does not know and which bears an epoch; 0 is no evidence. An epoch that
// the store had not reached before this process met the driver is evidence of a store that lost commits. So is, at the first
// contact, the very epoch that the store had then: a copy of the store that was made and lost its commits within one round.
func (w *Witness) Saw(ctx context.Context, driver string, seen int64, what string) error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	var k known
	if met := w.met[driver]; met != nil {
		k = *met
	}
	w.mu.Unlock()
	if k.now == 0 || seen == 0 || seen < k.knew || seen == k.knew && !k.first {
		return nil
	}
	return w.store.Update(ctx, func(tx *store.Tx) error {
		e, err := epochs.Get(tx, driver)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		if err == nil && seen <= e.Accepted {
			return nil
		}
		return w.raise(tx, Evidence{Driver: driver, Knew: k.knew, Seen: seen, What: what})
	})
}

// Compared tells that everything which a driver holds was compared with the store and told to Saw: what comes later was not made
// by a state of the store that is lost.
func (w *Witness) Compared(driver string) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if k := w.met[driver]; k != nil {
		k.knew, k.first = k.now, false
	}
}

// raise holds everything that deletes.
func (w *Witness) raise(tx *store.Tx, v Evidence) error {
	h, err := get(tx)
	if err != nil {
		return err
	}
	fresh := h == nil
	if fresh {
		h = &Held{Since: tx.Now()}
	}
	known := false
	for i := range h.Evidence {
		if e := &h.Evidence[i]; e.Driver == v.Driver {
			known = true
			if v.Seen > e.Seen {
				e.Seen = v.Seen
			}
		}
	}
	if !known {
		h.Evidence = append(h.Evidence, v)
	}
	if fresh {
		tx.Emit(event.Event{Type: "cloud.store.held", Kind: "cloud", ID: w.cloud})
	}
	tx.OnCommit(func() {
		w.mu.Lock()
		w.held = h
		w.mu.Unlock()
		if !known {
			w.log.Error("this store is older than what a driver has seen: it was restored from a backup, or lost commits. Nothing is deleted and no "+
				"address is given out from now on; look at Cloud.Inspect, then restore a newer backup or accept this store with Cloud.AcceptStore",
				"driver", v.Driver, "reason", v.What, "store_epoch", v.Knew, "driver_epoch", v.Seen)
		}
	})
	return helds.Put(tx, h)
}

// Accept is an operator's word that this store is the one to go on with. Conflict when nothing is held.
func (w *Witness) Accept(ctx context.Context) (*Held, error) {
	var h *Held
	err := w.store.Update(ctx, func(tx *store.Tx) (err error) {
		if h, err = get(tx); err != nil {
			return err
		}
		if h == nil {
			return fault.New(fault.Conflict, "the store is not held: no driver has seen a newer one, deletes and addresses go on as always, and there is nothing to accept. "+
				"What drivers hold and the store does not know stays until it is removed by name (Cloud.AcceptRemoval)")
		}
		for _, v := range h.Evidence {
			e, err := epochs.Get(tx, v.Driver)
			if fault.Is(err, fault.NotFound) {
				e, err = &epoch{Driver: v.Driver}, nil
			}
			if err != nil {
				return err
			}
			e.Accepted = max(e.Accepted, v.Seen)
			e.N = max(e.N, e.Accepted)
			if err := epochs.Put(tx, e); err != nil {
				return err
			}
		}
		tx.Emit(event.Event{Type: "cloud.store.accepted", Kind: "cloud", ID: w.cloud})
		tx.OnCommit(func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.held = nil
			for _, v := range h.Evidence {
				if k := w.met[v.Driver]; k != nil {
					k.knew, k.now, k.first = max(k.knew, v.Seen), max(k.now, v.Seen), false
				}
			}
			w.log.WarnContext(ctx, "an operator has accepted this store as the newest; deletes go on and addresses are given out again", "evidence", fmt.Sprint(len(h.Evidence)), "held_since", h.Since)
		})
		h.Accepted = tx.Now()
		return helds.Put(tx, h)
	})
	return h, err
}
