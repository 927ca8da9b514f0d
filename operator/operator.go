// Package operator serves what people and programs that run a cloud ask of it, which is not for its users: whether
// it lives and is ready, what a check finds, a backup, the level of the log, metrics.
//
//	http.Serve(socket, operator.Handler(c, &operator.Options{Backup: db.Backup, Level: level}))
//
// It asks nobody who he is. Serve it on a Unix socket that only operators may open (mode 0600), or behind
// a check of your own; never beside the OpenStack APIs.
//
//	GET  /healthz    200 while the process lives
//	GET  /readyz     200 when the cloud can serve, 503 when not; the body is a cloud.Health either way
//	GET  /check      what cloud.Inspect finds in the store and at the drivers: {"findings": [...]}, or text with Accept: text/plain
//	POST /backup     {"path": "/absolute/path"} writes a backup there, on this machine
//	POST /accept-store    the word that a restored store is the one to go on with: cloud.AcceptStore
//	POST /accept-removal  {"ids": ["..."]} the word that things may be removed which the check gives as removable: cloud.AcceptRemoval
//	POST /accept-loss     {"host": "id or name"} the word that what a host lacks is lost: cloud.AcceptLoss
//	POST /host-gone       {"host": "id or name"} the word that a host never comes back: cloud.DeclareHostGone
//	GET  /log-level  {"level": "warn"}; PUT changes it
//	GET  /metrics    Options.Metrics
//
// An operator's word is answered with Accepted; with ?dry_run=true nothing is done, and the answer is what would be.
// An error is {"error": {"code": "exists", "message": "..."}}.
package operator

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/fault"
)

// Options say what there is besides the cloud. nil is fine, and so is the zero value of every field.
type Options struct {
	// Backup writes a backup of the store to a file, as the method of a sqlite.Driver does. nil: POST /backup is Unsupported.
	Backup func(ctx context.Context, path string) error
	// Level is that of the log. nil: it cannot be read or changed here.
	Level *slog.LevelVar
	// Metrics answers GET /metrics, for example metrics.Handler. nil: there are none.
	Metrics http.Handler
}

// BackedUp is the answer to POST /backup.
type BackedUp struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
}

// Level is the body of GET and PUT /log-level.
type Level struct {
	Level string `json:"level"` // debug, info, warn, error, or one with an offset: "debug-4"
}

// Checked is the answer to GET /check.
type Checked struct {
	Findings []cloud.Finding `json:"findings"`
}

// maxBody bounds the body of a request, in bytes.
const maxBody = 64 << 10

type handler struct {
	c   *cloud.Cloud
	opt Options
}

// Handler serves a cloud to its operators.
func Handler(c *cloud.Cloud, opt *Options) http.Handler {
	h := &handler{c: c}
	if opt != nil {
		h.opt = *opt
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { write(w, http.StatusOK, map[string]bool{"alive": true}) })
	mux.HandleFunc("GET /readyz", h.ready)
	mux.HandleFunc("GET /check", h.check)
	mux.HandleFunc("POST /backup", h.backup)
	mux.HandleFunc("POST /accept-store", word(h.sayStore, h.acceptStore))
	mux.HandleFunc("POST /accept-removal", word(h.sayRemoval, h.acceptRemoval))
	mux.HandleFunc("POST /accept-loss", word(h.sayLoss, h.acceptLoss))
	mux.HandleFunc("POST /host-gone", word(h.sayGone, h.hostGone))
	mux.HandleFunc("GET /log-level", h.level)
	mux.HandleFunc("PUT /log-level", h.setLevel)
	if h.opt.Metrics != nil {
		mux.Handle("GET /metrics", h.opt.Metrics)
	}
	return mux
}

func (h *handler) ready(w http.ResponseWriter, r *http.Request) {
	health := h.c.Health(r.Context())
	status := http.StatusOK
	if !health.Ready {
		status = http.StatusServiceUnavailable
	}
	write(w, status, health)
}

func (h *handler) check(w http.ResponseWriter, r *http.Request) {
	found, err := h.c.Inspect(r.Context())
	if err != nil {
		fail(w, err)
		return
	}
	if strings.HasPrefix(r.Header.Get("Accept"), "text/plain") {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_ = cloud.WriteFindings(w, found) // a client that has gone
		return
	}
	if found == nil {
		found = []cloud.Finding{}
	}
	write(w, http.StatusOK, Checked{found})
}

func (h *handler) backup(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Path string `json:"path"`
	}
	if err := read(w, r, &req); err != nil {
		fail(w, err)
		return
	}
	switch {
	case h.opt.Backup == nil:
		fail(w, fault.New(fault.Unsupported, "this store has no backup of its own: use the tool of its database"))
		return
	case !filepath.IsAbs(req.Path):
		fail(w, fault.InvalidField("path", req.Path, "give an absolute path on the machine of the cloud, of a file that is not there"))
		return
	}
	if err := h.opt.Backup(r.Context(), req.Path); err != nil {
		fail(w, err)
		return
	}
	out := BackedUp{Path: req.Path}
	if st, err := os.Stat(req.Path); err == nil {
		out.Bytes = st.Size()
	}
	if err := h.c.AfterBackup(r.Context()); err != nil {
		h.c.Log().WarnContext(r.Context(), "drivers could not be told that a backup was made; their next round does it, within minutes. Before that a restore of this backup may be recognised only by what the store does not know", "path", req.Path, "error", err)
	}
	h.c.Log().InfoContext(r.Context(), "a backup was written", "path", req.Path, "bytes", out.Bytes)
	write(w, http.StatusOK, out)
}

func errNoLevel() error {
	return fault.New(fault.Unsupported, "the level of this log is not for changing: the program gave none in operator.Options.Level")
}

func (h *handler) level(w http.ResponseWriter, _ *http.Request) {
	if h.opt.Level == nil {
		fail(w, errNoLevel())
		return
	}
	write(w, http.StatusOK, Level{strings.ToLower(h.opt.Level.Level().String())})
}

func (h *handler) setLevel(w http.ResponseWriter, r *http.Request) {
	var req Level
	if h.opt.Level == nil {
		fail(w, errNoLevel())
		return
	}
	if err := read(w, r, &req); err != nil {
		fail(w, err)
		return
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(req.Level)); err != nil {
		fail(w, fault.InvalidField("level", req.Level, "use debug, info, warn or error"))
		return
	}
	h.opt.Level.Set(level)
	h.level(w, r)
}

func read(w http.ResponseWriter, r *http.Request, into any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fault.New(fault.Invalid, "the body is not what it should be: %v", err)
	}
	return nil
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(body) // a client that has gone
}

// Error is the body of an answer that is no success.
type Error struct {
	Error struct {
		Code    string `json:"code"` // a fault.Code
		Message string `json:"message"`
	} `json:"error"`
}

// statuses of the codes that are not our fault.
var statuses = map[fault.Code]int{
	fault.Invalid: http.StatusBadRequest, fault.NotFound: http.StatusNotFound, fault.Exists: http.StatusConflict, fault.Conflict: http.StatusConflict,
	fault.Denied: http.StatusForbidden, fault.Unsupported: http.StatusNotImplemented, fault.Unavailable: http.StatusServiceUnavailable,
	fault.Exhausted: http.StatusInsufficientStorage,
}

func fail(w http.ResponseWriter, err error) {
	var body Error
	body.Error.Code, body.Error.Message = fault.CodeOf(err).String(), err.Error()
	status := statuses[fault.CodeOf(err)]
	if status == 0 {
		status = http.StatusInternalServerError
	}
	write(w, status, body)
}
