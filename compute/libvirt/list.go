//go:build libvirt && linux

package libvirt

import (
	"context"

	"libvirt.org/go/libvirt"

	"github.com/nubecula/cloud/compute/computedriver"
)

// Guests lists all domains, and the directories that have none.
func (d *Driver) Guests(ctx context.Context) ([]computedriver.GuestState, error) {
	return do(ctx, d, "guests", "", func(ctx context.Context) ([]computedriver.GuestState, error) {
		return on(ctx, d, func(s *session) ([]computedriver.GuestState, error) { return d.guests(ctx, s) })
	})
}

func (d *Driver) guests(ctx context.Context, s *session) ([]computedriver.GuestState, error) {
	// Directories first: what Define completes meanwhile has its domain when those are listed.
	dirs, err := d.state.marks()
	if err != nil {
		return nil, err
	}
	doms, err := s.ListAllDomains(0)
	if err != nil {
		return nil, err
	}
	defer func() {
		for i := range doms {
			_ = doms[i].Free()
		}
	}()
	var all []computedriver.GuestState
	for i := range doms {
		if ctx.Err() != nil {
			return nil, ended(ctx)
		}
		g, id, err := guestState(&doms[i])
		if isCode(err, libvirt.ERR_NO_DOMAIN) {
			continue // undefined since the listing
		}
		if err != nil {
			return nil, err
		}
		if _, ok := dirs[id]; !ok && g.Mark != (computedriver.Mark{}) && g.Power == computedriver.Off {
			if _, ok, err = d.state.mark(id); err != nil {
				return nil, err
			} else if !ok { // not even made since we looked: its disks are lost
				g.Power = computedriver.Torn
			}
		}
		if g.Mark != (computedriver.Mark{}) {
			delete(dirs, id)
		}
		all = append(all, g)
	}
	for id, r := range dirs {
		if _, ok, err := d.state.mark(id); !ok && err == nil {
			continue // undefined since the listing
		}
		if r.Name == "" {
			r.Name = domainName(id)
		}
		all = append(all, computedriver.GuestState{Mark: r.mark(), Epoch: r.Epoch, Name: r.Name, Power: computedriver.Torn})
	}
	return all, nil
}

// guestState describes a domain; id is its UUID.
func guestState(dom *libvirt.Domain) (g computedriver.GuestState, id string, err error) {
	if id, err = dom.GetUUIDString(); err != nil {
		return g, "", err
	}
	if g, err = markOf(dom); err != nil {
		return g, id, err
	}
	if g.Power, err = powerOf(dom); err != nil {
		return g, id, err
	}
	if g.Mark == (computedriver.Mark{}) {
		g.Name, err = dom.GetName()
	}
	return g, id, err
}

func (r record) mark() computedriver.Mark {
	return computedriver.Mark{Cloud: r.Cloud, ID: r.ID, Generation: r.Generation}
}
