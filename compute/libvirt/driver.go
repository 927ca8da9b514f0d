//go:build libvirt && linux

package libvirt

import (
	"context"
	"errors"
	"maps"
	"sync"
	"syscall"

	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
)

// Driver is a computedriver.Hypervisor on one libvirtd.
type Driver struct {
	opts  Options
	state state
	pool  *pool

	mu   sync.Mutex
	caps *libvirtxml.Caps // once known
}

var (
	_ computedriver.Hypervisor = (*Driver)(nil)
	_ computedriver.Rebooter   = (*Driver)(nil)
	_ computedriver.Consoler   = (*Driver)(nil)
	_ computedriver.Watcher    = (*Driver)(nil)
	_ computedriver.Rememberer = (*Driver)(nil)
)

// New returns a driver. It prepares StateDir and connects at the first call: a libvirtd that
// is down makes calls Unavailable, not New fail. Wrong Options are Invalid.
func New(o Options) (*Driver, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s, err := openState(o.StateDir)
	if err != nil {
		return nil, err
	}
	return &Driver{opts: o, state: s, pool: newPool(o.URI, o.Clock)}, nil
}

// Close gives up the connections.
func (d *Driver) Close() error {
	d.pool.close()
	return nil
}

// Remember keeps how new a Cloud's store was. It needs no libvirtd.
func (d *Driver) Remember(ctx context.Context, cloud string, epoch int64) (int64, error) {
	return do(ctx, d, "remember", "", func(ctx context.Context) (int64, error) { return d.state.remember(ctx, cloud, epoch) })
}

// Host describes the host.
func (d *Driver) Host(ctx context.Context) (computedriver.Host, error) {
	return do(ctx, d, "host", "", func(ctx context.Context) (computedriver.Host, error) {
		return on(ctx, d, d.host)
	})
}

func (d *Driver) host(s *session) (h computedriver.Host, err error) {
	caps, err := d.capabilities(s)
	if err != nil {
		return h, err
	}
	node, err := s.GetNodeInfo()
	if err != nil {
		return h, err
	}
	version, err := s.GetVersion()
	if err != nil {
		return h, err
	}
	name, err := s.GetHostname()
	if err != nil {
		return h, err
	}
	kind, err := s.GetType()
	if err != nil {
		return h, err
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(d.state.dir, &disk); err != nil {
		return h, err
	}
	h = computedriver.Host{
		ID: caps.Host.UUID, Name: name, Type: kind, Version: int64(version), Arch: caps.Host.CPU.Arch,
		VCPUs:     int(node.Cpus),
		MemoryMiB: int64(node.Memory / 1024), // KiB
		DiskGiB:   int64(disk.Blocks) * disk.Bsize / gib,
		Address:   d.opts.Address,
		Traits:    map[string]string{"virt_type": d.opts.VirtType, "machine": d.opts.Machine, "cpu_mode": d.opts.CPUMode},
	}
	maps.Copy(h.Traits, d.opts.Traits)
	if d.opts.HostID != "" {
		h.ID = d.opts.HostID
	}
	if h.ID == "" {
		return h, fault.New(fault.Unsupported, "%s reports no host UUID; set Options.HostID", d.opts.URI)
	}
	if d.opts.VCPUs > 0 {
		h.VCPUs = d.opts.VCPUs
	}
	if d.opts.MemoryMiB > 0 {
		h.MemoryMiB = d.opts.MemoryMiB
	}
	if d.opts.DiskGiB > 0 {
		h.DiskGiB = d.opts.DiskGiB
	}
	return h, nil
}

// capabilities asks once: libvirt may take seconds for the answer.
func (d *Driver) capabilities(s *session) (*libvirtxml.Caps, error) {
	d.mu.Lock()
	caps := d.caps
	d.mu.Unlock()
	if caps != nil {
		return caps, nil
	}
	text, err := s.GetCapabilities()
	if err != nil {
		return nil, err
	}
	caps = &libvirtxml.Caps{}
	if err := caps.Unmarshal(text); err != nil {
		return nil, err
	}
	if caps.Host.CPU == nil {
		return nil, fault.New(fault.Unsupported, "%s reports no CPU architecture", d.opts.URI)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.caps = caps
	return caps, nil
}

// find looks a guest's domain up; nil when there is none. The caller frees it. A domain that
// is not ours has the zero Mark.
func find(s *session, id string) (*libvirt.Domain, computedriver.Mark, error) {
	dom, err := s.LookupDomainByUUIDString(id)
	if isCode(err, libvirt.ERR_NO_DOMAIN) {
		return nil, computedriver.Mark{}, nil
	}
	if err != nil {
		return nil, computedriver.Mark{}, err
	}
	g, err := markOf(dom)
	if err != nil {
		return nil, g.Mark, errors.Join(err, dom.Free())
	}
	return dom, g.Mark, nil
}

// markOf reads the mark that Define wrote.
func markOf(dom *libvirt.Domain) (g computedriver.GuestState, err error) {
	text, err := dom.GetMetadata(libvirt.DOMAIN_METADATA_ELEMENT, markNamespace, libvirt.DOMAIN_AFFECT_CURRENT)
	if isCode(err, libvirt.ERR_NO_DOMAIN_METADATA) {
		return g, nil
	}
	if err == nil {
		g.Mark, g.Epoch, g.Name = parseMark(text)
	}
	return g, err
}
