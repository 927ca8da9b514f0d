package rest_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/openstack/internal/rest"
)

// raw sends bytes and returns the connection.
func (l *lab) raw(text string) net.Conn {
	conn, err := net.Dial("tcp", strings.TrimPrefix(l.url, "http://"))
	require.NoError(l.t, err)
	l.t.Cleanup(func() { conn.Close() })
	_, err = conn.Write([]byte(text))
	require.NoError(l.t, err)
	return conn
}

// while moves the clock until f returns.
func (l *lab) while(f func()) {
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	for {
		select {
		case <-done:
			return
		default:
			l.clock.Advance(time.Second)
		}
	}
}

// TestBodyNobodyWants sends the headers of calls that are answered without their body, and never the body.
func TestBodyNobodyWants(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rest.Config) { c.Stall = 1e6 * time.Hour })
	for _, c := range []struct {
		line, header string
		status       int
	}{
		{"POST /compute/v2.1/notes", "Content-Length: 1000", 401},
		{"POST /nonsense", "Content-Length: 1000", 404},
		{"PUT /v3", "Transfer-Encoding: chunked", 405},
		{"POST /compute/v2.1/notes", "Content-Length: 99999999", 401},
		{"POST /compute/v2.1/notes", "Content-Length: 1000\r\nExpect: 100-continue", 401},
	} {
		conn := l.raw(c.line + " HTTP/1.1\r\nHost: x\r\n" + c.header + "\r\n\r\n")
		l.while(func() {
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err == nil {
				resp.Body.Close()
				if resp.StatusCode != c.status {
					err = fmt.Errorf("status %d", resp.StatusCode)
				}
			}
			if err != nil {
				t.Error(c, err)
			}
		})
	}
}

// TestUnreadBodyKeepsTheConnection sends two calls at once, the first with a body that is not read.
func TestUnreadBodyKeepsTheConnection(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	r := bufio.NewReader(l.raw("POST /nonsense HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /v3 HTTP/1.1\r\nHost: x\r\n\r\n"))
	for _, status := range []int{404, 200} {
		resp, err := http.ReadResponse(r, nil)
		require.NoError(t, err)
		require.Equal(t, status, resp.StatusCode)
		_, err = r.Discard(int(resp.ContentLength))
		require.NoError(t, err)
	}
}

// TestClientThatDoesNotRead asks again and again and takes no answer: the server lets go of it.
func TestClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100, 8 << 20} { // in the server's buffer, and not
		l := newLab(t, func(c *rest.Config) {
			c.APIs[0].Routes = append(c.APIs[0].Routes, rest.Route{Method: "GET", Path: "/long", Public: true, Handle: long(size)})
		})
		conn := l.raw("")
		l.while(func() { // until the server has closed the connection
			for {
				if _, err := conn.Write([]byte(strings.Repeat("GET /v3/long HTTP/1.1\r\nHost: x\r\n\r\n", 1000))); err != nil {
					return
				}
			}
		})
	}
}

func TestLongMessageIsCut(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	a := l.do("POST", "/compute/v2.1/notes", `{"note":{"`+strings.Repeat("é", 9000)+`":"x"}}`)
	require.Equal(t, 400, a.status)
	require.Less(t, len(a.text), 1500)
	require.Contains(t, a.text, "[...]")
	require.Contains(t, a.text, "leave it out")
	require.NotContains(t, a.text, "\ufffd")
}

// long answers with that many bytes.
func long(size int) rest.Handler {
	text := strings.Repeat("x", size)
	return func(context.Context, *rest.Request) (*rest.Response, error) { return rest.OK(text), nil }
}
