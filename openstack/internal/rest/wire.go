package rest

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/internal/meter"
	"github.com/nubecula/cloud/internal/request"
)

// past is a deadline that is over, whatever the machine's clock says.
func past() time.Time { return time.Unix(1, 0) }

// readBody reads a body of at most limit bytes within the call's time.
func (c *call) readBody(limit int64) ([]byte, error) {
	tooLarge := func() error {
		c.w.Header().Set("Connection", "close")
		return &fault.Error{Code: fault.TooLarge, Field: "body", Msg: "has more than " + strconv.FormatInt(limit, 10) + " bytes, which is the most that this call takes"}
	}
	if c.r.ContentLength > limit {
		return nil, tooLarge()
	}
	if c.r.Body == nil || c.r.Body == http.NoBody {
		return nil, nil
	}
	rc := http.NewResponseController(c.w)
	stop := c.f.Clock.AfterFunc(c.f.Timeout, func() { _ = rc.SetReadDeadline(past()) })
	defer stop()
	body, err := io.ReadAll(io.LimitReader(c.r.Body, limit+1))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, Status(http.StatusRequestTimeout, "the body did not arrive within "+c.f.Timeout.String()+": send it faster")
	}
	if err != nil {
		return nil, Status(http.StatusBadRequest, "the body broke off before its end")
	}
	if int64(len(body)) > limit {
		return nil, tooLarge()
	}
	return body, nil
}

// stalling is a connection's side on which every single read or write has a time limit.
type stalling struct {
	c *call
	r io.Reader
	w io.Writer
}

func (c *call) stallingBody() io.Reader {
	if c.r.Body == nil {
		return http.NoBody
	}
	return &stalling{c: c, r: c.r.Body}
}

func (s *stalling) Read(p []byte) (int, error) {
	rc := http.NewResponseController(s.c.w)
	stop := s.c.f.Clock.AfterFunc(s.c.f.Stall, func() { _ = rc.SetReadDeadline(past()) })
	defer stop()
	return s.r.Read(p)
}

func (s *stalling) Write(p []byte) (int, error) {
	rc := http.NewResponseController(s.c.w)
	stop := s.c.f.Clock.AfterFunc(s.c.f.Stall, func() { _ = rc.SetWriteDeadline(past()) })
	defer stop()
	return s.w.Write(p)
}

// answer writes a response.
func (c *call) answer(resp *Response) {
	h := c.w.Header()
	for k, v := range resp.Header {
		h[http.CanonicalHeaderKey(k)] = v
	}
	status := resp.status()
	if resp.Stream != nil {
		c.stream(resp, status)
		return
	}
	if resp.Body == nil {
		c.write(status, "", nil)
		return
	}
	buf, _ := c.f.buffers.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	*buf = appendJSON((*buf)[:0], resp.Body)
	c.write(status, "application/json", *buf)
	if cap(*buf) <= keepBuffer {
		c.f.buffers.Put(buf)
	}
}

// keepBuffer is the largest buffer that is kept for the next answer: a page of a thousand servers and more.
const keepBuffer = 4 << 20

