package rest

import (
	"context"
	"io"
	"net/http"
	"strings"

	"github.com/nubecula/cloud/fault"
)

// API is one OpenStack API: its routes, and how far its microversions go.
type API struct {
	Service Service
	// Min and Max bound the microversions of a service that has them; zero means it has none.
	Min, Max Version
	Routes   []Route
}

// Route is one call of an API.
type Route struct {
	Method string // GET also serves HEAD
	Path   string // below the service's version: "/servers/{id}"; "" is the versioned root itself
	Handle Handler
	// Public needs no token; a token that is sent is not looked at.
	Public bool
	// Stream leaves the body unread, in Request.Stream, and sets no time limit besides that for a stall.
	// An Idempotency-Key is then the handler's business: Request.Once.
	Stream bool
	// Prepare does what must not be done in a transaction, such as hashing a password, before Handle runs
	// in one; what it returns is Request.Prepared. nil means nothing. Not for Stream routes.
	Prepare func(ctx context.Context, r *Request) (any, error)
	// NoReplay ignores an Idempotency-Key, for replies that nobody may keep, such as tokens.
	NoReplay bool
	// MaxBody is how many bytes a body may have; 0 means Config.MaxBody.
	MaxBody int64
	// Since and Until bound the microversions in which the route exists, both included. Zero means no bound.
	// Several routes may share Method and Path if their versions do not overlap.
	Since, Until Version

	names []string
}

// Handler carries out one call. It returns what to answer or an error, and has no other effect than on the
// store through ctx: a call with an Idempotency-Key runs inside store.Update, maybe more than once.
type Handler func(ctx context.Context, r *Request) (*Response, error)

// Response is an answer. Exactly one of Body and Stream is set, or none.
type Response struct {
	Status int         // 0 means 200, or 204 with neither Body nor Stream
	Header http.Header // may be nil
	Body   any         // written as JSON
	// Stream is copied to the client and closed. Nobody can replay it: only for GET.
	Stream io.ReadCloser
	// Size of Stream in bytes; -1 means unknown.
	Size int64
}

// OK answers 200 with a JSON body.
func OK(body any) *Response { return &Response{Status: http.StatusOK, Body: body} }

// Created answers 201 with a JSON body.
func Created(body any) *Response { return &Response{Status: http.StatusCreated, Body: body} }

// Accepted answers 202 with a JSON body, or with none.
func Accepted(body any) *Response { return &Response{Status: http.StatusAccepted, Body: body} }

// NoContent answers 204.
func NoContent() *Response { return &Response{Status: http.StatusNoContent} }

// With sets a header and returns r.
func (r *Response) With(header, value string) *Response {
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header.Set(header, value)
	return r
}

func (r *Response) status() int {
	switch {
	case r.Status != 0:
		return r.Status
	case r.Body == nil && r.Stream == nil:
		return http.StatusNoContent
	}
	return http.StatusOK
}

// node is a place in the tree of paths.
type node struct {
	literal map[string]*node
	param   *node
	methods map[string][]*Route
}

func (n *node) add(r *Route) error {
	for _, seg := range segments(r.Path) {
		if name, ok := strings.CutPrefix(seg, "{"); ok {
			r.names = append(r.names, strings.TrimSuffix(name, "}"))
			if n.param == nil {
				n.param = &node{}
			}
			n = n.param
			continue
		}
		if n.literal == nil {
			n.literal = map[string]*node{}
		}
		if n.literal[seg] == nil {
			n.literal[seg] = &node{}
		}
		n = n.literal[seg]
	}
	if n.methods == nil {
		n.methods = map[string][]*Route{}
	}
	for _, other := range n.methods[r.Method] {
		if !(before(other.Until, r.Since) || before(r.Until, other.Since)) {
			return fault.New(fault.Internal, "two routes for %s %s in the same versions", r.Method, r.Path)
		}
	}
	n.methods[r.Method] = append(n.methods[r.Method], r)
	return nil
}

// before reports whether a route that ends at until is over when one begins at since.
func before(until, since Version) bool { return until != (Version{}) && until.Less(since) }

// find returns the node of a path and the values of its parameters; literals go before parameters.
func (n *node) find(path []string, values []string) (*node, []string) {
	if len(path) == 0 {
		if n.methods == nil {
			return nil, nil
		}
		return n, values
	}
	if next := n.literal[path[0]]; next != nil {
		if end, v := next.find(path[1:], values); end != nil {
			return end, v
		}
	}
	if n.param != nil {
		return n.param.find(path[1:], append(values[:len(values):len(values)], path[0]))
	}
	return nil, nil
}

// segments splits a path; slashes at the end and doubled ones do not count.
func segments(path string) []string {
	return strings.FieldsFunc(path, func(c rune) bool { return c == '/' })
}
