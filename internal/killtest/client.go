package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// client speaks to a control plane for the user demo, and does not take silence for an answer.
type client struct {
	*record
	urls    []string      // of all replicas
	at      *atomic.Int64 // which of them; another after each that does not answer
	token   string
	network string // id of the network "private"
	image   string // id of the image "tiny"
	http    *http.Client
}

// reply is an answer that arrived whole.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// String is for problems.
func (r reply) String() string { return fmt.Sprintf("%d %.300s", r.status, r.body) }

// into decodes the body, whose form was what the API promises.
func (r reply) into(v any) error {
	if err := json.Unmarshal(r.body, v); err != nil {
		return fmt.Errorf("%w in the answer %s", err, r)
	}
	return nil
}

// fork returns a client that chooses its replica by itself.
func (c *client) fork(number int) *client {
	out := *c
	out.at = &atomic.Int64{}
	out.at.Store(int64(number))
	return &out
}

func (c *client) url() string { return c.urls[int(c.at.Load())%len(c.urls)] }

// call repeats a request, with the same idempotency key, until it is answered: the control plane may be down, die
// meanwhile, or ask to be called later. An error only means that ctx has ended.
func (c *client) call(ctx context.Context, method, path, key string, body []byte) (reply, error) {
	for try := 1; ; try++ {
		r, err := c.once(ctx, method, path, key, body)
		if err != nil || r.later() {
			if err == nil {
				c.count("answers that say later: " + r.why())
			}
			c.at.Add(1)
			if err := sleep(ctx, 50*time.Millisecond); err != nil {
				return r, err
			}
			continue
		}
		if r.status >= 500 {
			c.problem("%s %s: %s", method, path, r)
		}
		if try > 1 {
			c.count("requests sent again")
		}
		if r.header.Get("Idempotent-Replayed") != "" {
			c.count("answers replayed: the effect was there, its answer lost")
		}
		return r, nil
	}
}

// later reports whether an answer asks for the same request again.
func (r reply) later() bool {
	switch r.status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusGatewayTimeout:
		return true
	}
	return r.full() || r.status == http.StatusConflict && strings.Contains(string(r.body), "does not answer since")
}

// full reports whether a request was refused because a disk is full.
func (r reply) full() bool {
	return r.status >= 400 && (strings.Contains(string(r.body), " is full") || strings.Contains(string(r.body), "no space left"))
}

func (r reply) why() string {
	if r.full() {
		return fmt.Sprintf("%d, the disk is full", r.status)
	}
	return fmt.Sprint(r.status)
}

func (c *client) once(ctx context.Context, method, path, key string, body []byte) (r reply, err error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url()+path, bytes.NewReader(body))
	if err != nil {
		return r, err
	}
	req.Header.Set("X-Auth-Token", c.token)
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodPut {
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	req.Header.Set("X-OpenStack-Nova-API-Version", "2.37")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return r, err
	}
	r = reply{status: res.StatusCode, header: res.Header}
	r.body, err = io.ReadAll(res.Body)
	res.Body.Close()
	return r, err
}

// login waits for the first start, asking one replica before the others, and gets a token, which outlives every kill.
func login(ctx context.Context, w *world, at int) (*client, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	c := &client{record: w.record, urls: w.urls, at: &atomic.Int64{},
		http: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	c.at.Store(int64(at))
	if _, err := c.call(ctx, "GET", "/v3", "", nil); err != nil {
		p := w.planes[at]
		_, status := p.should()
		return nil, fmt.Errorf("the control plane does not answer: %w; %s %s; the end of %s:\n%s", err, p.name, status, p.log.Name(), p.tail(logLines))
	}
	password, err := w.password()
	if err != nil {
		return nil, err
	}
	domain := fields{"id": "default"}
	if _, err := c.authenticate(ctx, "demo", password, fields{"project": fields{"name": "demo", "domain": domain}}); err != nil {
		return nil, err
	}
	if c.network, err = c.only(ctx, "/network/v2.0/networks?name=private", "networks"); err != nil {
		return nil, err
	}
	c.image, err = c.only(ctx, "/image/v2/images?name=tiny", "images")
	return c, err
}

// authenticate gets the client a token, and returns the user's id.
func (c *client) authenticate(ctx context.Context, user, password string, scope fields) (string, error) {
	c.token = ""
	a, err := c.call(ctx, "POST", "/v3/auth/tokens", "", encode(fields{"auth": fields{
		"identity": fields{"methods": []string{"password"}, "password": fields{"user": fields{"name": user, "domain": fields{"id": "default"}, "password": password}}},
		"scope":    scope,
	}}))
	if err != nil {
		return "", err
	}
	if a.status != http.StatusCreated {
		return "", fmt.Errorf("no token for %s: %s", user, a)
	}
	c.token = a.header.Get("X-Subject-Token")
	var body struct {
		Token struct{ User struct{ ID string } }
	}
	err = a.into(&body)
	return body.Token.User.ID, err
}

// only returns the id of the one thing that a list holds.
func (c *client) only(ctx context.Context, path, field string) (string, error) {
	a, err := c.call(ctx, "GET", path, "", nil)
	if err != nil {
		return "", err
	}
	var list map[string]json.RawMessage
	var things []struct{ ID string }
	if err := a.into(&list); err != nil {
		return "", err
	}
	if err := json.Unmarshal(list[field], &things); err != nil || len(things) != 1 {
		return "", fmt.Errorf("GET %s: want one of %s, got %s", path, field, a)
	}
	return things[0].ID, nil
}

// server is what a client looks at in Nova's view of a server.
type server struct {
	Status string
	Task   *string `json:"OS-EXT-STS:task_state"`
	Fault  json.RawMessage
}

// busy reports whether something is being done to the server.
func (s server) busy() bool { return s.Task != nil || s.Status == "BUILD" }

// get asks for a server; the status of one that is not there is "".
func (c *client) get(ctx context.Context, id string) (s server, err error) {
	a, err := c.call(ctx, "GET", "/compute/v2.1/servers/"+id, "", nil)
	if err != nil || a.status == http.StatusNotFound {
		return s, err
	}
	var body struct{ Server server }
	if err := a.into(&body); err != nil || a.status != http.StatusOK {
		c.problem("server %s: %s", id, a)
	}
	return body.Server, nil
}

// patience is how long a server may be in a transitional state, on a machine with other work to do.
const patience = 3 * time.Minute

// settled waits until nothing is being done to the server.
func (c *client) settled(ctx context.Context, id string) (server, error) {
	for end := time.Now().Add(patience); ; {
		s, err := c.get(ctx, id)
		if err != nil || !s.busy() {
			return s, err
		}
		if time.Now().After(end) {
			c.problem("server %s is stuck: %s in status %s", id, patience, s.Status)
			return s, nil
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return s, err
		}
	}
}

// settle waits for every server, when the clients have ended. What the lab leaves undone it leaves stuck:
// the check in this process must not find it finished by this process.
func (c *client) settle(ctx context.Context) {
	for id, o := range c.expected() {
		if o.kind == "server" {
			if _, err := c.settled(ctx, id); err != nil {
				return
			}
		}
	}
}

// fields is a JSON object.
type fields = map[string]any

func encode(v fields) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // of strings and maps
	}
	return text
}
