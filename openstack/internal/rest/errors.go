package rest

import (
	"bytes"
	"errors"
	"html"
	"net/http"
	"strconv"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

// statuses is the HTTP status of each fault code.
var statuses = map[fault.Code]int{
	fault.Internal:        http.StatusInternalServerError,
	fault.Invalid:         http.StatusBadRequest,
	fault.Unauthenticated: http.StatusUnauthorized,
	fault.Denied:          http.StatusForbidden,
	fault.NotFound:        http.StatusNotFound,
	fault.Exists:          http.StatusConflict,
	fault.Conflict:        http.StatusConflict,
	fault.Quota:           http.StatusForbidden,
	fault.Exhausted:       http.StatusServiceUnavailable,
	fault.Unavailable:     http.StatusServiceUnavailable,
	fault.Timeout:         http.StatusGatewayTimeout,
	fault.Canceled:        http.StatusServiceUnavailable,
	fault.Unsupported:     http.StatusNotImplemented,
	fault.TooLarge:        http.StatusRequestEntityTooLarge,
	fault.Gone:            http.StatusGone,
	fault.Corrupt:         http.StatusInternalServerError,
	fault.Stale:           http.StatusConflict,
}

// own are the statuses in which a service differs.
var own = map[Service]map[fault.Code]int{
	Image:   {fault.Quota: http.StatusRequestEntityTooLarge, fault.Exhausted: http.StatusRequestEntityTooLarge},
	Network: {fault.Quota: http.StatusConflict, fault.Exhausted: http.StatusConflict},
}

// statusError is an error that HTTP knows and the services do not.
type statusError struct {
	status int
	msg    string
	retry  int // seconds after which the call may be repeated, if it was refused for its number alone; 0 for other errors
}

func (e *statusError) Error() string { return e.msg }

// Status returns an error that is answered with a status, for what no fault code says: 405, 406, 415.
func Status(status int, msg string) error { return &statusError{status: status, msg: msg} }

// refused reports whether err is the answer to a call that was one too many.
func refused(err error) bool {
	var se *statusError
	return errors.As(err, &se) && se.retry > 0
}

// retryAfter is how many seconds a client is to wait before it repeats a call.
func retryAfter(err error) int {
	var se *statusError
	if errors.As(err, &se) {
		return max(1, se.retry)
	}
	return 1
}

// StatusOf returns the HTTP status with which a service answers an error.
func StatusOf(s Service, err error) int {
	var se *statusError
	if errors.As(err, &se) {
		return se.status
	}
	var te *Typed
	if errors.As(err, &te) && te.Status != 0 {
		return te.Status
	}
	var ve errVersion
	if errors.As(err, &ve) {
		return http.StatusNotAcceptable
	}
	if errors.Is(err, store.ErrFull) {
		return http.StatusInsufficientStorage
	}
	code := fault.CodeOf(err)
	if status, ok := own[s][code]; ok {
		return status
	}
	if status, ok := statuses[code]; ok {
		return status
	}
	return http.StatusInternalServerError
}

// maxMessage is how long a message may be, in bytes: a refusal quotes what the client sent.
const maxMessage = 1 << 10

// message is what a client may read of an error: all of a refusal, nothing of the inside of a failure.
func message(err error, status int, requestID string) string {
	text := wholeMessage(err, status, requestID)
	if len(text) <= maxMessage {
		return text
	}
	const half = maxMessage / 2 // the remedy comes last
	return strings.ToValidUTF8(text[:half], "") + " [...] " + strings.ToValidUTF8(text[len(text)-half:], "")
}

func wholeMessage(err error, status int, requestID string) string {
	var fe *fault.Error
	errors.As(err, &fe)
	switch {
	case refused(err):
		return err.Error()
	case status == http.StatusInsufficientStorage:
		return "the cloud's disk is full, and nothing was changed; this is not a quota: ask the operator of the cloud to free some space, then send the request again (request id " + requestID + ")"
	case status == http.StatusInternalServerError:
		return "an unexpected error prevented the server from fulfilling the request; report it with the request id " + requestID
	case status == http.StatusServiceUnavailable && (fe == nil || fe.Code != fault.Exhausted):
		return "the service is temporarily unable to do this; try again later (request id " + requestID + ")"
	case status == http.StatusGatewayTimeout:
		return "this took longer than allowed, and may have happened or not: look before trying again (request id " + requestID + ")"
	case fe != nil && error(fe) == err && fe.Op != "":
		c := *fe
		c.Op = ""
		return c.Error()
	}
	return err.Error()
}

// render returns the body of an error and its content type, in the service's own form.
func (s Service) render(err error, status int, msg, accept string) (body []byte, contentType string) {
	title := http.StatusText(status)
	var doc any
	switch {
	case s == Identity || status == http.StatusUnauthorized:
		doc = map[string]any{"error": map[string]any{"code": status, "message": msg, "title": title}}
	case s == Compute:
		inner := map[string]any{"code": status, "message": msg}
		if status == http.StatusTooManyRequests {
			inner["retryAfter"] = strconv.Itoa(retryAfter(err)) // as Nova has it beside the header
		}
		doc = map[string]any{novaFault(status): inner}
	case s == Network:
		doc = map[string]any{"NeutronError": map[string]any{"type": neutronType(err, status), "message": msg, "detail": ""}}
	default: // Glance lets WebOb choose by Accept
		line := strconv.Itoa(status) + " " + title
		if strings.Contains(accept, "text/html") && !strings.Contains(accept, "json") {
			text := html.EscapeString(msg)
			return []byte("<html>\n <head>\n  <title>" + line + "</title>\n </head>\n <body>\n  <h1>" + line + "</h1>\n  " + text + "\n </body>\n</html>\n"), "text/html; charset=UTF-8"
		}
		doc = map[string]any{"message": msg, "code": line, "title": title}
	}
	return Encode(doc), "application/json"
}

// novaFault is the name under which Nova puts an error.
func novaFault(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "badRequest"
	case http.StatusForbidden:
		return "forbidden"
	case http.StatusNotFound:
		return "itemNotFound"
	case http.StatusMethodNotAllowed:
		return "badMethod"
	case http.StatusConflict:
		return "conflictingRequest"
	case http.StatusRequestEntityTooLarge, http.StatusTooManyRequests:
		return "overLimit"
	case http.StatusUnsupportedMediaType:
		return "badMediaType"
	case http.StatusNotImplemented:
		return "notImplemented"
	case http.StatusServiceUnavailable:
		return "serviceUnavailable"
	}
	return "computeFault"
}

