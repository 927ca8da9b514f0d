package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// patience is how long a child may take for one job. Histories take milliseconds, and shorter ones up to 20 s to find.
const patience = 2 * time.Minute

// each runs seeds in children and gives every result to f, one at a time, until f returns false. trouble is not "" when
// a child died or hung, which is the seed's doing. It returns the processor time of the children.
func (c *command) each(f func(r result, trouble string) bool) (cpu time.Duration) {
	var mu sync.Mutex
	next, stop := 0, false
	begun := time.Now()
	take := func() (seed uint64, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if stop || c.seeds > 0 && next >= c.seeds || c.most > 0 && time.Since(begun) > c.most {
			return 0, false
		}
		next++
		return c.first + uint64(next-1), true
	}
	var all sync.WaitGroup
	for range c.workers {
		all.Go(func() {
			w := &worker{c: c}
			for seed, ok := take(); ok; seed, ok = take() {
				r, trouble := w.do(job{Seed: seed, Keep: c.keep, Bug: c.bug, Shrink: c.shrink, Repeat: c.repeat, Verbose: c.verbose})
				mu.Lock()
				if !stop && !f(r, trouble) {
					stop = true
				}
				mu.Unlock()
			}
			spent := w.end()
			mu.Lock()
			defer mu.Unlock()
			cpu += spent
		})
	}
	all.Wait()
	return cpu
}

// worker is a child that runs one job after the other; another is started when it has died.
type worker struct {
	c       *command
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *json.Decoder
	stderr  *bytes.Buffer
	cpu     time.Duration
}

func (w *worker) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	w.cmd = exec.Command(self, "-child")
	w.cmd.Env = append(os.Environ(), fmt.Sprintf("GOMAXPROCS=%d", w.c.procs), "GOGC=400")
	w.stderr = &bytes.Buffer{}
	w.cmd.Stderr = w.stderr
	if w.c.verbose {
		w.cmd.Stderr = io.MultiWriter(os.Stdout, w.stderr)
	}
	w.cmd.Stdout = w.cmd.Stderr
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return err
	}
	r, to, err := os.Pipe()
	if err != nil {
		return err
	}
	w.cmd.ExtraFiles = []*os.File{to}
	w.answers = json.NewDecoder(r)
	err = w.cmd.Start()
	to.Close()
	return err
}

// do has the child run a job.
func (w *worker) do(j job) (r result, trouble string) {
	if w.cmd == nil {
		if err := w.start(); err != nil {
			return result{Seed: j.Seed}, err.Error()
		}
	}
	line, _ := json.Marshal(j)
	hung := false
	timer := time.AfterFunc(patience, func() { hung = true; w.cmd.Process.Kill() })
	_, err := w.in.Write(append(line, '\n'))
	if err == nil {
		err = w.answers.Decode(&r)
	}
	if timer.Stop(); err == nil {
		return r, ""
	}
	w.end()
	text := w.stderr.String()
	if len(text) > 6000 {
		text = text[:3000] + "\n...\n" + text[len(text)-3000:]
	}
	what := "it died"
	if hung {
		what = "it did not end within " + patience.String()
	}
	return result{Seed: j.Seed}, what + ":\n" + strings.TrimSpace(text)
}

// end lets the child end, and returns what processor time all of them took.
func (w *worker) end() time.Duration {
	if w.cmd != nil {
		w.in.Close()
		w.cmd.Wait()
		w.cpu += w.cmd.ProcessState.UserTime() + w.cmd.ProcessState.SystemTime()
		w.cmd = nil
	}
	return w.cpu
}
