package keystone

import (
	"context"

	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

func userID(v *identity.User) string { return v.ID }

func showUser(r *rest.Request, v *identity.User) object {
	own := object{"id": v.ID, "name": v.Name, "domain_id": v.DomainID, "enabled": v.Enabled, "options": options(v.Options), "password_expires_at": nil}
	if v.DefaultProjectID != "" {
		own["default_project_id"] = v.DefaultProjectID
	}
	if v.Description != "" {
		own["description"] = v.Description
	}
	return show(r, "/users/"+v.ID, v.Extra, own)
}

func (a *api) userRoutes() []rest.Route {
	create, update := a.route("POST", "/users", createUser), a.route("PATCH", "/users/{id}", updateUser)
	create.Prepare, update.Prepare = a.hashPassword, a.hashPassword
	change := a.route("POST", "/users/{id}/password", changePassword)
	change.Public = true // the old password is the proof
	return []rest.Route{
		create, update, change,
		a.route("GET", "/users", listUsers),
		a.route("GET", "/users/{id}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			v, err := s.GetUser(ctx, r.Value("id"))
			if err != nil {
				return nil, err
			}
			return rest.OK(object{"user": showUser(r, v)}), nil
		}),
		a.route("DELETE", "/users/{id}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			return done(s.DeleteUser(ctx, r.Value("id")))
		}),
		a.route("GET", "/users/{id}/projects", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			found, err := s.ProjectsOf(ctx, r.Value("id"))
			if err != nil {
				return nil, err
			}
			return list(r, "projects", found, identity.ListOptions{}, projectID, showProject)
		}),
		a.route("GET", "/users/{id}/groups", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			o, err := listOptions(r)
			if err != nil {
				return nil, err
			}
			found, err := s.GroupsOf(ctx, r.Value("id"), o)
			if err != nil {
				return nil, err
			}
			return list(r, "groups", found, identity.ListOptions{}, groupID, showGroup)
		}),
	}
}

// hashPassword takes the slow part of a request out of the transaction it may run in. Only those who may
// set a password get that much of the processor.
func (a *api) hashPassword(ctx context.Context, r *rest.Request) (any, error) {
	f, err := read(r, "user")
	if err != nil {
		return nil, err
	}
	password := f.text("password")
	if f.err != nil || password == nil {
		return nil, f.err
	}
	s, action, target := a.svc.As(r.Principal), "identity:user:create", identity.Target{Kind: "user", DomainID: f.word("domain_id")}
	if id := r.Value("id"); id != "" {
		action, target = "identity:user:update", identity.Target{Kind: "user", ID: id, UserID: id}
	}
	if err := s.Allow(ctx, action, target); err != nil {
		return nil, err
	}
	hashed, err := s.Hash(ctx, *password)
	if err != nil {
		return nil, err
	}
	return hashed, nil
}

func prepared(r *rest.Request) *identity.Hashed {
	hashed, _ := r.Prepared.(*identity.Hashed)
	return hashed
}

func createUser(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
	f, err := read(r, "user")
	if err != nil {
		return nil, err
	}
	f.text("password") // prepared
	req := identity.CreateUser{Name: f.word("name"), DomainID: f.word("domain_id"), Hashed: prepared(r), DefaultProjectID: f.word("default_project_id"),
		Description: f.word("description"), Enabled: f.flag("enabled"), Options: f.options()}
	if req.Extra, err = f.rest(); err != nil {
		return nil, err
	}
	v, err := s.CreateUser(ctx, req)
	if err != nil {
		return nil, err
	}
	return rest.Created(object{"user": showUser(r, v)}), nil
}

func updateUser(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
	f, err := read(r, "user")
	if err != nil {
		return nil, err
	}
	f.text("password") // prepared
	req := identity.UpdateUser{Name: f.text("name"), DomainID: f.text("domain_id"), Hashed: prepared(r), DefaultProjectID: f.text("default_project_id"),
		Description: f.text("description"), Enabled: f.flag("enabled"), Options: f.options()}
	if req.Extra, err = f.rest(); err != nil {
		return nil, err
	}
	v, err := s.UpdateUser(ctx, r.Value("id"), req)
	if err != nil {
		return nil, err
	}
	return rest.OK(object{"user": showUser(r, v)}), nil
}

func changePassword(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
	body, err := rest.Wrapped[struct {
		Password *string `json:"password"`
		Original *string `json:"original_password"`
	}](r, "user", rest.Strict)
	if err != nil {
		return nil, err
	}
	if body.Password == nil || body.Original == nil {
		return nil, invalid("user", "needs password and original_password")
	}
	return done(s.ChangePassword(ctx, r.Value("id"), *body.Original, *body.Password))
}

func listUsers(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
	o, err := listOptions(r)
	if err != nil {
		return nil, err
	}
	on, err := enabled(r)
	if err != nil {
		return nil, err
	}
	found, err := s.ListUsers(ctx, identity.ListUsers{ListOptions: o, DomainID: r.Query.Get("domain_id"), Enabled: on})
	if err != nil {
		return nil, err
	}
	return list(r, "users", found, o, userID, showUser)
}
