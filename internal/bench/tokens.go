package main

import (
	"context"
	"fmt"
	"net/http"
	"runtime"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"

	"github.com/nubecula/cloud/identity"
)

// issues are new tokens for a password, which bcrypt makes dear on purpose.
func issues(ctx context.Context, b *bench) error {
	processors := runtime.GOMAXPROCS(0)
	_, err := inCloud(ctx, where{sqlite: b.sub("issues")}, func(c *inside) (result, error) {
		ids := c.demo.Identity
		r, err := load(ctx, processors, b.measure, 0, func(ctx context.Context, _ int) error {
			_, _, err := ids.Authenticate(ctx, demoAuth(demoPassword))
			return err
		})
		if err != nil {
			return r, err
		}
		b.add("token for a password, in process", r.rate(), "1/s", "", "%d calls, %s; bcrypt at cost 10 for each", r.n, count(processors, "goroutine"))
		token, _, err := ids.Authenticate(ctx, demoAuth(demoPassword))
		if err != nil {
			return r, err
		}
		if r, err = load(ctx, processors, b.measure, 0, func(ctx context.Context, _ int) error {
			_, _, err := ids.Authenticate(ctx, identity.AuthRequest{Token: token, Scope: &identity.ScopeRequest{ProjectID: c.seeded.ProjectID}})
			return err
		}); err == nil {
			b.add("token for a token, in process", r.rate(), "1/s", "", "%d calls, %s; the same without bcrypt", r.n, count(processors, "goroutine"))
		}
		return r, err
	})
	if err != nil {
		return err
	}
	l, err := b.lab()
	if err != nil {
		return err
	}
	c, err := l.client(ctx)
	if err != nil {
		return err
	}
	for _, clients := range []int{1, processors} {
		r, err := load(ctx, clients, b.measure, 0, func(ctx context.Context, _ int) error {
			p := &gophercloud.ProviderClient{IdentityBase: c.provider.IdentityBase, IdentityEndpoint: c.provider.IdentityEndpoint, HTTPClient: c.provider.HTTPClient}
			return openstack.AuthenticateV3(ctx, p, &c.auth, gophercloud.EndpointOpts{})
		})
		if err != nil {
			return err
		}
		b.add("token for a password over HTTP, "+count(clients, "client"), r.rate(), "1/s", "", "%d calls; gophercloud", r.n)
	}
	return nil
}

func demoAuth(password string) identity.AuthRequest {
	return identity.AuthRequest{Password: &identity.PasswordAuth{UserName: "demo", DomainID: identity.DefaultDomainID, Password: password}}
}

// validations ask whom a token stands for: one that was seen before, and ones that were not.
func validations(ctx context.Context, b *bench) error {
	processors := runtime.GOMAXPROCS(0)
	_, err := inCloud(ctx, where{sqlite: b.sub("validations")}, func(c *inside) (result, error) {
		ids := c.demo.Identity
		token, _, err := ids.Authenticate(ctx, demoAuth(demoPassword))
		if err != nil {
			return result{}, err
		}
		for _, n := range []int{1, processors} {
			r, err := load(ctx, n, b.measure, 0, func(ctx context.Context, _ int) error {
				_, err := ids.Validate(ctx, token)
				return err
			})
			if err != nil {
				return r, err
			}
			b.add("token validation in process, "+count(n, "goroutine"), r.rate(), "1/s", "", "%d calls, one token, seen before", r.n)
			b.atLeast(10000)
		}
		fresh := make(chan string, pick(b.short, 2000, 10000))
		for len(fresh) < cap(fresh) {
			t, _, err := ids.Authenticate(ctx, identity.AuthRequest{Token: token, Scope: &identity.ScopeRequest{ProjectID: c.seeded.ProjectID}})
			if err != nil {
				return result{}, err
			}
			fresh <- t
		}
		r, err := load(ctx, 1, b.measure, int64(len(fresh)-1), func(ctx context.Context, _ int) error {
			_, err := ids.Validate(ctx, <-fresh)
			return err
		})
		if err == nil {
			b.add("  tokens never seen before, 1 goroutine", r.rate(), "1/s", "", "%d calls; signature, user, roles and revocations looked up", r.n)
			b.atLeast(10000)
		}
		return r, err
	})
	if err != nil {
		return err
	}
	l, err := b.lab()
	if err != nil {
		return err
	}
	c, err := l.client(ctx)
	if err != nil {
		return err
	}
	for _, clients := range []int{1, 16} {
		before, err := cpuTime(l.pid)
		if err != nil {
			return err
		}
		r, err := load(ctx, clients, b.measure, 0, func(ctx context.Context, _ int) error {
			_, err := c.get(ctx, l.url+"/v3/auth/tokens", "X-Subject-Token", c.provider.TokenID)
			return err
		})
		if err != nil {
			return err
		}
		us, err := perCall(l.pid, before, r.n)
		if err != nil {
			return err
		}
		b.add("token validation over HTTP, "+count(clients, "client"), r.rate(), "1/s", "68",
			"%d GET /v3/auth/tokens with the catalog; %s us of the lab's processor time each", r.n, number(us))
		if clients == 16 {
			b.atLeast(5000)
		}
		r, err = load(ctx, clients, b.measure, 0, func(ctx context.Context, _ int) error { return c.head(ctx, l.url+"/v3/auth/tokens") })
		if err != nil {
			return err
		}
		b.add("  HEAD, "+count(clients, "client"), r.rate(), "1/s", "", "%d HEAD /v3/auth/tokens: yes or no", r.n)
	}
	return nil
}

// head asks whether the client's own token is good.
func (c *client) head(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-Auth-Token", c.provider.TokenID)
	req.Header.Set("X-Subject-Token", c.provider.TokenID)
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	res.Body.Close()
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("HEAD %s: %s", url, res.Status)
	}
	return nil
}
