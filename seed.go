package cloud

import (
	"context"
	"io"
	"net/netip"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/image"
	"github.com/nubecula/cloud/network"
	"github.com/nubecula/cloud/network/networkdriver"
	"github.com/nubecula/cloud/store"
)

// Seed says what Cloud.Seed makes.
type Seed struct {
	AdminPassword string // of user admin in project admin; required
	UserPassword  string // of user demo in project demo; required
	// ImageName and Image are the first image; the name "" makes none. Image is read to its end.
	ImageName string
	Image     func() (io.ReadCloser, error)
	// DiskFormat of the image. "" means "raw".
	DiskFormat string
}

// SeedFlavors are the flavors that Cloud.Seed makes: name, vCPUs, MiB of memory, GiB of disk.
func SeedFlavors() []compute.CreateFlavor {
	return []compute.CreateFlavor{
		{ID: "42", Name: "m1.nano", VCPUs: 1, MemoryMiB: 192, DiskGiB: 1},
		{ID: "84", Name: "m1.micro", VCPUs: 1, MemoryMiB: 256, DiskGiB: 1},
		{ID: "1", Name: "m1.tiny", VCPUs: 1, MemoryMiB: 512, DiskGiB: 1},
		{ID: "2", Name: "m1.small", VCPUs: 1, MemoryMiB: 2048, DiskGiB: 20},
		{ID: "3", Name: "m1.medium", VCPUs: 2, MemoryMiB: 4096, DiskGiB: 40},
		{ID: "4", Name: "m1.large", VCPUs: 4, MemoryMiB: 8192, DiskGiB: 80},
	}
}

// Seeded is what Cloud.Seed has made.
type Seeded struct {
	AdminProjectID string `json:"admin_project_id"`   // project admin
	ProjectID      string `json:"project_id"`         // project demo
	UserID         string `json:"user_id"`            // its user demo
	NetworkID      string `json:"network_id"`         // network private
	SubnetID       string `json:"subnet_id"`          // its subnet
	PublicID       string `json:"public_id"`          // network public
	ImageID        string `json:"image_id,omitempty"` // "" without an image
}

// Seed makes a new Cloud ready for its first user: the administrator, a
// project demo with its user, flavors m1.nano to m1.large, an image, a network
// private with a subnet and an external network public. What is there already
// stays as it is, so that a Seed that was cut off can be repeated; once it has
// succeeded, it does nothing.
func (c *Cloud) Seed(ctx context.Context, s Seed) (*Seeded, error) {
	if done, err := c.seeded(ctx); err != nil || done != nil {
		return done, err
	}
	if err := c.identity.Bootstrap(ctx, identity.BootstrapOptions{AdminPassword: s.AdminPassword}); err != nil {
		return nil, err
	}
	out := &Seeded{}
	sys := c.As(identity.System())
	if err := seedProject(ctx, sys.Identity, s, out); err != nil {
		return nil, err
	}
	for _, f := range SeedFlavors() {
		if _, err := sys.Compute.CreateFlavor(ctx, f); err != nil && !fault.Is(err, fault.Exists) {
			return nil, err
		}
	}
	if err := seedNetworks(ctx, sys.Network, out); err != nil {
		return nil, err
	}
	if s.ImageName != "" {
		if err := seedImage(ctx, sys.Image, s, out); err != nil {
			return nil, err
		}
	}
	return out, c.opt.Store.Update(ctx, func(tx *store.Tx) error {
		v, err := selves.Get(tx, selfKey)
		if err != nil {
			return err
		}
		v.Seeded = out
		return selves.Put(tx, v)
	})
}

func (c *Cloud) seeded(ctx context.Context) (done *Seeded, err error) {
	err = c.opt.Store.View(ctx, func(tx *store.Tx) error {
		v, err := selves.Get(tx, selfKey)
		if err == nil {
			done = v.Seeded
		}
		return err
	})
	return done, err
}

