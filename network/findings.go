package network

import "github.com/nubecula/cloud/internal/finding"

// What Check finds in the store. None of it can come from what users or operators do: each is a lost write or a bug.
var (
	dangling = finding.Rule{Name: "network-reference",
		Means: "one record names another that is not there; calls about it may fail with 404 or 500",
		Do:    "delete what refers to it and make it anew; tell it with the log of the time"}
	segmentWrong = finding.Rule{Name: "segment-wrong",
		Means: "the list of VLAN ids or VNIs in use is not that of the networks: an id may be given to two networks, whose traffic then mixes, or stay unused",
		Do:    "make no new networks of that type before the one that is named has been deleted and made anew; tell it with the log of the time"}
	addressTwice = finding.Rule{Name: "address-twice",
		Means: "two ports have one address: traffic for it reaches either",
		Do:    "give one of the ports another address (openstack port set --no-fixed-ip --fixed-ip ...)"}
	addressFree = finding.Rule{Name: "address-not-held",
		Means: "the address is in use and may be given to a second port",
		Do:    "give the port another address (openstack port set --no-fixed-ip --fixed-ip ...), which records it properly"}
	addressHeld = finding.Rule{Name: "address-left",
		Means: "an address that nobody uses is never given out again",
		Do:    "nothing is urgent; widen the allocation pools if the subnet is full. Tell it with the log of the time"}
	addressWrong = finding.Rule{Name: "address-pool-wrong",
		Means: "the free addresses of the subnet are not those that no port has: new ports may be refused, or get one in use",
		Do:    "compare openstack port list --fixed-ip subnet=ID with the allocation pools; make new ports with addresses of your choice. Tell it with the log of the time"}
)
