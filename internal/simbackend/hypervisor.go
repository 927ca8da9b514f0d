package simbackend

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/fault"
)

// Hypervisor is a host of the simulated backend. It also is a computedriver.Rebooter, Consoler, Rememberer and Watcher.
type Hypervisor struct {
	name string
	link *link
	end  closer
}

// closer refuses calls after Close.
type closer struct{ closed atomic.Bool }

func (c *closer) open() error {
	if c.closed.Load() {
		return fault.New(fault.Unavailable, "the connection to the simulated backend is closed")
	}
	return nil
}

// NewHypervisor connects to a host by its name, on the Server that listens on a Unix socket. The Server makes the
// host at the first call; it need not be there yet.
func NewHypervisor(address, name string) *Hypervisor {
	return &Hypervisor{name: name, link: connect(address)}
}

func (h *Hypervisor) call(ctx context.Context, method string, in, out any) error {
	if err := h.end.open(); err != nil {
		return err
	}
	return h.link.call(ctx, path("host", h.name, method), in, out)
}

// Host describes the host.
func (h *Hypervisor) Host(ctx context.Context) (out computedriver.Host, err error) {
	err = h.call(ctx, "Host", none{}, &out)
	return out, err
}

// Define makes the guest. The image is sent only to a host that does not have it.
func (h *Hypervisor) Define(ctx context.Context, g computedriver.Guest) error {
	if err := h.end.open(); err != nil {
		return err
	}
	d := definition{Guest: g}
	from := g.Root.Base
	if from != nil {
		d.Base = &base{from.ID, from.Format, from.SizeBytes, from.SHA512}
		d.Guest.Root.Base = nil
	}
	var out made
	if err := h.send(ctx, d, nil, &out); err != nil || !out.NeedsImage {
		return err
	}
	data, err := from.Open(ctx)
	if err != nil {
		return &fault.Error{Code: fault.CodeOf(err), Kind: "image", ID: from.ID, Err: err}
	}
	defer data.Close()
	d.Data = true
	f, to, done := sending(ctx, data)
	defer done()
	err = h.send(to, d, f, &out)
	var refused *fault.Error
	switch {
	case f.failed() != nil && !(errors.As(err, &refused) && refused.Kind == "guest"): // it may not even want the image
		return &fault.Error{Code: fault.CodeOf(f.failed()), Kind: "image", ID: from.ID, Msg: "it broke off", Err: f.failed()}
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	}
	return err
}

func (h *Hypervisor) send(ctx context.Context, d definition, data io.Reader, out *made) error {
	line, err := json.Marshal(d) //lint:ignore SA1026 the image's Open stays here: Define has taken Base out
	if err != nil {
		return err
	}
	body := io.Reader(bytes.NewReader(append(line, '\n')))
	if data != nil {
		body = io.MultiReader(body, data)
	}
	return h.link.stream(ctx, path("host", h.name, "Define"), body, out)
}

// Start powers the guest on.
func (h *Hypervisor) Start(ctx context.Context, r computedriver.Ref) error {
	return h.call(ctx, "Start", r, nil)
}

// Stop powers the guest off.
func (h *Hypervisor) Stop(ctx context.Context, r computedriver.Ref, grace time.Duration) error {
	return h.call(ctx, "Stop", stop{r, grace}, nil)
}

// Undefine takes the guest away and leaves a tombstone.
func (h *Hypervisor) Undefine(ctx context.Context, r computedriver.Ref) error {
	return h.call(ctx, "Undefine", r, nil)
}

// Guests lists all guests in the order of their ids.
func (h *Hypervisor) Guests(ctx context.Context) (out []computedriver.GuestState, err error) {
	err = h.call(ctx, "Guests", none{}, &out)
	return out, err
}

// Reboot makes the guest boot once more.
func (h *Hypervisor) Reboot(ctx context.Context, r computedriver.Ref) error {
	return h.call(ctx, "Reboot", r, nil)
}

// ConsoleOutput returns what the guest wrote.
func (h *Hypervisor) ConsoleOutput(ctx context.Context, r computedriver.Ref, max int) (out []byte, err error) {
	err = h.call(ctx, "ConsoleOutput", console{r, max}, &out)
	return out, err
}

// Remember keeps the greatest epoch of a Cloud.
func (h *Hypervisor) Remember(ctx context.Context, cloud string, epoch int64) (newest int64, err error) {
	err = h.call(ctx, "Remember", remember{cloud, epoch}, &newest)
	return newest, err
}

// Watch calls f for changes on the host, whoever made them.
func (h *Hypervisor) Watch(ctx context.Context, f func(computedriver.Hint)) error {
	if err := h.end.open(); err != nil {
		return err
	}
	p := path("host", h.name, "Watch")
	res, err := h.link.post(ctx, p, bytes.NewReader([]byte("{}")))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	for lines := json.NewDecoder(res.Body); ; {
		var hint computedriver.Hint
		if err := lines.Decode(&hint); err != nil {
			return h.link.lost(ctx, p, err)
		}
		f(hint)
	}
}

// Close ends the connection; guests go on.
func (h *Hypervisor) Close() error {
	h.end.closed.Store(true)
	h.link.close()
	return nil
}
