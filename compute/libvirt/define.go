//go:build libvirt && linux

package libvirt

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"libvirt.org/go/libvirt"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/configdrive"
	"github.com/nubecula/cloud/internal/statedir"
)

// Define makes the guest's directory, its files, and last its domain.
func (d *Driver) Define(ctx context.Context, g computedriver.Guest) error {
	if err := checkGuest(g); err != nil {
		return d.about(err, "guest.define", g.Mark.ID)
	}
	_, err := do(ctx, d, "guest.define", g.Mark.ID, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, d.define(ctx, g)
	})
	return err
}

func (d *Driver) define(ctx context.Context, g computedriver.Guest) error {
	if err := d.refuseOld(g.Mark.Ref()); err != nil {
		return err
	}
	base := ""
	if g.Root.Base != nil { // before the lock: a long copy must not keep an Undefine waiting
		var err error
		if base, err = d.state.base(ctx, g.Root.Base); err != nil {
			return err
		}
	}
	unlock, err := d.state.lock(ctx, g.Mark.ID)
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.refuseOld(g.Mark.Ref()); err != nil {
		return err
	}
	_, err = on(ctx, d, func(s *session) (struct{}, error) {
		done, err := d.makeRoom(s, g.Mark)
		if err != nil || done {
			return struct{}{}, err
		}
		return struct{}{}, d.build(ctx, s, g, base)
	})
	return err
}

// refuseOld refuses a generation that was undefined.
func (d *Driver) refuseOld(r computedriver.Ref) error {
	dead, err := d.state.tombstone(r.ID)
	if err == nil && r.Generation <= dead {
		return fault.New(fault.Stale, "generation %d was undefined here (tombstone %d); the server has moved on", r.Generation, dead)
	}
	return err
}

// makeRoom looks at what there is under the id: done when it is the guest, complete. What is left of an
// older generation goes, what belongs to somebody else stays and is an error.
func (d *Driver) makeRoom(s *session, m computedriver.Mark) (done bool, err error) {
	dom, at, err := find(s, m.ID)
	if err != nil {
		return false, err
	}
	if dom != nil {
		defer dom.Free()
		if at == (computedriver.Mark{}) {
			return false, fault.New(fault.Exists, "a domain with this UUID is on the host and bears no mark; undefine it by hand")
		}
	}
	r, hasDir, err := d.state.mark(m.ID)
	if err != nil {
		return false, err
	}
	older := int64(0)
	for _, have := range []computedriver.Mark{at, r.mark()} {
		switch {
		case have == (computedriver.Mark{}):
		case have.Cloud != m.Cloud:
			return false, fault.New(fault.Exists, "cloud %s has a guest of this id on the host", have.Cloud)
		case have.Generation > m.Generation:
			return false, fault.New(fault.Stale, "generation %d is on the host, %d comes too late", have.Generation, m.Generation)
		case have.Generation < m.Generation:
			older = max(older, have.Generation)
		}
	}
	if older > 0 {
		return false, d.erase(m.ID, older, dom)
	}
	if dom == nil {
		return false, nil
	}
	active, err := dom.IsActive()
	return hasDir || active, err // a running guest without its directory is beyond mending
}

// build makes what is missing of the guest, in an order that a crash may cut anywhere.
func (d *Driver) build(ctx context.Context, s *session, g computedriver.Guest, base string) error {
	caps, err := d.capabilities(s)
	if err != nil {
		return err
	}
	dir := d.state.guest(g.Mark.ID)
	f := files{root: filepath.Join(dir, "root.qcow2"), console: d.console(g.Mark.ID)}
	if g.Mend {
		if _, err := os.Stat(f.root); errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.NotFound, "its disk %s is not there any more; mount or restore it, or delete the guest", f.root)
		} else if err != nil {
			return statedir.Explain(f.root, err)
		}
	}
	if g.ConfigDrive != nil {
		f.config = filepath.Join(dir, "config.iso")
	}
	text, err := d.opts.domainXML(g, caps.Host.CPU.Arch, f)
	if err != nil {
		return err
	}
	var drive []byte
	if f.config != "" {
		if drive, err = configdrive.Image(configdrive.Label, g.ConfigDrive); err != nil {
			return err
		}
	}
	if _, ok, err := d.state.mark(g.Mark.ID); err != nil {
		return err
	} else if !ok {
		m := g.Mark
		if err := d.state.make(record{Cloud: m.Cloud, ID: m.ID, Generation: m.Generation, Epoch: g.Epoch, Name: g.Name}); err != nil {
			return err
		}
	}
	if err := d.opts.makeRoot(ctx, g.Root, base, f.root); err != nil {
		return err
	}
	if f.config != "" {
		if err := statedir.Replace(f.config, drive); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ended(ctx)
	}
	dom, err := s.DomainDefineXML(text)
	if err != nil {
		return err
	}
	return dom.Free()
}

func (d *Driver) console(id string) string {
	return filepath.Join(d.state.guest(id), "console.log")
}

// erase removes a guest: the tombstone comes first, so nothing of it can come back. dom may be nil.
// The caller holds the guest's lock.
func (d *Driver) erase(id string, generation int64, dom *libvirt.Domain) error {
	if err := d.state.bury(id, generation); err != nil {
		return err
	}
	if dom != nil {
		if err := cut(dom); err != nil {
			return err
		}
		err := dom.UndefineFlags(libvirt.DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.DOMAIN_UNDEFINE_SNAPSHOTS_METADATA)
		if err != nil && !isCode(err, libvirt.ERR_NO_DOMAIN) {
			return err
		}
	}
	return d.state.remove(id)
}

// Undefine removes the guest and leaves a tombstone.
func (d *Driver) Undefine(ctx context.Context, r computedriver.Ref) error {
	_, err := do(ctx, d, "guest.undefine", r.ID, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, d.undefine(ctx, r)
	})
	return err
}

func (d *Driver) undefine(ctx context.Context, r computedriver.Ref) error {
	if err := checkRef(r); err != nil {
		return err
	}
	unlock, err := d.state.lock(ctx, r.ID)
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.state.bury(r.ID, r.Generation); err != nil { // first of all, even if libvirtd is down
		return err
	}
	_, err = on(ctx, d, func(s *session) (struct{}, error) { return struct{}{}, d.clear(s, r) })
	return err
}

// clear removes what there is of the guest up to r's generation.
func (d *Driver) clear(s *session, r computedriver.Ref) error {
	dom, at, err := find(s, r.ID)
	if err != nil {
		return err
	}
	if dom != nil {
		defer dom.Free()
	}
	rec, _, err := d.state.mark(r.ID)
	if err != nil {
		return err
	}
	if at.Generation > r.Generation || rec.Generation > r.Generation {
		return nil
	}
	if at == (computedriver.Mark{}) {
		dom = nil // an administrator's: not ours to remove
	}
	return d.erase(r.ID, r.Generation, dom)
}
