package rest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/internal/meter"
	"github.com/nubecula/cloud/internal/request"
	"github.com/nubecula/cloud/store"
)

// Config is what a Frame needs.
type Config struct {
	APIs []API
	// Store keeps the replies to calls with an Idempotency-Key. Required.
	Store *store.Store
	// Authenticate returns whom a token belongs to; Unauthenticated when it is not valid. Required.
	Authenticate func(ctx context.Context, token string) (*identity.Principal, error)
	// Clock measures calls and their limits. nil means the machine's.
	Clock clock.Clock
	// Log gets one record a call. nil means nowhere. It should come from request.Handler, so that records carry the request id.
	Log *slog.Logger
	// Meters counts and times the calls. nil does not.
	Meters *meter.Meters
	// PublicURL is how clients reach the server: "https://cloud.example:8774". "" takes it from each request.
	PublicURL string
	// Timeout ends a call, reading its body included, but for Stream routes. 0 means 60 s.
	Timeout time.Duration
	// Stall ends a Stream call whose client sends or takes nothing for so long. 0 means 60 s.
	Stall time.Duration
	// MaxBody is how many bytes a body may have where a Route does not say. 0 means 1 MiB.
	MaxBody int64
	// Limits bound what is at work at once.
	Limits Limits
}

// Frame serves APIs. It is an http.Handler.
type Frame struct {
	Config
	store   *store.Store
	mounts  []mounted // longest root first
	buffers sync.Pool // of *[]byte, for answers
	pools   pools
	bodies  atomic.Int64 // bytes in memory
}

type mounted struct {
	api   *API
	root  []string // segments
	path  string
	tree  *node // of the version
	short string
}

// New checks the routes and returns the Frame that serves them.
func New(c Config) (*Frame, error) {
	if c.Clock == nil {
		c.Clock = clock.System()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Timeout == 0 {
		c.Timeout = time.Minute
	}
	if c.Stall == 0 {
		c.Stall = time.Minute
	}
	if c.MaxBody == 0 {
		c.MaxBody = 1 << 20
	}
	c.Limits.complete()
	var errs []error
	if c.Store == nil || c.Authenticate == nil {
		errs = append(errs, fault.New(fault.Invalid, "rest.Config needs Store and Authenticate"))
	}
	if u, err := url.Parse(c.PublicURL); c.PublicURL != "" && (err != nil || u.Scheme == "" || u.Host == "") {
		errs = append(errs, fault.InvalidField("PublicURL", c.PublicURL, "it must be a URL such as https://cloud.example:8774"))
	}
	f := &Frame{Config: c, store: c.Store, pools: c.Limits.pools(c.Clock, c.Meters)}
	for i := range c.APIs {
		api := &c.APIs[i]
		m, ok := mounts[api.Service]
		if !ok {
			errs = append(errs, fault.New(fault.Invalid, "rest: no place to mount service %q", api.Service))
			continue
		}
		tree := &node{}
		root := Route{Method: http.MethodGet, Handle: api.versionDocument, Public: true}
		errs = append(errs, tree.add(&root))
		for j := range api.Routes {
			errs = append(errs, tree.add(&api.Routes[j]))
		}
		for _, path := range m.roots {
			f.mounts = append(f.mounts, mounted{api: api, root: segments(path), path: path, tree: tree, short: strings.Trim(m.version, "/")})
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return f, nil
}

// call is one request on its way through the Frame.
type call struct {
	f     *Frame
	w     http.ResponseWriter
	r     *http.Request
	req   *Request
	m     *mounted
	route *Route // nil when none matches
	start time.Duration
	// status that was answered, 0 before that.
	status int
	// answered is set once the whole answer is written.
	answered bool
	ticket   *ticket
	body     int64 // bytes taken for it
}

// ServeHTTP implements http.Handler.
func (f *Frame) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{f: f, w: w, start: f.Clock.Mono()}
	id := request.NewID()
	ctx := request.WithID(r.Context(), id)
	c.r = r.WithContext(ctx)
	c.req = &Request{HTTP: c.r, ID: id, base: baseURL(r, f.PublicURL)}
	w.Header().Set("X-Openstack-Request-Id", id)
	defer func() {
		defer c.leave()
		c.record()
		if c.answered {
			c.flush()
		}
	}()
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if p == http.ErrAbortHandler {
			panic(p)
		}
		f.Log.ErrorContext(ctx, "a call panicked; the client gets status 500 or an aborted answer, and this is an error of the program: report it with the stack", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		if c.status != 0 {
			panic(http.ErrAbortHandler) // the client must not take what it has for the whole
		}
		c.fail(fault.New(fault.Internal, "panic: %v", p))
	}()
	resp, err := c.serve(ctx)
	if err != nil {
		c.fail(err)
		return
	}
	c.answer(resp)
}

// serve finds the route and runs its handler.
func (c *call) serve(ctx context.Context) (*Response, error) {
	path, err := unescape(c.r.URL.EscapedPath())
	if err != nil {
		return nil, err
	}
	rest := c.mount(path)
	if c.m == nil {
		return nil, errNoPath()
	}
	api := c.m.api
	if api.Service == Compute {
		c.w.Header().Set("X-Compute-Request-Id", c.req.ID)
	}
	if c.req.Query, err = url.ParseQuery(c.r.URL.RawQuery); err != nil {
		return nil, fault.New(fault.Invalid, "the query cannot be read: %v", err)
	}
	if len(rest) == 0 || len(rest) == 1 && rest[0] == "versions" && api.Service == Image {
		return c.root(api, len(rest) > 0)
	}
	if rest[0] != c.m.short {
		return nil, errNoPath()
	}
	node, values := c.m.tree.find(rest[1:], nil)
	if node == nil {
		return nil, errNoPath()
	}
	routes := node.methods[c.r.Method]
	if len(routes) == 0 && c.r.Method == http.MethodHead {
		routes = node.methods[http.MethodGet]
	}
	if len(routes) == 0 {
		c.allow(node)
		return nil, Status(http.StatusMethodNotAllowed, "the method "+c.r.Method+" is not allowed for this path")
	}
	c.route = routes[0]
	if !routes[0].Public {
		if err := c.authenticate(ctx); err != nil {
			return nil, err
		}
	}
	if c.req.Version, err = api.negotiate(c.r.Header); err != nil {
		api.echoVersion(c.w.Header(), c.req.Version)
		return nil, err
	}
	api.echoVersion(c.w.Header(), c.req.Version)
	for _, route := range routes {
		if c.req.Version.AtLeast(route.Since) && !before(route.Until, c.req.Version) {
			c.req.values = make(map[string]string, len(values))
			for i, name := range route.names {
				c.req.values[name] = values[i]
			}
			return c.run(ctx, route)
		}
	}
	return nil, errNoPath()
}

func errNoPath() error { return Status(http.StatusNotFound, "the resource could not be found") }

// mount finds the service that a path belongs to and returns the rest of the path.
func (c *call) mount(path []string) []string {
	for i := range c.f.mounts {
		m := &c.f.mounts[i]
		if len(m.root) > len(path) || c.m != nil && len(m.root) <= len(c.m.root) {
			continue
		}
		same := true
		for j, seg := range m.root {
			same = same && path[j] == seg
		}
		if same {
			c.m = m
		}
	}
	if c.m == nil {
		return nil
	}
	c.req.root, c.req.version = c.m.path, mounts[c.m.api.Service].version
	return path[len(c.m.root):]
}

func (c *call) root(api *API, plain bool) (*Response, error) {
	if c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
		c.w.Header().Set("Allow", "GET, HEAD")
		return nil, Status(http.StatusMethodNotAllowed, "the method "+c.r.Method+" is not allowed for this path")
	}
	resp, err := api.rootDocument(c.req)
	if err == nil && plain {
		resp.Status = http.StatusOK
	}
	return resp, err
}

func (c *call) allow(n *node) {
	var methods []string
	for _, m := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
		if n.methods[m] != nil || m == "HEAD" && n.methods["GET"] != nil {
			methods = append(methods, m)
		}
	}
	c.w.Header().Set("Allow", strings.Join(methods, ", "))
}