func (c *call) write(status int, contentType string, body []byte) {
	h := c.w.Header()
	if contentType != "" && h.Get("Content-Type") == "" {
		h.Set("Content-Type", contentType)
	}
	if status != http.StatusNoContent {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	c.ticket.yield()
	c.discard()
	c.status = status
	c.w.WriteHeader(status)
	if c.r.Method != http.MethodHead && status != http.StatusNoContent {
		_, _ = (&stalling{c: c, w: c.w}).Write(body) // a client that has gone is not our error
	}
	c.answered = true
}

const (
	// maxUnread is how many bytes of a body that no handler wanted are read to keep the connection.
	maxUnread = 256 << 10
	// unreadTime is how long they may take.
	unreadTime = 5 * time.Second
)

// discard reads what no handler has read of the body, as the server does by itself before it answers, but not
// for ever: who sends much or slowly loses the connection.
func (c *call) discard() {
	if c.r.Body == nil || c.r.Body == http.NoBody {
		return
	}
	rc := http.NewResponseController(c.w)
	err := error(nil)
	if c.r.Header.Get("Expect") == "" { // who waits for a word to go on is not told to
		stop := c.f.Clock.AfterFunc(unreadTime, func() { _ = rc.SetReadDeadline(past()) })
		_, err = io.CopyN(io.Discard, c.r.Body, maxUnread)
		stop()
	}
	if err != io.EOF {
		c.w.Header().Set("Connection", "close")
		_ = rc.SetReadDeadline(past())
	}
}

// flush sends the answer to its end, which a client that does not read could put off for ever.
func (c *call) flush() {
	rc := http.NewResponseController(c.w)
	stop := c.f.Clock.AfterFunc(c.f.Stall, func() { _ = rc.SetWriteDeadline(past()) })
	defer stop()
	_ = rc.Flush() // a client that has gone is not our error
}

// stream copies a body; what breaks off in the middle aborts the connection, so that nobody takes it for the whole.
func (c *call) stream(resp *Response, status int) {
	defer resp.Stream.Close()
	if resp.Size >= 0 {
		c.w.Header().Set("Content-Length", strconv.FormatInt(resp.Size, 10))
	}
	c.discard()
	c.status = status
	c.w.WriteHeader(status)
	if c.r.Method == http.MethodHead {
		c.answered = true
		return
	}
	n, err := io.Copy(&stalling{c: c, w: c.w}, resp.Stream)
	if err == nil && resp.Size >= 0 && n < resp.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		c.f.Log.WarnContext(c.r.Context(), "a download broke off; the connection is cut, so that the client does not take it for the whole: look at the image store if it is not the client", "bytes", n, "error", err)
		panic(http.ErrAbortHandler)
	}
	c.answered = true
}

// fail answers with an error in the service's form, and logs what is not the client's fault.
func (c *call) fail(err error) {
	service := Identity
	if c.m != nil {
		service = c.m.api.Service
	}
	status := StatusOf(service, err)
	if status >= 500 && status != http.StatusNotImplemented && !refused(err) {
		c.f.Log.ErrorContext(c.r.Context(), "a call failed; nothing of it is kept and the client is told the status: see the error, and /readyz for what is missing", "status", status, "error", err)
	}
	if status == http.StatusUnauthorized {
		c.w.Header().Set("WWW-Authenticate", `Keystone uri="`+c.req.base+CatalogPath(Identity)+`"`)
	}
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		c.w.Header().Set("Retry-After", strconv.Itoa(retryAfter(err)))
	}
	body, contentType := service.render(err, status, message(err, status, c.req.ID), c.r.Header.Get("Accept"))
	c.write(status, contentType, body)
}

// record writes the access record: never a token, a password or a body.
func (c *call) record() {
	took, r := c.f.Clock.Mono()-c.start, meter.Route{Service: "none", Route: "none"}
	if c.m != nil {
		r.Service = string(c.m.api.Service)
	}
	if c.route != nil {
		r.Route = c.route.Method + " " + c.route.Path
	}
	c.f.Meters.AddRequest(r, c.status, took)
	attrs := []slog.Attr{
		slog.String("method", c.r.Method), slog.String("path", c.r.URL.Path), slog.Int("status", c.status),
		slog.Duration("took", took),
	}
	if global := c.r.Header.Get("X-Openstack-Request-Id"); request.Valid(global) {
		attrs = append(attrs, slog.String("global_request_id", global))
	}
	if p := c.req.Principal; p != nil {
		attrs = append(attrs, slog.String("user_id", p.UserID), slog.String("project_id", p.ProjectID))
	}
	c.f.Log.LogAttrs(c.r.Context(), slog.LevelInfo, "api call", attrs...)
}
