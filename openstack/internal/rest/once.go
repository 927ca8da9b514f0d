package rest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

const (
	keyHeader      = "Idempotency-Key"
	replayedHeader = "Idempotent-Replayed"
	keyMaxBytes    = 255
	// keepReplies is how long a reply can be replayed.
	keepReplies = 24 * time.Hour
	// pruneAtOnce bounds how many old replies each new one removes.
	pruneAtOnce = 16
)

// reply is what is kept of a call with an Idempotency-Key.
type reply struct {
	ID        string      `json:"id"`     // digest of project, user and key
	Digest    string      `json:"digest"` // of method, path, query, version, body, and the headers that count
	Status    int         `json:"status"`
	Header    http.Header `json:"header,omitempty"`
	Body      string      `json:"body,omitempty"` // sealed: it may hold a password
	ExpiresAt time.Time   `json:"expires_at"`
}

var replies = store.Define(store.Spec[reply]{
	Kind: "idempotent_reply", Version: 1,
	ID: func(v *reply) string { return v.ID },
	Indexes: []store.Index[reply]{
		{Name: "expires_at", Keys: func(v *reply) []store.Tuple { return []store.Tuple{{v.ExpiresAt}} }},
	},
})

// Once is the Idempotency-Key of a Stream call, whose Handler keeps the reply itself.
type Once struct {
	// Found is the reply kept for this key, nil when there is none.
	Found *Response
	// Digest tells what was sent then, as Keep was told.
	Digest string

	id, call string
}

// Keep stores the reply under the key, in the transaction that has the effect. digest tells the body apart.
// Conflict: another call with the same key was first.
func (o *Once) Keep(tx *store.Tx, digest string, resp *Response) error {
	was, err := lookup(tx, o.id)
	if err != nil {
		return err
	}
	if was != nil {
		return errOtherCall()
	}
	return keep(tx, o.id, o.call+" "+digest, resp)
}

func errOtherCall() error {
	return &fault.Error{Code: fault.Conflict, Field: keyHeader,
		Msg: "this key was used within the last 24 hours for another request (method, path, version, body or a header differs): use a new key for each request"}
}

// onceID returns the store's id for a client's Idempotency-Key; "" when it sent none.
func onceID(r *Request) (string, error) {
	keys := r.HTTP.Header.Values(keyHeader)
	if len(keys) == 0 || r.Principal == nil {
		return "", nil
	}
	key := keys[0]
	odd := strings.ContainsFunc(key, func(c rune) bool { return c < 0x21 || c > 0x7e })
	if len(keys) > 1 || key == "" || len(key) > keyMaxBytes || odd {
		return "", &fault.Error{Code: fault.Invalid, Field: keyHeader,
			Msg: "is not valid: send it once, with 1 to 255 visible ASCII characters, such as a UUID"}
	}
	return digest(r.Principal.ProjectID, r.Principal.UserID, key), nil
}

// digest tells apart lists of texts.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		sum := sha256.Sum256([]byte(p))
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// callDigest covers all that a call means: in two places a header is part of that.
func callDigest(r *Request) string {
	h := r.HTTP.Header
	return digest(r.HTTP.Method, r.HTTP.URL.EscapedPath(), r.HTTP.URL.RawQuery, r.Version.String(), string(r.Body), h.Get("X-Subject-Token"), h.Get("If-Match"))
}

// lookup returns the reply kept under an id, nil when there is none or its time is over.
func lookup(tx *store.Tx, id string) (*reply, error) {
	was, err := replies.Get(tx, id)
	if fault.Is(err, fault.NotFound) || err == nil && !tx.Now().Before(was.ExpiresAt) {
		return nil, nil
	}
	return was, err
}

func keep(tx *store.Tx, id, digest string, resp *Response) error {
	old, err := replies.List(tx, store.Query[reply]{Index: "expires_at", To: store.Tuple{tx.Now()}, Limit: pruneAtOnce})
	if err != nil {
		return err
	}
	for _, v := range old {
		if err := replies.Delete(tx, v.ID); err != nil {
			return err
		}
	}
	v := &reply{ID: id, Digest: digest, Status: resp.status(), Header: resp.Header, ExpiresAt: tx.Now().Add(keepReplies)}
	if resp.Body != nil {
		v.Body = tx.Seal(Encode(resp.Body))
	}
	return replies.Put(tx, v)
}

// response returns the kept reply as it was, marked as a replay.
func (v *reply) response(tx *store.Tx) (*Response, error) {
	resp := &Response{Status: v.Status, Header: v.Header.Clone()}
	if v.Body != "" {
		body, err := tx.Unseal(v.Body)
		if err != nil {
			return nil, err
		}
		resp.Body = json.RawMessage(bytes.Clone(body))
	}
	return resp.With(replayedHeader, "true"), nil
}

// once runs a Handler and keeps its reply in one transaction, or returns the reply kept before.
// Nothing is kept of a call that failed.
func (f *Frame) once(ctx context.Context, id string, r *Request, h Handler) (resp *Response, err error) {
	call := callDigest(r)
	err = f.store.Update(ctx, func(tx *store.Tx) error {
		resp = nil
		was, err := lookup(tx, id)
		if err != nil {
			return err
		}
		if was != nil {
			if was.Digest != call {
				return errOtherCall()
			}
			resp, err = was.response(tx)
			return err
		}
		if resp, err = h(tx.Context(), r); err != nil {
			return err
		}
		if resp.status() >= 400 {
			return errNotKept
		}
		return keep(tx, id, call, resp)
	})
	if errors.Is(err, errNotKept) {
		err = nil
	}
	return resp, err
}

// errNotKept rolls back a call that answered with an error status of its own making.
var errNotKept = errors.New("the reply is not kept")

// openOnce prepares Request.Once for a Stream route.
func (f *Frame) openOnce(ctx context.Context, id string, r *Request) (*Once, error) {
	o := &Once{id: id, call: callDigest(r)}
	err := f.store.View(ctx, func(tx *store.Tx) error {
		was, err := lookup(tx, id)
		if err != nil || was == nil {
			return err
		}
		call, body, _ := strings.Cut(was.Digest, " ")
		if call != o.call {
			return errOtherCall()
		}
		o.Digest = body
		o.Found, err = was.response(tx)
		return err
	})
	return o, err
}

// DifferentBody is the error for a Stream call that repeats a key with another body.
func (o *Once) DifferentBody() error { return errOtherCall() }
