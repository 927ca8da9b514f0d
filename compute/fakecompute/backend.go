package fakecompute

import (
	"context"
	"sync"
	"time"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/id"
	"github.com/nubecula/cloud/internal/statedir"
)

// Backend is the machine behind a fake host: its guests, their definitions
// and the tombstones. Safe for concurrent use; a directory also by several processes.
type Backend struct {
	space  *statedir.Space
	hosts  *statedir.Table[hostDoc]
	guests *statedir.Table[guestDoc]
	graves *statedir.Table[int64] // greatest generation undefined
	specs  *statedir.Table[specDoc]
	bases  *statedir.Table[baseDoc]
	epochs *statedir.Table[int64] // by cloud
	inMem  bool
	used   Usage // of a Backend in memory; inside space.Do

	watchers watchers

	mu    sync.Mutex // guards what follows: what tests say and ask
	why   error      // not nil: the host is down
	deaf  map[string]bool
	count map[string]Counts
}

// NewBackend returns an empty machine in memory.
func NewBackend() *Backend {
	b := backend(statedir.Memory())
	b.inMem = true
	return b
}

// OpenBackend returns the machine that is kept in the directory, which is made at the first use.
// Its guests outlive the process, not a power cut.
func OpenBackend(dir string) (*Backend, error) {
	s, err := statedir.Open(dir, false)
	if err != nil {
		return nil, err
	}
	return backend(s), nil
}

func backend(s *statedir.Space) *Backend {
	return &Backend{
		space:  s,
		hosts:  statedir.In[hostDoc](s, "host"),
		guests: statedir.In[guestDoc](s, "guests"),
		graves: statedir.In[int64](s, "tombstones"),
		specs:  statedir.In[specDoc](s, "definitions"),
		bases:  statedir.In[baseDoc](s, "images"),
		epochs: statedir.In[int64](s, "epochs"),
		deaf:   map[string]bool{},
		count:  map[string]Counts{},
	}
}

// Close lets go of the directory; the guests stay in it.
func (b *Backend) Close() error { return b.space.Close() }

func (b *Backend) hostID() (hostID string, err error) {
	err = b.space.Do(func() error {
		doc, found, err := b.hosts.Get("host")
		if err == nil && !found {
			doc.ID = id.Random()
			err = b.hosts.Put("host", doc)
		}
		hostID = doc.ID
		return err
	})
	return hostID, err
}

// define makes the guest, fetching its image outside of the lock. A nil limit is none.
func (b *Backend) define(ctx context.Context, g computedriver.Guest, limit *computedriver.Host) error {
	for fetched := false; ; fetched = true {
		ready, err := b.tryDefine(g, limit, fetched)
		if ready || err != nil {
			return err
		}
		doc, err := fetch(ctx, g.Root.Base)
		if err != nil {
			b.tear(g)
			return err
		}
		if err := b.space.Do(func() error { return b.bases.Put(g.Root.Base.ID, doc) }); err != nil {
			return err
		}
	}
}

// tryDefine reports false when the image must be fetched first.
func (b *Backend) tryDefine(g computedriver.Guest, limit *computedriver.Host, fetched bool) (ready bool, err error) {
	m := g.Mark
	var old guestDoc
	var replaced bool
	err = b.space.Do(func() error {
		var found bool
		if old, found, err = b.admit(m); err != nil {
			return err
		}
		if found && old.Mark == m && old.Power != computedriver.Torn {
			ready = true
			return nil
		}
		if g.Mend && !found {
			return about(fault.New(fault.NotFound, "its disk is not on this host any more; restore it there, or delete the guest"), m.ID)
		}
		if base := g.Root.Base; base != nil && !fetched && !g.Mend {
			if _, known, err := b.bases.Get(base.ID); err != nil || !known {
				return err
			}
		}
		ready = true
		if err := b.fits(g, old, limit); err != nil {
			return err
		}
		if replaced = found && old.Mark.Generation < m.Generation; replaced {
			if err := b.graves.Put(m.ID, old.Mark.Generation); err != nil {
				return err
			}
		}
		if err := b.specs.Put(m.ID, spec(g)); err != nil {
			return err
		}
		doc := guestDoc{Mark: m, Epoch: g.Epoch, Name: g.Name, Power: computedriver.Off, Uses: uses(g)}
		if found && old.Mark == m {
			doc.Turn = old.Turn
		}
		return b.put(m.ID, old, doc)
	})
	if ready && err == nil && (old.Mark != m || old.Power == computedriver.Torn) {
		b.did(m.ID, "defined", func(c *Counts) { c.Defines++ })
	}
	return ready, err
}

