// Command minimal embeds a cloud in twenty lines: it boots a server on a fake
// host and prints where it runs and what it said.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/compute/fakecompute"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/image/fakeimage"
	"github.com/nubecula/cloud/network/fakenetwork"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	db, err := store.New(memory.New(nil), store.Options{Key: store.NewKey()})
	if err != nil {
		return err
	}
	host, err := fakecompute.New(fakecompute.Options{Name: "host-1"})
	if err != nil {
		return err
	}
	network, err := fakenetwork.New(fakenetwork.Options{})
	if err != nil {
		return err
	}
	images, err := fakeimage.New(fakeimage.Options{})
	if err != nil {
		return err
	}
	c, err := cloud.New(ctx, cloud.Options{Store: db, Network: network, Images: images, Hypervisors: []compute.Hypervisor{{Driver: host}}})
	if err != nil {
		return err
	}
	defer c.Close()

	me := c.As(&identity.Principal{UserID: "me", ProjectID: "mine", Roles: []string{identity.RoleAdmin}})
	flavor, err := me.Compute.CreateFlavor(ctx, compute.CreateFlavor{Name: "small", VCPUs: 1, MemoryMiB: 512, DiskGiB: 1})
	if err != nil {
		return err
	}
	created, err := me.Compute.CreateServer(ctx, compute.CreateServer{Name: "web", FlavorID: flavor.ID, None: true})
	if err != nil {
		return err
	}
	id := created.Servers[0].ID
	if err := c.Wait(ctx, operation.Resource{Kind: "server", ID: id}); err != nil {
		return err
	}
	server, err := me.Compute.GetServer(ctx, id)
	if err != nil {
		return err
	}
	console, err := me.Compute.ConsoleOutput(ctx, id, 1)
	if err != nil {
		return err
	}
	fmt.Printf("%s is %s on %s and says: %s\n", server.Name, server.Status(), server.Host, console)
	return nil
}
