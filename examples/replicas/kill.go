package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	stack "github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"

	"github.com/nubecula/cloud/internal/simbackend"
)

// victim is the replica that is killed, and how many servers it is given before.
const (
	victim = 1
	boots  = 12
)

// kill gives a replica servers to boot on slow hosts, kills it at work, and watches through another.
func kill(ctx context.Context) error {
	text, err := os.ReadFile(aboutFile())
	if err != nil {
		return fmt.Errorf("start the replicas first, in another shell: go run ./examples/replicas (%w)", err)
	}
	var a about
	if err := json.Unmarshal(text, &a); err != nil {
		return fmt.Errorf("%s: %w", aboutFile(), err)
	}
	control := simbackend.NewControl(filepath.Join(a.Dir, "backend"))
	defer control.Close()
	if err := control.SetFaults(ctx, simbackend.Rule{Method: "Define", Latency: 2 * time.Second}); err != nil {
		return err
	}
	defer control.SetFaults(context.WithoutCancel(ctx))

	mine, err := login(ctx, a, victim)
	if err != nil {
		return err
	}
	others, err := login(ctx, a, victim+1)
	if err != nil {
		return err
	}
	ids, err := boot(ctx, mine)
	if err != nil {
		return err
	}
	fmt.Printf("replica %d has accepted %d servers; its hosts take two seconds to define one each\n", victim+1, len(ids))
	if err := syscall.Kill(a.PIDs[victim], syscall.SIGKILL); err != nil {
		return err
	}
	began := time.Now()
	fmt.Printf("replica %d is dead (kill -9 %d); replica %d is asked from now on, the lease is %s\n\n", victim+1, a.PIDs[victim], victim+2, lease)
	for {
		states := map[string]int{}
		for _, id := range ids {
			s, err := servers.Get(ctx, others, id).Extract()
			if err != nil {
				return err
			}
			states[s.Status]++
		}
		fmt.Printf("%5.1f s   %v\n", time.Since(began).Seconds(), states)
		if states["BUILD"] == 0 {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
	report, err := control.Report(ctx)
	if err != nil {
		return err
	}
	twice := len(report.Violations)
	fmt.Printf("\nnobody waits any more after %.1f s. The hosts have counted: %d servers placed, %d effects that came after their caller had died, %d done twice.\n",
		time.Since(began).Seconds(), len(report.Servers), report.Late, twice)
	for _, id := range ids {
		if err := servers.Delete(ctx, others, id).ExtractErr(); err != nil {
			return err
		}
	}
	fmt.Printf("the servers are deleted again; replica %d comes back by itself\n", victim+1)
	return nil
}

// login logs the user demo in at one replica, and stays with it.
func login(ctx context.Context, a about, at int) (*gophercloud.ServiceClient, error) {
	p, err := stack.AuthenticatedClient(ctx, gophercloud.AuthOptions{IdentityEndpoint: a.URLs[at] + "/v3", Username: "demo", Password: a.Password, TenantName: "demo", DomainName: "Default"})
	if err != nil {
		return nil, err
	}
	return stack.NewComputeV2(p, gophercloud.EndpointOpts{Region: "RegionOne"})
}

func boot(ctx context.Context, c *gophercloud.ServiceClient) (ids []string, err error) {
	at := gophercloud.EndpointOpts{Region: "RegionOne"}
	glance, err := stack.NewImageV2(c.ProviderClient, at)
	if err != nil {
		return nil, err
	}
	neutron, err := stack.NewNetworkV2(c.ProviderClient, at)
	if err != nil {
		return nil, err
	}
	page, err := images.List(glance, images.ListOpts{Name: "tiny"}).AllPages(ctx)
	if err != nil {
		return nil, err
	}
	tiny, err := images.ExtractImages(page)
	if err != nil {
		return nil, err
	}
	if page, err = networks.List(neutron, networks.ListOpts{Name: "private"}).AllPages(ctx); err != nil {
		return nil, err
	}
	private, err := networks.ExtractNetworks(page)
	if err != nil {
		return nil, err
	}
	if len(tiny) != 1 || len(private) != 1 {
		return nil, fmt.Errorf("want one image tiny and one network private, found %d and %d", len(tiny), len(private))
	}
	for i := range boots {
		s, err := servers.Create(ctx, c, servers.CreateOpts{Name: fmt.Sprintf("vm%d", i+1), FlavorRef: "42", ImageRef: tiny[0].ID,
			Networks: []servers.Network{{UUID: private[0].ID}}}, nil).Extract()
		if err != nil {
			return ids, err
		}
		ids = append(ids, s.ID)
	}
	return ids, nil
}
