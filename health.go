package cloud

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/store"
)

// States of a Condition.
const (
	OK   = "ok"
	Warn = "warn" // a person should look, and the Cloud serves
	Fail = "fail" // the Cloud cannot do what is asked of it
)

// Condition is one thing that Health looked at.
type Condition struct {
	Name   string `json:"name"`             // "store", "lease", "hosts", "operations"
	State  string `json:"state"`            // OK, Warn or Fail
	Reason string `json:"reason,omitempty"` // what was found and what to do; "" when there is nothing to say
}

// Health is whether a Cloud can serve, and what each part of it says.
type Health struct {
	Ready      bool        `json:"ready"` // no condition is Fail
	Conditions []Condition `json:"conditions"`
}

const (
	// healthTime is how long the store may take for a read and a commit.
	healthTime = 2 * time.Second
	// slowAttempts is how often a step may fail before it is told: two minutes or so, with the pauses between.
	slowAttempts = 10
	// slowStart is how long an operation may wait for a worker before that is told.
	slowStart = time.Minute
	// maxTold bounds how many things a reason names.
	maxTold = 5
)

// Health finds out whether the Cloud can serve: the store takes a commit within two seconds, the lease of this
// replica holds, a host answers, operations get on. It renews the lease, which is a commit, so do not call it for everybody who asks.
func (c *Cloud) Health(ctx context.Context) *Health {
	ctx, cancel := clock.WithTimeout(ctx, c.opt.Clock, healthTime)
	defer cancel()
	h := &Health{Ready: true}
	if c.ctx.Err() != nil {
		h.say("store", Fail, "the cloud is being closed")
		return h
	}
	held := false
	err := c.opt.Store.View(ctx, func(tx *store.Tx) (err error) {
		held, err = c.engine.Alive(tx)
		return err
	})
	if err == nil {
		err = c.engine.Renew(ctx)
	}
	if err != nil {
		h.say("store", Fail, fmt.Sprintf("a read and a commit did not succeed within %s: %v", healthTime, err))
		return h
	}
	if since, why := c.Held(); why != "" {
		h.say("store", Warn, fmt.Sprintf("since %s nothing is deleted and no address given out: %s; restore a newer backup, or accept this store", since.UTC().Format(time.RFC3339), why))
	} else {
		h.say("store", OK, "")
	}
	if held {
		h.say("lease", OK, "")
	} else {
		h.say("lease", Fail, "the lease of this replica had run out and was renewed just now: it was cut off from the database or stopped for too long; others may have taken its operations over")
	}
	h.hosts(c.compute.As(identity.System()).ListHosts(ctx))
	h.operations(ctx, c)
	return h
}

func (h *Health) say(name, state, reason string) {
	h.Ready = h.Ready && state != Fail
	h.Conditions = append(h.Conditions, Condition{name, state, reason})
}

func (h *Health) hosts(all []*compute.Host, err error) {
	var down, gone []string
	usable := 0
	for _, v := range all {
		switch {
		case !v.Gone.IsZero() && v.Answers:
			down = append(down, v.Name+" (declared gone, and answers: say that it is not forced down, or cut its power)")
		case !v.Gone.IsZero():
			gone = append(gone, v.Name)
		case v.Up && !v.Disabled:
			usable++
		case !v.Up && v.ForcedDown:
			down = append(down, v.Name+" (forced down by an operator)")
		case !v.Up && v.SeenAt.IsZero():
			down = append(down, v.Name+" (never answered)")
		case !v.Up:
			down = append(down, fmt.Sprintf("%s (silent since %s)", v.Name, v.SeenAt.UTC().Format(time.RFC3339)))
		}
	}
	found := fmt.Sprintf("%d of %d hosts take new servers", usable, len(all))
	if len(gone) > 0 {
		found += "; declared gone: " + some(gone)
	}
	if len(down) > 0 {
		found += "; down: " + some(down) + ": look at their hypervisors and at the way to them"
	}
	switch {
	case err != nil:
		h.say("hosts", Fail, "the hosts could not be read: "+err.Error())
	case len(all) > 0 && usable == 0:
		h.say("hosts", Fail, found)
	case len(down) > 0 || len(all) == 0:
		h.say("hosts", Warn, found)
	default:
		h.say("hosts", OK, found)
	}
}

func (h *Health) operations(ctx context.Context, c *Cloud) {
	var slow []engine.Slow
	all := 0
	err := c.opt.Store.View(ctx, func(tx *store.Tx) (err error) {
		slow, all, err = c.engine.Slow(tx, slowAttempts, slowStart)
		return err
	})
	if err != nil {
		h.say("operations", Fail, "the operations could not be read: "+err.Error())
		return
	}
	state, load := OK, c.engine.Load()
	var told []string
	for _, s := range slow {
		op := s.Op
		what := fmt.Sprintf("%s %s of %s %s, step %s", op.Kind, op.ID, op.Resource.Kind, op.Resource.ID, op.Step())
		switch {
		case s.Late > 0 && !s.Known:
			state = Fail
			told = append(told, fmt.Sprintf("%s: nobody has taken it up for %s: restart this process, and tell it with its log", what, s.Late.Round(time.Second)))
			continue
		case s.Late > 0:
			told = append(told, fmt.Sprintf("%s: waits for a worker since %s: drivers are slow, or there are too few Workers", what, s.Late.Round(time.Second)))
		default:
			reason := "no reason was recorded"
			if op.LastError != nil {
				reason = op.LastError.Message
			}
			told = append(told, fmt.Sprintf("%s: failed %d times and is tried again: %s", what, op.Attempt, reason))
		}
		state = worse(state, Warn)
	}
	if load.Abandoned > 0 {
		state = worse(state, Warn)
		told = append(told, fmt.Sprintf("%d calls of drivers were left behind after their time and have not returned: look whether a hypervisor hangs", load.Abandoned))
	}
	h.say("operations", state, strings.TrimSuffix(fmt.Sprintf("%d under way; %s", all, some(told)), "; "))
}

// worse is the graver of two states.
func worse(a, b string) string {
	if a == Fail || b == OK {
		return a
	}
	return b
}

// some joins the first of a list and counts the rest.
func some(list []string) string {
	if len(list) > maxTold {
		return strings.Join(list[:maxTold], "; ") + fmt.Sprintf("; and %d more", len(list)-maxTold)
	}
	return strings.Join(list, "; ")
}