func (c *call) authenticate(ctx context.Context) error {
	token := c.r.Header.Get("X-Auth-Token")
	if token == "" {
		return fault.New(fault.Unauthenticated, "the request you have made requires authentication: send a token in X-Auth-Token")
	}
	p, err := c.f.Authenticate(ctx, token)
	if fault.Is(err, fault.NotFound) {
		return fault.New(fault.Unauthenticated, "the token is not valid: get a new one")
	}
	c.req.Principal = p
	return err
}

// run reads the body, if the route wants that, waits for the call's turn, and runs the handler.
func (c *call) run(ctx context.Context, route *Route) (*Response, error) {
	c.route = route
	once := ""
	if c.r.Method != http.MethodGet && c.r.Method != http.MethodHead && !route.NoReplay {
		var err error
		if once, err = onceID(c.req); err != nil {
			return nil, err
		}
	}
	pool, who := c.f.pools.of(route, c.req)
	if pool != nil {
		var err error
		if c.ticket, err = pool.enter(who); err != nil {
			return nil, err
		}
	}
	if route.Stream {
		if err := c.ticket.wait(ctx, c.f.Limits.Patience); err != nil {
			return nil, err
		}
		c.req.Stream = c.stallingBody()
		if once != "" {
			var err error
			if c.req.Once, err = c.f.openOnce(ctx, once, c.req); err != nil {
				return nil, err
			}
		}
		return route.Handle(ctx, c.req)
	}
	ctx, cancel := clock.WithTimeout(ctx, c.f.Clock, c.f.Timeout)
	defer cancel()
	limit := route.MaxBody
	if limit == 0 {
		limit = c.f.MaxBody
	}
	err := c.takeBody(limit)
	if err != nil {
		return nil, err
	}
	if c.req.Body, err = c.readBody(limit); err != nil {
		return nil, err
	}
	if route.Prepare != nil {
		if c.req.Prepared, err = route.Prepare(ctx, c.req); err != nil {
			return nil, err
		}
	}
	if err := c.ticket.wait(ctx, c.f.Limits.Patience); err != nil {
		return nil, err
	}
	if once != "" {
		return c.f.once(ctx, once, c.req, route.Handle)
	}
	return route.Handle(ctx, c.req)
}

// unescape splits a path into its segments, each unescaped by itself so that %2F stays within one.
func unescape(path string) ([]string, error) {
	out := segments(path)
	for i, seg := range out {
		text, err := url.PathUnescape(seg)
		if err != nil {
			return nil, fault.New(fault.Invalid, "the path cannot be read: %v", err)
		}
		out[i] = text
	}
	return out, nil
}