// admit looks up the guest that m may replace or be.
func (b *Backend) admit(m computedriver.Mark) (old guestDoc, found bool, err error) {
	if err := b.buried(m.Ref()); err != nil {
		return old, false, err
	}
	old, found, err = b.guests.Get(m.ID)
	switch {
	case err != nil || !found:
		return old, false, err
	case old.Mark.Cloud != m.Cloud:
		err = fault.New(fault.Exists, "the host has a guest of that id that belongs to cloud %q; remove it by hand if it is not wanted", old.Mark.Cloud)
	case old.Mark.Generation > m.Generation:
		err = fault.New(fault.Stale, "generation %d is defined, %d is older; stop", old.Mark.Generation, m.Generation)
	}
	return old, true, about(err, m.ID)
}

func (b *Backend) buried(r computedriver.Ref) error {
	grave, _, err := b.graves.Get(r.ID)
	if err == nil && grave >= r.Generation {
		err = about(fault.New(fault.Stale, "generation %d was undefined, %d cannot come back; stop", grave, r.Generation), r.ID)
	}
	return err
}

// tear leaves half a guest behind, as a define does that broke off. It gives way to whatever is there.
func (b *Backend) tear(g computedriver.Guest) {
	_ = b.space.Do(func() error {
		old, found, err := b.admit(g.Mark)
		if err != nil || found {
			return err
		}
		return b.put(g.Mark.ID, old, guestDoc{Mark: g.Mark, Epoch: g.Epoch, Name: g.Name, Power: computedriver.Torn, Uses: uses(g)})
	})
}

// change runs f on the guest that r names and keeps what f made of it if f says so. Absent is
// NotFound, another generation Stale.
func (b *Backend) change(r computedriver.Ref, f func(g *guestDoc) (changed bool, err error)) error {
	return b.space.Do(func() error { return b.changeLocked(r, f) })
}

func (b *Backend) changeLocked(r computedriver.Ref, f func(g *guestDoc) (changed bool, err error)) error {
	g, found, err := b.guests.Get(r.ID)
	switch {
	case err != nil:
		return err
	case !found || g.foreign():
		return about(fault.New(fault.NotFound, "it is not defined here; define it first"), r.ID)
	case g.Mark.Generation != r.Generation:
		return about(fault.New(fault.Stale, "generation %d is defined, not %d; stop", g.Mark.Generation, r.Generation), r.ID)
	}
	old := g
	changed, err := f(&g)
	if err != nil || !changed {
		return about(err, r.ID)
	}
	return b.put(r.ID, old, g)
}

func (b *Backend) start(r computedriver.Ref, now time.Time) error {
	started := false
	err := b.space.Do(func() error {
		if err := b.buried(r); err != nil {
			return err
		}
		return b.changeLocked(r, func(g *guestDoc) (bool, error) {
			moved, err := g.take(r.Turn)
			switch {
			case err != nil:
				return false, err
			case g.Power == computedriver.Running:
				return moved, nil
			case g.Power == computedriver.Torn:
				return false, fault.New(fault.Conflict, "it is only half defined; define it again")
			}
			started = true
			g.Power = computedriver.Running
			g.log(now, booted)
			return true, nil
		})
	})
	if err == nil && started {
		b.did(r.ID, "started", func(c *Counts) { c.Starts++ })
	}
	return err
}