func seedProject(ctx context.Context, sys *identity.Service, s Seed, out *Seeded) error {
	named := func(name string) identity.ListOptions { return identity.ListOptions{Name: name} }
	admin, err := one(sys.ListProjects(ctx, identity.ListProjects{ListOptions: named("admin"), DomainID: identity.DefaultDomainID}))
	if err != nil {
		return err
	}
	project, err := one(sys.ListProjects(ctx, identity.ListProjects{ListOptions: named("demo"), DomainID: identity.DefaultDomainID}))
	if fault.Is(err, fault.NotFound) {
		project, err = sys.CreateProject(ctx, identity.CreateProject{Name: "demo", DomainID: identity.DefaultDomainID})
	}
	if err != nil {
		return err
	}
	user, err := one(sys.ListUsers(ctx, identity.ListUsers{ListOptions: named("demo"), DomainID: identity.DefaultDomainID}))
	if fault.Is(err, fault.NotFound) {
		user, err = sys.CreateUser(ctx, identity.CreateUser{Name: "demo", DomainID: identity.DefaultDomainID, Password: s.UserPassword, DefaultProjectID: project.ID})
	}
	if err != nil {
		return err
	}
	role, err := one(sys.ListRoles(ctx, identity.ListRoles{ListOptions: named(identity.RoleMember)}))
	if err != nil {
		return err
	}
	out.AdminProjectID, out.ProjectID, out.UserID = admin.ID, project.ID, user.ID
	return sys.Grant(ctx, identity.Assignment{UserID: user.ID, ProjectID: project.ID, RoleID: role.ID})
}

// one returns the only element of a list; NotFound when there is none.
func one[T any](list []*T, err error) (*T, error) {
	if err == nil && len(list) == 0 {
		err = fault.New(fault.NotFound, "nothing of that name")
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

func seedNetworks(ctx context.Context, sys *network.Service, out *Seeded) error {
	no := false
	var err error
	out.NetworkID, out.SubnetID, err = seedNetwork(ctx, sys, network.CreateNetwork{Name: "private", ProjectID: out.ProjectID},
		network.CreateSubnet{Name: "private-subnet", CIDR: netip.MustParsePrefix("10.0.0.0/16")})
	if err != nil {
		return err
	}
	out.PublicID, _, err = seedNetwork(ctx, sys, network.CreateNetwork{Name: "public", ProjectID: out.AdminProjectID, External: true,
		Segment: networkdriver.Segment{Type: "flat", Physical: "public"}},
		network.CreateSubnet{Name: "public-subnet", CIDR: netip.MustParsePrefix("172.24.4.0/24"), DHCP: &no})
	return err
}

// seedNetwork makes a network with its subnet, in one transaction.
func seedNetwork(ctx context.Context, sys *network.Service, n network.CreateNetwork, s network.CreateSubnet) (networkID, subnetID string, err error) {
	err = sys.Together(ctx, func(ctx context.Context) error {
		have, err := sys.ListNetworks(ctx, network.NetworkFilter{Names: []string{n.Name}, ProjectID: n.ProjectID})
		if err != nil {
			return err
		}
		if len(have) > 0 {
			networkID, subnetID = have[0].ID, ""
			subnets, err := sys.ListSubnets(ctx, network.SubnetFilter{NetworkIDs: []string{networkID}})
			if err == nil && len(subnets) > 0 {
				subnetID = subnets[0].ID
			}
			return err
		}
		net, err := sys.CreateNetwork(ctx, n)
		if err != nil {
			return err
		}
		s.NetworkID, s.ProjectID = net.ID, n.ProjectID
		sub, err := sys.CreateSubnet(ctx, s)
		if err != nil {
			return err
		}
		networkID, subnetID = net.ID, sub.ID
		return nil
	})
	return networkID, subnetID, err
}

// seedImage makes the image, or gives its data to one that an earlier Seed has left without.
func seedImage(ctx context.Context, sys *image.Service, s Seed, out *Seeded) error {
	if s.DiskFormat == "" {
		s.DiskFormat = "raw"
	}
	have, _, err := sys.List(ctx, image.Query{Names: []string{s.ImageName}, Owner: out.AdminProjectID})
	if err != nil {
		return err
	}
	if len(have) == 0 {
		img, err := sys.Create(ctx, image.CreateRequest{Name: s.ImageName, Owner: out.AdminProjectID, DiskFormat: s.DiskFormat, ContainerFormat: "bare", Visibility: image.Public})
		if err != nil {
			return err
		}
		have = append(have, img)
	}
	out.ImageID = have[0].ID
	if have[0].Status != image.Queued {
		return nil
	}
	data, err := s.Image()
	if err != nil {
		return err
	}
	defer data.Close()
	_, err = sys.Upload(ctx, out.ImageID, image.UploadRequest{Body: data})
	return err
}
