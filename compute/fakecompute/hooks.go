package fakecompute

import (
	"time"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
)

// Counts are the calls for one guest id that had an effect, made through this Backend since it was opened.
type Counts struct{ Defines, Starts, Stops, Undefines int }

// Counts returns how often calls about the guest did something: one start that was called twice counts once.
func (b *Backend) Counts(id string) Counts {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count[id]
}

// did counts an effect and hints at it.
func (b *Backend) did(id, what string, count func(*Counts)) {
	b.mu.Lock()
	c := b.count[id]
	count(&c)
	b.count[id] = c
	b.mu.Unlock()
	b.watchers.tell(computedriver.Hint{ID: id, What: what})
}

// Crash kills a running guest, as when its QEMU dies. NotFound when there is none, Conflict when it does not run.
func (b *Backend) Crash(id string, at time.Time) error {
	return b.end(id, at, computedriver.Crashed, crashed)
}

// PowerOff makes a running guest switch itself off from inside. NotFound and Conflict as for Crash.
func (b *Backend) PowerOff(id string, at time.Time) error {
	return b.end(id, at, computedriver.Off, shutDown)
}

func (b *Backend) end(id string, at time.Time, p computedriver.Power, what string) error {
	err := b.space.Do(func() error {
		g, found, err := b.guests.Get(id)
		switch {
		case err != nil:
			return err
		case !found:
			return about(fault.New(fault.NotFound, "it is not defined here"), id)
		case g.Power != computedriver.Running:
			return about(fault.New(fault.Conflict, "it is %s; start it first", g.Power), id)
		}
		old := g
		g.Power = p
		g.log(at, what)
		return b.put(id, old, g)
	})
	if err != nil {
		return err
	}
	hint := "stopped"
	if p == computedriver.Crashed {
		hint = "crashed"
	}
	b.watchers.tell(computedriver.Hint{ID: id, What: hint})
	return nil
}

// LosePower takes the host down (see SetDown) and crashes every guest that runs, without a hint.
func (b *Backend) LosePower(at time.Time) error {
	b.SetDown(fault.New(fault.Unavailable, "the host lost power"))
	return b.space.Do(func() error {
		return b.guests.Each(func(id string, g guestDoc) error {
			if g.Power != computedriver.Running {
				return nil
			}
			old := g
			g.Power = computedriver.Crashed
			g.log(at, crashed)
			return b.put(id, old, g)
		})
	})
}

// SetDown makes every call of every Hypervisor on this Backend fail with why; nil brings the host back.
func (b *Backend) SetDown(why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.why = why
}

func (b *Backend) down() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.why
}

// IgnoreShutdown says whether the guest ignores being asked to shut down, so that Stop takes its whole grace.
func (b *Backend) IgnoreShutdown(id string, ignore bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deaf[id] = ignore
}

func (b *Backend) ignores(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.deaf[id]
}

// AddForeign puts a guest on the host that nobody defined through a driver, with any Mark; the zero
// Mark makes it one of an administrator's. Key is what the host knows it by, the guest's id if it has one.
func (b *Backend) AddForeign(key string, s computedriver.GuestState) error {
	return b.space.Do(func() error {
		old, _, err := b.guests.Get(key)
		if err != nil {
			return err
		}
		return b.put(key, old, guestDoc{Mark: s.Mark, Epoch: s.Epoch, Name: s.Name, Power: s.Power, Uses: Usage{Guests: 1}})
	})
}

// Tear makes a guest half defined, as a Define leaves it that was cut off by a crash.
func (b *Backend) Tear(id string) error {
	return b.space.Do(func() error {
		g, found, err := b.guests.Get(id)
		if err != nil || !found {
			return err
		}
		old := g
		g.Power = computedriver.Torn
		return b.put(id, old, g)
	})
}

// Lose takes a guest away behind the back of the cloud that has it, disks and all, and leaves no tombstone. NotFound
// when there is none.
func (b *Backend) Lose(id string) error {
	err := b.space.Do(func() error {
		g, found, err := b.guests.Get(id)
		if err == nil && !found {
			err = about(fault.New(fault.NotFound, "it is not defined here"), id)
		}
		if err != nil {
			return err
		}
		b.account(g.Uses, -1)
		return b.guests.Delete(id)
	})
	if err == nil {
		b.watchers.tell(computedriver.Hint{ID: id, What: "undefined"})
	}
	return err
}

// PowerOn starts a guest behind the back of the cloud that has it. NotFound when there is none.
func (b *Backend) PowerOn(id string, at time.Time) error {
	err := b.space.Do(func() error {
		g, found, err := b.guests.Get(id)
		if err == nil && !found {
			err = about(fault.New(fault.NotFound, "it is not defined here"), id)
		}
		if err != nil || g.Power == computedriver.Running {
			return err
		}
		old := g
		g.Power = computedriver.Running
		g.log(at, booted)
		return b.put(id, old, g)
	})
	if err == nil {
		b.watchers.tell(computedriver.Hint{ID: id, What: "started"})
	}
	return err
}

// Guests lists all guests like the driver's Guests, also when the host is down.
func (b *Backend) Guests() ([]computedriver.GuestState, error) { return b.list() }

// Defined returns a copy of what Define was given for the guest that is there now, without Base.Open.
// The bool says whether there is one.
func (b *Backend) Defined(id string) (g computedriver.Guest, found bool, err error) {
	err = b.space.Do(func() error {
		var s specDoc
		if s, found, err = b.specs.Get(id); err != nil || !found {
			return err
		}
		g, err = s.guest()
		return err
	})
	return g, found, err
}

// Used returns what all guests take, torn ones too.
func (b *Backend) Used() (u Usage, err error) {
	err = b.space.Do(func() error {
		u, err = b.usage()
		return err
	})
	return u, err
}

// Tombstone returns the greatest generation of the id that was undefined; 0 means none.
func (b *Backend) Tombstone(id string) (generation int64, err error) {
	err = b.space.Do(func() error {
		generation, _, err = b.graves.Get(id)
		return err
	})
	return generation, err
}
