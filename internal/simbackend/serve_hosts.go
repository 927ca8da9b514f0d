package simbackend

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/nubecula/cloud/compute/computedriver"
	"github.com/nubecula/cloud/compute/fakecompute"
	"github.com/nubecula/cloud/fault"
)

// definition is the first line of a Define; the image follows in frames, if Data says so.
type definition struct {
	Guest computedriver.Guest `json:"guest"` // without Root.Base
	Base  *base               `json:"base,omitempty"`
	Data  bool                `json:"data,omitempty"`
}

type base struct {
	ID        string `json:"id"`
	Format    string `json:"format"`
	SizeBytes int64  `json:"size_bytes"`
	SHA512    string `json:"sha512,omitempty"`
}

// made is the answer to a Define.
type made struct {
	NeedsImage bool `json:"needs_image,omitempty"` // nothing was done: send it again with the image
}

type stop struct {
	Ref   computedriver.Ref `json:"ref"`
	Grace time.Duration     `json:"grace"`
}

type console struct {
	Ref computedriver.Ref `json:"ref"`
	Max int               `json:"max"`
}

func (s *Server) serveHosts() {
	handle(s, "/host/{host}/Host", func(r *http.Request, _ none) (out computedriver.Host, err error) {
		return out, s.onHost(r, "Host", "", func(ctx context.Context, h *host) error {
			out, err = h.fake.Host(ctx)
			return err
		})
	})
	handle(s, "/host/{host}/Guests", func(r *http.Request, _ none) (out []computedriver.GuestState, err error) {
		err = s.onHost(r, "Guests", "", func(ctx context.Context, h *host) error {
			out, err = h.fake.Guests(ctx)
			return err
		})
		return out, err
	})
	handle(s, "/host/{host}/Start", func(r *http.Request, ref computedriver.Ref) (none, error) {
		return none{}, s.onHost(r, "Start", ref.ID, func(ctx context.Context, h *host) error {
			did, err := h.did(ref.ID, func() error { return h.fake.Start(ctx, ref) })
			if did.Starts > 0 {
				s.ledger.started(h.name, ref)
			}
			return err
		})
	})
	handle(s, "/host/{host}/Stop", func(r *http.Request, a stop) (none, error) {
		return none{}, s.onHost(r, "Stop", a.Ref.ID, func(ctx context.Context, h *host) error {
			did, err := h.did(a.Ref.ID, func() error { return h.fake.Stop(ctx, a.Ref, a.Grace) })
			if did.Stops > 0 {
				s.ledger.stopped(h.name, a.Ref)
			}
			return err
		})
	})
	handle(s, "/host/{host}/Undefine", func(r *http.Request, ref computedriver.Ref) (none, error) {
		return none{}, s.onHost(r, "Undefine", ref.ID, func(ctx context.Context, h *host) error {
			did, err := h.did(ref.ID, func() error { return h.fake.Undefine(ctx, ref) })
			if err == nil {
				s.ledger.undefined(h.name, ref, did.Undefines > 0)
			}
			return err
		})
	})
	handle(s, "/host/{host}/Reboot", func(r *http.Request, ref computedriver.Ref) (none, error) {
		return none{}, s.onHost(r, "Reboot", ref.ID, func(ctx context.Context, h *host) error {
			err := h.fake.Reboot(ctx, ref)
			if err == nil {
				s.ledger.rebooted(h.name, ref)
			}
			return err
		})
	})
	handle(s, "/host/{host}/Remember", func(r *http.Request, a remember) (newest int64, err error) {
		err = s.onHost(r, "Remember", a.Cloud, func(ctx context.Context, h *host) error {
			if newest, err = h.fake.Remember(ctx, a.Cloud, a.Epoch); err == nil && a.Epoch > 0 {
				s.ledger.count("Remember")
			}
			return err
		})
		return newest, err
	})
	handle(s, "/host/{host}/ConsoleOutput", func(r *http.Request, a console) (out []byte, err error) {
		err = s.onHost(r, "ConsoleOutput", a.Ref.ID, func(ctx context.Context, h *host) error {
			out, err = h.fake.ConsoleOutput(ctx, a.Ref, a.Max)
			return err
		})
		return out, err
	})
	s.mux.HandleFunc("POST /host/{host}/Define", s.define)
	s.mux.HandleFunc("POST /host/{host}/Watch", s.watch)
}

