// Exact asks for more than there is, all at once, and counts what was given: servers against a quota, servers
// against the room of the hosts, ports against a subnet; deletes of one server, creates with one Idempotency-Key,
// and creates while commits have an unknown outcome. Each on memory and on sqlite, on the machine's clock, with
// goroutines as they come. Run it with the race detector:
//
//	CGO_ENABLED=1 go run -race ./internal/exact
//
// It prints a table of what was required, asked and got. The exit status is 1 when a figure is not exact.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

func main() {
	clients := flag.Int("clients", 1000, "how many ask for something limited at the same time")
	same := flag.Int("same", 50, "how many delete one server, or create with one key")
	databases := flag.String("store", "memory,sqlite", "what to keep the store in")
	flag.Parse()
	failed := false
	fmt.Printf("%-8s %-46s %6s %8s %8s %8s\n", "store", "requirement", "asked", "wanted", "got", "seconds")
	for _, database := range strings.Split(*databases, ",") {
		for _, r := range requirements {
			began := time.Now()
			f, err := measure(database, r, *clients, *same)
			bad := ""
			if err != nil {
				failed, bad = true, "  FAILED: "+strings.ReplaceAll(err.Error(), "\n", "\n    ")
			}
			fmt.Printf("%-8s %-46s %6d %8d %8d %8.1f%s\n", database, r.name, f.asked, f.wanted, f.got, time.Since(began).Seconds(), bad)
		}
	}
	if failed {
		os.Exit(1)
	}
}

// figures are a line of the table.
type figures struct{ asked, wanted, got int }

// requirement is something that must be exact. err says what was not, apart from the figures.
type requirement struct {
	name    string
	limited bool // asked for by all clients; otherwise by those of -same
	run     func(ctx context.Context, c *inside, n int) (figures, error)
}

// measure runs a requirement on a cloud of its own and checks that the books are right in the end.
func measure(database string, r requirement, clients, same int) (f figures, err error) {
	dir, err := os.MkdirTemp("", "nubecula-exact")
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	c, err := compose(ctx, database, dir)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	n := same
	if r.limited {
		n = clients
	}
	f, err = r.run(ctx, c, n)
	if err == nil && f.got != f.wanted {
		err = fmt.Errorf("%d, not %d", f.got, f.wanted)
	}
	findings, err2 := c.Check(ctx)
	for _, x := range findings {
		err2 = errors.Join(err2, fmt.Errorf("check: %s: %s", x.Service, x.Text))
	}
	return f, errors.Join(err, err2)
}
