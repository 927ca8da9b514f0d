package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// comeback is how long a control plane that should be up may take until it is ready, on a machine with other work to do.
const comeback = 2 * time.Minute

// logLines is how much of a log an error shows.
const logLines = 15

// watch asks every control plane again and again whether it is ready, until ctx ends. One that should be up and was not ready for
// longer than limit, being killed and started again meanwhile or not, is an error: it must come back by itself.
func (w *world) watch(ctx context.Context, limit time.Duration) error {
	ask := &http.Client{Timeout: 5 * time.Second}
	defer ask.CloseIdleConnections()
	waited := make([]time.Duration, len(w.planes)) // for each since it was ready last, while it should be up
	last := time.Now()
	for {
		now := time.Now()
		passed := now.Sub(last)
		last = now
		for i, p := range w.planes {
			up, status := p.should()
			why := readiness(ctx, ask, w.urls[i])
			switch {
			case ctx.Err() != nil:
				return nil
			case why == "":
				waited[i] = 0
			case up:
				waited[i] += passed
			}
			if waited[i] > limit {
				return fmt.Errorf("%s should be up and was not ready for %s: it %s, and %s; the end of %s:\n%s",
					p.name, waited[i].Round(time.Second), status, why, p.log.Name(), p.tail(logLines))
			}
		}
		if sleep(ctx, 250*time.Millisecond) != nil {
			return nil
		}
	}
}

// readiness says why a control plane is not ready; "" when it is.
func readiness(ctx context.Context, c *http.Client, url string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", nil)
	if err != nil {
		return err.Error()
	}
	res, err := c.Do(req)
	if err != nil {
		return "does not answer: " + err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	if err != nil {
		return "does not answer: " + err.Error()
	}
	if res.StatusCode == http.StatusOK {
		return ""
	}
	return fmt.Sprintf("answers %d %s", res.StatusCode, bytes.TrimSpace(body))
}

// should reports whether the process should be up, and says what it does instead, or besides.
func (p *process) should() (up bool, status string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.current != nil:
		status = fmt.Sprintf("runs as process %d", p.current.Pid)
	case p.status == "":
		status = "was never started"
	default:
		status = "ended by itself (" + p.status + ")"
	}
	return p.wanted, status
}

// tail returns the last lines of the process's log, for an error.
func (p *process) tail(lines int) string {
	text, err := os.ReadFile(p.log.Name())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// died is the error of a process that ended by itself, and should not have.
func (p *process) died(how string) error {
	return fmt.Errorf("%s ended %s (%s); the end of %s:\n%s", p.name, how, p.status, p.log.Name(), p.tail(logLines))
}