// onHost runs a call on the host that the path names.
func (s *Server) onHost(r *http.Request, method, object string, effect func(ctx context.Context, h *host) error) error {
	h, err := s.host(r.PathValue("host"))
	if err != nil {
		return err
	}
	return s.once(r, h.name, method, object, func(ctx context.Context) error { return effect(ctx, h) })
}

// did runs an effect and returns what it changed by the fake's own count. The caller holds Server.effect.
func (h *host) did(id string, effect func() error) (fakecompute.Counts, error) {
	before := h.fake.Backend().Counts(id)
	err := effect()
	after := h.fake.Backend().Counts(id)
	return fakecompute.Counts{Defines: after.Defines - before.Defines, Starts: after.Starts - before.Starts,
		Stops: after.Stops - before.Stops, Undefines: after.Undefines - before.Undefines}, err
}

func (s *Server) define(w http.ResponseWriter, r *http.Request) {
	body := bufio.NewReader(r.Body)
	line, err := body.ReadBytes('\n')
	var d definition
	if err == nil {
		err = json.Unmarshal(line, &d)
	}
	if err != nil {
		answer(w, nil, fault.New(fault.Invalid, "arguments of %s: %w", r.URL.Path, err))
		return
	}
	h, err := s.host(r.PathValue("host"))
	if err != nil {
		answer(w, nil, err)
		return
	}
	var data []byte
	var broken error
	if d.Data {
		data, broken = io.ReadAll(&unframed{r: body})
	} else if d.Base != nil && !h.knows(d.Base.ID) {
		answer(w, made{NeedsImage: true}, nil)
		return
	}
	_, _ = io.Copy(io.Discard, body)
	g := d.Guest
	if b := d.Base; b != nil {
		g.Root.Base = &computedriver.Base{ID: b.ID, Format: b.Format, SizeBytes: b.SizeBytes, SHA512: b.SHA512,
			Open: func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(bytes.NewReader(data), ending{broken})), nil
			}}
	}
	err = s.once(r, h.name, "Define", g.Mark.ID, func(ctx context.Context) error {
		did, err := h.did(g.Mark.ID, func() error { return h.fake.Define(ctx, g) })
		if did.Defines > 0 {
			s.ledger.defined(h.name, g.Mark)
		}
		if err == nil && d.Base != nil {
			h.learn(d.Base.ID)
		}
		return err
	})
	answer(w, made{}, err)
}

func (h *host) knows(image string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.known[image]
}

func (h *host) learn(image string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known[image] = true
}

// ending fails with err, or ends when that is nil.
type ending struct{ err error }

func (e ending) Read([]byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	return 0, io.EOF
}

// watch sends hints, a line each, until the caller goes. Those that it is too slow for are lost.
func (s *Server) watch(w http.ResponseWriter, r *http.Request) {
	_, err := arguments[none](r)
	h, err2 := s.host(r.PathValue("host"))
	if err = errors.Join(err, err2); err != nil {
		answer(w, nil, err)
		return
	}
	hints := make(chan computedriver.Hint, 1024)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		_ = h.fake.Watch(ctx, func(hint computedriver.Hint) {
			select {
			case hints <- hint:
			default:
			}
		})
	}()
	flush := http.NewResponseController(w)
	if err := flush.Flush(); err != nil {
		return
	}
	out := json.NewEncoder(w)
	for {
		select {
		case <-ctx.Done():
			return
		case hint := <-hints:
			if err := errors.Join(out.Encode(hint), flush.Flush()); err != nil {
				return
			}
		}
	}
}
