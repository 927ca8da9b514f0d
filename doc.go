// Package cloud is a little cloud - Nubecula - to embed: servers, images,
// networks, identity and scheduling as one Go value over pluggable drivers.
//
//	c, err := cloud.New(ctx, cloud.Options{
//		Store:       store,                                  // sqlite, memory ...
//		Hypervisors: []compute.Hypervisor{{Driver: hv}},     // libvirt, fakes ...
//		Network:     provider,
//		Images:      images,
//	})
//	defer c.Close()
//	created, err := c.As(principal).Compute.CreateServer(ctx, compute.CreateServer{...})
//
// Every call is one transaction across all services; work that takes longer
// is an operation (package operation) that survives the death of the process.
// openstack.Handler puts the OpenStack APIs in front of it, cloudtest makes a whole cloud for a test.
package cloud
