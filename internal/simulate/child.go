package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"
)

// job is what a child is asked: one line of JSON.
type job struct {
	Seed    uint64
	Keep    []int  // numbers of the actions to keep; nil means all
	Bug     string // "" means none
	Shrink  int    // how many runs may be spent on a shorter history
	Repeat  int    // how often the seed is run, at least once
	Verbose bool
}

// result is a child's answer.
type result struct {
	Seed     uint64
	Problems []problem
	Traces   []string // of each run
	Failed   int      // runs that failed
	Shortest []int    // numbers of the actions that are enough
	Actions  int
}

// child runs jobs from its input until that ends. A run needs a *testing.T, for its bubble of testing/synctest, so
// a child is a test binary of sorts: testing.Main calls it, and ends the process.
func child() {
	testing.Init()
	flag.CommandLine.Parse(nil)
	serve := func(t *testing.T) {
		in, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.NewFile(3, "results"))
		in.Buffer(nil, 1<<20)
		for in.Scan() {
			var j job
			if err := json.Unmarshal(in.Bytes(), &j); err != nil {
				t.Fatal(err)
			}
			var r result
			t.Run(fmt.Sprint(j.Seed), func(t *testing.T) { r = j.run(t) })
			if err := out.Encode(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	os.Args = os.Args[:1]
	testing.Main(func(_, _ string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "simulate", F: serve}}, nil, nil)
}

func (j *job) run(t *testing.T) result {
	h, bug := generate(j.Seed).only(j.Keep), bugNamed(j.Bug)
	r := result{Seed: j.Seed, Actions: len(h.actions)}
	tell := func(line string) { fmt.Fprintln(os.Stderr, line) }
	if !j.Verbose {
		tell = nil
	}
	for range max(1, j.Repeat) {
		o := run(t, h, bug, tell)
		r.Traces = append(r.Traces, o.Trace)
		if len(o.Problems) > 0 {
			r.Failed++
			r.Problems = o.Problems
		}
	}
	if len(r.Problems) == 0 || j.Shrink == 0 {
		return r
	}
	class := r.Problems[0].Class
	end := time.Now().Add(20 * time.Second)
	short := shrink(h, j.Shrink, func(h *history) bool {
		if time.Now().After(end) {
			return false
		}
		o := run(t, h, bug, nil)
		if !o.has(class) {
			return false
		}
		r.Problems = o.Problems
		return true
	})
	r.Shortest = short.numbers()
	return r
}
