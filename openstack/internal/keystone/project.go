package keystone

import (
	"context"
	"slices"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/identity"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

func projectID(v *identity.Project) string { return v.ID }

func showProject(r *rest.Request, v *identity.Project) object {
	return show(r, "/projects/"+v.ID, v.Extra, object{"id": v.ID, "name": v.Name, "domain_id": orNull(v.DomainID), "parent_id": orNull(v.ParentID),
		"is_domain": v.IsDomain, "description": v.Description, "enabled": v.Enabled, "tags": orEmpty(v.Tags), "options": options(v.Options)})
}

func (a *api) projectRoutes() []rest.Route {
	return []rest.Route{
		a.route("POST", "/projects", createProject),
		a.route("GET", "/projects", listProjects),
		a.route("GET", "/projects/{id}", getProject),
		a.route("PATCH", "/projects/{id}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			req, err := projectChange(r, "project")
			if err != nil {
				return nil, err
			}
			v, err := s.UpdateProject(ctx, r.Value("id"), req)
			if err != nil {
				return nil, err
			}
			return rest.OK(object{"project": showProject(r, v)}), nil
		}),
		a.route("DELETE", "/projects/{id}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			return done(s.DeleteProject(ctx, r.Value("id")))
		}),
		a.route("GET", "/projects/{id}/tags", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			v, err := s.GetProject(ctx, r.Value("id"))
			if err != nil {
				return nil, err
			}
			return rest.OK(object{"tags": orEmpty(v.Tags), "links": listLinks(r, "")}), nil
		}),
		a.route("PUT", "/projects/{id}/tags", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			var body struct {
				Tags *[]string `json:"tags"`
			}
			if err := r.Decode(&body, rest.Strict); err != nil {
				return nil, err
			}
			if body.Tags == nil {
				return nil, invalid("tags", "is missing")
			}
			tags, err := s.SetTags(ctx, r.Value("id"), *body.Tags)
			return rest.OK(object{"tags": orEmpty(tags), "links": listLinks(r, "")}), err
		}),
		a.route("DELETE", "/projects/{id}/tags", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			_, err := s.SetTags(ctx, r.Value("id"), nil)
			return done(err)
		}),
		a.route("GET", "/projects/{id}/tags/{tag}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			v, err := s.GetProject(ctx, r.Value("id"))
			if err == nil && !slices.Contains(v.Tags, r.Value("tag")) {
				err = fault.Missing("tag", r.Value("tag"))
			}
			return done(err)
		}),
		a.route("PUT", "/projects/{id}/tags/{tag}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			if err := s.AddTag(ctx, r.Value("id"), r.Value("tag")); err != nil {
				return nil, err
			}
			return (&rest.Response{Status: 201}).With("Location", r.URL("/projects/"+r.Value("id")+"/tags/"+r.Value("tag"))), nil
		}),
		a.route("DELETE", "/projects/{id}/tags/{tag}", func(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
			return done(s.DeleteTag(ctx, r.Value("id"), r.Value("tag")))
		}),
	}
}

func createProject(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
	f, err := read(r, "project")
	if err != nil {
		return nil, err
	}
	req := identity.CreateProject{Name: f.word("name"), DomainID: f.word("domain_id"), ParentID: f.word("parent_id"), IsDomain: value(f.flag("is_domain")),
		Description: f.word("description"), Enabled: f.flag("enabled"), Tags: value(f.texts("tags")), Options: f.options()}
	if req.Extra, err = f.rest(); err != nil {
		return nil, err
	}
	v, err := s.CreateProject(ctx, req)
	if err != nil {
		return nil, err
	}
	return rest.Created(object{"project": showProject(r, v)}), nil
}

// projectChange reads a change of a project or domain.
func projectChange(r *rest.Request, name string) (identity.UpdateProject, error) {
	f, err := read(r, name)
	if err != nil {
		return identity.UpdateProject{}, err
	}
	req := identity.UpdateProject{Name: f.text("name"), Description: f.text("description"), Enabled: f.flag("enabled"), Tags: f.texts("tags"), Options: f.options()}
	if name == "project" {
		req.DomainID, req.ParentID = f.text("domain_id"), f.text("parent_id")
		if f.flag("is_domain") != nil {
			return req, invalid("project.is_domain", "cannot be changed")
		}
	}
	req.Extra, err = f.rest()
	return req, err
}

func listProjects(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
	o, err := listOptions(r)
	if err != nil {
		return nil, err
	}
	q := identity.ListProjects{ListOptions: o, DomainID: r.Query.Get("domain_id"), ParentID: r.Query.Get("parent_id"),
		Tags: tagList(r, "tags"), TagsAny: tagList(r, "tags-any"), NotTags: tagList(r, "not-tags"), NotAny: tagList(r, "not-tags-any")}
	if q.Enabled, err = enabled(r); err != nil {
		return nil, err
	}
	if q.IsDomain, err = r.Flag("is_domain", false); err != nil {
		return nil, err
	}
	found, err := s.ListProjects(ctx, q)
	if err != nil {
		return nil, err
	}
	return list(r, "projects", found, o, projectID, showProject)
}

func getProject(ctx context.Context, s *identity.Service, r *rest.Request) (*rest.Response, error) {
	v, err := s.GetProject(ctx, r.Value("id"))
	if err != nil {
		return nil, err
	}
	out := showProject(r, v)
	if r.Query.Has("parents_as_list") || r.Query.Has("parents_as_ids") {
		var list []object
		var ids any
		var up []*identity.Project
		for p := v; p.ParentID != ""; up = append(up, p) {
			if p, err = s.GetProject(ctx, p.ParentID); err != nil {
				return nil, err
			}
		}
		for _, p := range slices.Backward(up) {
			ids = object{p.ID: ids}
		}
		for _, p := range up {
			if !p.IsDomain {
				list = append(list, object{"project": showProject(r, p)})
			}
		}
		if r.Query.Has("parents_as_ids") {
			out["parents"] = ids
		} else {
			out["parents"] = orEmpty(list)
		}
	}
	if r.Query.Has("subtree_as_list") || r.Query.Has("subtree_as_ids") {
		list := []object{}
		ids, err := subtree(ctx, s, r, v.ID, &list)
		if err != nil {
			return nil, err
		}
		if r.Query.Has("subtree_as_ids") {
			out["subtree"] = ids
		} else {
			out["subtree"] = list
		}
	}
	return rest.OK(object{"project": out}), nil
}

// subtree collects the projects below one, as a list and as a tree of ids.
func subtree(ctx context.Context, s *identity.Service, r *rest.Request, id string, list *[]object) (any, error) {
	children, err := s.ListProjects(ctx, identity.ListProjects{ParentID: id})
	if err != nil || len(children) == 0 {
		return nil, err
	}
	ids := object{}
	for _, c := range children {
		*list = append(*list, object{"project": showProject(r, c)})
		if ids[c.ID], err = subtree(ctx, s, r, c.ID, list); err != nil {
			return nil, err
		}
	}
	return ids, nil
}
