package keystone

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

func (a *api) authRoutes() []rest.Route {
	create := a.route("POST", "/auth/tokens", a.createToken)
	create.Public = true
	return []rest.Route{
		create,
		a.route("GET", "/auth/tokens", a.showToken),
		a.route("DELETE", "/auth/tokens", a.deleteToken),
		a.route("GET", "/auth/catalog", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			catalog, err := a.catalog(ctx, s, r)
			return rest.OK(object{"catalog": catalog, "links": listLinks(r, "")}), err
		}),
		a.route("GET", "/auth/projects", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			scopes, err := s.Scopes(ctx)
			if err != nil {
				return nil, err
			}
			return list(r, "projects", scopes.Projects, identity.ListOptions{}, projectID, showProject)
		}),
		a.route("GET", "/auth/domains", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			scopes, err := s.Scopes(ctx)
			if err != nil {
				return nil, err
			}
			return list(r, "domains", scopes.Domains, identity.ListOptions{}, domainID, showDomain)
		}),
		a.route("GET", "/auth/system", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			scopes, err := s.Scopes(ctx)
			if err != nil {
				return nil, err
			}
			system := []any{}
			if scopes.System {
				system = append(system, object{"all": true})
			}
			return rest.OK(object{"system": system, "links": listLinks(r, "")}), nil
		}),
	}
}

// domainRef names a domain in one of two ways.
type domainRef struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type authBody struct {
	Identity struct {
		Methods  []string `json:"methods"`
		Password *struct {
			User struct {
				ID       string     `json:"id"`
				Name     string     `json:"name"`
				Domain   *domainRef `json:"domain"`
				Password *string    `json:"password"`
			} `json:"user"`
		} `json:"password"`
		Token *struct {
			ID string `json:"id"`
		} `json:"token"`
		// Methods that we do not have are refused by name, whatever they bring.
		TOTP                  json.RawMessage `json:"totp"`
		ApplicationCredential json.RawMessage `json:"application_credential"`
		External              json.RawMessage `json:"external"`
		OAuth1                json.RawMessage `json:"oauth1"`
		SAML2                 json.RawMessage `json:"saml2"`
		Mapped                json.RawMessage `json:"mapped"`
	} `json:"identity"`
	Scope json.RawMessage `json:"scope"`
}

type scopeBody struct {
	Project *struct {
		ID     string     `json:"id"`
		Name   string     `json:"name"`
		Domain *domainRef `json:"domain"`
	} `json:"project"`
	Domain *domainRef `json:"domain"`
	System *struct {
		All bool `json:"all"`
	} `json:"system"`
	Unscoped *struct{}       `json:"unscoped"`
	Trust    json.RawMessage `json:"OS-TRUST:trust"`
}

func invalid(field, why string) error {
	return &fault.Error{Code: fault.Invalid, Field: field, Msg: why}
}

// authRequest reads a request for a token.
func authRequest(body []byte) (identity.AuthRequest, error) {
	var req identity.AuthRequest
	b, err := rest.Wrapped[authBody](&rest.Request{Body: body}, "auth", rest.Strict)
	if err != nil {
		return req, err
	}
	in := b.Identity
	if len(in.Methods) == 0 {
		return req, invalid("auth.identity.methods", "is missing: name the methods, password or token")
	}
	for _, m := range in.Methods {
		if m != "password" && m != "token" {
			return req, fault.New(fault.Unauthenticated, "the method %q is not supported: use password or token", m)
		}
	}
	if slices.Contains(in.Methods, "password") {
		if in.Password == nil || in.Password.User.Password == nil {
			return req, invalid("auth.identity.password.user.password", "is missing")
		}
		u := in.Password.User
		req.Password = &identity.PasswordAuth{UserID: u.ID, UserName: u.Name, Password: *u.Password}
		if u.Domain != nil {
			req.Password.DomainID, req.Password.DomainName = u.Domain.ID, u.Domain.Name
		}
	}
	if slices.Contains(in.Methods, "token") {
		if in.Token == nil || in.Token.ID == "" {
			return req, invalid("auth.identity.token.id", "is missing")
		}
		req.Token = in.Token.ID
	}
	req.Scope, err = scopeRequest(b.Scope)
	return req, err
}

