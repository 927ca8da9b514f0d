package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
)

// client is the user demo with gophercloud.
type client struct {
	auth     gophercloud.AuthOptions
	provider *gophercloud.ProviderClient
	http     *http.Client // the provider's
	compute  *gophercloud.ServiceClient
	create   servers.CreateOpts
}

func (l *lab) client(ctx context.Context) (*client, error) {
	c, err := l.clientOf(ctx, "demo", l.password, "demo", servers.CreateOpts{Name: "bench", FlavorRef: "42"})
	if err != nil {
		return nil, err
	}
	return c, c.find(ctx)
}

// clientOf is a user with gophercloud, who boots servers such as create asks for.
func (l *lab) clientOf(ctx context.Context, user, password, project string, create servers.CreateOpts) (*client, error) {
	c := &client{auth: gophercloud.AuthOptions{IdentityEndpoint: l.url + "/v3", Username: user, Password: password, DomainName: "Default", TenantName: project}, create: create}
	var err error
	if c.provider, err = openstack.NewClient(c.auth.IdentityEndpoint); err != nil {
		return nil, err
	}
	// Connections are kept for as many clients as any section has.
	c.provider.HTTPClient = http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	c.http = &c.provider.HTTPClient
	if err := openstack.Authenticate(ctx, c.provider, c.auth); err != nil {
		return nil, err
	}
	c.compute, err = openstack.NewComputeV2(c.provider, gophercloud.EndpointOpts{Region: "RegionOne"})
	return c, err
}

// find chooses the image and the network to boot with.
func (c *client) find(ctx context.Context) error {
	region := gophercloud.EndpointOpts{Region: "RegionOne"}
	image, err := openstack.NewImageV2(c.provider, region)
	if err != nil {
		return err
	}
	network, err := openstack.NewNetworkV2(c.provider, region)
	if err != nil {
		return err
	}
	imagePages, err := images.List(image, images.ListOpts{Name: "tiny"}).AllPages(ctx)
	if err != nil {
		return err
	}
	foundImages, err := images.ExtractImages(imagePages)
	if err != nil {
		return err
	}
	networkPages, err := networks.List(network, networks.ListOpts{Name: "private"}).AllPages(ctx)
	if err != nil {
		return err
	}
	foundNetworks, err := networks.ExtractNetworks(networkPages)
	if err != nil {
		return err
	}
	if len(foundImages) != 1 || len(foundNetworks) != 1 {
		return fmt.Errorf("the lab has %d images tiny and %d networks private, not one of each", len(foundImages), len(foundNetworks))
	}
	c.create.ImageRef, c.create.Networks = foundImages[0].ID, []servers.Network{{UUID: foundNetworks[0].ID}}
	return nil
}

// boot makes a server and asks until it is ACTIVE; it returns how often it asked.
func (c *client) boot(ctx context.Context, poll time.Duration) (asked int, err error) {
	_, asked, err = c.bootOne(ctx, poll)
	return asked, err
}

// bootOne is boot for who needs the server's id.
func (c *client) bootOne(ctx context.Context, poll time.Duration) (id string, asked int, err error) {
	s, err := servers.Create(ctx, c.compute, c.create, nil).Extract()
	if err != nil {
		return "", 0, err
	}
	id = s.ID
	for began := time.Now(); s.Status != "ACTIVE"; asked++ {
		time.Sleep(poll)
		if s, err = servers.Get(ctx, c.compute, id).Extract(); err != nil {
			return id, asked, err
		}
		if s.Status == "ERROR" {
			return id, asked, fmt.Errorf("server %s is in ERROR: %s", id, s.Fault.Message)
		}
		if time.Since(began) > time.Minute {
			return id, asked, fmt.Errorf("server %s is in %s after a minute", id, s.Status)
		}
	}
	return id, asked, nil
}

// get makes a call that must answer 200 and reads the answer to its end; it returns the number of bytes.
// It does without gophercloud where decoding the answer would cost more than making it.
func (c *client) get(ctx context.Context, url string, header ...string) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("X-Auth-Token", c.provider.TokenID)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, res.Body)
	if err = errors.Join(err, res.Body.Close()); err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", url, res.Status)
	}
	return n, err
}
