package operator

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
)

// Accepted is the answer to an operator's word, POST /accept-* and /host-gone.
type Accepted struct {
	Accepted bool     `json:"accepted"` // false with dry_run: nothing was done
	IDs      []string `json:"ids"`      // of what was removed, declared lost or given up, or with dry_run would be
	Left     []string `json:"left"`     // of what was named and may not be removed
	Text     []string `json:"text"`     // the same for people, a line each
}

// Removal is the body of POST /accept-removal.
type Removal struct {
	IDs []string `json:"ids"` // of findings that are removable
}

// Loss is the body of POST /accept-loss and of POST /host-gone.
type Loss struct {
	Host string `json:"host"` // id or name
}

// word serves an operator's word: say looks what would happen, and do makes it happen. Both get the request's body.
func word[B any](say, do func(ctx context.Context, body B) (Accepted, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body B
		var dry bool
		var err error
		if text := r.URL.Query().Get("dry_run"); text != "" {
			if dry, err = strconv.ParseBool(text); err != nil {
				err = fault.InvalidField("dry_run", text, "use true or false")
			}
		}
		if _, none := any(body).(struct{}); err == nil && !none {
			err = read(w, r, &body)
		}
		var a Accepted
		switch {
		case err != nil:
		case dry:
			a, err = say(r.Context(), body)
		default:
			a, err = do(r.Context(), body)
			a.Accepted = true
		}
		if err != nil {
			fail(w, err)
			return
		}
		for _, list := range []*[]string{&a.IDs, &a.Left, &a.Text} {
			if *list == nil {
				*list = []string{}
			}
		}
		write(w, http.StatusOK, a)
	}
}

func (h *handler) sayStore(ctx context.Context, _ struct{}) (a Accepted, err error) {
	since, why := h.c.Held()
	if why == "" {
		return a, fault.New(fault.Conflict, "the store is not held: no driver has seen a newer one, deletes and addresses go on as always, and there is nothing to accept")
	}
	found, err := h.c.Inspect(ctx)
	if err != nil {
		return a, err
	}
	a.Text = append(a.Text, fmt.Sprintf("the store is held since %s: %s", since.Format(time.RFC3339), why),
		"deletes that wait would go on, and addresses be given out again, within half a minute")
	n := 0
	for _, f := range found {
		if f.Removable {
			n++
		}
	}
	if n > 0 {
		a.Text = append(a.Text, fmt.Sprintf("%d things that drivers hold and the store does not know, or knows to be over, would stay until accept-removal names them or, what is over, the sweeper has its turn", n))
	}
	return a, nil
}

func (h *handler) acceptStore(ctx context.Context, _ struct{}) (a Accepted, err error) {
	if err := h.c.AcceptStore(ctx); err != nil {
		return a, err
	}
	a.Text = []string{"deletes and addresses go on within half a minute; what drivers hold and the store does not know stays until accept-removal names it"}
	return a, nil
}

func (h *handler) sayRemoval(ctx context.Context, req Removal) (a Accepted, err error) {
	if err := named(req); err != nil {
		return a, err
	}
	if _, why := h.c.Held(); why != "" {
		return a, fault.New(fault.Unavailable, "nothing is removed while the store is held (%s); restore a newer backup, or accept the store first", why)
	}
	found, err := h.c.Inspect(ctx)
	if err != nil {
		return a, err
	}
	for _, f := range found {
		if f.Removable && slices.Contains(req.IDs, f.ID) {
			a.IDs = append(a.IDs, f.ID)
			a.Text = append(a.Text, f.Text+": it would be removed, with all that it holds")
		}
	}
	return left(a, req, "would be left as it is")
}

func (h *handler) acceptRemoval(ctx context.Context, req Removal) (a Accepted, err error) {
	if err := named(req); err != nil {
		return a, err
	}
	a.IDs, err = h.c.AcceptRemoval(ctx, req.IDs...)
	for _, id := range a.IDs {
		a.Text = append(a.Text, id+" was removed")
	}
	if len(a.IDs) > 0 {
		h.c.Log().WarnContext(ctx, "an operator had things removed from the drivers; they are gone, and what was over or unknown is no longer reported", "count", len(a.IDs), "resource_id", strings.Join(a.IDs, " "))
	}
	if err != nil {
		if len(a.IDs) > 0 {
			err = fmt.Errorf("after the removal of %v: %w", a.IDs, err)
		}
		return a, err
	}
	return left(a, req, "is left as it is")
}

