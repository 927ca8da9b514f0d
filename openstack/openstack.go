// Package openstack serves a cloud as the OpenStack APIs: Keystone v3, Nova
// v2.1, Glance v2 and Neutron v2.0 on one port, so that OpenStack's clients
// work with it unmodified. It holds views only: decoding, versions, links and
// error bodies. Rules are in the services.
//
// Where they answer, BASE being scheme and host: BASE/v3 and BASE/identity,
// BASE/compute/v2.1, BASE/image, BASE/network. OS_AUTH_URL is BASE/v3 or
// BASE/identity. BASE/healthz answers 200 while the process
// lives, BASE/readyz 200 or 503: whether the cloud can serve; operator.Handler tells the reasons.
package openstack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/nubecula/cloud"
	"github.com/nubecula/cloud/internal/clock"
	"github.com/nubecula/cloud/openstack/internal/glance"
	"github.com/nubecula/cloud/openstack/internal/keystone"
	"github.com/nubecula/cloud/openstack/internal/neutron"
	"github.com/nubecula/cloud/openstack/internal/nova"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// Options change how a cloud is served. nil is fine, and so is the zero value of every field.
type Options struct {
	// PublicURL is how clients reach the server, for links: "https://cloud.example:8774".
	// "" takes it from each request: its Host, and X-Forwarded-Proto if a proxy set that.
	PublicURL string
	// Timeout ends a call, reading its body included; uploads and downloads have none. 0 means 60 s.
	Timeout time.Duration
	// Stall ends an upload or download whose client sends or takes nothing for so long. 0 means 60 s.
	Stall time.Duration
	// MaxBody is how many bytes the body of most calls may have; image data is bounded elsewhere. 0 means 1 MiB.
	MaxBody int64

	// What comes beyond the following waits, projects taking turns, so that a flood of one does not starve another.
	// A call that would be one too many is answered at once with 429, or 503 when all projects together have too many,
	// or when it was not its turn within Patience; Retry-After tells in how many seconds to try again. Nothing has happened then.

	// Reads is how many GET and HEAD calls are at work at once; one project has at most half. 0 means 4 for each processor.
	Reads int
	// Writes is how many other calls are at work at once; one project has at most three quarters. 0 means 16.
	Writes int
	// Logins is how many calls without a token, which hash passwords, are at work at once. 0 means one for each processor.
	Logins int
	// Streams is how many uploads and downloads are under way at once; one project has at most half. 0 means 64.
	Streams int
	// Waiting is how many calls of each of these sorts one project may have here, those at work or being answered
	// included; calls without a token count for the address they come from. 0 means 128. All together may have eight times as many.
	Waiting int
	// Patience is how long a call waits for its turn. 0 means 10 s.
	Patience time.Duration
	// Bodies is how many bytes of bodies are in memory at once, besides uploads, which never are. 0 means 64 MiB.
	Bodies int64
}

// Handler returns the APIs of a cloud. It panics when PublicURL is not a URL.
func Handler(c *cloud.Cloud, opt *Options) http.Handler {
	if opt == nil {
		opt = &Options{}
	}
	nobody := c.As(nil) // each call acts for whom its token names
	frame, err := rest.New(rest.Config{
		APIs: []rest.API{
			keystone.New(nobody.Identity, keystone.Options{Services: []rest.Service{rest.Identity, rest.Image, rest.Network, rest.Compute}}),
			glance.New(nobody.Image, c.Store()),
			neutron.New(nobody.Network),
			nova.New(nobody.Compute, nobody.Network, c.Clock()),
		},
		// The limits of connections pass in real time, also where a test moves the cloud's clock.
		Store: c.Store(), Clock: clock.System(), Log: c.Log(), Meters: c.Meters(),
		Authenticate: nobody.Identity.Validate,
		PublicURL:    opt.PublicURL, Timeout: opt.Timeout, Stall: opt.Stall, MaxBody: opt.MaxBody,
		Limits: rest.Limits{Reads: opt.Reads, Writes: opt.Writes, Logins: opt.Logins, Streams: opt.Streams,
			Waiting: opt.Waiting, Patience: opt.Patience, Bodies: opt.Bodies},
	})
	if err != nil {
		panic(fmt.Sprintf("openstack: %v", err))
	}
	ready := &readiness{c: c, clock: clock.System()}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 { // a body is the frame's to get rid of
			switch r.URL.Path {
			case "/healthz":
				w.WriteHeader(http.StatusOK)
				return
			case "/readyz":
				ready.ServeHTTP(w, r)
				return
			}
		}
		frame.ServeHTTP(w, r)
	})
}

// Server returns an http.Server for a Handler: 10 s for a request's headers of at most 64 KiB, 2 minutes
// of idleness. Bodies have no limit of time here, since uploads may be long: the Handler has one for each call.
func Server(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
}

// Serve answers on a listener, with a Handler of opt, until ctx ends; calls under way then have 5 s. It returns nil after that, an
// error of the listener, or what the store says when it has failed (store.Store.Broken): then the program should end, or compose the cloud anew.
func Serve(ctx context.Context, c *cloud.Cloud, l net.Listener, opt *Options) error {
	server := Server(Handler(c, opt))
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-c.Store().Broken():
		return errors.Join(fmt.Errorf("the store has failed and must be opened again; nothing that was answered is lost: %w", c.Store().Cause()), server.Close())
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(grace); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return errors.Join(err, server.Close())
	}
	return nil
}