func scopeRequest(raw json.RawMessage) (*identity.ScopeRequest, error) {
	text := strings.TrimSpace(string(raw))
	switch text {
	case "", "null":
		return nil, nil
	case `"unscoped"`:
		return &identity.ScopeRequest{Unscoped: true}, nil
	}
	var b scopeBody
	if err := rest.DecodeJSON(raw, &b, rest.Strict); err != nil {
		return nil, err
	}
	if b.Trust != nil {
		return nil, fault.New(fault.Unauthenticated, "trusts are not supported: take another scope")
	}
	if b.System != nil && !b.System.All {
		return nil, invalid("auth.scope.system.all", "must be true")
	}
	out := &identity.ScopeRequest{System: b.System != nil, Unscoped: b.Unscoped != nil}
	n := 0
	for _, given := range []bool{b.Project != nil, b.Domain != nil, b.System != nil, b.Unscoped != nil} {
		if given {
			n++
		}
	}
	if n != 1 {
		return nil, invalid("auth.scope", "must have exactly one of project, domain, system and unscoped")
	}
	if p := b.Project; p != nil {
		out.ProjectID, out.ProjectName = p.ID, p.Name
		if p.Domain != nil {
			out.DomainID, out.DomainName = p.Domain.ID, p.Domain.Name
		}
		if p.ID == "" && (p.Name == "" || out.DomainID == "" && out.DomainName == "") {
			return nil, invalid("auth.scope.project", "needs an id, or a name and the domain")
		}
	}
	if d := b.Domain; d != nil {
		if out.DomainID, out.DomainName = d.ID, d.Name; d.ID == "" && d.Name == "" {
			return nil, invalid("auth.scope.domain", "needs an id or a name")
		}
	}
	return out, nil
}

func (a *api) createToken(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
	req, err := authRequest(r.Body)
	if err != nil {
		return nil, err
	}
	token, who, err := s.Authenticate(ctx, req)
	if err != nil {
		return nil, err
	}
	body, err := a.tokenBody(ctx, r, who)
	if err != nil {
		return nil, err
	}
	return rest.Created(body).With("X-Subject-Token", token).With("Vary", "X-Auth-Token"), nil
}

// subject returns whom the token of X-Subject-Token stands for; one that is not valid is not found.
func (a *api) subject(ctx context.Context, r *rest.Request) (string, *identity.Principal, error) {
	token := r.HTTP.Header.Get("X-Subject-Token")
	if token == "" {
		return "", nil, invalid("X-Subject-Token", "is missing: send the token that this is about")
	}
	who, err := a.svc.Validate(ctx, token)
	if fault.Is(err, fault.Unauthenticated) {
		err = fault.New(fault.NotFound, "the token of X-Subject-Token could not be found: it is not valid, or no longer")
	}
	return token, who, err
}

func (a *api) showToken(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
	token, who, err := a.subject(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := s.Allow(ctx, "identity:token:validate", identity.Target{Kind: "token", UserID: who.UserID}); err != nil {
		return nil, err
	}
	body, err := a.tokenBody(ctx, r, who)
	if err != nil {
		return nil, err
	}
	return rest.OK(body).With("X-Subject-Token", token).With("Vary", "X-Auth-Token"), nil
}

func (a *api) deleteToken(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
	token, _, err := a.subject(ctx, r)
	if err != nil {
		return nil, err
	}
	return done(s.Revoke(ctx, token))
}

func ref(id, name string) object { return object{"id": id, "name": name} }

// tokenBody is what a token shows of whom it stands for.
func (a *api) tokenBody(ctx context.Context, r *rest.Request, who *identity.Principal) (object, error) {
	token := object{
		"methods":    who.Methods,
		"audit_ids":  who.AuditIDs,
		"issued_at":  rest.Micros(who.IssuedAt),
		"expires_at": rest.Micros(who.ExpiresAt),
		"user": object{"id": who.UserID, "name": who.UserName, "domain": ref(who.UserDomainID, who.UserDomainName),
			"password_expires_at": nil},
	}
	scoped := true
	switch {
	case who.ProjectID != "":
		token["project"] = object{"id": who.ProjectID, "name": who.ProjectName, "domain": ref(who.ProjectDomainID, who.ProjectDomainName)}
		token["is_domain"] = false
	case who.DomainID != "":
		token["domain"] = ref(who.DomainID, who.DomainName)
	case who.System:
		token["system"] = object{"all": true}
	default:
		scoped = false
	}
	if scoped {
		roles := make([]object, 0, len(who.Roles))
		for i, name := range who.Roles {
			roles = append(roles, ref(who.RoleIDs[i], name))
		}
		token["roles"] = roles
		if !r.Query.Has("nocatalog") {
			catalog, err := a.catalog(ctx, a.svc.As(who), r)
			if err != nil {
				return nil, err
			}
			token["catalog"] = catalog
		}
	}
	return object{"token": token}, nil
}