func (b *Backend) stop(r computedriver.Ref, asked bool, now time.Time) error {
	stopped := false
	err := b.change(r, func(g *guestDoc) (bool, error) {
		moved, err := g.take(r.Turn)
		if err != nil || g.Power == computedriver.Off || g.Power == computedriver.Torn {
			return moved, err
		}
		if stopped = g.Power == computedriver.Running; stopped && asked {
			g.log(now, shutDown)
		}
		g.Power = computedriver.Off
		return true, nil
	})
	if err == nil && stopped {
		b.did(r.ID, "stopped", func(c *Counts) { c.Stops++ })
	}
	return err
}

func (b *Backend) isOff(r computedriver.Ref) (off bool, err error) {
	err = b.change(r, func(g *guestDoc) (bool, error) {
		off = g.Power != computedriver.Running
		return false, nil
	})
	return off, err
}

func (b *Backend) reboot(r computedriver.Ref, now time.Time) error {
	return b.change(r, func(g *guestDoc) (bool, error) {
		if _, err := g.take(r.Turn); err != nil {
			return false, err
		}
		if g.Power != computedriver.Running {
			return false, fault.New(fault.Conflict, "it is %s; start it instead", g.Power)
		}
		g.log(now, rebooted)
		return true, nil
	})
}

func (b *Backend) undefine(r computedriver.Ref) error {
	removed := false
	err := b.space.Do(func() error {
		if err := statedir.Key(r.ID); err != nil {
			return err
		}
		grave, _, err := b.graves.Get(r.ID)
		if err == nil && grave < r.Generation {
			err = b.graves.Put(r.ID, r.Generation)
		}
		if err != nil {
			return err
		}
		old, found, err := b.guests.Get(r.ID)
		if err != nil || !found || old.foreign() || old.Mark.Generation > r.Generation {
			return err
		}
		removed = true
		b.account(old.Uses, -1)
		if err := b.guests.Delete(r.ID); err != nil {
			return err
		}
		return b.specs.Delete(r.ID)
	})
	if err == nil && removed {
		b.did(r.ID, "undefined", func(c *Counts) { c.Undefines++ })
	}
	return err
}

func (b *Backend) list() (states []computedriver.GuestState, err error) {
	err = b.space.Do(func() error {
		return b.guests.Each(func(_ string, g guestDoc) error {
			states = append(states, computedriver.GuestState{Mark: g.Mark, Epoch: g.Epoch, Name: g.Name, Power: g.Power})
			return nil
		})
	})
	return states, err
}

func (b *Backend) remember(cloud string, epoch int64) (newest int64, err error) {
	err = b.space.Do(func() error {
		newest, err = statedir.Greatest(b.epochs, cloud, epoch)
		return err
	})
	return newest, err
}

func (b *Backend) console(r computedriver.Ref, max int) (out []byte, err error) {
	var g guestDoc
	var s specDoc
	err = b.change(r, func(doc *guestDoc) (bool, error) {
		g = *doc
		s, _, err = b.specs.Get(r.ID)
		return false, err
	})
	if err != nil || max <= 0 {
		return nil, err
	}
	out = console(s, g.Events)
	return out[len(out)-min(max, len(out)):], nil
}

// put keeps the guest in place of old and counts what it uses.
func (b *Backend) put(id string, old, g guestDoc) error {
	if err := b.guests.Put(id, g); err != nil {
		return err
	}
	b.account(old.Uses, -1)
	b.account(g.Uses, +1)
	return nil
}

// about names the guest in a fault that does not name one yet.
func about(err error, id string) error {
	if f, ok := err.(*fault.Error); ok && f != nil && f.ID == "" {
		return f.About("guest", id)
	}
	return err
}
