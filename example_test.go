package cloud_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/compute/fakecompute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/image/fakeimage"
	"github.com/nubecula/cloud/network/fakenetwork"
	"github.com/nubecula/cloud/openstack"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
)

// What the README prints is compiled from here: TestReadme compares.

type Order struct{ ID, ServerID string }

var orders = store.Define(store.Spec[Order]{Kind: "order", Version: 1, ID: func(o *Order) string { return o.ID }})

func sell(ctx context.Context, c *cloud.Cloud) error {
	me := c.As(&identity.Principal{UserID: "me", ProjectID: "mine", Roles: []string{identity.RoleAdmin}})
	flavor, err := me.Compute.CreateFlavor(ctx, compute.CreateFlavor{Name: "small", VCPUs: 1, MemoryMiB: 512, DiskGiB: 1})
	if err != nil {
		return err
	}
	return c.Update(ctx, func(ctx context.Context, tx *store.Tx) error { // one transaction, with rows of your own
		created, err := me.Compute.CreateServer(ctx, compute.CreateServer{Name: "web", FlavorID: flavor.ID, None: true})
		if err != nil {
			return err
		}
		return orders.Put(tx, &Order{ID: tx.NewID(), ServerID: created.Servers[0].ID})
	})
}

// open composes a cloud of nothing but memory.
func open(ctx context.Context) *cloud.Cloud {
	db, err := store.New(memory.New(nil), store.Options{Key: store.NewKey()})
	if err != nil {
		log.Fatal(err)
	}
	network, err := fakenetwork.New(fakenetwork.Options{})
	if err != nil {
		log.Fatal(err)
	}
	images, err := fakeimage.New(fakeimage.Options{})
	if err != nil {
		log.Fatal(err)
	}
	host, err := fakecompute.New(fakecompute.Options{Name: "host-1"})
	if err != nil {
		log.Fatal(err)
	}
	c, err := cloud.New(ctx, cloud.Options{
		Store:       db,      // store.New over sqlite.Open or memory.New
		Network:     network, // a networkdriver.Provider
		Images:      images,  // an imagedriver.Store
		Hypervisors: []compute.Hypervisor{{Driver: host}},
	})
	if err != nil {
		log.Fatal(err)
	}
	return c
}

// A program sells servers: its order and the server are one transaction.
func Example() {
	ctx := context.Background()
	c := open(ctx)
	defer c.Close()
	if err := sell(ctx, c); err != nil {
		log.Fatal(err)
	}

	var order *Order
	err := c.Store().View(ctx, func(tx *store.Tx) error {
		all, err := orders.List(tx, store.Query[Order]{})
		if err == nil {
			order = all[0]
		}
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Wait(ctx, operation.Resource{Kind: "server", ID: order.ServerID}); err != nil {
		log.Fatal(err)
	}
	server, err := c.As(identity.System()).Compute.GetServer(ctx, order.ServerID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(server.Name, server.Status(), server.Host)
	// Output: web ACTIVE host-1
}

// An error names every option that is missing or wrong.
func ExampleNew() {
	_, err := cloud.New(context.Background(), cloud.Options{})
	fmt.Println(fault.CodeOf(err))
	fmt.Println(err)
	// Output:
	// invalid
	// Store: <nil> is not valid: open one, for example with sqlite.Open and store.New
	// Network: <nil> is not valid: give a networkdriver.Provider, for example hostnet.New
	// Images: <nil> is not valid: give an imagedriver.Store, for example fileimage.New
}

// Events tell what happened, from any point on.
func ExampleCloud_Events() {
	ctx := context.Background()
	c := open(ctx)
	defer c.Close()
	if err := sell(ctx, c); err != nil {
		log.Fatal(err)
	}
	for e, err := range c.Events(ctx, 0) {
		if err != nil {
			log.Fatal(err)
		}
		if e.Kind == "server" {
			fmt.Println(e.Type)
		}
		if e.Type == "compute.instance.create.end" {
			break
		}
	}
	// Output:
	// compute.instance.create.start
	// compute.instance.create.end
}

// Two clouds in one process share nothing; each can be served to OpenStack's clients.
func ExampleCloud() {
	ctx := context.Background()
	var ids []string
	for range 2 {
		c := open(ctx)
		defer c.Close()
		if _, err := c.Seed(ctx, cloud.Seed{AdminPassword: "secret", UserPassword: "secret"}); err != nil {
			log.Fatal(err)
		}
		srv := httptest.NewServer(openstack.Handler(c, nil))
		defer srv.Close()
		resp, err := http.Get(srv.URL + "/v3")
		if err != nil {
			log.Fatal(err)
		}
		defer resp.Body.Close()
		fmt.Println(resp.Status)
		ids = append(ids, c.ID())
	}
	fmt.Println(ids[0] == ids[1])
	// Output:
	// 200 OK
	// 200 OK
	// false
}
