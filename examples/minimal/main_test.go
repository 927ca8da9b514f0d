package main

import (
	"context"
	"log"
)

func Example() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output: web is ACTIVE on host-1 and says: web.novalocal login:
}
