// Simulate lets random histories happen to simulated clouds and looks at what is left: several Clouds on one
// store, clients that create, delete and change things, and troubles - drivers that fail, hang or answer late,
// commits of unknown outcome, processes that are killed or frozen past their lease, clocks that jump. A history
// is decided by its seed before it begins, time is virtual, and calls take times drawn from the seed, so
// that a seed nearly always takes the same course again.
//
//	go run ./internal/simulate                     # a minute of new seeds
//	go run ./internal/simulate -first 1 -seeds 500 # the same ones each time
//	go run ./internal/simulate -seed 4711 -v       # one, with its story
//	go run ./internal/simulate -bug all            # plants bugs, each must be found
//
// A seed that fails is made shorter, and the command is printed that runs what is left of it. The exit status is 1.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// command is the program as it was called.
type command struct {
	first   uint64
	seeds   int
	most    time.Duration
	keep    []int
	repeat  int
	bug     string
	verbose bool
	workers int
	procs   int
	shrink  int
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "-child" {
		child()
		return
	}
	var c command
	one := flag.String("seed", "", "run this seed alone")
	keep := flag.String("keep", "", "numbers of the actions to keep, as a shortened history names them")
	flag.Uint64Var(&c.first, "first", 0, "the first seed; 0 takes one by chance")
	flag.IntVar(&c.seeds, "seeds", 0, "how many seeds; 0 means as many as there is time for")
	flag.DurationVar(&c.most, "for", time.Minute, "how long to go on; 0 means until all seeds are done")
	flag.IntVar(&c.repeat, "repeat", 1, "how often each seed is run")
	flag.StringVar(&c.bug, "bug", "", "plant a bug, by name; \"all\" plants each and fails unless each is found; \"list\" names them")
	flag.BoolVar(&c.verbose, "v", false, "tell the story")
	flag.IntVar(&c.workers, "workers", runtime.NumCPU(), "how many processes")
	flag.IntVar(&c.procs, "procs", 1, "GOMAXPROCS of each; above 1 a seed takes its course less reliably")
	flag.IntVar(&c.shrink, "shrink", 300, "how many runs may go into making a failing history shorter; 0 leaves it as it is")
	flag.Parse()
	if *one != "" {
		n, err := strconv.ParseUint(*one, 10, 64)
		if err != nil {
			fmt.Fprintln(os.Stderr, "simulate: -seed must be a number:", err)
			os.Exit(2)
		}
		c.first, c.seeds, c.most, c.workers = n, 1, 0, 1
	}
	for _, f := range strings.FieldsFunc(*keep, func(r rune) bool { return r == ',' }) {
		n, err := strconv.Atoi(f)
		if err != nil {
			fmt.Fprintln(os.Stderr, "simulate: -keep takes numbers with commas between:", err)
			os.Exit(2)
		}
		c.keep = append(c.keep, n)
	}
	if c.first == 0 && *one == "" {
		c.first = uint64(rand.Uint32())
	}
	switch {
	case c.bug == "list":
		for _, b := range bugs() {
			fmt.Printf("%-14s %s\n", b.name, b.what)
		}
	case c.bug == "all":
		os.Exit(c.plantAll())
	case c.bug != "" && bugNamed(c.bug) == nil:
		fmt.Fprintf(os.Stderr, "simulate: there is no bug %q; -bug list names them\n", c.bug)
		os.Exit(2)
	default:
		os.Exit(c.explore())
	}
}

// explore runs seeds and reports those that fail.
func (c *command) explore() int {
	begun, failed, runs, unlike := time.Now(), 0, 0, 0
	cpu := c.each(func(r result, trouble string) bool {
		runs += max(1, c.repeat)
		for _, t := range r.Traces {
			if t != r.Traces[0] {
				unlike++
				break
			}
		}
		if trouble != "" || len(r.Problems) > 0 {
			failed++
			c.report(r, trouble)
		}
		return failed < 10
	})
	took := time.Since(begun)
	fmt.Printf("%d histories from seed %d in %.0f s (%.1f ms of processor each): %d failed\n", runs, c.first, took.Seconds(),
		cpu.Seconds()*1000/float64(max(1, runs)), failed)
	if c.repeat > 1 {
		fmt.Printf("%d of the seeds did not take the same course each time\n", unlike)
	}
	if failed > 0 {
		return 1
	}
	return 0
}

// report says what is wrong with a history, and how to see it again.
func (c *command) report(r result, trouble string) {
	fmt.Printf("\nseed %d fails", r.Seed)
	if c.repeat > 1 {
		fmt.Printf(" (%d of %d times)", r.Failed, c.repeat)
	}
	fmt.Println()
	if trouble != "" {
		fmt.Printf("  the process that ran it: %s\n", trouble)
	}
	for i, p := range r.Problems {
		if i == 8 {
			fmt.Printf("  and %d more\n", len(r.Problems)-i)
			break
		}
		fmt.Printf("  %s: %s\n", p.Class, p.Text)
	}
	again := fmt.Sprintf("go run ./internal/simulate -seed %d", r.Seed)
	h := generate(r.Seed).only(c.keep)
	if r.Shortest != nil {
		h = h.only(r.Shortest)
		fmt.Printf("  %d of its %d actions are enough:\n", len(r.Shortest), r.Actions)
		again += " -keep " + strings.Trim(strings.ReplaceAll(fmt.Sprint(r.Shortest), " ", ","), "[]")
	}
	fmt.Printf("  %+v\n", h.shape)
	for _, a := range h.actions {
		fmt.Printf("    %s\n", a)
	}
	if c.bug != "" {
		again += " -bug " + c.bug
	}
	fmt.Printf("  again: %s -v\n", again)
	fmt.Printf("  should it pass: add -repeat 20\n\n")
}

// plantAll plants each bug and runs seeds until one finds it.
func (c *command) plantAll() int {
	missed := 0
	for _, b := range bugs() {
		one := *c
		one.bug = b.name
		if one.seeds == 0 {
			one.seeds = 400
		}
		runs, found := 0, false
		one.each(func(r result, trouble string) bool {
			runs++
			if found || len(r.Problems) == 0 && trouble == "" {
				return !found
			}
			found = true
			p := problem{"crash", trouble}
			if len(r.Problems) > 0 {
				p = r.Problems[0]
			}
			fmt.Printf("%-14s found by seed %d, number %d, in %d of %d actions: %s: %.110s\n", b.name, r.Seed, runs, len(r.Shortest), r.Actions, p.Class, p.Text)
			return false
		})
		if !found {
			missed++
			fmt.Printf("%-14s MISSED by %d seeds: %s\n", b.name, runs, b.what)
		}
	}
	if missed > 0 {
		return 1
	}
	return 0
}
