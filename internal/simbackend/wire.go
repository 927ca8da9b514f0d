package simbackend

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/nubecula/cloud/fault"
)

// remember are the arguments of Remember.
type remember struct {
	Cloud string `json:"cloud"`
	Epoch int64  `json:"epoch"`
}

// failure is an error on its way to the client.
type failure struct {
	Code  fault.Code `json:"code"`
	Op    string     `json:"op,omitempty"`
	Kind  string     `json:"kind,omitempty"`
	ID    string     `json:"id,omitempty"`
	Field string     `json:"field,omitempty"`
	Msg   string     `json:"msg"`
}

func failureOf(err error) failure {
	f := failure{Code: fault.CodeOf(err), Msg: err.Error()}
	var e *fault.Error
	if errors.As(err, &e) && e == err {
		f.Op, f.Kind, f.ID, f.Field = e.Op, e.Kind, e.ID, e.Field
		f.Msg = (&fault.Error{Code: e.Code, Msg: e.Msg, Err: e.Err}).Error()
	}
	return f
}

func (f failure) err() error {
	return &fault.Error{Code: f.Code, Op: f.Op, Kind: f.Kind, ID: f.ID, Field: f.Field, Msg: f.Msg}
}

// answer writes a value, or an error with status 422.
func answer(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusUnprocessableEntity)
		v = failureOf(err)
	}
	_ = json.NewEncoder(w).Encode(v) // a client that has gone is no concern of the Server's
}

// link is a connection to a Server.
type link struct {
	address string
	http    *http.Client
}

// connect prepares calls to the Server on a Unix socket; nothing is sent yet.
func connect(address string) *link {
	var d net.Dialer
	return &link{address, &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 256,
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", address) },
	}}}
}

func (l *link) close() { l.http.CloseIdleConnections() }

// call sends in as JSON and decodes the answer into out, if out is not nil.
func (l *link) call(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return l.stream(ctx, path, bytes.NewReader(body), out)
}

func (l *link) stream(ctx context.Context, path string, body io.Reader, out any) error {
	res, err := l.post(ctx, path, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if out == nil {
		out = &struct{}{}
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return l.lost(ctx, path, err)
	}
	_, _ = io.Copy(io.Discard, res.Body) // so that the connection is used again
	return nil
}

// post returns the answer of a call that succeeded.
func (l *link) post(ctx context.Context, path string, body io.Reader) (*http.Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://sim"+path, body)
	if err != nil {
		return nil, err
	}
	res, err := l.http.Do(req)
	if err != nil {
		return nil, l.lost(ctx, path, err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	var f failure
	if err := json.NewDecoder(res.Body).Decode(&f); err != nil || res.StatusCode != http.StatusUnprocessableEntity {
		return nil, fault.New(fault.Internal, "simulated backend at %s: %s answered %s", l.address, path, res.Status)
	}
	return nil, f.err()
}

// lost is the error of a call without an answer.
func (l *link) lost(ctx context.Context, path string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", path, ctx.Err())
	}
	return fault.New(fault.Unavailable, "the simulated backend at %s does not answer %s; start it again: %w", l.address, path, err)
}

// path joins escaped elements.
func path(elements ...string) string {
	out := ""
	for _, e := range elements {
		out += "/" + url.PathEscape(e)
	}
	return out
}
