package network

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/ipam"
	"github.com/nubecula/cloud/network/networkdriver"
	"github.com/nubecula/cloud/store"
)

// mtu is what a type of segment can carry: the underlay's less the header.
func (s *Service) mtu(kind string) int {
	switch kind {
	case "geneve":
		return s.opt.MTU - 58
	case "vxlan":
		return s.opt.MTU - 50
	}
	return s.opt.MTU
}

// chooseSegment completes the segment of a new network and marks its id as taken.
func (s *Service) chooseSegment(tx *store.Tx, n *Network) error {
	g := &n.Segment
	setDefault(&g.Type, s.opt.TenantType)
	bad := func(field string, value any, remedy string) error {
		return fault.InvalidField("provider:"+field, value, remedy)
	}
	first, last := s.opt.VNIFirst, s.opt.VNILast
	switch g.Type {
	case "local":
		if g.Physical != "" || g.ID != 0 {
			return bad("network_type", g.Type, "a local network has neither a physical network nor a segmentation id")
		}
		return nil
	case "flat":
		if g.ID != 0 {
			return bad("segmentation_id", g.ID, "a flat network has none")
		}
		if g.Physical == "" {
			return bad("physical_network", "", "a flat network needs one")
		}
	case "vlan":
		first, last = s.opt.VLANFirst, s.opt.VLANLast
		if g.Physical == "" && len(s.opt.Physical) > 0 {
			g.Physical = s.opt.Physical[0]
		}
		if g.Physical == "" {
			return bad("physical_network", "", "a VLAN needs one")
		}
		if g.ID < 0 || g.ID > 4094 {
			return bad("segmentation_id", g.ID, "a VLAN id is between 1 and 4094")
		}
	case "vxlan", "geneve":
		if g.Physical != "" {
			return bad("physical_network", g.Physical, "a "+g.Type+" network has none")
		}
		if g.ID < 0 || g.ID >= 1<<24 {
			return bad("segmentation_id", g.ID, "a segment id is between 1 and 16777215")
		}
	default:
		return bad("network_type", g.Type, "it is local, flat, vlan, vxlan or geneve")
	}
	if g.Physical != "" && s.opt.Physical != nil && !slices.Contains(s.opt.Physical, g.Physical) {
		return bad("physical_network", g.Physical, "name a physical network that is configured")
	}
	if g.Type == "flat" {
		return nil
	}
	if err := s.opt.Witness.Allow(); err != nil {
		return err
	}
	pool := segmentPool(*g)
	err := ipam.Create(tx, pool, []ipam.Range{{First: number(first), Last: number(last)}})
	if err != nil && !fault.Is(err, fault.Exists) {
		return err
	}
	if g.ID != 0 {
		return segmentFault(ipam.Claim(tx, pool, number(g.ID), n.ID), *g)
	}
	a, err := ipam.Next(tx, pool, n.ID)
	if fault.Is(err, fault.Exhausted) {
		return &fault.Error{Code: fault.Exhausted, Kind: "network", Err: SegmentsExhausted,
			Msg: sprint("every %s segment id from %d to %d is taken; delete networks or widen the range", g.Type, first, last)}
	}
	if err != nil {
		return err
	}
	b := a.As4()
	g.ID = int(binary.BigEndian.Uint32(b[:]))
	return nil
}

// freeSegment gives the id of a segment back. Ids rotate, so the next network does not get it.
func freeSegment(tx *store.Tx, g networkdriver.Segment, networkID string) error {
	if g.Type == "local" || g.Type == "flat" {
		return nil
	}
	return ipam.Release(tx, segmentPool(g), number(g.ID), networkID)
}

func segmentPool(g networkdriver.Segment) string {
	return "segment-" + g.Type + "-" + g.Physical
}

// number puts a segment id where ipam has an address.
func number(n int) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(n))))
}

func segmentFault(err error, g networkdriver.Segment) error {
	var f *fault.Error
	if !fault.Is(err, fault.Exists) || !errors.As(err, &f) {
		return err
	}
	return &fault.Error{Code: fault.Conflict, Kind: "network", Err: SegmentInUse,
		Msg: sprint("%s segment %d of physical network %q is in use by another network; choose another", g.Type, g.ID, g.Physical)}
}
