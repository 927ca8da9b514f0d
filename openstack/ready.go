package openstack

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/internal/clock"
)

// readyFor is how long an answer is given again: anybody may ask, and finding out costs a commit.
const readyFor = time.Second

// readiness answers GET /readyz: what is fit for everybody of cloud.Health, that is no reasons.
type readiness struct {
	c     *cloud.Cloud
	clock clock.Clock

	mu    sync.Mutex // who waits for it gets the answer to the one before
	until time.Duration
	ready bool
	body  []byte
}

func (h *readiness) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ready, body := h.ask(context.WithoutCancel(r.Context()))
	w.Header().Set("Content-Type", "application/json")
	if !ready {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = w.Write(body) // a client that has gone
}

func (h *readiness) ask(ctx context.Context) (bool, []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.body != nil && h.clock.Mono() < h.until {
		return h.ready, h.body
	}
	health := h.c.Health(ctx)
	for i := range health.Conditions {
		health.Conditions[i].Reason = ""
	}
	body, err := json.Marshal(health)
	if err != nil {
		return false, []byte("{}")
	}
	h.ready, h.body, h.until = health.Ready, body, h.clock.Mono()+readyFor
	return h.ready, h.body
}