func named(req Removal) error {
	if len(req.IDs) == 0 || slices.Contains(req.IDs, "") {
		return fault.InvalidField("ids", req.IDs, "name what is to be removed, by the ids that the check gives as removable")
	}
	return nil
}

// left names what may not be removed; it is an error when nothing may.
func left(a Accepted, req Removal, how string) (Accepted, error) {
	slices.Sort(a.IDs)
	a.IDs = slices.Compact(a.IDs)
	for _, id := range req.IDs {
		if !slices.Contains(a.IDs, id) {
			a.Left = append(a.Left, id)
			a.Text = append(a.Text, id+" "+how+": the check gives nothing of that id as removable")
		}
	}
	if len(a.IDs) == 0 {
		return a, fault.New(fault.NotFound, "the check gives nothing as removable that has the id %s; nothing was removed", req.IDs[0])
	}
	return a, nil
}

func (h *handler) sayLoss(ctx context.Context, req Loss) (a Accepted, err error) {
	sys := h.c.As(identity.System()).Compute
	host, err := sys.GetHost(ctx, req.Host)
	if err != nil {
		return a, err
	}
	found, err := sys.Inspect(ctx)
	if err != nil {
		return a, err
	}
	for _, f := range found {
		switch {
		case f.Where != host.ID:
		case f.Rule == "host-not-compared":
			return a, fault.New(fault.Unavailable, "%s; what does not answer has lost nothing yet", f.Text)
		case f.Rule == "guest-missing" || f.Rule == "guest-torn":
			a.IDs = append(a.IDs, f.ID)
			a.Text = append(a.Text, f.Text+": it would go to ERROR, and come back by itself with its guest")
		}
	}
	if len(a.IDs) == 0 {
		a.Text = []string{"host " + host.Name + " has every guest that it should have; nothing would happen"}
	}
	return a, nil
}

func (h *handler) acceptLoss(ctx context.Context, req Loss) (a Accepted, err error) {
	a.IDs, err = h.c.AcceptLoss(ctx, req.Host)
	if err != nil {
		return a, err
	}
	for _, id := range a.IDs {
		a.Text = append(a.Text, "server "+id+" is in ERROR now; it comes back by itself with its guest")
	}
	if len(a.IDs) == 0 {
		a.Text = []string{"no server of the host went to ERROR: none was missing a guest that was not in ERROR already"}
	} else {
		h.c.Log().WarnContext(ctx, "an operator declared the guests of a host lost; their servers are in ERROR, and come back by themselves with their guests", "host", req.Host, "count", len(a.IDs))
	}
	return a, nil
}

func (h *handler) sayGone(ctx context.Context, req Loss) (Accepted, error) {
	return h.gone(ctx, req, true)
}

func (h *handler) hostGone(ctx context.Context, req Loss) (Accepted, error) {
	return h.gone(ctx, req, false)
}

func (h *handler) gone(ctx context.Context, req Loss, dry bool) (a Accepted, err error) {
	g, err := h.c.DeclareHostGone(ctx, req.Host, dry)
	if err != nil {
		return a, err
	}
	is, gives, goes, ends := "is", "gave", "is in ERROR now", "fails or ends now"
	if dry {
		is, gives, goes, ends = "would be", "would give", "would go to ERROR", "would fail or end"
	}
	a.Text = append(a.Text, fmt.Sprintf("host %s (%s) %s gone for good: it takes no servers and nobody waits for it", g.Host.Name, g.Host.ID, is))
	for _, id := range g.Lost {
		a.Text = append(a.Text, fmt.Sprintf("server %s %s: delete it, and its ports and addresses are given back at once", id, goes))
	}
	for _, id := range g.Ended {
		a.Text = append(a.Text, fmt.Sprintf("server %s, which was deleted, %s back its ports, addresses and its share of the host", id, gives))
	}
	for _, id := range g.Busy {
		a.Text = append(a.Text, fmt.Sprintf("server %s has an operation at work, which %s; it follows within a minute", id, ends))
	}
	a.IDs = append(slices.Clone(g.Lost), g.Ended...)
	return a, nil
}