// neutronType names an error as Neutron's exceptions are named, as far as clients can tell them apart.
func neutronType(err error, status int) string {
	var te *Typed
	if errors.As(err, &te) {
		return te.Type
	}
	if status == http.StatusInsufficientStorage {
		return "HTTPInsufficientStorage"
	}
	var e *fault.Error
	if !errors.As(err, &e) {
		switch status {
		case http.StatusNotFound:
			return "HTTPNotFound"
		case http.StatusMethodNotAllowed:
			return "HTTPMethodNotAllowed"
		case http.StatusTooManyRequests:
			return "HTTPTooManyRequests"
		case http.StatusServiceUnavailable:
			return "HTTPServiceUnavailable"
		}
		return "HTTPInternalServerError"
	}
	switch e.Code {
	case fault.Invalid:
		return "HTTPBadRequest"
	case fault.Denied:
		return "PolicyNotAuthorized"
	case fault.NotFound:
		return camel(e.Kind) + "NotFound"
	case fault.Exists, fault.Conflict, fault.Stale:
		return camel(e.Kind) + "InUse"
	case fault.Quota:
		return "OverQuota"
	case fault.Exhausted:
		return "IpAddressGenerationFailure"
	case fault.TooLarge:
		return "HTTPRequestEntityTooLarge"
	case fault.Unsupported:
		return "HTTPNotImplemented"
	}
	return "HTTPInternalServerError"
}

// camel turns "security_group" or "security group" into "SecurityGroup".
func camel(kind string) string {
	var b bytes.Buffer
	for _, word := range strings.FieldsFunc(kind, func(c rune) bool { return c == '_' || c == ' ' || c == '-' }) {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}
