package compute

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/engine"
	"github.com/nubecula/cloud/operation"
	"github.com/nubecula/cloud/store"
)

// tried is a host on which a server could not be built.
type tried struct {
	Host   string `json:"host"`   // name
	Reason string `json:"reason"` // the step that failed, and its error
}

const (
	reasonBytes = 300 // of the reason of one host
	toldHosts   = 5   // named in the message of a failure
)

// nextHost excludes a host that failed and has the server placed again, a bounded number of times.
func (c *core) nextHost(tx *store.Tx, r *engine.Run[createState], f *operation.Failure) (string, error) {
	if f.Step == "place" && len(f.Details) > 0 {
		r.Note("decision", f.Details)
	}
	if r.State.HostID == "" {
		return "", nil
	}
	v, err := servers.Get(tx, r.State.ServerID)
	if err != nil {
		return "", err
	}
	reason := shorten(f.Step + " failed: " + f.Message)
	r.State.Tried = append(r.State.Tried, tried{v.Host, reason})
	elsewhere := f.Code == fault.Exhausted || f.Code == fault.Unavailable || f.Code == fault.Timeout
	if !elsewhere || f.Step != "define" && f.Step != "start" || r.Op.Retreats+1 >= c.opt.MaxAttempts {
		return "", nil
	}
	if r.State.Exclude == nil {
		r.State.Exclude = map[string]string{}
	}
	r.State.Exclude[r.State.HostID] = reason
	return "place", nil
}

// createFailed leaves the server in ERROR with the reason, its claim and bindings given back; it counts
// for the quota until it is deleted.
func (c *core) createFailed(tx *store.Tx, r *engine.Run[createState], f *operation.Failure) error {
	over, err := overtaken(tx, r.State.ServerID)
	if err != nil {
		return err
	}
	return change(tx, r.State.ServerID, func(v *Server) error {
		v.move(NoTask, Scheduling, Networking, Spawning)
		if over {
			return nil
		}
		message, decision := whyNot(r.State.Tried, f), r.Op.Notes["decision"]
		v.VMState, v.PowerState = Error, PowerNone
		v.Fault = &Fault{Code: 500, Message: message, Created: tx.Now(), Details: details(r.State.Tried, decision, f)}
		emitFor(tx, r.Op, v, "create.error")
		tx.OnCommit(func() {
			r.Log.Error("a server could not be built; it is in ERROR, and costs no host anything: see the reason, then delete it and create it anew", "step", f.Step, "reason", message, "decision", string(decision))
		})
		return nil
	})
}

// whyNot is what the user reads: the hosts tried and why each failed. The scheduler's refusal tells that itself.
func whyNot(hosts []tried, f *operation.Failure) string {
	if f.Step == "place" || len(hosts) == 0 {
		return f.Message
	}
	var b strings.Builder
	b.WriteString("the server could not be built; hosts tried: ")
	fmt.Fprint(&b, len(hosts))
	for i, h := range hosts {
		if i == toldHosts {
			fmt.Fprintf(&b, "; and %d hosts more", len(hosts)-i)
			break
		}
		b.WriteString("; " + h.Host + ": " + h.Reason)
	}
	return b.String()
}

// details is what an administrator sees of a failure: the hosts tried, and the scheduler's last decision.
func details(hosts []tried, decision json.RawMessage, f *operation.Failure) string {
	d := struct {
		Step     string            `json:"step"`
		Tried    map[string]string `json:"tried,omitempty"` // by name
		Decision json.RawMessage   `json:"decision,omitempty"`
	}{f.Step, map[string]string{}, decision}
	for _, h := range hosts {
		d.Tried[h.Host] = h.Reason
	}
	body, _ := json.Marshal(d) // of strings and what was JSON before: it cannot fail
	return string(body)
}

// shorten cuts a text that others wrote, such as a driver's error, at a rune.
func shorten(text string) string {
	if len(text) <= reasonBytes {
		return text
	}
	cut := reasonBytes
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "..."
}
