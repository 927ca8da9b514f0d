package cloudtest

import "github.com/nubecula/cloud/identity"

// AdminToken returns a token of the user admin in the project admin, for the header X-Auth-Token of calls to URL.
// Clients that log in themselves take AdminPassword.
func (e *Env) AdminToken() string {
	e.t.Helper()
	return e.token("admin", AdminPassword)
}

// DemoToken returns a token of the user demo in the project demo.
func (e *Env) DemoToken() string {
	e.t.Helper()
	return e.token("demo", DemoPassword)
}

func (e *Env) token(name, password string) string {
	e.t.Helper()
	token, _, err := e.Cloud.As(nil).Identity.Authenticate(e.ctx(), identity.AuthRequest{
		Password: &identity.PasswordAuth{UserName: name, DomainID: identity.DefaultDomainID, Password: password},
		Scope:    &identity.ScopeRequest{ProjectName: name, DomainID: identity.DefaultDomainID},
	})
	e.must(err)
	return token
}
